//! Delete: into the trash, from where it can come back for a while.

use skerry_stanzas::{
    command::machine,
    refusal::Refusal,
    reply::{Removed, measure},
};

use super::{Handle, life::named};
use crate::{agent::Agent, crash, dispatch::Job, machine::Order};

impl Handle<machine::Delete> for Agent {
    async fn handle(&self, job: &Job, _command: machine::Delete) -> Result<Removed, Refusal> {
        let machine = job.machine()?;
        let by = job.by();
        let report = machine.order(|reply| Order::Retire { by, reply }).await?;
        crash::point("row-trashed");
        // The row decides; a folder that cannot be moved now is moved when the agent starts.
        self.inner.folders.to_trash(report.record.id).await;
        let purged_at = chrono::Utc::now() + self.config().trash.keep;
        Ok(Removed { name: report.record.name.to_string(), purged_at })
    }

    fn warning(&self, job: &Job, _command: &machine::Delete) -> String {
        let keep = measure::duration(self.config().trash.keep.as_secs());
        format!("This puts {} into the trash; it is gone for good in {keep}.", named(job))
    }
}
