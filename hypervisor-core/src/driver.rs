//! The contract of what runs machines.
//!
//! [`Driver`] is small: what every driver must do. The rest is reached by capability: a method
//! returning `Option<&dyn …>`, `None` where the driver cannot. No method ever answers "not
//! implemented". The words here are the contract; tests/contract/ holds each driver to them.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use self::{
    alter::{Alter, Altered},
    devices::{Devices, Lend, When},
    guest_agent::GuestAgent,
    networks::{Connect, Networks},
    numbers::{Numbers, Reading},
    screen::{Picture, Screen, Viewing},
};
use crate::{definition::Definition, lifecycle::Cause, machine::MachineId};

pub mod alter;
pub mod devices;
pub mod disk;
pub mod disks;
pub mod fake;
pub mod guest_agent;
pub mod layers;
pub mod live;
pub mod migrate;
pub mod networks;
pub mod numbers;
pub mod qcow2;
pub mod qemu;
pub(crate) mod reach;
pub mod screen;
pub mod snapshots;

pub use self::{
    disks::{Beneath, DiskFile, DiskSeen, Disks, Progress},
    layers::Layers,
    live::LiveDisks,
    migrate::Migrate,
    snapshots::{SnapshotSeen, Snapshots},
};

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
    /// A screen to look at, and a keyboard to type on.
    Screen,
    /// Make, attach, detach and enlarge disks.
    Disks,
    /// Take snapshots and go back to them.
    Snapshots,
    /// Something in the guest that does there what is asked from outside.
    #[serde(rename = "guest-agent")]
    GuestAgent,
    /// Say what machines use.
    Numbers,
    /// Change machines while they run.
    Alter,
    /// Move machines to another host, and take them from one.
    Migrate,
}

impl Capability {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Capability::Reset,
        Capability::Pause,
        Capability::Console,
        Capability::Adopt,
        Capability::Screen,
        Capability::Disks,
        Capability::Snapshots,
        Capability::GuestAgent,
        Capability::Numbers,
        Capability::Alter,
        Capability::Migrate,
    ];

    /// The word used in declarations and answers.
    pub const fn word(self) -> &'static str {
        match self {
            Capability::Reset => "reset",
            Capability::Pause => "pause",
            Capability::Console => "console",
            Capability::Adopt => "adopt",
            Capability::Screen => "screen",
            Capability::Disks => "disks",
            Capability::Snapshots => "snapshots",
            Capability::GuestAgent => "guest-agent",
            Capability::Numbers => "numbers",
            Capability::Alter => "alter",
            Capability::Migrate => "migrate",
        }
    }
}

/// What a guest is asked to do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plea {
    /// To shut down.
    Shutdown,
    /// To reboot.
    Reboot,
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
    /// A folder of its own for its sockets, logs and pid, which exists. Kept across restarts. What a
    /// start puts there besides logs (sockets, pid) the driver removes when the machine stops, and
    /// whatever an earlier run left, at the next start; but for a folder `disks`, where a guest that runs
    /// reaches the disks that are made for it. The folder itself is the caller's.
    pub folder: PathBuf,
    /// Files outside of its folder that are its own all the same: those its disks stand on since a snapshot,
    /// into which they are merged when that is deleted. Any other file that a disk stands on is only read.
    pub own: Vec<PathBuf>,
    /// What its NICs are connected by to networks of the host.
    pub networks: Networks,
    /// What it is lent of the devices of its host by.
    pub devices: Devices,
}

/// What a driver sees of one machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// What it does.
    pub power: Power,
    /// For how long its process has lived, pauses included: it goes on counting when the agent is
    /// restarted. `None` when it is off.
    pub running_for: Option<Duration>,
    /// Processor time it has used.
    pub cpu_time: Option<Duration>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
}

/// What a machine does, as a driver sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Power {
    /// It does not run; also what is said of a machine that never ran.
    Off,
    /// It runs.
    Running,
    /// It is held still.
    Paused,
    /// It ended in a way it should not, or hangs in a panic. Said until it is started, killed or
    /// forgotten, by the driver that saw it; one made later may only be able to say `Off`.
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
    /// The guest shut itself down, asked or not, and its process has ended. Told once.
    Halted,
    /// The guest rebooted, asked or not.
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
/// a time. Cancel-safe: a dropped future leaves the machine in a state [`Driver::observe`] reports,
/// and [`Driver::kill`] clears. To kill a machine that is starting, the agent drops the start first.
///
/// What is asked of a machine that does not run answers [`DriverError::NotRunning`], but for
/// [`Driver::kill`] and [`Driver::forget`], which find nothing to do.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// Its name: `qemu`, `fake`.
    fn name(&self) -> &'static str;

    /// What it can do here; found once, when the driver is made.
    fn probe(&self) -> &Probe;

    /// Looks at one machine, changes nothing about it, and from then on tells its events, whoever
    /// started it. Called for each machine when the agent starts, and after a start that failed.
    async fn observe(&self, launch: &Launch) -> Result<Observed, DriverError>;

    /// Starts it: the guest runs when this returns, and its events are told. After an error nothing
    /// of it is left. One that runs or is paused is [`DriverError::AlreadyRunning`] and stays as it
    /// is; the remains of one that crashed are cleared away first.
    async fn start(&self, launch: &Launch) -> Result<(), DriverError>;

    /// Asks the guest to shut down; returns when asked, not when done ([`GuestEvent::Halted`], which
    /// may come before this returns, or never).
    async fn shutdown(&self, id: MachineId) -> Result<(), DriverError>;

    /// Asks the guest to reboot; returns when asked, not when done ([`GuestEvent::Rebooted`]).
    async fn reboot(&self, id: MachineId) -> Result<(), DriverError>;

    /// Asks once more for what [`Driver::shutdown`] or [`Driver::reboot`] asked: a guest that was not
    /// listening yet, because it was booting, does not hear of it otherwise. If it was not asked, or
    /// has done it meanwhile, nothing happens: no second reboot follows from it.
    async fn ask_again(&self, id: MachineId, plea: Plea) -> Result<(), DriverError>;

    /// Cuts the power: it does not run when this returns. Fine if it did not run, or is not known.
    /// No event follows.
    async fn kill(&self, id: MachineId) -> Result<(), DriverError>;

    /// Forgets the machine, which does not run; its folder is the caller's to remove. Fine if it is
    /// not known. [`DriverError::AlreadyRunning`] if it runs after all: it is not forgotten then.
    async fn forget(&self, id: MachineId) -> Result<(), DriverError>;

    /// What a machine remembers besides what is on its disks: files in its folder, by their names there (what
    /// its UEFI is set to, its TPM's secrets). A copy of the machine has copies of them.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn remembered(&self, _folder: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// The events of all machines, those of one machine in their order. Can be taken once. The
    /// channel is bounded: should the reader fall so far behind that one is lost, the driver logs it,
    /// and [`Driver::observe`] has the truth.
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

    /// The screen and the keyboard, where there are any.
    fn screen(&self) -> Option<&dyn Screen> {
        None
    }

    /// Disks, where it can.
    fn disks(&self) -> Option<&dyn Disks> {
        None
    }

    /// Snapshots, where it can.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }

    /// What does something inside guests, where a driver can reach it.
    fn guest_agent(&self) -> Option<&dyn GuestAgent> {
        None
    }

    /// Change machines while they run, where it can.
    fn alter(&self) -> Option<&dyn Alter> {
        None
    }

    /// What machines use, where it can say.
    fn numbers(&self) -> Option<&dyn Numbers> {
        None
    }

    /// Moving machines, where it can.
    fn migrate(&self) -> Option<&dyn Migrate> {
        None
    }
}

/// Reset at once.
#[async_trait]
pub trait Reset: Send + Sync {
    /// As the reset button: done when this returns. One that is paused stays so. The guest's reboot
    /// may be told ([`GuestEvent::Rebooted`]).
    async fn reset(&self, id: MachineId) -> Result<(), DriverError>;
}

/// Pause and resume.
#[async_trait]
pub trait Pause: Send + Sync {
    /// Held still when this returns; fine if it was. No event follows.
    async fn pause(&self, id: MachineId) -> Result<(), DriverError>;
    /// Runs on when this returns; fine if it did. No event follows.
    async fn resume(&self, id: MachineId) -> Result<(), DriverError>;
}

/// A serial console, kept in a bounded log.
#[async_trait]
pub trait Console: Send + Sync {
    /// The last bytes of the log, at most `bytes_max`, raw as the guest wrote them: hostile. Also of
    /// a machine that no longer runs; empty for one that never ran. The log goes on from run to run.
    async fn tail(&self, launch: &Launch, bytes_max: usize) -> Result<Vec<u8>, DriverError>;
    /// Types into the console.
    async fn send(&self, id: MachineId, bytes: &[u8]) -> Result<(), DriverError>;
    /// Everything the guest writes from now on. A slow reader misses output, and is told by `Lagged`;
    /// `Closed` when the machine no longer runs.
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
    /// Which there are, those that were adopted no longer among them.
    async fn foreign(&self) -> Result<Vec<Foreign>, DriverError>;
    /// From now on this is the machine `launch.id`; nothing about the guest changes.
    /// [`DriverError::Unfit`] when there is none of that name, [`DriverError::AlreadyRunning`] when
    /// `launch.id` runs itself.
    async fn adopt(&self, name: &str, launch: &Launch) -> Result<(), DriverError>;
    /// Whether this machine is somebody else's that was adopted, and still the run it was then.
    fn is_adopted(&self, launch: &Launch) -> bool;
    /// Undoes [`Adopt::adopt`]: the guest runs on untouched, and is somebody else's again, under its
    /// name there. Fine if `id` was not adopted. Its folder is the caller's to remove.
    async fn release(&self, id: MachineId) -> Result<(), DriverError>;
}
