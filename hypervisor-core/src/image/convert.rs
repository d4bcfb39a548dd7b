//! Reading any disk and writing it anew, by qemu-img in a process of its own: bounded, ended with the
//! agent, told what the file is, and told to open no other.

use std::{
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use nix::sys::{prctl::set_pdeathsig, signal::Signal as Death};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, pidfd_open, pidfd_send_signal, prlimit};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::{Format, ImageError};
use crate::{definition::DiskFormat, driver::reach::Img};

/// Address space qemu-img may take: a header can claim tables of any size.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// What is kept of what it says.
const SAID_BYTES_MAX: usize = 64 * 1024;

/// Whether the files that a source stands on are read with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// They are: the disk is one of ours, and what it names we wrote.
    Follow,
    /// They are not: what an image from elsewhere names is never opened.
    Alone,
}

/// Writes `source` anew as `target`, which stands alone. `progress` hears the percent done.
///
/// # Errors
/// qemu-img's sentence. What is there of `target` then is the caller's to remove.
pub async fn convert(
    (source, format, chain): (&Path, Format, Chain),
    (target, to): (&Path, DiskFormat),
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<(), ImageError> {
    write((source, format, chain), target, &["-O", to.word()], progress).await
}

/// Writes `source` anew as a VMDK that can be read from its beginning to its end, as an OVA has it.
///
/// # Errors
/// qemu-img's sentence. What is there of `target` then is the caller's to remove.
pub(super) async fn stream_optimized(
    source: (&Path, Format, Chain),
    target: &Path,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<(), ImageError> {
    write(source, target, &["-O", "vmdk", "-o", "subformat=streamOptimized"], progress).await
}

async fn write(
    (source, format, chain): (&Path, Format, Chain),
    target: &Path,
    to: &[&str],
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<(), ImageError> {
    // It reaches files that are there.
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(target)
        .map_err(ImageError::system("making the disk"))?;
    let reach = reach(source, format, chain)?.writes(target);
    let (source, target) = (described(source, format, chain)?, absolute(target)?);
    let words = [&["convert", "-p"], to, &[&source, &target]].concat();
    let (percent, mut heard) = mpsc::channel(8);
    let run = run(words.into_iter().map(str::to_owned).collect(), reach, Some(percent));
    tokio::pin!(run);
    loop {
        tokio::select! {
            Some(percent) = heard.recv() => progress(percent),
            done = &mut run => return done.map(drop),
        }
    }
}

/// The bytes `source` would take as qcow2.
///
/// # Errors
/// qemu-img's sentence.
pub async fn measure(source: &Path, format: Format, chain: Chain) -> Result<u64, ImageError> {
    #[derive(Deserialize)]
    struct Measured {
        required: u64,
    }
    let reach = reach(source, format, chain)?;
    let source = described(source, format, chain)?;
    let words = ["measure", "--output=json", "-O", "qcow2", &source].map(str::to_owned);
    let said = run(words.to_vec(), reach, None).await?;
    let measured: Measured = serde_json::from_slice(&said)
        .map_err(|error| ImageError::Tool(format!("it answered something odd to measure: {error}")))?;
    Ok(measured.required)
}

/// The files that are read.
fn reach(source: &Path, format: Format, chain: Chain) -> Result<Img, ImageError> {
    let reach = Img::new().reads(source);
    match (format, chain) {
        (Format::Qcow2, Chain::Follow) => {
            reach.follows(source, DiskFormat::Qcow2).map_err(|error| ImageError::Unfit(error.to_string()))
        }
        _ => Ok(reach),
    }
}

/// A source as qemu-img is told of it: each layer by name, so that nothing is guessed and no file name is
/// taken for a protocol.
fn described(source: &Path, format: Format, chain: Chain) -> Result<String, ImageError> {
    let driver = match format {
        Format::Iso | Format::Raw => "raw",
        Format::Qcow2 | Format::Vmdk | Format::Vdi => format.word(),
        Format::Ova => return Err(ImageError::Unfit("an archive is no disk".into())),
    };
    let mut layer = json!({ "driver": driver, "file": { "driver": "file", "filename": absolute(source)? } });
    if chain == Chain::Alone && matches!(format, Format::Qcow2 | Format::Vmdk) {
        layer["backing"] = serde_json::Value::Null;
    }
    Ok(format!("json:{layer}"))
}

fn absolute(path: &Path) -> Result<String, ImageError> {
    let path = std::path::absolute(path).map_err(ImageError::system("finding the image"))?;
    path.into_os_string().into_string().map_err(|_| ImageError::Unfit("its path is not UTF-8".into()))
}

/// Ends the process when it is dropped.
struct Reins(OwnedFd);

impl Drop for Reins {
    fn drop(&mut self) {
        // It may be over already.
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
    }
}

/// Runs qemu-img. It is ended when this is dropped, and when the agent ends.
async fn run(
    words: Vec<String>,
    reach: Img,
    percent: Option<mpsc::Sender<u64>>,
) -> Result<Vec<u8>, ImageError> {
    let (reins, mut held) = mpsc::channel(1);
    let (tell, told) = oneshot::channel();
    // A thread of its own for as long as it runs: the kernel ends a child with the thread that made it, and
    // the bounds are a thread's for good.
    let work = move || {
        let served = reach.take().map_err(started).and_then(|()| serve(&words, percent.as_ref(), &reins));
        let _ = tell.send(served);
    };
    thread::Builder::new().name("qemu-img".into()).spawn(work).map_err(started)?;
    let _reins: Option<Reins> = held.recv().await;
    told.await.map_err(|error| ImageError::Tool(error.to_string()))?
}

fn serve(
    words: &[String],
    percent: Option<&mpsc::Sender<u64>>,
    reins: &mpsc::Sender<Reins>,
) -> Result<Vec<u8>, ImageError> {
    let (mut reader, writer) = io::pipe().map_err(ImageError::system("making a pipe"))?;
    let mut command = Command::new("qemu-img");
    command.args(words).stdin(Stdio::null()).stderr(writer.try_clone().map_err(started)?).stdout(writer);
    end_with_agent(&mut command);
    let mut child = command.spawn().map_err(started)?;
    // It holds the other end of the pipe, which is to be closed when the child is gone.
    drop(command);
    let handled = Pid::from_raw(child.id().cast_signed()).ok_or(rustix::io::Errno::SRCH).and_then(|pid| {
        let limit = Rlimit { current: Some(MEMORY_BYTES_MAX), maximum: Some(MEMORY_BYTES_MAX) };
        prlimit(Some(pid), Resource::As, limit)?;
        pidfd_open(pid, PidfdFlags::empty())
    });
    match handled {
        Ok(handle) => match reins.blocking_send(Reins(handle)) {
            Ok(()) => {}
            // Nobody waits for it any more; what was not taken is dropped, and ends it.
            Err(unheard) => drop(unheard),
        },
        Err(error) => {
            // It is over already, or the kernel is too old: then it may not go on unbounded.
            tracing::debug!(%error, "qemu-img could not be held");
            let _ = child.kill();
        }
    }
    let said = listen(&mut reader, percent);
    let status = child.wait().map_err(started)?;
    let said = said.map_err(started)?;
    if status.success() {
        return Ok(said);
    }
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it did not say why");
    Err(ImageError::Tool(line.strip_prefix("qemu-img: ").unwrap_or(line).to_owned()))
}

#[allow(unsafe_code)]
fn end_with_agent(command: &mut Command) {
    // SAFETY: between fork and exec only the system call prctl is made, which is async-signal-safe; the
    // closure allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| Ok(set_pdeathsig(Death::SIGKILL)?));
    }
}

fn started(source: io::Error) -> ImageError {
    match source.kind() {
        io::ErrorKind::NotFound => {
            ImageError::Unfit("qemu-img is not installed (Debian package qemu-utils)".into())
        }
        _ => ImageError::system("running qemu-img")(source),
    }
}

/// What it says until it ends; its progress, `    (12.34/100%)\r`, goes its own way.
fn listen(from: &mut impl Read, percent: Option<&mpsc::Sender<u64>>) -> io::Result<Vec<u8>> {
    let mut said = Vec::new();
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for byte in buffer.iter().take(read) {
            line.push(*byte);
            if !matches!(byte, b'\r' | b'\n') && line.len() < SAID_BYTES_MAX {
                continue;
            }
            match (percent, part(&line)) {
                // Who is slow to hear hears the next one.
                (Some(to), Some(part)) => drop(to.try_send(part)),
                _ => keep(&mut said, &line),
            }
            line.clear();
        }
    }
    keep(&mut said, &line);
    Ok(said)
}

fn keep(said: &mut Vec<u8>, line: &[u8]) {
    if said.len() + line.len() <= SAID_BYTES_MAX {
        said.extend_from_slice(line);
    }
}

/// The whole percents of a line of progress.
fn part(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?.trim();
    let part = line.strip_prefix('(')?.strip_suffix("/100%)")?;
    part.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::driver::disk;

    #[test]
    fn progress_is_told_apart_from_what_it_says() {
        let (to, mut heard) = mpsc::channel(8);
        let mut from: &[u8] = b"    (0.00/100%)\r    (45.67/100%)\rqemu-img: no\n";
        assert_eq!(listen(&mut from, Some(&to)).unwrap(), b"qemu-img: no\n");
        assert_eq!((heard.try_recv(), heard.try_recv()), (Ok(0), Ok(45)));
        let mut flood: &[u8] = &[b'x'; 3 * SAID_BYTES_MAX];
        assert!(listen(&mut flood, None).unwrap().len() <= SAID_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_thin_copy_is_written_whole_when_followed_and_alone_without_what_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base: $(x).raw");
        let file = File::create(&base).unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_all_at(b"precious", 4096).unwrap();
        let thin = folder.path().join("thin.qcow2");
        disk::overlay(&base, &thin).await.unwrap();
        let written = async |chain, name: &str| {
            let target = folder.path().join(name);
            let mut last = 0;
            convert((&thin, Format::Qcow2, chain), (&target, DiskFormat::Raw), &mut |at| last = at)
                .await
                .unwrap();
            assert!(last <= 100);
            assert_eq!(super::super::backing_file(&target).unwrap(), None);
            let mut found = [0; 8];
            File::open(&target).unwrap().read_exact_at(&mut found, 4096).unwrap();
            found
        };
        assert_eq!(&written(Chain::Follow, "followed").await, b"precious");
        assert_eq!(written(Chain::Alone, "alone").await, [0; 8], "what it names is not opened");
        let whole = measure(&thin, Format::Qcow2, Chain::Follow).await.unwrap();
        assert!((64 * 1024..8 << 20).contains(&whole), "{whole}");
    }

    #[tokio::test]
    async fn what_is_broken_is_told_in_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let broken = folder.path().join("broken");
        std::fs::write(&broken, b"QFI\xfb\0\0\0\x03").unwrap();
        let target = folder.path().join("target");
        let said =
            convert((&broken, Format::Qcow2, Chain::Alone), (&target, DiskFormat::Qcow2), &mut |_| {}).await;
        assert!(matches!(said, Err(ImageError::Tool(_))), "{said:?}");
    }
}
