//! Disks of a machine, while it runs and while it does not.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{DriverError, Launch, live::LiveDisks};
use crate::definition::{Disk, DiskFormat};

/// A disk as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSeen {
    /// Its name in the definition.
    pub name: String,
    /// What its file is; `None` where it cannot be read.
    pub file: Option<DiskFile>,
    /// The machine runs and has it.
    pub plugged: bool,
}

/// What a disk's file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFile {
    /// As large as the guest sees it, in bytes.
    pub size_bytes: u64,
    /// What the file takes now, in bytes.
    pub used_bytes: u64,
    /// The file it is a thin copy of.
    pub backing: Option<PathBuf>,
}

/// A file that a disk stands on, as a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beneath {
    /// Which.
    pub path: PathBuf,
    /// How it is written, by what names it.
    pub format: DiskFormat,
    /// What names it: the disk's own file, or another that the disk stands on.
    pub by: PathBuf,
    /// It has the content of the disk itself (0), or of the file so far below it (an external data file).
    pub data_of: Option<usize>,
}

/// How far long work is, in hundredths. Called now and then, not for each.
pub type Progress<'a> = &'a (dyn Fn(u8) + Send + Sync);

/// Disks of a machine. What is said of files holds for those of machines that do not run; the file of
/// one that runs is its own, and only [`Disks::list`], [`Disks::resize`], [`Disks::attach`] and
/// [`Disks::detach`] are asked of it.
#[async_trait]
pub trait Disks: LiveDisks {
    /// The disks of its definition, in their order.
    async fn list(&self, launch: &Launch) -> Result<Vec<DiskSeen>, DriverError>;

    /// What a file is that is no disk of a machine that runs.
    async fn file(&self, path: &Path, format: DiskFormat) -> Result<DiskFile, DriverError>;

    /// Makes an empty one. [`DriverError::Unfit`] if there is a file of that name; nothing is left of
    /// one that could not be made.
    async fn create(&self, path: &Path, format: DiskFormat, size_bytes: u64) -> Result<(), DriverError>;

    /// Gives it to the machine, which runs, at once; fine if it has it.
    /// [`DriverError::NotRunning`] if it does not: then it gets it at its next start, by its definition.
    async fn attach(&self, launch: &Launch, disk: &Disk) -> Result<(), DriverError>;

    /// Takes it from the machine, which runs, once its guest has let go of it; fine if it has none of
    /// that name. [`DriverError::Unfit`] if the guest does not let go: then it stays.
    async fn detach(&self, launch: &Launch, name: &str) -> Result<(), DriverError>;

    /// Makes it larger; the guest of a machine that runs is told. Never smaller:
    /// [`DriverError::Unfit`].
    async fn resize(&self, launch: &Launch, name: &str, size_bytes: u64) -> Result<(), DriverError>;

    /// Makes `path` a thin copy of `base`, which must stay as it is from then on.
    async fn overlay(&self, base: &Path, path: &Path) -> Result<(), DriverError>;

    /// Makes `path` a whole copy of the disk, without its snapshots, that needs no other file. Nothing
    /// is left of one that was not finished.
    async fn copy(&self, disk: &Disk, path: &Path, progress: Progress<'_>) -> Result<(), DriverError>;

    /// Refuses a stranger's file that would lead to further ones: [`DriverError::Unfit`]. Opens none of
    /// them.
    fn stands_alone(&self, path: &Path, format: DiskFormat) -> Result<(), DriverError>;

    /// The file that this one is a thin copy of, if it is one. Reads no more than its beginning, and follows
    /// nothing. What cannot be read, or is no disk of this driver's, is [`DriverError::Unfit`]: it may be a
    /// thin copy of anything.
    fn backing(&self, path: &Path) -> Result<Option<PathBuf>, DriverError>;

    /// All files that a disk stands on, from above to below, by what their headers say now: a guest that
    /// broke out may have written them. [`DriverError::Unfit`] where one names what is no file.
    fn beneath(&self, disk: &Disk) -> Result<Vec<Beneath>, DriverError>;
}
