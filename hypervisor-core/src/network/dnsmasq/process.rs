//! The processes of dnsmasq: found by their command lines, whoever started them, and ended by pidfd.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{io::unix::AsyncFd, process::Command, time::timeout};

use crate::network::NetworkError;

/// How long it may take to be ready, or to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// The word before the file's name.
const OPTION: &str = "--conf-file=";
/// Where programs are, if nobody says: also where only root looks.
const PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// A dnsmasq of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pid: i32,
    /// What it was told.
    pub(crate) file: PathBuf,
}

/// All that were told something in a folder below `folder`.
pub(crate) fn running(folder: &Path) -> io::Result<Vec<Running>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that is gone meanwhile is none.
        if let Some(file) = told(pid).filter(|file| file.starts_with(folder)) {
            found.push(Running { pid, file });
        }
    }
    Ok(found)
}

/// The file a dnsmasq was told to read; `None` for any other process.
fn told(pid: i32) -> Option<PathBuf> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok());
    let program = Path::new(words.next()?).file_name()?.to_str()?;
    (program == "dnsmasq").then(|| words.next()?.strip_prefix(OPTION).map(PathBuf::from))?
}

/// Starts one; it answers when this returns.
pub(crate) async fn start(file: &Path) -> Result<(), NetworkError> {
    let mut command = Command::new("dnsmasq");
    command
        .arg(format!("{OPTION}{}", file.display()))
        .env_clear()
        .env("PATH", path())
        // By which a lab finds what an agent of its left behind.
        .envs(std::env::var_os("SKERRY_LAB").map(|lab| ("SKERRY_LAB", lab)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    // It goes into the background when it is ready, and says before what is in its way.
    let done = timeout(PATIENCE, command.output())
        .await
        .map_err(|_| NetworkError::Unfit("dnsmasq did not start in time".into()))?
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => NetworkError::Unfit(
                "dnsmasq is not installed, which gives guests addresses and names (Debian package \
                 dnsmasq-base)"
                    .into(),
            ),
            _ => NetworkError::system("running dnsmasq", source),
        })?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it did not say why");
    Err(NetworkError::Unfit(format!("dnsmasq: {}", line.trim_start_matches("dnsmasq: "))))
}

/// Where programs are.
pub(crate) fn path() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push(PATH);
    path
}

#[allow(unsafe_code)]
/// Ends one, and waits until it is gone.
pub(crate) async fn end(running: &Running) -> Result<(), NetworkError> {
    let failed = |source| NetworkError::system("ending dnsmasq", source);
    let Some(number) = Pid::from_raw(running.pid) else { return Ok(()) };
    let held = match pidfd_open(number, PidfdFlags::NONBLOCK) {
        Ok(held) => held,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(failed(error.into())),
    };
    // Looked at again now that it is held: the number may be another's by now.
    if told(running.pid).as_ref() != Some(&running.file) {
        return Ok(());
    }
    // SAFETY: an `OwnedFd` is open for as long as it is held, and the `AsyncFd` holds it.
    let held = unsafe { AsyncFd::register(held) }.map_err(|error| failed(error.into()))?;
    for signal in [Signal::TERM, Signal::KILL] {
        match pidfd_send_signal(held.get_ref(), signal) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(failed(error.into())),
        }
        if let Ok(ended) = timeout(PATIENCE, held.readable()).await {
            return ended.map(drop).map_err(failed);
        }
    }
    Err(NetworkError::Unfit("a dnsmasq was killed and does not end".into()))
}
