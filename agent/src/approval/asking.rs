//! Which policies ask for consent to a command, and where nobody could be asked for it.

use std::sync::Arc;

use skerry_stanzas::{
    command::{COMMANDS, Declaration},
    refusal::{Reason, Refusal},
};
use xmpp_parsers::jid::{BareJid, Jid};

use super::Policy;
use crate::{
    agent::Agent,
    asked::{Asked, Door, Target},
    machine::{Machine, Record},
    rights::{Permit, Subject},
};

impl Agent {
    /// The policies that ask for consent to this. A schedule does what was agreed to when it was made.
    pub(crate) fn policies_for(&self, asked: &Asked, machine: Option<&Arc<Machine>>) -> Vec<Policy> {
        if asked.door == Door::Schedule {
            return Vec::new();
        }
        let record = machine.map(|machine| machine.record());
        let mut asking = self.policies_on(&asked.person(), asked.declaration, record.as_deref());
        let more = self.policies_left_by(asked, record.as_deref()).into_iter();
        for policy in more.chain(self.policies_on_each(asked)) {
            if !asking.contains(&policy) {
                asking.push(policy);
            }
        }
        asking
    }

    /// What empties the host is asked for as each move would be.
    fn policies_on_each(&self, asked: &Asked) -> Vec<Policy> {
        let migrate = COMMANDS.iter().find(|it| it.permission() == "machine.migrate");
        let Some(migrate) = migrate.filter(|_| asked.declaration.permission() == "host.evacuate") else {
            return Vec::new();
        };
        let machines = self.inner.machines.all();
        let on = |machine: &Arc<Machine>| self.policies_on(&asked.person(), migrate, Some(&machine.record()));
        machines.iter().flat_map(on).collect()
    }

    /// The policies that ask for consent to this command, of a machine or of the host.
    pub(crate) fn policies_on(
        &self,
        person: &BareJid,
        declaration: &Declaration,
        record: Option<&Record>,
    ) -> Vec<Policy> {
        let (policies, rights) = (self.inner.approvals.policies(), self.rights());
        let on = record.map_or(Subject::Host, Subject::Machine);
        policies.asking(&rights, person, declaration, &on)
    }

    /// The right to do this as often as one likes, as to type: where others have to agree there is none, as
    /// nobody could tell what they agree to.
    ///
    /// # Errors
    /// No right to it, or others have to agree each time.
    pub(crate) fn permit_at_once(
        &self,
        caller: &Jid,
        declaration: &'static Declaration,
        target: &Target,
    ) -> Result<Permit, Refusal> {
        let permit = self.permit(caller, declaration, target)?;
        let record = match target {
            Target::Machine(name) => self.inner.machines.named(name).map(|machine| machine.record()),
            Target::Host => None,
        };
        match self.policies_on(&caller.to_bare(), declaration, record.as_deref()).is_empty() {
            true => Ok(permit),
            false => {
                Err(Refusal::new(Reason::NotAllowed, "What is typed there has to be agreed to, or signed.")
                    .hint(format!("Give it as a command each time: {}.", declaration.spoken())))
            }
        }
    }
}
