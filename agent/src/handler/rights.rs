//! Who may do what here: what is asked about it.

use skerry_link::address;
use skerry_stanzas::{
    command::{COMMANDS, Declaration, Object, Role, host},
    refusal::{Reason, Refusal},
    reply::{Able, GrantLine, GrantList, Verdict, WhoCan, Whoami},
    words::{Verb, find_verb, unknown_verb},
};
use xmpp_parsers::jid::{BareJid, Jid};

use super::Handle;
use crate::{
    agent::Agent,
    asked::Target,
    dispatch::Job,
    rights::{
        Subject,
        grant::{Grant, Scope},
    },
};

impl Handle<host::Whoami> for Agent {
    async fn handle(&self, job: &Job, _command: host::Whoami) -> Result<Whoami, Refusal> {
        let person = job.permit.person();
        let (role, rule) = match self.rights().standing(&person, chrono::Utc::now()) {
            Some((role, rule)) => (Some(role.word().to_owned()), rule),
            None => (None, "\"grants\" shows what you have".to_owned()),
        };
        Ok(Whoami { jid: person.to_string(), role, rule })
    }
}

impl Handle<host::May> for Agent {
    async fn handle(&self, job: &Job, command: host::May) -> Result<Verdict, Refusal> {
        let own = job.permit.person();
        let who = match &command.who {
            Some(text) => person(text, "who")?,
            None => own.clone(),
        };
        if who != own && !self.sees_all_rights(&own) {
            return Err(Refusal::new(Reason::NotAllowed, "Only an admin may ask for somebody else.")
                .field("who")
                .hint("Leave \"who\" out to ask for yourself."));
        }
        let declaration = declaration(&command.what, command.machine.is_some())?;
        let target = self.subject_of(&own, command.machine.as_deref(), "machine")?;
        let decision = self.decide(&who, declaration, &target);
        let machine = match &target {
            Target::Machine(name) => Some(name.to_string()),
            Target::Host => None,
        };
        let on = machine.as_deref().map_or_else(|| "host".to_owned(), str::to_owned);
        let sentence = format!("grant {} to {who} on {on}", declaration.permission());
        let grant = (!decision.allowed && !decision.forbidden).then_some(sentence);
        Ok(Verdict {
            who: who.to_string(),
            what: declaration.permission(),
            machine,
            allowed: decision.allowed,
            rule: decision.rule,
            grant,
        })
    }
}

impl Handle<host::WhoCan> for Agent {
    async fn handle(&self, job: &Job, command: host::WhoCan) -> Result<WhoCan, Refusal> {
        let declaration = declaration(&command.what, command.machine.is_some())?;
        let target = self.subject_of(&job.permit.person(), command.machine.as_deref(), "machine")?;
        let people =
            self.regarding(&target, |on| self.rights().who_can(declaration, &on, chrono::Utc::now()));
        let machine = match &target {
            Target::Machine(name) => Some(name.to_string()),
            Target::Host => None,
        };
        let people = people.into_iter().map(|(who, rule)| Able { who, rule }).collect();
        Ok(WhoCan { what: declaration.permission(), machine, people })
    }
}

impl Handle<host::GrantList> for Agent {
    async fn handle(&self, job: &Job, command: host::GrantList) -> Result<GrantList, Refusal> {
        let own = job.permit.person();
        let all = self.sees_all_rights(&own);
        let to = command.to.as_deref().map(|text| person(text, "to")).transpose()?;
        let on = match command.on.as_deref() {
            Some(name) => Some(self.subject_of(&own, Some(name), "on")?),
            None => None,
        };
        let (rights, now) = (self.rights(), chrono::Utc::now());
        // One's own, those of machines one may give rights to, or all.
        let shown = |grant: &&Grant| {
            grant.is_live(now)
                && (all || rights.means(&grant.whom, &own) || self.gives_on(&own, grant))
                && to.as_ref().is_none_or(|to| rights.means(&grant.whom, to))
                && on.as_ref().is_none_or(|on| self.regarding(on, |on| grant.covers(&on)))
        };
        let grants = rights.grants.iter().filter(shown).map(|grant| self.grant_line(grant)).collect();
        Ok(GrantList { grants, all })
    }
}

impl Agent {
    /// Whether a person may see what others may do.
    pub(crate) fn sees_all_rights(&self, person: &BareJid) -> bool {
        let who_can = COMMANDS.iter().find(|it| it.object == Object::Host && it.verb == "who-can");
        who_can.is_some_and(|who_can| self.decide(person, who_can, &Target::Host).allowed)
    }

    /// Whether a grant is on nothing but machines that this person may give rights to.
    fn gives_on(&self, person: &BareJid, grant: &Grant) -> bool {
        let (rights, now) = (self.rights(), chrono::Utc::now());
        let give = COMMANDS.iter().find(|it| it.object == Object::Host && it.verb == "grant");
        let gives = |scope: &Scope| match scope {
            Scope::Machine(id) => self.inner.machines.get(*id).zip(give).is_some_and(|(machine, give)| {
                rights.decide(person, give, &Subject::Machine(&machine.record()), now).allowed
            }),
            Scope::All | Scope::Host | Scope::Label(_) | Scope::MadeBy(_) => false,
        };
        grant.on.iter().all(gives)
    }

    /// The host, or the machine of this name if this person may see it.
    pub(super) fn subject_of(
        &self,
        own: &BareJid,
        machine: Option<&str>,
        field: &'static str,
    ) -> Result<Target, Refusal> {
        let Some(text) = machine else { return Ok(Target::Host) };
        let target = Target::Machine(super::name(text, field)?);
        if !self.knows(own, &target) {
            return Err(crate::rights::unseen(text).field(field));
        }
        if let Target::Machine(name) = &target {
            self.inner.machines.find(name).map_err(|refusal| refusal.field(field))?;
        }
        Ok(target)
    }

    pub(super) fn grant_line(&self, grant: &Grant) -> GrantLine {
        GrantLine {
            number: grant.number,
            to: grant.whom.to_string(),
            what: grant.what.clone(),
            on: grant.on.iter().map(|scope| self.scope_in_words(scope)).collect(),
            forbids: grant.forbids,
            until: grant.until,
            because: grant.because.clone(),
            by: grant.by.to_string(),
            at: grant.at,
            from: grant.from.clone(),
            set: grant.set.clone(),
        }
    }

    pub(super) fn scope_in_words(&self, scope: &Scope) -> String {
        match scope {
            Scope::All => "all".to_owned(),
            Scope::Host => "host".to_owned(),
            Scope::Label(label) => format!("label:{label}"),
            Scope::MadeBy(maker) => format!("made-by:{maker}"),
            Scope::Machine(id) => match self.inner.machines.get(*id) {
                Some(machine) => machine.record().name.to_string(),
                None => "a machine that was deleted".to_owned(),
            },
        }
    }

    /// Whether a person is an admin of the whole host.
    pub(super) fn is_admin(&self, person: &BareJid) -> bool {
        self.standing(person) == Some(Role::Admin)
    }
}

pub(super) fn person(text: &str, field: &'static str) -> Result<BareJid, Refusal> {
    address::typed(text.trim()).map(Jid::into_bare).ok_or_else(|| {
        Refusal::new(Reason::BadRequest, format!("{text:?} is no address."))
            .field(field)
            .hint("Write such as ann@example.org.")
    })
}

/// The command meant by a verb, an alias, or a permission such as machine.start: of the machine when
/// one is named, else of whichever has it, the host first.
fn declaration(what: &str, of_machine: bool) -> Result<&'static Declaration, Refusal> {
    if let Some(exact) = COMMANDS.iter().find(|declaration| declaration.permission() == what) {
        return Ok(exact);
    }
    let of = |object| COMMANDS.iter().filter(|d| d.object == object).collect::<Vec<&'static Declaration>>();
    let objects: &[Object] = if of_machine { &[Object::Machine] } else { &[Object::Host, Object::Machine] };
    let mut nearest = None;
    for object in objects {
        match find_verb(&of(*object), what) {
            Verb::Known(found) => {
                let found = COMMANDS.iter().find(|d| d.object == *object && d.verb == found.verb);
                if let Some(found) = found {
                    return Ok(found);
                }
            }
            Verb::Ambiguous(question) => {
                return Err(Refusal::new(Reason::BadRequest, question).field("what"));
            }
            Verb::Unknown { nearest: near } => nearest = nearest.or(near),
        }
    }
    Err(unknown_verb(what, nearest).field("what"))
}
