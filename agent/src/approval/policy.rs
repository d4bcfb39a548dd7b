//! What needs the consent of others: rules of the configuration, and of the store.

use std::time::Duration;

use hypervisor_core::machine::MachineName;
use skerry_stanzas::{
    command::{Declaration, Effect},
    reply::PolicyLine,
};
use xmpp_parsers::jid::BareJid;

use super::window::Window;
use crate::rights::{
    Rights, Subject, Whom,
    grant::Scope,
    role::{self, Defined},
};

/// In the place of a role: nobody can do without approval.
pub(crate) const NOBODY: &str = "nobody";
/// All that cannot be undone.
pub(crate) const DESTROYS: &str = "destroys";
/// All that changes anything.
pub(crate) const CHANGES: &str = "changes";
/// The longest something can wait.
pub(crate) const WITHIN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// The shortest: nobody answers faster.
pub(crate) const WITHIN_MIN: Duration = Duration::from_secs(10);
/// The most consents that can be asked for.
pub(crate) const NEED_MAX: u8 = 9;

/// On what.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// What grants can be on.
    Scope(Scope),
    /// The machine that has this name: the configuration knows no identities.
    Named(MachineName),
}

impl Place {
    fn covers(&self, subject: &Subject<'_>) -> bool {
        match (self, subject) {
            (Place::Scope(scope), _) => scope.covers(subject),
            (Place::Named(name), Subject::Machine(record)) => record.name == *name,
            (Place::Named(_), _) => false,
        }
    }

    /// Reads one of the configuration: `all`, `host`, `label:prod`, `made-by:ann@example.org`, `db1`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Some(match (text.to_lowercase().as_str(), text.split_once(':')) {
            ("all", _) => Place::Scope(Scope::All),
            ("host", _) => Place::Scope(Scope::Host),
            (_, Some(("label", label))) => Place::Scope(Scope::Label(label.to_owned())),
            (_, Some(("made-by", maker))) => {
                Place::Scope(Scope::MadeBy(Whom::Person(BareJid::new(maker).ok()?)))
            }
            _ => Place::Named(MachineName::new(text).ok()?),
        })
    }
}

/// A rule that asks for the consent of others.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Policy {
    pub(crate) name: String,
    /// Roles, permissions, [`DESTROYS`], [`CHANGES`].
    pub(crate) what: Vec<String>,
    pub(crate) on: Vec<Place>,
    /// How many have to agree.
    pub(crate) need: u8,
    /// With one of these roles there.
    pub(crate) from: Vec<String>,
    /// For how long a request waits.
    pub(crate) within: Duration,
    /// When it may be done.
    pub(crate) during: Option<Window>,
    /// Who has one of these roles there needs none.
    pub(crate) except: Vec<String>,
    /// Who has this role there can do without.
    pub(crate) emergency: Option<String>,
    pub(crate) reactions: bool,
    /// Where it is asked as well: a room that hides nobody.
    #[serde(default)]
    pub(crate) room: Option<BareJid>,
    /// Who asks has to sign, and who consents.
    #[serde(default)]
    pub(crate) signed: bool,
}

impl Policy {
    /// Whether it is about this command there.
    pub(crate) fn is_about(&self, it: &Declaration, on: &Subject<'_>, defined: &Defined) -> bool {
        let holds = |word: &String| match word.as_str() {
            DESTROYS => it.effect == Effect::Destroy,
            CHANGES => true,
            word => role::holds(word, it, defined),
        };
        // Nobody could ever agree, if agreeing took the consent of others.
        it.effect != Effect::Read
            && !it.answers_requests()
            && self.what.iter().any(holds)
            && self.on.iter().any(|place| place.covers(on))
    }

    /// Whether something is not done at once by it: others have to agree, or it has its hours.
    pub(crate) fn makes_wait(&self) -> bool {
        self.need > 0 || self.during.is_some()
    }

    /// What of it is left for those whose commands need no consent: a signature they give themselves.
    fn without_others(&self) -> Option<Self> {
        self.signed.then(|| Self { need: 0, during: None, ..self.clone() })
    }

    /// Whether it is on this machine by a name that could be given to another.
    pub(crate) fn names(&self, name: &MachineName) -> bool {
        self.on.iter().any(|place| matches!(place, Place::Named(named) if named == name))
    }

    /// Whether what it is about, or who can agree, is said by a role of this name.
    pub(crate) fn names_role(&self, name: &str) -> bool {
        [&self.what, &self.from, &self.except].into_iter().any(|words| words.iter().any(|word| word == name))
    }

    /// Whether it is on the machines with this label.
    pub(crate) fn names_label(&self, label: &str) -> bool {
        self.on.iter().any(|place| matches!(place, Place::Scope(Scope::Label(named)) if named == label))
    }

    /// As it is shown; the scopes are worded by who knows the machines.
    pub(crate) fn line(&self, on: Vec<String>, configured: bool) -> PolicyLine {
        PolicyLine {
            name: self.name.clone(),
            what: self.what.clone(),
            on,
            need: self.need,
            from: self.from.clone(),
            within_s: self.within.as_secs(),
            during: self.during.as_ref().map(ToString::to_string),
            except: self.except.clone(),
            emergency: self.emergency.clone(),
            reactions: self.reactions,
            room: self.room.as_ref().map(ToString::to_string),
            signed: self.signed,
            configured,
            sentence: String::new(),
        }
    }
}

/// Reads one word of what needs approval.
///
/// # Errors
/// A sentence, and the nearest there is.
pub(crate) fn read_what(word: &str, defined: &Defined) -> Result<String, (String, Option<String>)> {
    match word.trim().to_lowercase().as_str() {
        CHANGES | "change" => Ok(CHANGES.to_owned()),
        DESTROYS | "destroy" => Ok(DESTROYS.to_owned()),
        word => role::read(word, defined),
    }
}

/// Reads a role.
pub(crate) fn read_role(word: &str, defined: &Defined) -> Result<String, String> {
    let word = word.trim().to_lowercase();
    let known = role::BUILT_IN.iter().any(|role| role.name == word) || defined.contains_key(&word);
    if known { Ok(word) } else { Err(format!("There is no role {word:?}.")) }
}

/// The rules in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    /// Of the configuration.
    pub(crate) configured: Vec<Policy>,
    /// Made by command.
    pub(crate) kept: Vec<Policy>,
}

impl Policies {
    /// All of them, with whether they are of the configuration.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Policy, bool)> {
        let configured = self.configured.iter().map(|policy| (policy, true));
        configured.chain(self.kept.iter().map(|policy| (policy, false)))
    }

    /// Those that ask for consent to this, or for a signature.
    pub(crate) fn asking(
        &self,
        rights: &Rights,
        person: &BareJid,
        it: &Declaration,
        on: &Subject<'_>,
    ) -> Vec<Policy> {
        let now = chrono::Utc::now();
        let excepted =
            |policy: &Policy| policy.except.iter().any(|role| rights.has_role(person, role, on, now));
        let all =
            self.all().map(|(policy, _)| policy).filter(|policy| policy.is_about(it, on, &rights.defined));
        // Whoever speaks for a server could give somebody the role, and speak as them.
        all.filter_map(|policy| if excepted(policy) { policy.without_others() } else { Some(policy.clone()) })
            .collect()
    }
}
