//! What bounds the logs of machines, whether an agent runs or not: the trimmer, one small process for all
//! machines of a host (docs/design/0009-console-logs.md).
//!
//! QEMU writes the logs itself and only appends. The trimmer is told by the kernel that one was written to
//! (inotify), and cuts the oldest part out of it when it is too long: it is in nobody's way, so a guest
//! never waits for it, and nothing is lost when it ends. It is told of machines on its standard input, a
//! line each. When that is closed, because its agent ended, it goes on until the last of them has ended.

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock, inotify},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, unix::AsyncFd},
    net::unix::pipe,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    console,
    process::{Identity, Process},
};

/// How long it rests after a look, so that a guest that floods its console costs little: the log may be
/// longer by what is written meanwhile.
const REST: Duration = Duration::from_millis(250);
/// Room for the kernel's news. What does not fit comes with the next reading.
const NEWS_BYTES: usize = 4096;
/// Which trimmer it is: held locked by it.
const NOTE: &str = "trimmer.json";
/// How long the one before may take to end.
const TAKE_OVER_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// A machine, as the trimmer is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grows {
    /// As long as this lives …
    pub(super) process: Identity,
    /// … these are written to.
    pub(super) logs: Vec<PathBuf>,
}

/// Runs the trimmer of the agent whose state is in `folder`, told on the standard input, which is a pipe,
/// until that is closed and no machine is left. One that an earlier agent left is ended first.
///
/// # Errors
/// The one before does not end, or the kernel gives no news of files.
pub async fn trim_logs(folder: &Path) -> io::Result<()> {
    // Started as /proc/self/exe, which is no name for a process list.
    let _ = nix::sys::prctl::set_name(c"skerry-trimmer");
    let told = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
    let _only = take_over(folder).await?;
    trim(told).await
}

/// Becomes the only one: two would do no harm, but none is to be left over.
async fn take_over(folder: &Path) -> io::Result<File> {
    let path = folder.join(NOTE);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let until = Instant::now() + TAKE_OVER_MAX;
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != Errno::WOULDBLOCK {
            return Err(error.into());
        }
        if Instant::now() > until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the trimmer before does not end"));
        }
        let mut noted = String::new();
        file.rewind()?;
        file.read_to_string(&mut noted)?;
        // Not there yet, if it began just now.
        if let Ok(identity) = serde_json::from_str::<Identity>(&noted)
            && let Some(before) = Process::find(&identity)?
        {
            before.kill()?;
        }
        sleep(LOOK).await;
    }
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let own = Process::open(own)?.ok_or(io::ErrorKind::NotFound)?;
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(&serde_json::to_vec(&own.identity)?)?;
    Ok(file)
}

/// Bounds the logs it is told of, until `told` is closed and their machines have ended.
pub(super) async fn trim(told: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut lines = BufReader::new(told).lines();
    let mut logs = Logs::new()?;
    // Of processes, each with the numbers of what it writes.
    let mut ends = JoinSet::new();
    let mut is_told = true;
    // What ends and what begins is not kept waiting by it.
    let mut rest = std::pin::pin!(sleep(Duration::ZERO));
    while is_told || !ends.is_empty() {
        tokio::select! {
            line = lines.next_line(), if is_told => match line? {
                None => is_told = false,
                Some(line) => match serde_json::from_str(&line) {
                    Ok(grows) => drop(ends.spawn(logs.watch(grows))),
                    Err(error) => tracing::warn!(%error, "what the agent says is not understood"),
                },
            },
            Some(ended) = ends.join_next() => {
                for number in ended.unwrap_or_else(|_| Vec::<i32>::new()) {
                    logs.leave(number);
                }
            }
            written = async { rest.as_mut().await; logs.written().await } => {
                for number in written? {
                    logs.cut(number);
                }
                rest.as_mut().reset(Instant::now() + REST);
            }
        }
    }
    Ok(())
}

/// What is watched.
struct Logs {
    news: AsyncFd<OwnedFd>,
    /// By the kernel's number for it.
    watched: HashMap<i32, Log>,
}

struct Log {
    path: PathBuf,
    /// How many processes write to it: one that was started again may be told before the end of the other.
    writers: usize,
    /// That it cannot be cut has been said.
    complained: bool,
}

impl Logs {
    #[allow(unsafe_code)]
    fn new() -> io::Result<Self> {
        let news = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        Ok(Self {
            // SAFETY: an `OwnedFd` is open for as long as it is held, and the `AsyncFd` holds it.
            news: unsafe { AsyncFd::register(news) }?,
            watched: HashMap::new(),
        })
    }

    /// Begins with a machine's. What is returned waits for its end, and says what is to be left then.
    fn watch(&mut self, grows: Grows) -> impl Future<Output = Vec<i32>> + use<> {
        let process = Process::find(&grows.process).unwrap_or_else(|error| {
            tracing::warn!(%error, ?grows, "a machine's process cannot be looked at");
            None
        });
        let mut numbers = Vec::new();
        for path in grows.logs {
            match inotify::add_watch(&self.news, &path, inotify::WatchFlags::MODIFY) {
                Ok(number) => {
                    let log = Log { path, writers: 0, complained: false };
                    self.watched.entry(number).or_insert(log).writers += 1;
                    // It may have grown before.
                    self.cut(number);
                    numbers.push(number);
                }
                Err(error) => tracing::warn!(%error, log = %path.display(), "a log cannot be watched"),
            }
        }
        async move {
            if let Some(process) = process {
                let _ = process.ended().await;
            }
            numbers
        }
    }

    /// Waits until some were written to.
    async fn written(&self) -> io::Result<HashSet<i32>> {
        loop {
            let mut ready = self.news.readable().await?;
            let mut room = [MaybeUninit::<u8>::uninit(); NEWS_BYTES];
            let mut reader = inotify::Reader::new(ready.get_inner(), &mut room);
            let mut written = HashSet::new();
            let stopped = loop {
                match reader.next() {
                    // The kernel had too much to say: any may be meant.
                    Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => {
                        written.extend(self.watched.keys());
                    }
                    // What is watched no more says so.
                    Ok(event) if event.events().contains(inotify::ReadFlags::IGNORED) => {}
                    Ok(event) => {
                        written.insert(event.wd());
                    }
                    Err(error) => break error,
                }
                if reader.is_buffer_empty() && !written.is_empty() {
                    return Ok(written);
                }
            };
            if stopped != Errno::WOULDBLOCK {
                return Err(stopped.into());
            }
            ready.clear_ready();
        }
    }

    fn cut(&mut self, number: i32) {
        let Some(log) = self.watched.get_mut(&number) else { return };
        if let Err(error) = console::bound(&log.path)
            && !std::mem::replace(&mut log.complained, true)
        {
            tracing::warn!(%error, log = %log.path.display(), "a log cannot be cut");
        }
    }

    /// One of those who write to it has ended.
    fn leave(&mut self, number: i32) {
        self.cut(number);
        let Some(log) = self.watched.get_mut(&number) else { return };
        log.writers -= 1;
        if log.writers == 0 {
            self.watched.remove(&number);
            // A file that was removed is not watched any more.
            let _ = inotify::remove_watch(&self.news, number);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::MetadataExt;

    use tokio::io::AsyncWriteExt;

    use super::*;

    fn on_disk(log: &Path) -> u64 {
        std::fs::metadata(log).unwrap().blocks() * 512
    }

    fn process(folder: &Path) -> Process {
        let errors = folder.join("errors");
        Process::spawn(Path::new("sleep"), &["1000".into()], vec![], folder, &errors, None).unwrap()
    }

    #[tokio::test]
    async fn a_log_is_bounded_when_nobody_tells_any_more_and_until_its_process_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        let mut grown = File::options().append(true).create(true).open(&log).unwrap();
        let process = process(folder.path());
        let (mut tell, told) = tokio::io::duplex(1024);
        let trimming = tokio::spawn(trim(told));
        let grows = Grows { process: process.identity.clone(), logs: vec![log.clone()] };
        let line = format!("not for it\n{}\n", serde_json::to_string(&grows).unwrap());
        tell.write_all(line.as_bytes()).await.unwrap();
        drop(tell);
        for round in 0..3 {
            grown.write_all(&[b'x'; 4 << 20]).unwrap();
            grown.write_all(format!("last words of {round}").as_bytes()).unwrap();
            // On its own, while the process lives.
            while on_disk(&log) > 1 << 20 {
                tokio::task::yield_now().await;
            }
            let kept = console::tail(&log, 1 << 20).unwrap();
            assert!(kept.ends_with(format!("last words of {round}").as_bytes()));
        }
        assert!(!trimming.is_finished());
        process.kill().unwrap();
        trimming.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_log_that_two_write_to_is_watched_until_both_have_ended() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        File::create(&log).unwrap();
        let mut logs = Logs::new().unwrap();
        let (one, two) = (process(folder.path()), process(folder.path()));
        let mut watch = |process: &Process| {
            logs.watch(Grows { process: process.identity.clone(), logs: vec![log.clone()] })
        };
        let (first, second) = (watch(&one), watch(&two));
        one.kill().unwrap();
        first.await.into_iter().for_each(|number| logs.leave(number));
        assert_eq!(logs.watched.len(), 1);
        two.kill().unwrap();
        second.await.into_iter().for_each(|number| logs.leave(number));
        assert!(logs.watched.is_empty());
    }

    #[tokio::test]
    async fn one_that_has_ended_before_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        std::fs::write(&log, vec![b'x'; 4 << 20]).unwrap();
        let identity = Identity { pid: 1, started_ticks: 1, boot: "another".into() };
        let line =
            serde_json::to_string(&Grows { process: identity, logs: vec![log.clone()] }).unwrap() + "\n";
        trim(line.as_bytes()).await.unwrap();
        assert!(on_disk(&log) <= 1 << 20, "{}", on_disk(&log));
    }
}
