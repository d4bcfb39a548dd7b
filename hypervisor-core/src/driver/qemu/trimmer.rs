//! The trimmer as its agent has it: started with the first machine, told of each, and started again when
//! it ends before the agent does.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::unix::pipe,
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::{
    arguments::CONSOLE_LOG,
    folder::{ERRORS_LOG, Folder},
    process::{Process, Spawning, begin_log},
    trimming::{self, Grows},
};
use crate::machine::MachineId;

/// This very program, also when its file was replaced meanwhile.
const SELF: &str = "/proc/self/exe";
/// What it complained of, in its folder.
const LOG: &str = "trimmer.log";
/// How long it is waited before it is started again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How much it may be told before it has taken it, in bytes, where it is a task of ours.
const TOLD_BYTES: usize = 16 << 10;

/// Who bounds the logs of machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trimmer {
    /// A task of this process: nobody does when it has ended. Right for tests.
    Task,
    /// A process of its own: this program, with the words `trim-logs --folder FOLDER`, by which it calls
    /// [`super::trim_logs`].
    Process {
        /// The agent's folder.
        folder: PathBuf,
    },
}

/// The trimmer of a driver.
pub(super) struct Trimming {
    how: Trimmer,
    grow: Mutex<Growing>,
    more: Notify,
}

#[derive(Default)]
struct Growing {
    all: HashMap<MachineId, Grows>,
    /// Those it was not told of yet.
    new: HashSet<MachineId>,
    task: Option<AbortHandle>,
}

impl Trimming {
    pub(super) fn new(how: Trimmer) -> Arc<Self> {
        Arc::new(Self { how, grow: Mutex::default(), more: Notify::new() })
    }

    fn growing(&self) -> MutexGuard<'_, Growing> {
        self.grow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The logs of this machine grow from now on.
    pub(super) fn begin(self: &Arc<Self>, id: MachineId, process: &Process, folder: &Folder) {
        let logs = [CONSOLE_LOG, ERRORS_LOG].map(|name| folder.within(name));
        // It works in another folder.
        let logs = logs.iter().filter_map(|log| std::path::absolute(log).ok()).collect();
        let mut growing = self.growing();
        growing.all.insert(id, Grows { process: process.identity.clone(), logs });
        growing.new.insert(id);
        if growing.task.is_none() {
            growing.task = Some(tokio::spawn(keep(self.clone())).abort_handle());
        }
        self.more.notify_one();
    }

    /// There is no such machine any more.
    pub(super) fn forget(&self, id: MachineId) {
        let mut growing = self.growing();
        growing.all.remove(&id);
        growing.new.remove(&id);
    }

    /// It is left to itself.
    pub(super) fn let_go(&self) {
        if let Some(task) = self.growing().task.take() {
            task.abort();
        }
    }

    fn news(&self) -> String {
        let mut growing = self.growing();
        let new = std::mem::take(&mut growing.new);
        let told = new.iter().filter_map(|id| serde_json::to_string(growing.all.get(id)?).ok());
        told.map(|line| line + "\n").collect()
    }

    /// One trimmer, from its start to its end.
    async fn once(&self) -> io::Result<()> {
        {
            let mut growing = self.growing();
            growing.new = growing.all.keys().copied().collect();
        }
        match &self.how {
            Trimmer::Task => {
                let (tell, told) = tokio::io::duplex(TOLD_BYTES);
                tokio::select! {
                    ended = self.tell(tell) => ended,
                    ended = trimming::trim(told) => ended,
                }
            }
            Trimmer::Process { folder } => {
                let (process, tell) = spawn(folder)?;
                let ended = tokio::select! {
                    ended = self.tell(tell) => ended,
                    ended = process.ended() => ended,
                };
                // Who does not listen any more ends soon; what one says at its end is in its log.
                process.ended().await?;
                process.how_it_ended();
                ended
            }
        }
    }

    async fn tell(&self, mut tell: impl AsyncWrite + Unpin) -> io::Result<()> {
        loop {
            tell.write_all(self.news().as_bytes()).await?;
            self.more.notified().await;
        }
    }
}

/// Sees to it that there is one.
async fn keep(trimming: Arc<Trimming>) {
    let mut pause = PAUSES.0;
    loop {
        let since = Instant::now();
        let ended = trimming.once().await;
        tracing::warn!(?ended, "what bounds the logs of machines has ended, and is started again");
        if since.elapsed() > PAUSES.1 {
            pause = PAUSES.0;
        }
        sleep(pause).await;
        pause = PAUSES.1.min(pause * 2);
    }
}

fn spawn(folder: &Path) -> io::Result<(Process, pipe::Sender)> {
    let folder = &std::path::absolute(folder)?;
    let (told, tell) = io::pipe()?;
    let words = ["trim-logs", "--folder"].map(String::from).into_iter();
    let words: Vec<String> = words.chain([folder.display().to_string()]).collect();
    let process = Spawning {
        program: Path::new(SELF),
        words: &words,
        handed: vec![],
        input: Stdio::from(told),
        folder,
        errors: begin_log(&folder.join(LOG))?,
        read_only: None,
        bounds: None,
    };
    Ok((process.spawn()?, pipe::Sender::from_owned_fd(OwnedFd::from(tell))?))
}
