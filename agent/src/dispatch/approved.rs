//! What others agreed to, carried out as any command; and how a command's end is written down.

use std::sync::Arc;

use skerry_stanzas::{
    command::Effect,
    refusal::{Reason, Refusal},
};
use uuid::Uuid;

use super::{Job, accepted, runner::Runner};
use crate::{
    agent::Agent,
    approval,
    asked::Asked,
    journal::{self, Outcome},
    store::StoreError,
};

impl Agent {
    /// Carries out what enough others agreed to, if it is still what they agreed to, and its asker may; false
    /// if that is to be tried again later.
    ///
    /// # Errors
    /// Why it is not done.
    pub(crate) async fn carry_out_approved(
        &self,
        asked: Asked,
        request: &approval::Request,
    ) -> Result<bool, Refusal> {
        let declaration = asked.declaration;
        let permit = self.permit(&asked.caller, declaration, &asked.target)?;
        let ready = Runner::of(declaration)?.parse(&asked.argv)?;
        let Ok(slot) = self.inner.jobs.take(&asked.person()) else { return Ok(false) };
        let going = self.going_on(request.id, declaration, &asked);
        let (machine, proof, progress, closed) = (None, None, None, Arc::default());
        let (id, unasked) = (request.id, false);
        let mut job =
            Job { permit, id, machine, proof, progress, going: Arc::clone(&going), closed, unasked };
        let mut accepted = accepted(&asked, &job, ready.as_ref());
        accepted.signature.clone_from(&request.accepted.signature);
        if approval::hash(&accepted.permission, request.machine, &accepted.args) != request.hash {
            let text = "That command is another one by now: nothing was done.";
            return Err(Refusal::new(Reason::Conflict, text).hint("Ask again."));
        }
        job.machine = self.subject(declaration, &asked.target)?;
        // Also where a policy asks for signatures since it waits.
        let policies = self.policies_for(&asked, job.machine.as_ref());
        let lacks_one = !request.signed && policies.iter().any(|policy| policy.signed);
        if lacks_one || !self.is_still_signed(request, &asked.argv) {
            let text =
                "It takes signatures that it does not have, or that do not count any more: nothing was done.";
            return Err(
                Refusal::new(Reason::Conflict, text).hint("Ask again, with a key that the host knows.")
            );
        }
        if declaration.effect == Effect::Destroy {
            self.needs_yes(&job)?;
        }
        ready.obstacle(self, &job).await?;
        let Ok(claim) = self.inner.repeats.claim(&accepted, &going) else { return Ok(false) };
        accepted.machine = accepted.machine.or(job.machine.as_ref().map(|machine| machine.card.id.0));
        self.begin_approved(request, accepted).await?;
        self.start_job(ready, job, slot, claim, Some(request.code.clone()));
        Ok(true)
    }

    /// Writes down how a command ended, where that is not written with what it did, and with it that the
    /// request it was is over.
    pub(super) async fn store_end(
        &self,
        id: Uuid,
        outcome: &Outcome,
        is_written: bool,
        of_request: bool,
    ) -> Result<(), StoreError> {
        if is_written && !of_request {
            return Ok(());
        }
        let end = outcome.clone();
        let write = move |connection: &_| {
            if of_request {
                approval::close(connection, id, &end)?;
            }
            if is_written { Ok(()) } else { journal::close(connection, id, &end) }
        };
        self.inner.store.run(write).await
    }
}
