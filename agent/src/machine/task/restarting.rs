//! Starting a machine again by its policy: [`crate::machine::restarts`] says when.

use std::time::Duration;

use chrono::Utc;
use hypervisor_core::lifecycle::{Request, Wanted};
use tokio::{sync::oneshot, time::Instant};

use super::Task;
use crate::machine::{Do, Record, publisher::Change, restarts::Restarts};

/// When a start that could not begin is tried again: its disks are being worked on, most likely.
const BUSY_PAUSE: Duration = Duration::from_secs(5);

impl Task {
    /// Takes over from the record when it is to be started again.
    pub(super) fn wait_for_restart(&mut self) {
        self.restart_at = self.card.record().restarts.due.map(|due| {
            let wait = (due - Utc::now()).to_std().unwrap_or_default();
            Instant::now() + wait
        });
    }

    /// It is time.
    pub(super) async fn start_again(&mut self) {
        self.restart_at = None;
        let (reply, mut answer) = oneshot::channel();
        self.asked(Do::start(None, reply)).await;
        if let Ok(Err(refusal)) = answer.try_recv()
            && self.card.record().restarts.due.is_some()
        {
            tracing::info!(machine = %self.card.record().name, %refusal, "not started again yet");
            self.restart_at = Some(Instant::now() + BUSY_PAUSE);
        }
    }

    /// Whoever wants it stopped does not want it started again.
    pub(super) async fn restart_called_off(&mut self, ask: &Do) {
        let record = self.card.record();
        let stops = matches!(ask.request, Request::Shutdown | Request::Kill);
        if record.restarts.due.is_none() || !stops {
            return;
        }
        let sentence = format!("{} is not started again.", record.name);
        let changed =
            Record { wanted: Wanted::Stopped, restarts: Restarts::default(), ..Record::clone(&record) };
        let change = Change { what: "machine.restart-called-off", sentence, by: ask.by.clone() };
        if let Err(error) = self.publish(changed, change).await {
            tracing::error!(machine = %record.name, %error, "could not be stored");
        }
        self.wait_for_restart();
    }
}
