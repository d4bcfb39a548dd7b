//! What a command of external snapshots is in the middle of, as a note beside the disks says: which files it
//! makes, and which are not needed once it is written down.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use hypervisor_core::driver::layers::{Layer, Merge};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{crash, handler::disks::files};

/// How the names of such notes end.
const END: &str = "layers";

/// The two files that become one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Merging {
    pub(crate) disk: String,
    pub(crate) from: PathBuf,
    pub(crate) into: PathBuf,
    pub(crate) format: hypervisor_core::definition::DiskFormat,
    pub(crate) above: Vec<PathBuf>,
    /// The guest runs, and is held still while it changes over.
    pub(crate) held: bool,
}

impl From<Merging> for Merge {
    fn from(Merging { disk, from, into, format, above, held: _ }: Merging) -> Self {
        Self { disk, from, into, format, above }
    }
}

/// A note. It is written before anything is made, and goes last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Work {
    /// The snapshot that is taken, or gone back to.
    #[serde(default)]
    pub(crate) name: String,
    /// Disks, and the files they go on in.
    pub(crate) tops: Vec<Layer>,
    /// What is not needed once that is written down.
    pub(crate) before: Vec<PathBuf>,
    pub(crate) merging: Option<Merging>,
    #[serde(skip)]
    pub(super) note: PathBuf,
}

impl Work {
    fn note(folder: &Path, job: Uuid) -> PathBuf {
        folder.join("disks").join(format!("{job}.{END}"))
    }

    pub(crate) async fn begin(self, folder: &Path, job: Uuid) -> io::Result<Self> {
        let work = Self { note: Self::note(folder, job), ..self };
        tokio::fs::create_dir_all(folder.join("disks")).await?;
        let beside = beside(&work.note);
        tokio::fs::write(&beside, serde_json::to_vec(&work)?).await?;
        tokio::fs::rename(beside, &work.note).await?;
        Ok(work)
    }

    /// What a job that was interrupted was in the middle of.
    pub(crate) async fn interrupted(folder: &Path, job: Uuid) -> Option<Self> {
        let note = Self::note(folder, job);
        // Killed while it was written: then nothing was begun.
        drop(tokio::fs::remove_file(beside(&note)).await);
        let work: Self = serde_json::from_slice(&tokio::fs::read(&note).await.ok()?).ok()?;
        Some(Self { note, ..work })
    }

    /// Whether there is one that nobody has settled: where the disks are is not known for sure.
    pub(crate) fn is_open(folder: &Path) -> bool {
        notes(folder).next().is_some()
    }

    /// The jobs whose notes are there.
    pub(super) fn left(folder: &Path) -> Vec<Uuid> {
        let job = |note: PathBuf| note.file_stem()?.to_str()?.parse().ok();
        notes(folder).filter_map(job).collect()
    }

    /// It is written down: what was needed before goes, if it is the machine's own.
    pub(crate) async fn end(self, folder: &Path) {
        let gone = self.merging.iter().map(|merging| &merging.from);
        for file in self.before.iter().chain(gone).filter(|file| files::is_own(folder, file)) {
            if !removed(file).await {
                return;
            }
        }
        self.forget().await;
    }

    /// It is not to be: what was made goes.
    pub(crate) async fn undo(self) {
        for (_, file) in &self.tops {
            if !removed(file).await || !removed(&beside(file)).await {
                return;
            }
        }
        self.forget().await;
    }

    /// Without a change of any file.
    pub(crate) async fn forget(self) {
        crash::point("disk-removed");
        if let Err(error) = tokio::fs::remove_file(&self.note).await {
            tracing::warn!(note = %self.note.display(), %error, "could not be removed");
        }
    }
}

fn notes(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = folder.join("disks").read_dir().into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == END))
}

/// Where a file is until it is whole: as drivers do it, too.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    name.into()
}

async fn removed(file: &Path) -> bool {
    match tokio::fs::remove_file(file).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(file = %file.display(), %error, "could not be removed");
            false
        }
        _ => true,
    }
}
