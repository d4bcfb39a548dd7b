//! Release: a machine that was taken over is somebody else's again, and runs on untouched.

use skerry_stanzas::{
    command::machine,
    refusal::{Reason, Refusal},
    reply::Released,
};

use super::Handle;
use crate::{agent::Agent, crash, dispatch::Job, machine::Order};

impl Handle<machine::Release> for Agent {
    async fn handle(&self, job: &Job, _command: machine::Release) -> Result<Released, Refusal> {
        let machine = job.machine()?;
        let record = machine.record();
        let adopt = machine.card.driver.adopt();
        let Some(adopt) = adopt.filter(|adopt| adopt.is_adopted(&machine.card.launch())) else {
            let text =
                format!("{} was not taken over from somebody else, or does not run any more.", record.name);
            return Err(Refusal::new(Reason::Conflict, text).hint("\"delete\" puts it into the trash."));
        };
        if !record.layers.is_empty() {
            let text =
                format!("{} has external snapshots, which nobody would know of any more.", record.name);
            return Err(Refusal::new(Reason::Conflict, text).hint("\"snapshot delete NAME\" deletes one."));
        }
        let by = job.by();
        machine.order(|reply| Order::Release { by, reply }).await?;
        crash::point("row-trashed");
        // From here on nobody here knows it: who comes after a crash gives it back as well.
        if let Err(error) = adopt.release(record.id).await {
            tracing::error!(machine = %record.name, %error, "it could not be given back");
        }
        self.inner.folders.unmake(record.id).await;
        Ok(Released { name: record.name.to_string() })
    }
}
