//! A place of its own for each image on its way in. It goes with whoever holds it, and what an agent's end
//! left is swept away by the next one.

use std::{
    fs::File,
    io::{self, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::{
    Chain, Digest, Format, Header, ImageError, Kind, Sum, convert, header, inspect, measure, ova, room_for,
};
use crate::definition::DiskFormat;

/// How often it is looked how far a copy is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A folder for one image on its way in, removed with everything in it when dropped.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
}

/// An image as it came, hashed.
#[derive(Debug)]
pub struct Arrived {
    /// Its content.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

/// An image ready to be kept.
#[derive(Debug)]
pub struct Staged {
    staging: Staging,
    /// A disk, or a CD.
    pub kind: Kind,
    /// What it came as.
    pub format: Format,
    /// What it is kept under.
    pub digest: Digest,
    /// The disk it holds, in bytes.
    pub size_bytes: u64,
}

/// Tells a thread that nobody waits for it any more.
struct Leash(Arc<AtomicBool>);

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// What is being copied, hashed on its way.
pub(super) struct Hashing<W, H = Sha256> {
    pub(super) to: W,
    pub(super) hash: H,
}

impl<W: Write, H: sha2::Digest> Write for Hashing<W, H> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Staging {
    pub(super) fn make(folder: PathBuf) -> io::Result<Self> {
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self { folder })
    }

    /// Where what comes in is written.
    pub fn incoming(&self) -> PathBuf {
        self.folder.join("incoming")
    }

    fn disk(&self) -> PathBuf {
        self.folder.join("disk")
    }

    /// Where the finished file is.
    pub(super) fn finished(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Disk => self.folder.join("finished.qcow2"),
            Kind::Cd => self.incoming(),
        }
    }

    /// Makes the file for what comes in.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn receive(&self) -> Result<File, ImageError> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o600);
        options.open(self.incoming()).map_err(ImageError::system("making room for the image"))
    }

    /// Refuses what does not fit.
    ///
    /// # Errors
    /// [`ImageError::NoRoom`].
    pub fn room_for(&self, needed: u64) -> Result<(), ImageError> {
        room_for(&self.folder, needed)
    }

    /// Copies a file here, hashed on its way. `progress` hears how many bytes of how many are done.
    ///
    /// # Errors
    /// It cannot be read, or there is no room.
    pub async fn copy(
        &self,
        mut from: File,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Arrived, ImageError> {
        let length = from.metadata().map_err(ImageError::system("looking at the file"))?.len();
        self.room_for(length)?;
        let mut to = Hashing { to: self.receive()?, hash: Sha256::new() };
        let work = move |went_on: &mut dyn FnMut(u64) -> bool| {
            from.rewind().map_err(ImageError::system("reading the file"))?;
            // A file that grows meanwhile does not fill the disk.
            let bytes = ova::copy(&mut io::Read::take(from, length), &mut to, went_on)?;
            Ok(Arrived { digest: Digest::of_bytes(to.hash.finalize().into()), bytes })
        };
        aside(work, &mut |done| progress(done, length)).await
    }

    /// Whether what came is what a manifest says.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn holds(&self, sum: Sum, arrived: &Arrived) -> Result<bool, ImageError> {
        let wanted = match sum {
            Sum::Sha256(digest) => return Ok(digest == arrived.digest),
            Sum::Sha1(wanted) => wanted,
        };
        let incoming = self.incoming();
        let work = move |went_on: &mut dyn FnMut(u64) -> bool| {
            let mut from = File::open(incoming).map_err(ImageError::system("reading the image"))?;
            let mut to = Hashing { to: io::sink(), hash: Sha1::new() };
            ova::copy(&mut from, &mut to, went_on)?;
            Ok(to.hash.finalize()[..] == wanted[..])
        };
        aside(work, &mut |_| {}).await
    }

    /// Makes of what came what is kept: checks it, and writes it anew as qcow2; a CD stays as it is.
    /// `format`: what it has to be. `progress` hears the percent done.
    ///
    /// # Errors
    /// What is wrong with it, or there is no room.
    pub async fn finish(
        self,
        arrived: Arrived,
        format: Option<Format>,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Staged, ImageError> {
        let came = self.look(&self.incoming(), format).await?;
        let (source, inner) = match came.format {
            Format::Ova => {
                self.room_for(arrived.bytes)?;
                self.unpack(arrived.bytes, progress).await?;
                (self.disk(), self.look(&self.disk(), None).await?)
            }
            _ => (self.incoming(), came),
        };
        if inner.format == Format::Ova {
            return header::unfit("an archive in an archive is no disk");
        }
        let kind = if inner.format == Format::Iso { Kind::Cd } else { Kind::Disk };
        if kind == Kind::Cd && source != self.incoming() {
            return header::unfit("the disk in it is a CD");
        }
        if kind == Kind::Disk {
            self.room_for(measure(&source, inner.format, Chain::Alone).await?)?;
            let target = self.finished(kind);
            let percent = &mut |percent| progress(percent, 100);
            convert((&source, inner.format, Chain::Alone), (&target, DiskFormat::Qcow2), percent).await?;
        }
        let Arrived { digest, .. } = arrived;
        Ok(Staged { staging: self, kind, format: came.format, digest, size_bytes: inner.size_bytes })
    }

    /// Makes an image of a disk of ours, with all it stands on.
    ///
    /// # Errors
    /// It cannot be read, or there is no room.
    pub async fn flatten(
        self,
        disk: (&Path, Format),
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Staged, ImageError> {
        self.room_for(measure(disk.0, disk.1, Chain::Follow).await?)?;
        let target = self.finished(Kind::Disk);
        let percent = &mut |percent| progress(percent, 100);
        convert((disk.0, disk.1, Chain::Follow), (&target, DiskFormat::Qcow2), percent).await?;
        let size_bytes = self.look(&target, Some(Format::Qcow2)).await?.size_bytes;
        let mut from = File::open(&target).map_err(ImageError::system("reading the image"))?;
        let work = move |went_on: &mut dyn FnMut(u64) -> bool| {
            let mut to = Hashing { to: io::sink(), hash: Sha256::new() };
            ova::copy(&mut from, &mut to, went_on)?;
            Ok(Digest::of_bytes(to.hash.finalize().into()))
        };
        let digest = aside(work, &mut |_| {}).await?;
        Ok(Staged { staging: self, kind: Kind::Disk, format: Format::Qcow2, digest, size_bytes })
    }

    async fn look(&self, path: &Path, format: Option<Format>) -> Result<Header, ImageError> {
        let path = path.to_owned();
        let work = move |_: &mut dyn FnMut(u64) -> bool| {
            inspect(&File::open(path).map_err(ImageError::system("reading the image"))?, format)
        };
        aside(work, &mut |_| {}).await
    }

    async fn unpack(&self, of: u64, progress: &mut (dyn FnMut(u64, u64) + Send)) -> Result<(), ImageError> {
        let (incoming, disk) = (self.incoming(), self.disk());
        let work = move |went_on: &mut dyn FnMut(u64) -> bool| {
            let mut archive = File::open(incoming).map_err(ImageError::system("reading the archive"))?;
            ova::unpack(&mut archive, &disk, went_on)
        };
        aside(work, &mut |done| progress(done, of)).await
    }
}

impl Staged {
    pub(super) fn finished(&self) -> PathBuf {
        self.staging.finished(self.kind)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.folder.display(), %error, "could not be removed");
        }
    }
}

/// Runs work that waits for the disk in a thread of its own, which stops soon when nobody waits any more.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce(&mut dyn FnMut(u64) -> bool) -> Result<T, ImageError> + Send + 'static,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<T, ImageError> {
    let leash = Leash(Arc::default());
    let (slack, reached) = (Arc::clone(&leash.0), Arc::new(AtomicU64::new(0)));
    let reach = Arc::clone(&reached);
    let task = tokio::task::spawn_blocking(move || {
        work(&mut |done| {
            reach.store(done, Relaxed);
            !slack.load(Relaxed)
        })
    });
    tokio::pin!(task);
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            biased;
            done = &mut task => {
                // How far it came since it was looked at last: to the end, if all is well.
                progress(reached.load(Relaxed));
                return done.map_err(|error| ImageError::Tool(error.to_string()))?;
            }
            _ = look.tick() => progress(reached.load(Relaxed)),
        }
    }
}
