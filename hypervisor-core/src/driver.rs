//! The contract of what runs machines.
//!
//! [`Driver`] is small: what every driver must do. The rest is reached by capability: a method
//! returning `Option<&dyn …>`, `None` where the driver cannot. No method ever answers "not
//! implemented". One contract suite (tests/) is run on each driver.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{definition::Definition, lifecycle::Cause, machine::MachineId};

/// What a driver may be able to do beyond running machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Reset at once.
    Reset,
    /// Pause and resume.
    Pause,
    /// A serial console that is kept, and can be typed into.
    Console,
    /// Take over machines that somebody else started.
    Adopt,
}

impl Capability {
    /// The word used in declarations and answers.
    pub const fn word(self) -> &'static str {
        match self {
            Capability::Reset => "reset",
            Capability::Pause => "pause",
            Capability::Console => "console",
            Capability::Adopt => "adopt",
        }
    }
}

/// What is needed to start a machine.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Which.
    pub id: MachineId,
    /// Its name, for process lists and logs only.
    pub name: String,
    /// What it is made of.
    pub definition: Definition,
    /// A folder of its own for its sockets, logs and pid, which exists. Kept across restarts.
    pub folder: PathBuf,
}

/// What a driver sees of one machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// What it does.
    pub power: Power,
    /// For how long it has run.
    pub running_for: Option<Duration>,
    /// Processor time it has used.
    pub cpu_time: Option<Duration>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
}

/// What a machine does, as a driver sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Power {
    /// It does not run.
    Off,
    /// It runs.
    Running,
    /// It is held still.
    Paused,
    /// It ended in a way it should not.
    Crashed(Cause),
}

/// What happened, told by a driver unasked.
#[derive(Clone, Debug, PartialEq)]
pub struct DriverEvent {
    /// To which machine.
    pub id: MachineId,
    /// What.
    pub what: GuestEvent,
}

/// What a guest, or its process, did.
#[derive(Clone, Debug, PartialEq)]
pub enum GuestEvent {
    /// The guest shut itself down, and its process ended.
    Halted,
    /// The guest rebooted.
    Rebooted,
    /// It was paused (by somebody else).
    Paused,
    /// It runs on (by somebody else's doing).
    Resumed,
    /// Its process ended otherwise, or the guest panicked.
    Crashed(Cause),
}

/// What a driver can do on this host, and why not more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whether it can run machines here.
    pub usable: bool,
    /// What was found, in a sentence or two.
    pub why: String,
    /// What it can do here.
    pub capabilities: Vec<Capability>,
}

/// Why a driver could not do what was asked. The sentence is for people; the cause for the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// It does not run.
    #[error("it is not running")]
    NotRunning,
    /// It runs already.
    #[error("it is running already")]
    AlreadyRunning,
    /// Something it needs is not there or not right: the caller can mend it.
    #[error("{0}")]
    Unfit(String),
    /// It did not answer in time.
    #[error("{what} took longer than {limit:?}")]
    TimedOut {
        /// What.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The system said no.
    #[error("{what}")]
    System {
        /// What was being done.
        what: String,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl DriverError {
    /// The system said no while `what` was being done.
    pub fn system(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::System { what: what.into(), source: source.into() }
    }
}

/// What runs machines.
///
/// All methods may be called at any time, from several tasks; for one machine the agent calls one at
/// a time. Cancel-safe: a dropped future leaves the machine in a state [`Driver::observe`] reports.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// Its name: `qemu`, `fake`.
    fn name(&self) -> &'static str;

    /// What it can do here; found once, when the driver is made.
    fn probe(&self) -> &Probe;

    /// Looks at one machine, and from then on tells its events, whoever started it. Called for each
    /// machine when the agent starts, and after a start that failed.
    async fn observe(&self, launch: &Launch) -> Result<Observed, DriverError>;

    /// Starts it: the guest runs when this returns. After an error nothing of it is left.
    async fn start(&self, launch: &Launch) -> Result<(), DriverError>;

    /// Asks the guest to shut down; returns when asked, not when done ([`GuestEvent::Halted`]).
    async fn shutdown(&self, id: MachineId) -> Result<(), DriverError>;

    /// Asks the guest to reboot; returns when asked, not when done ([`GuestEvent::Rebooted`]).
    async fn reboot(&self, id: MachineId) -> Result<(), DriverError>;

    /// Cuts the power: it does not run when this returns. Fine if it did not run. No event follows.
    async fn kill(&self, id: MachineId) -> Result<(), DriverError>;

    /// Forgets the machine, which does not run; its folder is the caller's to remove.
    async fn forget(&self, id: MachineId) -> Result<(), DriverError>;

    /// The events of all machines. Can be taken once.
    fn events(&self) -> Option<mpsc::Receiver<DriverEvent>>;

    /// Reset at once, where it can.
    fn reset(&self) -> Option<&dyn Reset> {
        None
    }

    /// Pause and resume, where it can.
    fn pause(&self) -> Option<&dyn Pause> {
        None
    }

    /// The serial console, where there is one.
    fn console(&self) -> Option<&dyn Console> {
        None
    }

    /// Take over machines of others, where it can.
    fn adopt(&self) -> Option<&dyn Adopt> {
        None
    }
}

/// Reset at once.
#[async_trait]
pub trait Reset: Send + Sync {
    /// As the reset button: done when this returns.
    async fn reset(&self, id: MachineId) -> Result<(), DriverError>;
}

/// Pause and resume.
#[async_trait]
pub trait Pause: Send + Sync {
    /// Held still when this returns. No event follows.
    async fn pause(&self, id: MachineId) -> Result<(), DriverError>;
    /// Runs on when this returns. No event follows.
    async fn resume(&self, id: MachineId) -> Result<(), DriverError>;
}

/// A serial console, kept in a bounded log.
#[async_trait]
pub trait Console: Send + Sync {
    /// The last bytes of the log, at most `bytes_max`, raw as the guest wrote them. Also of a
    /// machine that no longer runs.
    async fn tail(&self, launch: &Launch, bytes_max: usize) -> Result<Vec<u8>, DriverError>;
    /// Types into the console.
    async fn send(&self, id: MachineId, bytes: &[u8]) -> Result<(), DriverError>;
    /// Everything the guest writes from now on. A slow reader misses output, and is told by `Lagged`.
    async fn follow(&self, id: MachineId) -> Result<tokio::sync::broadcast::Receiver<Vec<u8>>, DriverError>;
}

/// A machine that somebody else started.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    /// What it is called there; stable.
    pub name: String,
    /// What it is made of, as far as it can be seen.
    pub definition: Definition,
}

/// Take over machines that somebody else started, untouched.
#[async_trait]
pub trait Adopt: Send + Sync {
    /// Which there are.
    async fn foreign(&self) -> Result<Vec<Foreign>, DriverError>;
    /// From now on this is the machine `launch.id`; nothing about the guest changes.
    async fn adopt(&self, name: &str, launch: &Launch) -> Result<(), DriverError>;
}
