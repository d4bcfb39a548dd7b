//! The files of disks in a machine's folder: `disk.qcow2`, and further ones below `disks`.

use std::{
    io,
    path::{Path, PathBuf},
};

use hypervisor_core::definition::DiskFormat;
use uuid::Uuid;

use crate::machine::Record;

/// A file of ours that is a disk of the machine no more.
pub(crate) struct Detached {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) format: DiskFormat,
}

/// The detached ones, by name.
pub(crate) fn detached(folder: &Path, record: &Record) -> Vec<Detached> {
    let mut found: Vec<Detached> = all(folder)
        .unwrap_or_default()
        .into_iter()
        .filter(|path| record.definition.disks.iter().all(|disk| disk.path != *path))
        .filter(|path| !record.layers.is_frozen(path))
        .filter_map(|path| {
            let format = format_of(&path)?;
            Some(Detached { name: called(&path), path, format })
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// Every file in it that may be one of a disk.
///
/// # Errors
/// The folder cannot be read; that there is none is none.
pub(crate) fn all(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in [folder, &folder.join("disks")] {
        let entries = match folder.read_dir() {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                continue;
            }
            entries => entries?,
        };
        for entry in entries {
            found.push(entry?.path());
        }
    }
    found.retain(|path| format_of(path).is_some());
    Ok(found)
}

/// How a disk's file is written: ours end with the word for it.
pub(crate) fn format_of(path: &Path) -> Option<DiskFormat> {
    let end = path.extension()?.to_str()?;
    DiskFormat::ALL.into_iter().find(|format| format.word() == end)
}

/// What a detached disk is called: as its file, without the end.
pub(crate) fn called(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether a disk's file is the machine's own, rather than somebody else's.
pub(crate) fn is_own(folder: &Path, path: &Path) -> bool {
    path.parent().is_some_and(|parent| parent == folder || parent == folder.join("disks"))
}

/// A disk that is being made. A note says so beside it, so that what an interrupted command left is
/// told from a disk that was detached long ago.
pub(crate) struct Making {
    note: PathBuf,
    path: PathBuf,
}

impl Making {
    fn at(folder: &Path, job: Uuid, path: PathBuf) -> Self {
        Self { note: folder.join("disks").join(format!("{job}.making")), path }
    }

    pub(super) async fn begin(folder: &Path, job: Uuid, path: &Path) -> io::Result<Self> {
        let making = Self::at(folder, job, path.to_owned());
        tokio::fs::create_dir_all(folder.join("disks")).await?;
        tokio::fs::write(&making.note, path.as_os_str().as_encoded_bytes()).await?;
        Ok(making)
    }

    /// What a job that was interrupted was making.
    pub(crate) async fn interrupted(folder: &Path, job: Uuid) -> Option<Self> {
        use std::os::unix::ffi::OsStringExt;
        let making = Self::at(folder, job, PathBuf::new());
        let path = tokio::fs::read(&making.note).await.ok()?;
        // Killed while it was written: then nothing was made.
        Some(Self { path: std::ffi::OsString::from_vec(path).into(), ..making })
    }

    /// It is made.
    pub(crate) async fn end(self) {
        if let Err(error) = tokio::fs::remove_file(&self.note).await {
            tracing::warn!(note = %self.note.display(), %error, "could not be removed");
        }
    }

    /// It is not to be.
    pub(crate) async fn undo(self) {
        match tokio::fs::remove_file(&self.path).await {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
                tracing::warn!(file = %self.path.display(), %error, "could not be removed");
            }
            _ => self.end().await,
        }
    }
}
