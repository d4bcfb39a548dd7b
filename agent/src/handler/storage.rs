//! What commands of disks, snapshots and clones have in common: they hold the machine's storage, so
//! that neither a start nor another of them comes between.

use std::sync::Arc;

use hypervisor_core::{
    definition::Size,
    driver::{Disks, DriverError, Snapshots},
    lifecycle::{Side, State},
    machine::MachineName,
};
use skerry_stanzas::refusal::{Reason, Refusal};
use tokio::sync::OwnedMutexGuard;

use crate::{
    agent::Agent,
    dispatch::Job,
    machine::{Card, Machine, Record},
};

/// A machine whose storage is held, as it is then. It is let go when this is dropped.
pub(crate) struct Held {
    pub(crate) card: Arc<Card>,
    pub(crate) record: Arc<Record>,
    _storage: OwnedMutexGuard<()>,
}

impl Held {
    /// Takes hold of it, or says what is in the way.
    pub(crate) fn of(machine: &Machine) -> Result<Self, Refusal> {
        let card = Arc::clone(&machine.card);
        let name = machine.record().name.clone();
        let storage = card.storage().ok_or_else(|| busy(&name))?;
        // Looked at only now: a start holds the storage as long as it lasts.
        let record = card.record();
        let obstacle = match &record.state {
            State::Stopped(_) | State::Failed(_) | State::Running | State::Paused => None,
            State::Starting => Some("is starting"),
            State::Stopping => Some("is shutting down"),
            State::Saved => Some("is saved to disk"),
            State::Migrating(Side::Source | Side::Destination) => Some("is migrating"),
        };
        match obstacle {
            None => Ok(Self { card, record, _storage: storage }),
            Some(obstacle) => Err(Refusal::new(Reason::Conflict, format!("{name} {obstacle}."))
                .hint("Wait until it is running or stopped.")),
        }
    }

    /// Of the machine a job is about.
    pub(crate) fn by(job: &Job) -> Result<Self, Refusal> {
        Self::of(job.machine()?)
    }

    /// Refuses to read its disks to their end where they stand on what is not its own to read.
    pub(super) fn stands_on_its_own_ground(&self, agent: &Agent) -> Result<(), Refusal> {
        self.card.stands_on_its_own_ground(&self.record, &agent.inner.machines)
    }

    pub(super) fn name(&self) -> &MachineName {
        &self.record.name
    }

    /// Whether it runs, paused or not.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.record.state, State::Running | State::Paused)
    }

    pub(crate) fn disks(&self) -> Result<&dyn Disks, Refusal> {
        self.card.driver.disks().ok_or_else(|| self.cannot())
    }

    pub(crate) fn snapshots(&self) -> Result<&dyn Snapshots, Refusal> {
        self.card.driver.snapshots().ok_or_else(|| self.cannot())
    }

    fn cannot(&self) -> Refusal {
        let text = format!("The driver {} of {} cannot do that.", self.card.driver.name(), self.name());
        Refusal::new(Reason::NotSupported, text).hint("\"drivers\" shows what each can do.")
    }

    /// A driver's error, after "web1: ".
    pub(super) fn said(&self, error: DriverError) -> Refusal {
        said(self.name(), error)
    }
}

/// A driver's error about a machine's disks, as the caller gets it.
pub(super) fn said(name: &MachineName, error: DriverError) -> Refusal {
    match error {
        DriverError::NotRunning | DriverError::AlreadyRunning | DriverError::Unfit(_) => {
            Refusal::new(Reason::Conflict, format!("{name}: {error}."))
        }
        DriverError::TimedOut { .. } => Refusal::new(Reason::Unavailable, format!("{name}: {error}."))
            .hint("Look how it is before you try again."),
        other => crate::reference::internal(&format!("{name}: that did not work"), &other),
    }
}

/// The refusal while something else holds the storage.
pub(crate) fn busy(name: &MachineName) -> Refusal {
    Refusal::new(Reason::Conflict, format!("Something is being done to the disks of {name}."))
        .hint("Wait until it is done.")
}

/// A file that could not be dealt with.
pub(super) fn no_file(name: &MachineName, error: &std::io::Error) -> Refusal {
    match error.kind() {
        std::io::ErrorKind::StorageFull => crate::store::StoreError::Full.into(),
        _ => crate::reference::internal(&format!("{name}: a file could not be dealt with"), error),
    }
}

/// Reads the size of a disk, in bytes.
pub(crate) fn size_bytes(text: &str) -> Result<u64, Refusal> {
    /// Less than any file system has use for.
    const MIN: u64 = 1 << 20;
    /// What QEMU and file systems are sure to have room for in their counters.
    const MAX: u64 = 64 << 40;
    let refused = |why: String| Refusal::new(Reason::BadRequest, format!("size: {why}.")).field("size");
    let size = text.parse::<Size>().map_err(|error| refused(error.to_string()))?;
    match size.kib().checked_mul(1024) {
        Some(bytes @ MIN..=MAX) => Ok(bytes),
        _ => Err(refused("a disk has 1M to 64T".into())),
    }
}

/// A size of a disk, for people.
pub(super) fn shown(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => skerry_stanzas::reply::measure::size(bytes >> 20),
    }
}
