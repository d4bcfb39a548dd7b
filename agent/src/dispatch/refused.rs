//! What is refused is written down as well, before it is answered.

use skerry_stanzas::refusal::Refusal;
use tokio::sync::mpsc;

use crate::{
    agent::Agent,
    asked::{Answer, Asked},
    journal::{
        self,
        refusals::{Refusals, Request},
    },
    store::StoreError,
};

impl Agent {
    /// Carries a command out, or asks whether it is meant, or says why not.
    pub(crate) async fn dispatch(
        &self,
        asked: Asked,
        progress: Option<mpsc::Sender<String>>,
        confirmed: bool,
    ) -> Result<Answer, Refusal> {
        let request = Request::from(&asked);
        let answer = self.try_dispatch(asked, progress, confirmed).await;
        if let Err(refusal) = &answer {
            self.note_refusal(request, refusal).await;
        }
        answer
    }

    /// Writes down that something was refused that did not come as far as [`Agent::dispatch`]: a form or a
    /// line that cannot be read, a machine that somebody may not see.
    pub(crate) async fn note_refused(&self, asked: &Asked, refusal: &Refusal) {
        self.note_refusal(Request::from(asked), refusal).await;
    }

    /// Counts that something was refused, and writes nothing now.
    pub(crate) fn count_refused(&self, asked: &Asked) {
        let now = chrono::Utc::now();
        let known = self.rights().is_known(&asked.person(), now);
        self.inner.refusals.counts(&asked.caller, known, &asked.declaration.permission(), now);
    }

    /// By itself, or in a count. A store that cannot take it any more is no reason not to answer.
    async fn note_refusal(&self, request: Request, refusal: &Refusal) {
        let known = self.rights().is_known(&request.caller().to_bare(), chrono::Utc::now());
        let caller = request.caller().clone();
        let refused = request.refused(refusal);
        if !self.inner.refusals.takes(&caller, known, &refused.permission, chrono::Utc::now()) {
            return;
        }
        let written = match serde_json::to_string(&refused) {
            Ok(body) => {
                let write = move |connection: &_| journal::refused(connection, Refusals::One, &body);
                self.inner.store.run(write).await
            }
            Err(error) => Err(StoreError::Unreadable(error.to_string())),
        };
        if let Err(error) = written {
            tracing::error!(%caller, permission = refused.permission, %error, "a refusal is not in the audit trail");
        }
        self.inner.audit.written();
    }

    /// Writes down what was counted since this was called last.
    pub(crate) async fn write_counted(&self) {
        let counted = self.inner.refusals.over();
        if counted.is_empty() {
            return;
        }
        let write = move |connection: &_| {
            for counted in &counted {
                let body = serde_json::to_string(counted)
                    .map_err(|error| StoreError::Unreadable(error.to_string()))?;
                journal::refused(connection, Refusals::Counted, &body)?;
            }
            Ok(())
        };
        if let Err(error) = self.inner.store.run(write).await {
            tracing::error!(%error, "a count of refusals is not in the audit trail");
        }
        self.inner.audit.written();
    }
}
