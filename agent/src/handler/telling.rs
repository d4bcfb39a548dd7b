//! Telling of what a command did that is no new state of a machine.

use skerry_stanzas::refusal::Refusal;

use crate::{agent::Agent, dispatch::Job, machine::Record, store::events::Happening};

impl Agent {
    /// Tells of something that was done to the host.
    pub(super) async fn note(&self, job: &Job, what: &'static str, sentence: &str) -> Result<(), Refusal> {
        self.note_by(job.by(), what, sentence).await
    }

    /// The same of what somebody did by another host.
    pub(super) async fn note_by(
        &self,
        by: String,
        what: &'static str,
        sentence: &str,
    ) -> Result<(), Refusal> {
        let happening =
            Happening { what, by: Some(by), sentence: sentence.to_owned(), ..Happening::default() };
        Ok(self.inner.publisher.note(happening).await?)
    }

    /// Tells of something that changed no record. That it cannot be told undoes nothing.
    pub(super) async fn tell(&self, job: &Job, record: &Record, what: &'static str, sentence: &str) {
        let happening = Happening {
            what,
            machine: Some(record.name.to_string()),
            state: Some(record.state.word().into()),
            generation: Some(record.generation),
            by: Some(job.by()),
            sentence: sentence.to_owned(),
        };
        if let Err(error) = self.inner.publisher.note(happening).await {
            tracing::error!(machine = %record.name, %error, what, "could not be told");
        }
    }
}
