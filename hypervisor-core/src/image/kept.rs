//! Where images are kept: `images/sha256-….qcow2` for disks and `.iso` for CDs, never written to again.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};

use super::{Digest, ImageError, Staged, Staging};

/// What is left free of the disk, whatever comes.
const SPARE_BYTES: u64 = 128 << 20;
/// How the name of each begins.
const PREFIX: &str = "sha256-";
/// Where images are on their way in.
const STAGING: &str = "incoming";

/// What an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A disk: a machine gets a copy of it.
    Disk,
    /// A CD or DVD.
    Cd,
}

impl Kind {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Disk => "disk",
            Kind::Cd => "cd",
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Kind::Disk => "qcow2",
            Kind::Cd => "iso",
        }
    }
}

/// The folder of images.
#[derive(Clone, Debug)]
pub struct Images {
    folder: PathBuf,
}

impl Images {
    /// Opens the folder, making it when needed, and sweeps away what was on its way when an agent ended.
    ///
    /// # Errors
    /// When it cannot be made or swept.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        let staging = folder.join(STAGING);
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::DirBuilder::new().recursive(true).mode(0o700).create(staging)?,
        }
        Ok(Self { folder })
    }

    /// A place for one on its way in. `name` is the caller's to make unique.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn stage(&self, name: &str) -> Result<Staging, ImageError> {
        Staging::make(self.folder.join(STAGING).join(name))
            .map_err(ImageError::system("making room for the image"))
    }

    /// The file of one.
    pub fn path(&self, digest: Digest, kind: Kind) -> PathBuf {
        self.folder.join(format!("{PREFIX}{digest}.{}", kind.suffix()))
    }

    /// Keeps one: on the disk, whole, when this has answered.
    ///
    /// # Errors
    /// When it cannot be moved or synced.
    pub async fn keep(&self, staged: Staged) -> Result<PathBuf, ImageError> {
        let path = self.path(staged.digest, staged.kind);
        let (to, folder) = (path.clone(), self.folder.clone());
        let work = move || {
            let from = staged.finished();
            let file = File::open(&from)?;
            file.set_permissions(Permissions::from_mode(0o400))?;
            file.sync_all()?;
            fs::rename(&from, &to)?;
            File::open(folder)?.sync_all()
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done.map_err(ImageError::system("keeping the image"))?,
            Err(error) => return Err(ImageError::Tool(error.to_string())),
        }
        Ok(path)
    }

    /// Removes the file of one; it is fine when it is gone.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, digest: Digest, kind: Kind) -> io::Result<()> {
        match fs::remove_file(self.path(digest, kind)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The image files that are there.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
            {
                files.push(entry.path());
            }
        }
        Ok(files)
    }
}

/// Refuses what does not fit where `folder` is, with something to spare.
///
/// # Errors
/// [`ImageError::NoRoom`]; or it cannot be looked at.
pub fn room_for(folder: &Path, needed: u64) -> Result<(), ImageError> {
    let free = free_bytes(folder).map_err(ImageError::system("looking at the disk"))?;
    match needed.saturating_add(SPARE_BYTES) > free {
        true => Err(ImageError::NoRoom { needed, free: free.saturating_sub(SPARE_BYTES) }),
        false => Ok(()),
    }
}

/// Bytes that are free where `folder` is.
fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::image::{Format, inspect};

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_disk_is_hashed_as_it_came_and_kept_as_qcow2() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::open(folder.path().join("images")).unwrap();
        let source = File::create_new(folder.path().join("source")).unwrap();
        source.set_len(3 << 20).unwrap();
        source.write_all_at(b"\x55\xaa", 510).unwrap();
        let staging = images.stage("one").unwrap();
        let mut heard = Vec::new();
        let from = File::open(folder.path().join("source")).unwrap();
        let arrived = staging.copy(from, &mut |done, of| heard.push((done, of))).await.unwrap();
        let staged = staging.finish(arrived, None, &mut |_, _| {}).await.unwrap();
        assert_eq!((staged.format, staged.kind, staged.size_bytes), (Format::Raw, Kind::Disk, 3 << 20));
        let digest = staged.digest;
        let path = images.keep(staged).await.unwrap();
        assert_eq!(path, images.path(digest, Kind::Disk));
        assert_eq!(images.files().unwrap(), std::slice::from_ref(&path));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(inspect(&File::open(&path).unwrap(), None).unwrap().format, Format::Qcow2);
        assert!(names(&folder.path().join("images/incoming")).is_empty(), "nothing is left on its way");
        assert!(heard.iter().all(|(done, of)| done <= of && *of == 3 << 20));
        // The same again, from a machine's disk.
        let flat =
            images.stage("two").unwrap().flatten((&path, Format::Qcow2), &mut |_, _| {}).await.unwrap();
        assert_eq!(flat.size_bytes, 3 << 20);
        drop(flat);
        assert!(names(&folder.path().join("images/incoming")).is_empty());
        images.remove(digest, Kind::Disk).unwrap();
        images.remove(digest, Kind::Disk).unwrap();
        assert!(images.files().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_an_agents_end_left_is_swept_away() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::open(folder.path().join("images")).unwrap();
        std::mem::forget(images.stage("left").unwrap());
        fs::write(folder.path().join("images/incoming/left/incoming"), "half").unwrap();
        fs::write(folder.path().join("images/sha256-00.qcow2"), "kept").unwrap();
        Images::open(folder.path().join("images")).unwrap();
        assert_eq!(names(&folder.path().join("images")), ["incoming", "sha256-00.qcow2"]);
        assert!(names(&folder.path().join("images/incoming")).is_empty());
    }
}
