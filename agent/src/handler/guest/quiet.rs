//! Quiet: the guest's file systems held still for the moment at which its disks are taken, where an agent in
//! the guest can do that. They are let go in every case, and it is said how it was.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use hypervisor_core::{
    driver::{DriverError, GuestAgent},
    lifecycle::State,
};
use skerry_stanzas::{
    command::machine::Quiesce,
    refusal::{Reason, Refusal},
};

use crate::{agent::Agent, crash, machine::Machine};

/// How long the guest may take to hold still.
const FREEZE_MAX: Duration = Duration::from_secs(15);
/// How long its programs wait at most, whatever becomes of who wanted that.
const HELD_MAX: Duration = Duration::from_secs(30);

/// A guest while its disks are taken.
pub(crate) enum Quiet {
    /// It does not run, or its memory is taken as well: nothing could be missing.
    NotNeeded,
    /// It holds still, because of us.
    Held(Hold),
    /// It holds still until then, because somebody asked for that before.
    Before(Arc<Machine>, DateTime<Utc>),
    /// It goes on, for this reason.
    Not(String),
}

/// How a guest was while its disks were taken.
#[derive(Debug)]
pub(crate) enum Stood {
    /// Nothing could be missing.
    NotNeeded,
    /// It stood still, for so long.
    Still(Duration),
    /// It stood still before and after.
    Before,
    /// It went on, for this reason.
    Not(String),
}

/// File systems that are held; let go when this is dropped.
pub(crate) struct Hold {
    agent: Agent,
    machine: Arc<Machine>,
    until: DateTime<Utc>,
    since: Instant,
}

impl Quiet {
    /// Has the guest of a machine, whose storage is held, stand still if that is wanted and possible.
    ///
    /// # Errors
    /// It is to stand still, and does not.
    pub(crate) async fn begin(agent: &Agent, machine: &Arc<Machine>, wish: Quiesce) -> Result<Self, Refusal> {
        let state = machine.record().state.clone();
        if !matches!(state, State::Running | State::Paused) {
            return Ok(Self::NotNeeded);
        }
        let quiet = match wish {
            Quiesce::No => Self::Not("it was not to be".into()),
            Quiesce::Auto | Quiesce::Yes => Self::hold(agent, machine, &state).await?,
        };
        match (&quiet, wish) {
            (Self::Not(why), Quiesce::Yes) => Err(no(machine, why)),
            _ => Ok(quiet),
        }
    }

    async fn hold(agent: &Agent, machine: &Arc<Machine>, state: &State) -> Result<Self, Refusal> {
        let not = |why: &str| Ok(Self::Not(why.into()));
        let id = machine.card.id;
        if let Some(until) = agent.inner.freezes.until(id) {
            return Ok(Self::Before(Arc::clone(machine), until));
        }
        if *state == State::Paused {
            return not("it is paused");
        }
        if !machine.record().definition.guest_agent {
            return not("it is made without a guest agent");
        }
        let Some(guest) = machine.card.driver.guest_agent() else {
            return not("it has no guest agent");
        };
        if !guest.listens(id).await.unwrap_or(false) {
            return not("no guest agent answers");
        }
        let until = agent.note_freeze(machine, HELD_MAX, true).await?;
        let mut hold =
            Hold { agent: agent.clone(), machine: Arc::clone(machine), until, since: Instant::now() };
        crash::point("guest-quieting");
        let frozen = hold.freeze(guest).await;
        hold.since = Instant::now();
        crash::point("guest-quieted");
        match frozen {
            Ok(()) => Ok(Self::Held(hold)),
            Err(error) => {
                // It may hold them all the same: who is silent may have heard.
                drop(hold.end().await);
                Ok(Self::Not(error.to_string()))
            }
        }
    }

    /// The disks are taken: the guest goes on.
    pub(crate) async fn end(self) -> Stood {
        match self {
            Self::NotNeeded => Stood::NotNeeded,
            Self::Held(hold) => hold.end().await,
            Self::Before(machine, until) => match until > Utc::now() {
                true => Stood::Before,
                false => Stood::Not(format!("{} went on meanwhile", machine.record().name)),
            },
            Self::Not(why) => Stood::Not(why),
        }
    }
}

impl Hold {
    async fn freeze(&self, guest: &dyn GuestAgent) -> Result<(), DriverError> {
        let late = || DriverError::TimedOut { what: "holding its file systems still", limit: FREEZE_MAX };
        let frozen = tokio::time::timeout(FREEZE_MAX, guest.freeze(self.machine.card.id));
        match frozen.await.map_err(|_| late())?? {
            0 => Err(DriverError::Unfit("it has no disk that could hold still".into())),
            _ => Ok(()),
        }
    }

    async fn end(self) -> Stood {
        let freezes = &self.agent.inner.freezes;
        match freezes.until(self.machine.card.id) {
            None => return Stood::Not("it was let go before all was taken".into()),
            // Somebody wants it to hold still for longer.
            Some(until) if until != self.until => return Stood::Before,
            Some(_) => {}
        }
        match self.agent.thaw(&self.machine).await {
            // One that went on by itself has nothing to let go.
            Ok(0) => Stood::Not("it went on before all was taken".into()),
            Ok(_) => Stood::Still(self.since.elapsed()),
            Err(error) => {
                tracing::warn!(machine = %self.machine.record().name, %error, "its guest is asked to go on, again");
                Stood::Not(error.to_string())
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let id = self.machine.card.id;
        // Whoever waited for it is gone, or the guest did not hear: it is asked until it goes on.
        if self.agent.inner.freezes.until(id) == Some(self.until) {
            self.agent.inner.freezes.over(id, self.until);
            self.agent.thaw_in_time(&self.machine);
        }
    }
}

impl Stood {
    /// Whether all that the guest had written is in what was taken.
    pub(crate) fn is_quiet(&self) -> bool {
        !matches!(self, Self::Not(_))
    }

    /// Refuses what was taken, where the guest was to stand still.
    ///
    /// # Errors
    /// It was to, and did not.
    pub(crate) fn suffices(&self, machine: &Machine, wish: Quiesce) -> Result<(), Refusal> {
        match (self, wish) {
            (Self::Not(why), Quiesce::Yes) => Err(no(machine, why)),
            _ => Ok(()),
        }
    }

    /// What is said of it, after a sentence; nothing where there is nothing to say.
    pub(crate) fn said(&self) -> String {
        match self {
            Self::NotNeeded => String::new(),
            Self::Still(time) => format!(" Its file systems stood still for {}.", span(*time)),
            Self::Before => " Its file systems hold still, as they did before.".into(),
            Self::Not(why) => format!(" (Not quiesced: {why}.)"),
        }
    }
}

fn no(machine: &Machine, why: &str) -> Refusal {
    let text = format!("{} is not held still: {why}.", machine.record().name);
    Refusal::new(Reason::Conflict, text)
        .field("quiesce")
        .hint("quiesce=no takes its disks as a power cut would leave them.")
}

fn span(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..1000 => format!("{} ms", ms.max(1)),
        ms => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_it_stood_is_said_as_people_read_it() {
        for (ms, said) in [(0, "1 ms"), (40, "40 ms"), (999, "999 ms"), (1250, "1.2 s"), (20_000, "20.0 s")] {
            assert_eq!(span(Duration::from_millis(ms)), said);
        }
    }
}
