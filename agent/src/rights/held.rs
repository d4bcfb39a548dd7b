//! Who has which role on what: for rules that ask for people of a role, not for a command.

use chrono::{DateTime, Utc};
use skerry_stanzas::command::{COMMANDS, Declaration};
use xmpp_parsers::jid::BareJid;

use super::{Rights, Subject, Whom, role};

/// Whether who has one role has the other, too: those of the whole host hold those below them.
fn includes(has: &str, asked: &str) -> bool {
    let (standing, needed) = (role::standing(has), role::standing(asked));
    has == asked
        || standing == Some(skerry_stanzas::command::Role::Admin)
        || standing.zip(needed).is_some_and(|(has, asked)| has >= asked)
}

impl Rights {
    /// Everybody who is given this role on this, by the configuration or a grant.
    fn holders<'a>(
        &'a self,
        asked: &'a str,
        on: &'a Subject<'_>,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = &'a Whom> {
        let configured = self.roles.all().iter().filter(move |rule| includes(rule.role.word(), asked));
        let gives = move |grant: &&super::Grant| {
            !grant.forbids
                && grant.is_live(now)
                && grant.covers(on)
                && grant.what.iter().any(|word| includes(word, asked))
        };
        let granted = self.grants.iter().filter(gives).map(|grant| &grant.whom);
        configured.map(|rule| &rule.whom).chain(granted)
    }

    /// Whether a person has this role on this.
    pub(crate) fn has_role(
        &self,
        person: &BareJid,
        asked: &str,
        on: &Subject<'_>,
        now: DateTime<Utc>,
    ) -> bool {
        self.holders(asked, on, now).any(|whom| self.means(whom, person))
    }

    /// Whether a person can agree to what needs the consent of this role there: they have it, and are not
    /// forbidden to.
    pub(crate) fn can_agree(
        &self,
        person: &BareJid,
        roles: &[String],
        on: &Subject<'_>,
        now: DateTime<Utc>,
    ) -> bool {
        let forbidden = |it: &Declaration| {
            let places = [on, &Subject::Host];
            places.into_iter().any(|place| self.forbids(person, it, place, now).is_some())
        };
        let approve = COMMANDS.iter().find(|it| it.permission() == "host.approve");
        roles.iter().any(|role| self.has_role(person, role, on, now)) && !approve.is_some_and(forbidden)
    }

    /// The people who have one of these roles there by their own address; and whether others may have it
    /// who cannot be listed, being one of many.
    pub(crate) fn with_role(
        &self,
        roles: &[String],
        on: &Subject<'_>,
        now: DateTime<Utc>,
    ) -> (Vec<BareJid>, bool) {
        let (mut people, mut others): (Vec<BareJid>, bool) = (Vec::new(), false);
        for whom in roles.iter().flat_map(|role| self.holders(role, on, now)) {
            let named: Vec<&BareJid> = match whom {
                Whom::Person(person) => vec![person],
                // Who is in it is known, or it means nobody.
                Whom::Group(_) | Whom::Room(..) => {
                    self.circles.get(&whom.to_string()).into_iter().flatten().collect()
                }
                Whom::Domain(_) => {
                    others = true;
                    Vec::new()
                }
            };
            for person in named {
                if !people.contains(person) {
                    people.push(person.clone());
                }
            }
        }
        people.retain(|person| self.can_agree(person, roles, on, now));
        (people, others)
    }
}
