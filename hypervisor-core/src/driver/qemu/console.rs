//! The serial console: a socket to type into and to follow, and a log that QEMU writes.
//!
//! QEMU writes the log itself, so that nothing is lost while no agent runs: the last words of a guest
//! that panics during an upgrade are what its owner needs. QEMU does not bound it, so the trimmer does
//! (trimming.rs), whether an agent runs or not: the oldest part is cut out of the file in place. QEMU
//! only ever appends, and the cut is one call of the file system, so no byte is lost or doubled.
//!
//! The socket is read all the time, followed or not: QEMU waits with a byte until the socket takes
//! it, and the guest waits with QEMU.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FallocateFlags, FlockOperation, SeekFrom, fallocate, flock, seek},
    io::Errno,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, broadcast},
};

use crate::driver::DriverError;

/// From here on the log is cut …
const LOG_MAX: u64 = 1 << 20;
/// … so that this much of it is left, in bytes.
const LOG_KEPT: u64 = 512 << 10;
/// How many pieces of output a slow reader may be behind.
const FOLLOWERS_BEHIND_MAX: usize = 1024;
/// The most that is typed at once, in bytes.
const TYPED_MAX: usize = 64 << 10;
/// How long a guest may take to read what is typed.
const TYPING_MAX: Duration = Duration::from_secs(10);

/// The console of a running machine. Dropping it ends the following.
pub(super) struct Console {
    writer: Mutex<OwnedWriteHalf>,
    output: broadcast::WeakSender<Vec<u8>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for Console {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Console {
    /// From its connected socket.
    pub(super) fn new(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        let (tell, _) = broadcast::channel(FOLLOWERS_BEHIND_MAX);
        let output = tell.downgrade();
        // The reader has the only sender: those who follow hear of its end.
        let reader = tokio::spawn(read(reader, tell));
        Self { writer: Mutex::new(writer), output, reader }
    }

    /// Everything from now on.
    pub(super) fn follow(&self) -> Result<broadcast::Receiver<Vec<u8>>, DriverError> {
        Ok(self.output.upgrade().ok_or(DriverError::NotRunning)?.subscribe())
    }

    /// Types. A caller that gives up half way has typed half.
    pub(super) async fn send(&self, bytes: &[u8]) -> Result<(), DriverError> {
        if bytes.len() > TYPED_MAX {
            return Err(DriverError::Unfit(format!("at most {TYPED_MAX} bytes can be typed at once")));
        }
        let typed = async { self.writer.lock().await.write_all(bytes).await };
        match tokio::time::timeout(TYPING_MAX, typed).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(DriverError::NotRunning),
            Err(_) => Err(DriverError::TimedOut { what: "the guest's reading", limit: TYPING_MAX }),
        }
    }
}

async fn read(mut reader: OwnedReadHalf, tell: broadcast::Sender<Vec<u8>>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        // Nobody may follow.
        let _ = tell.send(buffer[..count].to_vec());
    }
}

/// Cuts the oldest part out of a log that has become too long, also while others do.
pub(super) fn bound(log: &Path) -> io::Result<()> {
    let file = match File::options().read(true).write(true).open(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    // Who cuts what somebody else has cut just now cuts too much.
    flock(&file, FlockOperation::LockExclusive)?;
    let end = file.metadata()?.len();
    let start = data_start(&file, end)?;
    if end - start > LOG_KEPT {
        // There is enough without.
        let _ = std::fs::remove_file(earlier(log));
    }
    if end - start <= LOG_MAX {
        return Ok(());
    }
    // File systems cut whole blocks; 64 KiB are whole blocks on all of them.
    let excess = (end - LOG_KEPT) & !0xffff;
    if fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, excess).is_ok() {
        return Ok(());
    }
    // Not on this file system: what is cut then becomes a hole, which needs no room either.
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(&file, flags, 0, excess) {
        // Nor that: then it begins anew. A bound that holds is worth more than what was said.
        Err(Errno::OPNOTSUPP) => file.set_len(0),
        punched => Ok(punched?),
    }
}

/// Where the file's contents begin: after the hole that cutting may have left.
fn data_start(file: &File, end: u64) -> io::Result<u64> {
    match seek(file, SeekFrom::Data(0)) {
        Ok(start) => Ok(start),
        Err(Errno::NXIO) => Ok(end),
        Err(Errno::INVAL) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// What a machine that came while it ran had said on its host before, until it has said enough here.
pub(super) const EARLIER: &str = "console.earlier.log";

fn earlier(log: &Path) -> PathBuf {
    log.with_file_name(EARLIER)
}

/// The last bytes of the log; none if there is no log.
pub(super) fn tail(log: &Path, bytes_max: usize) -> Result<Vec<u8>, DriverError> {
    let here = tail_of(log, bytes_max)?;
    let mut all = tail_of(&earlier(log), bytes_max.saturating_sub(here.len()))?;
    all.extend(here);
    Ok(all)
}

fn tail_of(log: &Path, bytes_max: usize) -> Result<Vec<u8>, DriverError> {
    let read = || -> io::Result<Vec<u8>> {
        let file = match File::open(log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let end = file.metadata()?.len();
        let wanted = u64::try_from(bytes_max).unwrap_or(u64::MAX).min(LOG_MAX);
        let start = end.saturating_sub(wanted).max(data_start(&file, end)?);
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or_default()];
        let mut have = 0;
        // It may be cut meanwhile: then there is less.
        while have < bytes.len() {
            match file.read_at(&mut bytes[have..], start + have as u64)? {
                0 => break,
                count => have += count,
            }
        }
        bytes.truncate(have);
        Ok(bytes)
    };
    read().map_err(|source| DriverError::system("reading the console's log", source))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{io::Write, os::unix::fs::MetadataExt};

    use super::*;

    #[test]
    fn a_log_stays_bounded_and_keeps_its_newest_bytes_while_it_is_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        assert_eq!(tail(&log, 100).unwrap(), b"");
        let mut appended = File::options().append(true).create(true).open(&log).unwrap();
        let mut whole = Vec::new();
        for number in 0..60_000_u32 {
            let line = format!("line {number} of what a guest wrote, who cares\n");
            appended.write_all(line.as_bytes()).unwrap();
            whole.extend_from_slice(line.as_bytes());
            if number % 1000 == 0 {
                bound(&log).unwrap();
            }
        }
        bound(&log).unwrap();
        let kept = tail(&log, usize::MAX).unwrap();
        assert!(kept.len() as u64 >= LOG_KEPT && kept.len() as u64 <= LOG_MAX, "{}", kept.len());
        assert!(whole.ends_with(&kept));
        let on_disk = std::fs::metadata(&log).unwrap().blocks() * 512;
        assert!(on_disk <= LOG_MAX + (64 << 10), "{on_disk}");
        assert_eq!(tail(&log, 10).unwrap(), whole[whole.len() - 10..]);
        assert_eq!(tail(&log, 0).unwrap(), b"");
    }

    #[tokio::test]
    async fn several_follow_and_all_hear_of_the_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let console = Console::new(ours);
        let (mut one, mut two) = (console.follow().unwrap(), console.follow().unwrap());
        theirs.write_all(b"hello").await.unwrap();
        assert_eq!(one.recv().await.unwrap(), b"hello");
        assert_eq!(two.recv().await.unwrap(), b"hello");
        console.send(b"typed").await.unwrap();
        let mut heard = [0; 5];
        theirs.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"typed");
        drop(theirs);
        assert_eq!(one.recv().await, Err(broadcast::error::RecvError::Closed));
        assert!(console.send(&[0; TYPED_MAX + 1]).await.is_err());
    }
}
