//! The life of a machine: what may be asked of it in each state, and what each event makes of it.
//!
//! Pure: no clock, no I/O. [`admit`] answers a request, [`next`] an event; both are full matches
//! without a wildcard, so a new state breaks the build wherever it must be thought about.
//! docs/lifecycle.md is written from them.

mod admit;
mod next;
#[cfg(test)]
mod tests;
mod words;

use serde::{Deserialize, Serialize};

pub use self::{admit::admit, next::next};

/// What a machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not running, and how it came to be so.
    Stopped(Exit),
    /// On its way up.
    Starting,
    /// The guest runs.
    Running,
    /// Held still, memory kept.
    Paused,
    /// Memory saved to disk; start wakes it.
    Saved,
    /// The guest was asked to shut down.
    Stopping,
    /// On its way to or from another host.
    Migrating(Side),
    /// Something went wrong, and what.
    Failed(Cause),
}

/// How a machine came to be stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It never ran.
    Never,
    /// Somebody asked it to shut down, and it did.
    Asked,
    /// The guest shut itself down.
    ByGuest,
    /// Its power was cut on request.
    Killed,
    /// It was found stopped, and why is not known (the host was rebooted, say).
    Found,
}

/// Which side of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// It leaves this host.
    Source,
    /// It comes to this host.
    Destination,
}

/// What went wrong: one plain sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cause(pub String);

/// What it should be; kept apart from what it is, and restored when the host starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// Running.
    Running,
    /// Stopped.
    Stopped,
    /// Paused.
    Paused,
}

/// What may be asked of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// Start it.
    Start,
    /// Ask the guest to shut down.
    Shutdown,
    /// Cut the power.
    Kill,
    /// Ask the guest to reboot.
    Reboot,
    /// Press reset.
    Reset,
    /// Hold it still.
    Pause,
    /// Let it run on.
    Resume,
    /// Take it away.
    Delete,
}

/// What the queue says to a request. "No" is not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It will be done.
    Accepted,
    /// It is so, or on its way.
    AlreadySo,
    /// The obstacle.
    Refused(Obstacle),
}

/// What stands in the way of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Obstacle {
    /// It does not run.
    #[error("it is not running")]
    NotRunning,
    /// It runs.
    #[error("it is running")]
    StillRunning,
    /// It is starting.
    #[error("it is still starting")]
    Starting,
    /// It is shutting down.
    #[error("it is already shutting down")]
    Stopping,
    /// It is paused: a guest that does not run cannot answer.
    #[error("it is paused")]
    Paused,
    /// It is not paused.
    #[error("it is not paused")]
    NotPaused,
    /// It is migrating.
    #[error("it is migrating")]
    Migrating,
    /// It failed.
    #[error("it has failed")]
    Failed,
}

/// What happened to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A start was accepted; said before the driver is asked.
    StartAccepted,
    /// The guest runs.
    Started,
    /// It could not be started.
    StartFailed(Cause),
    /// A shutdown was accepted; said before the guest is asked.
    ShutdownAccepted,
    /// The guest did not shut down in time: it runs on.
    ShutdownTimedOut,
    /// The guest is held still.
    PausedNow,
    /// The guest runs on.
    ResumedNow,
    /// The guest shut itself down.
    GuestHalted,
    /// The guest rebooted, or was reset.
    GuestRebooted,
    /// Its power was cut on request.
    KilledNow,
    /// Its process ended without being asked to, or the guest panicked.
    Crashed(Cause),
    /// The driver looked, and this is what it is. `Stopped(Found)` says only that it does not run: what
    /// is known better (how it stopped, that it is saved, why it failed) stays.
    Observed(Box<State>),
}

/// An event that cannot be in this state: a defect, or a stale event. Whoever gets it observes the
/// machine, and goes on from [`Event::Observed`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot be while {state:?}")]
pub struct Unexpected {
    /// The state.
    pub state: State,
    /// The event.
    pub event: Event,
}
