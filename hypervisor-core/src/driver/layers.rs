//! Layers: a disk's file is left as it is, and the guest goes on in an empty one that stands on it.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{DriverError, Launch, Progress};
use crate::definition::DiskFormat;

/// A disk, by its name, and the file it goes on in.
pub type Layer = (String, PathBuf);

/// Two files of a disk that become one: what is in `from` is written into `into`, on which it stands.
/// Nothing but `from` may stand on `into`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The disk's name.
    pub disk: String,
    /// The upper file, which is needed no more then.
    pub from: PathBuf,
    /// The lower one.
    pub into: PathBuf,
    /// How that is written.
    pub format: DiskFormat,
    /// The files that stand on `from`, and on `into` then; none where the disk itself is in `from`.
    pub above: Vec<PathBuf>,
}

/// Layers of a machine's disks. At each moment of each of these, the file that a disk is in holds all that
/// the guest wrote; no file is removed.
#[async_trait]
pub trait Layers: Send + Sync {
    /// Makes `path` an empty file that stands on `base`, a file of this disk, and is as large. It is there
    /// once it is whole. [`DriverError::Unfit`] if there is a file of that name.
    async fn cover(
        &self,
        launch: &Launch,
        disk: &str,
        base: (&Path, DiskFormat),
        path: &Path,
    ) -> Result<(), DriverError>;

    /// Has the guest go on in these files, which [`Layers::cover`] made, all from one moment on; none of
    /// them after an error. For a machine that does not run there is nothing to do.
    async fn layer(&self, launch: &Launch, tops: &[Layer]) -> Result<(), DriverError>;

    /// Writes what is in one file into the one it stands on, and has those above stand on that. Of a machine
    /// that runs, and is in `from` itself, `into` has all that its guest writes from then on as well, until
    /// [`Layers::turn`]; [`super::LiveDisks::abandon`] ends that. May be done again after an error.
    async fn merge(&self, launch: &Launch, merge: &Merge, progress: Progress<'_>) -> Result<(), DriverError>;

    /// Of a machine that runs, and is in `from` itself: has it go on in `into`, and holds it still until
    /// [`Layers::go_on`], so that both files hold the same. Otherwise there is nothing to do. After an error
    /// it is not held still, unless it cannot be known any more which file it is in.
    async fn turn(&self, launch: &Launch, merge: &Merge) -> Result<(), DriverError>;

    /// Lets it go on, unless somebody else holds it still. Nothing of this is told.
    async fn go_on(&self, launch: &Launch) -> Result<(), DriverError>;
}
