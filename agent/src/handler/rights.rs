//! Whoami and may: what the roles say.

use skerry_stanzas::{
    command::{COMMANDS, Declaration, Object, Role, host},
    refusal::{Reason, Refusal},
    reply::{Verdict, Whoami},
    words::{Verb, find_verb, unknown_verb},
};
use xmpp_parsers::jid::{BareJid, Jid};

use super::Handle;
use crate::{agent::Agent, dispatch::Job};

impl Handle<host::Whoami> for Agent {
    async fn handle(&self, job: &Job, _command: host::Whoami) -> Result<Whoami, Refusal> {
        let person = job.permit.person();
        let (role, rule) = self.roles().role(&person).map_or_else(
            || (None, format!("no rule names {person}")),
            |(role, rule)| (Some(role.word().to_owned()), rule),
        );
        Ok(Whoami { jid: person.to_string(), role, rule })
    }
}

impl Handle<host::May> for Agent {
    async fn handle(&self, job: &Job, command: host::May) -> Result<Verdict, Refusal> {
        let own = job.permit.person();
        let who = match &command.who {
            Some(text) => person(text)?,
            None => own.clone(),
        };
        if who != own && job.permit.role() < Role::Admin {
            return Err(Refusal::new(Reason::NotAllowed, "Only an admin may ask for somebody else.")
                .field("who")
                .hint("Leave \"who\" out to ask for yourself."));
        }
        let declaration = declaration(&command.what, command.machine.is_some())?;
        let machine = match &command.machine {
            Some(text) => {
                let name = super::name(text, "machine")?;
                Some(self.inner.machines.find(&name).map_err(|refusal| refusal.field("machine"))?)
            }
            None => None,
        };
        let decision = self.roles().decide(&who, declaration);
        Ok(Verdict {
            who: who.to_string(),
            what: declaration.permission(),
            machine: machine.map(|machine| machine.record().name.to_string()),
            allowed: decision.allowed,
            rule: decision.rule,
        })
    }
}

fn person(text: &str) -> Result<BareJid, Refusal> {
    Jid::new(text.trim()).map(|jid| jid.to_bare()).map_err(|_| {
        Refusal::new(Reason::BadRequest, format!("{text:?} is no address."))
            .field("who")
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
