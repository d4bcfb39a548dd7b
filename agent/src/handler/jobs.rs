//! What is under way, and calling it off.

use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::{Cancelled, JobList},
};

use super::Handle;
use crate::{agent::Agent, dispatch::Job};

impl Handle<host::JobList> for Agent {
    async fn handle(&self, _job: &Job, _command: host::JobList) -> Result<JobList, Refusal> {
        Ok(JobList { jobs: self.inner.going.all().iter().map(|going| going.line()).collect() })
    }
}

impl Handle<host::JobCancel> for Agent {
    /// Answers when it is over, whichever way.
    async fn handle(&self, job: &Job, command: host::JobCancel) -> Result<Cancelled, Refusal> {
        let Some(going) = self.inner.going.find(&command.id) else {
            let text = format!("Nothing with the id {:?} is under way.", command.id);
            return Err(Refusal::new(Reason::NotFound, text)
                .field("id")
                .hint("It may have ended by now: \"job list\" shows what there is."));
        };
        let person = job.permit.person();
        if going.by != person && !self.is_admin(&person) {
            let text = format!("\"{}\" ({}) is {}'s.", going.what, going.code, going.by);
            return Err(Refusal::new(Reason::NotAllowed, text).hint("Ask them, or an administrator."));
        }
        let mut ended = going.ended();
        going.call_off(&person)?;
        // The job drops the other end when it is over.
        let _ = ended.wait_for(|over| *over).await;
        let sentence = format!("\"{}\" ({}) was cancelled: nothing of it is left.", going.what, going.code);
        Ok(Cancelled { id: going.code.clone(), sentence })
    }
}
