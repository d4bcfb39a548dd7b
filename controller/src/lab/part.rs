//! The processes of a lab: how each is started, found again, and ended.
//!
//! Every process of a lab has `SKERRY_LAB=<id>` in its environment, and hands it on to what it starts.
//! That is how they are found, also those an agent left running: a number alone could be somebody
//! else's by now.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// The variable that marks the processes of a lab.
const MARK: &str = "SKERRY_LAB";

/// What systemd says to its services. A lab may be started from within one (a CI runner, say), but its
/// parts are none: an agent that believed it would have systemd start its guests, out of our reach.
const SYSTEMD: [&str; 5] =
    ["INVOCATION_ID", "NOTIFY_SOCKET", "JOURNAL_STREAM", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// How often a process that was asked to end is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How a process is started; kept, so that it can be started again just the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    /// Its working directory.
    pub(super) directory: PathBuf,
    /// What it prints goes to the end of this file.
    pub(super) log: PathBuf,
}

/// A part of a lab: its server, or the agent of a host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) launch: Launch,
}

impl Launch {
    /// Starts it in a session of its own, so that a Ctrl-C or a closed terminal is ours to handle.
    pub(super) fn start(&self, lab: &str) -> Result<Child> {
        let log = append(&self.log)?;
        // setsid(2) needs an unsafe pre_exec here; setsid(1), in Debian's essential util-linux, execs.
        let mut command = Command::new("setsid");
        for variable in SYSTEMD {
            command.env_remove(variable);
        }
        command
            .arg(&self.program)
            .args(&self.arguments)
            .envs(&self.environment)
            .env(MARK, lab)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", self.program.display()))
    }

    /// The last lines it printed.
    pub(super) fn last_words(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].iter().map(|line| format!("  | {line}\n")).collect()
    }
}

/// A log, readable by its owner only: servers print addresses and more.
fn append(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// Whether the process `pid` belongs to the lab and has not ended.
pub(super) fn runs(pid: i32, lab: &str) -> bool {
    let mark = format!("{MARK}={lab}");
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    // A process that ended and was not waited for has an empty environment.
    environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

/// Whether a process has given its memory back, and with it its environment, and not yet its files: its
/// locks are still held then. One that only has not been waited for holds nothing; its first thread may be so
/// far while others of it are not.
fn is_ending(pid: i32) -> bool {
    // Newer kernels say of such a one that there is no such process.
    let environment_is_gone = match std::fs::read(format!("/proc/{pid}/environ")) {
        Ok(environment) => environment.is_empty(),
        Err(error) => error.raw_os_error() == Some(Errno::ESRCH as i32),
    };
    let mut threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ends = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
        !matches!(state, None | Some('Z' | 'X'))
    };
    environment_is_gone && threads.any(ends)
}

/// Every process of the lab.
pub(super) fn all(lab: &str) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| runs(*pid, lab))
        .collect()
}

/// Whether a process is a part, or was started by it or by its children (Erlang has small processes
/// beside it). A guest whose agent has ended is nobody's child.
pub(super) fn belongs(pid: i32, part: i32) -> bool {
    let parent = |pid: i32| -> Option<i32> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
    };
    // Not more generations than that: a process may end, and its number be another's, while we look.
    let ancestors = std::iter::successors(Some(pid), |pid| parent(*pid)).take(16);
    ancestors.take_while(|pid| *pid > 1).any(|pid| pid == part)
}

/// Sends a signal, when the process is (still) the lab's.
pub(super) fn signal(pid: i32, lab: &str, signal: Signal) -> Result<()> {
    if !runs(pid, lab) {
        return Ok(());
    }
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => bail!("process {pid} of the lab cannot be ended: {errno}"),
    }
}

/// Asks the processes to end, waits for as long as `patience`, then ends those that did not.
pub(super) async fn end(pids: &[i32], lab: &str, patience: Duration) -> Result<()> {
    for pid in pids {
        signal(*pid, lab, Signal::SIGTERM)?;
    }
    if gone(pids, lab, patience).await {
        return Ok(());
    }
    for pid in pids {
        signal(*pid, lab, Signal::SIGKILL)?;
    }
    if !gone(pids, lab, Duration::from_secs(10)).await {
        bail!("some processes of the lab do not end: {pids:?}");
    }
    Ok(())
}

/// Waits until none of the processes runs, at most as long as `patience`.
pub(super) async fn gone(pids: &[i32], lab: &str, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while pids.iter().any(|pid| runs(*pid, lab) || is_ending(*pid)) {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(LOOK).await;
    }
    true
}
