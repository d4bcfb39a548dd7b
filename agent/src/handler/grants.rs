//! Giving and taking rights.

use chrono::{DateTime, Local, Utc};
use hypervisor_core::machine::MachineName;
use skerry_stanzas::{
    command::{COMMANDS, Declaration, Role, host},
    refusal::{Reason, Refusal},
    reply::{Granted, measure},
};
use xmpp_parsers::jid::BareJid;

use super::{Handle, rights::person};
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    rights::{
        Rights, Subject, Whom,
        grant::{Grant, Scope},
        role, until,
    },
    store::grants::{self, ALL_MAX},
};

/// The most roles, commands and machines of one grant.
const PARTS_MAX: usize = 64;

impl Handle<host::Grant> for Agent {
    async fn handle(&self, job: &Job, command: host::Grant) -> Result<Granted, Refusal> {
        self.make_grant(job, command.terms, false).await
    }
}

impl Handle<host::Deny> for Agent {
    async fn handle(&self, job: &Job, command: host::Deny) -> Result<Granted, Refusal> {
        self.make_grant(job, command.terms, true).await
    }
}

impl Handle<host::Revoke> for Agent {
    async fn handle(&self, job: &Job, command: host::Revoke) -> Result<Granted, Refusal> {
        let number = command.number;
        let _one = self.inner.ruling.lock().await;
        let rights = self.rights();
        let own = job.permit.person();
        let found = rights.grants.iter().find(|grant| grant.number == number);
        let found = found.filter(|grant| self.may_take_back(&rights, &own, grant));
        let Some(grant) = found else {
            let text = format!("There is no grant {number} that you could revoke.");
            return Err(Refusal::new(Reason::NotFound, text)
                .field("number")
                .hint("\"grants\" shows which there are."));
        };
        self.inner.store.run(move |connection| grants::remove(connection, number)).await?;
        crash::point("grant-stored");
        self.change_rights(|rights| rights.grants.retain(|grant| grant.number != number));
        let line = self.grant_line(grant);
        self.tell_of_rights(job, "host.revoked", grant).await?;
        let not = if grant.forbids { "is lifted" } else { "is revoked" };
        let mut sentence = format!("The grant {number} {not}: {}.", line.sentence());
        for machine in self.elsewhere(grant) {
            sentence.push_str(&format!(" {machine} was handed over with it: revoke it there, too."));
        }
        Ok(Granted { number, sentence })
    }
}

impl Agent {
    async fn make_grant(&self, job: &Job, wanted: host::Terms, forbids: bool) -> Result<Granted, Refusal> {
        let own = job.permit.person();
        let _one = self.inner.ruling.lock().await;
        let rights = self.rights();
        if rights.grants.len() >= ALL_MAX {
            return Err(Refusal::new(Reason::Limit, format!("There are {ALL_MAX} grants already."))
                .hint("\"revoke NUMBER\" takes one back."));
        }
        let whom = self.whom(&wanted.to)?;
        let what = words(&rights, &wanted.what)?;
        let on = self.scopes(&own, &wanted.on)?;
        let now = Utc::now();
        let until = wanted.until.as_deref().map(ending).transpose()?;
        let because = wanted.because.filter(|why| !why.trim().is_empty());
        let mut grant = Grant {
            number: 0,
            whom,
            what,
            on,
            forbids,
            until,
            because,
            by: Whom::Person(own.clone()),
            at: now,
            entry: job.id,
            from: None,
            set: None,
        };
        self.may_give(&rights, &own, &grant)?;
        let same = |other: &&Grant| {
            (&other.whom, &other.what, &other.on, other.forbids, other.until)
                == (&grant.whom, &grant.what, &grant.on, grant.forbids, grant.until)
        };
        if let Some(same) = rights.grants.iter().find(same) {
            let sentence = format!("That is so already: {}.", self.grant_line(same).sentence());
            return Ok(Granted { number: same.number, sentence });
        }
        let stored = grant.clone();
        grant.number = self.inner.store.run(move |connection| grants::insert(connection, &stored)).await?;
        crash::point("grant-stored");
        let number = grant.number;
        let kept = grant.clone();
        self.change_rights(|rights| rights.grants.push(kept));
        let what = if forbids { "host.denied" } else { "host.granted" };
        self.tell_of_rights(job, what, &grant).await?;
        let sentence = self.grant_line(&grant).sentence();
        Ok(Granted { number, sentence: format!("{sentence} (number {number}).") })
    }

    /// The machines of a grant that another host may have by now, with it.
    fn elsewhere(&self, grant: &Grant) -> Vec<String> {
        let machines = grant.on.iter().filter_map(|scope| match scope {
            Scope::Machine(id) => self.inner.machines.get(*id),
            _ => None,
        });
        let gone = machines.filter(|machine| machine.card.is_elsewhere());
        gone.map(|machine| machine.record().name.to_string()).collect()
    }

    /// That something changed, and for whom: what exactly is for those who may see it.
    async fn tell_of_rights(&self, job: &Job, what: &'static str, grant: &Grant) -> Result<(), Refusal> {
        let did = match what {
            "host.revoked" => "took back",
            "host.denied" => "forbade",
            _ => "granted",
        };
        let sentence = format!("{} {did} something: {} (number {}).", job.by(), grant.whom, grant.number);
        // First, as it is so already, whether it can be noted or not.
        self.inner.publisher.rights_changed();
        self.note(job, what, &sentence).await
    }

    /// To whom.
    pub(super) fn whom(&self, text: &str) -> Result<Whom, Refusal> {
        let whom = Whom::read(text.trim()).ok_or_else(|| {
            Refusal::new(Reason::BadRequest, format!("{text:?} is no address."))
                .field("to")
                .hint("Write such as ann@example.org, a whole domain, group:NAME, or room:ADDRESS/members.")
        })?;
        if matches!(whom, Whom::Group(_)) && self.addresses().is_component() {
            let text = "This host is a component, which has no contact list, and so no groups of contacts.";
            return Err(Refusal::new(Reason::NotSupported, text)
                .field("to")
                .hint("Grant it to a room, such as room:ops@rooms.example.org/members."));
        }
        Ok(whom)
    }

    /// On what: `web1, label:lab`. A machine one may not see is as if it were not there.
    pub(super) fn scopes(&self, own: &BareJid, text: &str) -> Result<Vec<Scope>, Refusal> {
        let mut scopes = Vec::new();
        for word in parts(text, "on")? {
            if ["all", "host"].contains(&word.to_lowercase().as_str())
                && self.inner.machines.names().contains(&word.to_lowercase())
            {
                let text = format!("There is a machine called {word}, and on {word} means more than that.");
                return Err(Refusal::new(Reason::Conflict, text)
                    .field("on")
                    .hint("Rename it, or give it a label."));
            }
            let scope = match (word.to_lowercase().as_str(), word.split_once(':')) {
                ("all", _) => Scope::All,
                ("host", _) => Scope::Host,
                (_, Some(("label", label))) => Scope::Label(label.to_owned()),
                (_, Some(("made-by", maker))) => Scope::MadeBy(Whom::Person(person(maker, "on")?)),
                _ => {
                    self.subject_of(own, Some(word), "on")?;
                    let name: MachineName = super::name(word, "on")?;
                    let machine = self.inner.machines.find(&name)?;
                    if machine.card.is_elsewhere() {
                        let text = format!("{name} is another host's, or may be: it is being moved.");
                        return Err(Refusal::new(Reason::Conflict, text)
                            .field("on")
                            .hint("Wait until it has moved, and say it to the host it is on."));
                    }
                    Scope::Machine(machine.card.id)
                }
            };
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        Ok(scopes)
    }

    /// Nobody gives more than they have, nor for longer; and nobody takes from who is above the rules here.
    pub(super) fn may_give(&self, rights: &Rights, own: &BareJid, grant: &Grant) -> Result<(), Refusal> {
        let no = |text: String| Refusal::new(Reason::NotAllowed, text);
        if grant.forbids {
            // Who is in them is not known at all times: then it would be forbidden to nobody.
            if grant.whom.is_listed() {
                let text =
                    format!("Nothing can be forbidden to {}: who is in it is not always known.", grant.whom);
                return Err(Refusal::new(Reason::BadRequest, text)
                    .field("to")
                    .hint("Forbid it to an address or a domain."));
            }
            let above = rights.roles.all().iter().find(|rule| {
                rule.role == Role::Admin
                    && match (&rule.whom, &grant.whom) {
                        (Whom::Person(admin), whom) => whom.fits(admin),
                        (domain, Whom::Person(person)) => domain.fits(person),
                        (Whom::Domain(one), Whom::Domain(other)) => one == other,
                        _ => false,
                    }
            });
            if let Some(rule) = above {
                return Err(no(format!("Nothing can be forbidden to an admin: {}.", rule.text()))
                    .field("to")
                    .hint("The agent's configuration is where that is changed."));
            }
        }
        let now = Utc::now();
        for scope in &grant.on {
            for declaration in held(rights, grant) {
                let limit = self.giver(rights, own, declaration, scope, now).ok_or_else(|| {
                    let text =
                        format!("You may not give {}: you do not have it there.", declaration.permission());
                    no(text).field("what").hint("Nobody can give more than they have.")
                })?;
                let longer = limit.is_some_and(|limit| grant.until.is_none_or(|until| until > limit));
                if let Some(limit) = limit.filter(|_| longer) {
                    let text = format!("You have that yourself until {} only.", measure::moment(limit));
                    return Err(no(text).field("until").hint("Give it until then at most."));
                }
            }
        }
        Ok(())
    }

    /// Until when this person may give away a right on something; none where they may not.
    fn giver(
        &self,
        rights: &Rights,
        own: &BareJid,
        declaration: &Declaration,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Option<Option<DateTime<Utc>>> {
        let Scope::Machine(id) = scope else {
            // On what is not one machine, only who is above all of them.
            return match rights.roles.rule(own).is_some_and(|rule| rule.role == Role::Admin) {
                true => Some(None),
                false => rights.admin_until(own, now),
            };
        };
        let record = self.inner.machines.get(*id)?.record();
        let on = Subject::Machine(&record);
        let give = COMMANDS.iter().find(|it| it.permission() == "host.grant")?;
        let [gives, has] = [give, declaration].map(|it| rights.decide(own, it, &on, now));
        (gives.allowed && has.allowed).then(|| gives.until.into_iter().chain(has.until).min())
    }

    fn may_take_back(&self, rights: &Rights, own: &BareJid, grant: &Grant) -> bool {
        let now = Utc::now();
        let all_of_it =
            |scope: &Scope| held(rights, grant).all(|it| self.giver(rights, own, it, scope, now).is_some());
        grant.by == Whom::Person(own.clone()) || grant.on.iter().all(all_of_it)
    }
}

/// The commands a grant gives, or forbids.
fn held<'a>(rights: &'a Rights, grant: &'a Grant) -> impl Iterator<Item = &'static Declaration> + 'a {
    COMMANDS.iter().filter(|it| grant.holds(it, &rights.defined))
}

/// The words between commas.
pub(super) fn parts<'a>(text: &'a str, field: &'static str) -> Result<Vec<&'a str>, Refusal> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    match parts.len() {
        0 => Err(Refusal::new(Reason::BadRequest, "That names nothing.").field(field)),
        1..=PARTS_MAX => Ok(parts),
        _ => Err(Refusal::new(Reason::Limit, format!("At most {PARTS_MAX} at once.")).field(field)),
    }
}

pub(super) fn words(rights: &Rights, text: &str) -> Result<Vec<String>, Refusal> {
    let mut words = Vec::new();
    for part in parts(text, "what")? {
        let word = role::read(part, &rights.defined).map_err(|(text, near)| unknown(text, near, "what"))?;
        if !words.contains(&word) {
            words.push(word);
        }
    }
    Ok(words)
}

/// The refusal for what is no role and no command.
pub(super) fn unknown(text: String, near: Option<String>, field: &'static str) -> Refusal {
    let refusal = Refusal::new(Reason::NotFound, text).field(field);
    match near {
        Some(near) => refusal.hint(format!("Did you mean {near}?")),
        None => refusal.hint("\"role list\" shows the roles, \"help\" the commands."),
    }
}

fn ending(text: &str) -> Result<DateTime<Utc>, Refusal> {
    let refuse = |text: String| {
        Refusal::new(Reason::BadRequest, text)
            .field("until")
            .hint("Write such as 3d, 18:00, tomorrow, friday 18:00, 2027-01-31.")
    };
    let at = until::read(text, &Local::now());
    let at = at.ok_or_else(|| refuse(format!("{text:?} is no time I can read.")))?;
    match at > Utc::now() {
        true => Ok(at),
        false => Err(refuse(format!("{} is over already.", measure::moment(at)))),
    }
}
