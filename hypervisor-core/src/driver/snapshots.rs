//! Snapshots of a machine: its disks as they were, and its memory where that was asked for.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{DriverError, Launch, layers::Layers};
use crate::definition::Definition;

/// A snapshot as it is found in the disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSeen {
    /// Its name, the same in each disk.
    pub name: String,
    /// When it was taken.
    pub taken_at: DateTime<Utc>,
    /// How much memory is kept with it, in bytes; `None` where none is.
    pub memory_bytes: Option<u64>,
    /// The names of the disks that have it. Fewer than the machine has when a disk came later, or when
    /// the taking was interrupted.
    pub disks: Vec<String>,
}

/// Snapshots of all the disks a guest can write to, taken together, under one name. They are kept in
/// the disks themselves.
///
/// Those that are not, but files of their own, are made of [`Layers`].
///
/// A name is one that [`is_name`] accepts. What is asked of disks that cannot have snapshots is
/// [`DriverError::Unfit`], before anything is changed.
#[async_trait]
pub trait Snapshots: Layers {
    /// Which there are, in the order of their taking.
    async fn list(&self, launch: &Launch) -> Result<Vec<SnapshotSeen>, DriverError>;

    /// Takes one, of all disks at the same moment; with the memory only of a machine that runs or is
    /// paused, which is held still for it. What it answers is how the machine is laid out, when its
    /// memory was kept: [`Snapshots::revert`] wants it back. Nothing is left of one that failed.
    async fn take(&self, launch: &Launch, name: &str, memory: bool) -> Result<Option<String>, DriverError>;

    /// Makes the disks what they were. A machine that runs must have been laid out then as it is now
    /// (`layout`), and goes on from its memory of then; one that does not run starts anew the next time.
    /// Disks that do not have the snapshot stay as they are. The snapshot stays as well.
    async fn revert(&self, launch: &Launch, name: &str, layout: Option<&str>) -> Result<(), DriverError>;

    /// Takes it out of every disk that has it; fine if none has. The others stay, children or not.
    async fn delete(&self, launch: &Launch, name: &str) -> Result<(), DriverError>;
}

/// Whether this can be the name of a snapshot. It begins with a letter: QEMU's tools take a number for
/// the number of a snapshot.
pub fn is_name(name: &str) -> bool {
    name.len() <= 40
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte))
}

/// The disks that snapshots are of: those that can be written to.
pub fn taking_part(definition: &Definition) -> impl Iterator<Item = &crate::definition::Disk> {
    definition.disks.iter().filter(|disk| !disk.read_only)
}
