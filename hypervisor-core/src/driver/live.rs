//! Long work on the disks of a machine that may run meanwhile: whole copies, and a move.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{DriverError, Launch, Progress};

/// A disk, by its name, and the file that its copy is to be.
pub type Copy = (String, PathBuf);

/// Long work on disks, beside the guest's own. A caller that gives it up, or ends, leaves it under way:
/// [`LiveDisks::abandon`] ends it. The files it wrote are the caller's to remove.
#[async_trait]
pub trait LiveDisks: Send + Sync {
    /// Begins to copy disks of a machine that runs, whole and each standing alone, as qcow2: all as they
    /// are at the one moment when this returns, whatever the guest writes later. [`DriverError::Unfit`] if
    /// there is a file of such a name; nothing is under way after an error.
    async fn begin_copies(&self, launch: &Launch, copies: &[Copy]) -> Result<(), DriverError>;

    /// Waits for the copies to be whole.
    async fn follow_copies(&self, launch: &Launch, progress: Progress<'_>) -> Result<(), DriverError>;

    /// Copies a disk to `to`, which stands alone, in the same format. Of a machine that runs, `to` has all
    /// that the guest writes from then on as well.
    async fn mirror(
        &self,
        launch: &Launch,
        name: &str,
        to: &Path,
        progress: Progress<'_>,
    ) -> Result<(), DriverError>;

    /// Has the guest go on with the copy that [`LiveDisks::mirror`] made; the file before is let go of. For
    /// a machine that does not run there is nothing to do.
    async fn switch(&self, launch: &Launch, name: &str, to: &Path) -> Result<(), DriverError>;

    /// Whether the guest's disk is in this file now; `None` for a machine that does not run.
    async fn is_in(&self, launch: &Launch, name: &str, file: &Path) -> Result<Option<bool>, DriverError>;

    /// Ends what is under way, whoever began it; fine if nothing is.
    async fn abandon(&self, launch: &Launch) -> Result<(), DriverError>;
}
