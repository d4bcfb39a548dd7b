//! A QEMU process: which one it is, how it is started, what it uses, how it ends.
//!
//! A number alone says nothing: the kernel gives it to somebody else once the process is gone. A
//! process is held by a pidfd, which always means the one it was opened for, and is told apart across
//! restarts of the agent by its number together with the time it was started.

use std::{
    borrow::Cow,
    ffi::{CStr, CString, OsStr},
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::{
            ffi::OsStrExt,
            fs::PermissionsExt,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    ptr::null,
    sync::Mutex,
    time::Duration,
};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

use crate::confine::Bounds;

/// Which process, for as long as the host is not restarted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Its number.
    pub(super) pid: i32,
    /// When it was started, in clock ticks since the host was.
    pub(super) started_ticks: u64,
    /// The kernel's name for the time since the host was started.
    pub(super) boot: String,
}

impl Identity {
    /// Whether it was noted since the host was started.
    pub(super) fn is_of_this_boot(&self) -> bool {
        boot().is_ok_and(|boot| boot == self.boot)
    }
}

/// The kernel's name for the time since the host was started.
fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// A process, alive or ended.
pub(super) struct Process {
    pub(super) identity: Identity,
    fd: AsyncFd<OwnedFd>,
    /// Set if it is ours to collect.
    child: Mutex<Option<Child>>,
}

/// What a process uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) running_for: Duration,
    pub(super) cpu_time: Duration,
    pub(super) resident_bytes: u64,
}

/// Where programs are, if nobody says.
pub(in super::super) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A program to be started.
pub(super) struct Spawning<'a> {
    pub(super) program: &'a Path,
    pub(super) words: &'a [String],
    /// The descriptors it gets, under the numbers they have here.
    pub(super) handed: Vec<BorrowedFd<'a>>,
    /// Its standard input.
    pub(super) input: Stdio,
    /// Where it works.
    pub(super) folder: &'a Path,
    /// Its standard error.
    pub(super) errors: fs::File,
    /// A folder that it sees for itself alone as one in which nothing can be written, made a device, or run
    /// with rights of its own. It takes root.
    pub(super) read_only: Option<&'a Path>,
    /// What it may reach of the host; all that we may, if nothing is said.
    pub(super) bounds: Option<&'a Bounds>,
}

impl Spawning<'_> {
    /// Starts it in a process group of its own and holding on to nothing of ours, so that it goes on when
    /// we end: no descriptor but those `handed` on, and of our environment the path alone. A guest that
    /// had our `NOTIFY_SOCKET` could speak for us to systemd, and one that held a socket passed to us
    /// would keep it open when we are long gone.
    #[allow(unsafe_code)]
    pub(super) fn spawn(self) -> io::Result<Process> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
        let mut command = Command::new(found(self.program, &path).as_os_str());
        command
            .arg0(self.program)
            .args(self.words)
            .current_dir(self.folder)
            .env_clear()
            .env("PATH", path)
            // By which a lab finds the guests that an agent of its left behind.
            .envs(std::env::var_os("SKERRY_LAB").map(|lab| ("SKERRY_LAB", lab)))
            .stdin(self.input)
            .stdout(Stdio::null())
            .stderr(self.errors)
            .process_group(0);
        let handed: Vec<RawFd> = self.handed.iter().map(AsRawFd::as_raw_fd).collect();
        let read_only =
            self.read_only.map(|folder| CString::new(folder.as_os_str().as_bytes())).transpose()?;
        keep_no_descriptors()?;
        // Without something to do in the child it needs no copy of our memory's tables, and is there sooner.
        if !handed.is_empty() || read_only.is_some() {
            let prepare = move || {
                read_only.as_deref().map_or(Ok(()), see_read_only)?;
                handed.iter().try_for_each(|fd| keep_descriptor(*fd))
            };
            // SAFETY: between fork and exec only async-signal-safe calls are allowed, and this makes a few
            // system calls; it allocates nothing and takes no lock.
            unsafe { command.pre_exec(prepare) };
        }
        let mut child = match self.bounds {
            Some(bounds) => bounds.within(|| command.spawn())?,
            None => command.spawn()?,
        };
        // Not collected yet, so it is there to be held, even if it has ended already.
        match Process::hold(i32::try_from(child.id()).unwrap_or_default()) {
            Ok(Some((mut process, _))) => {
                process.child = Mutex::new(Some(child));
                Ok(process)
            }
            lost => {
                child.kill()?;
                child.wait()?;
                Err(lost.err().unwrap_or_else(|| io::ErrorKind::NotFound.into()))
            }
        }
    }
}

/// Where a program is: one that is to be looked for in the child, with a path that may be another there,
/// makes a fork of the spawn.
pub(in super::super) fn found<'a>(program: &'a Path, path: &OsStr) -> Cow<'a, Path> {
    if program.as_os_str().as_bytes().contains(&b'/') {
        return program.into();
    }
    let can_run = |file: &PathBuf| {
        fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let all = std::env::split_paths(path).map(|folder| folder.join(program));
    all.filter(|file| file.is_absolute()).find(can_run).map_or(program.into(), Cow::from)
}

/// An empty file for what a program complains of. It is appended to, so that it can be cut meanwhile.
pub(super) fn begin_log(path: &Path) -> io::Result<fs::File> {
    fs::File::create(path)?;
    fs::File::options().append(true).open(path)
}

/// All descriptors but the standard three are closed by any exec from now on. What we open ourselves is
/// closed then anyway; what we were given at our own start, by systemd or a shell, need not be.
#[allow(unsafe_code)]
fn keep_no_descriptors() -> io::Result<()> {
    // SAFETY: the call touches no memory of ours, and marking a descriptor closes none that is in use.
    let marked = unsafe {
        nix::libc::syscall(nix::libc::SYS_close_range, 3_u32, u32::MAX, nix::libc::CLOSE_RANGE_CLOEXEC)
    };
    match io::Error::last_os_error() {
        _ if marked == 0 => Ok(()),
        // Before Linux 5.11 there is no such call.
        error if matches!(error.raw_os_error(), Some(nix::libc::ENOSYS | nix::libc::EINVAL)) => Ok(()),
        error => Err(error),
    }
}

/// But this one, under the number it has here, is not closed by the next exec of this process.
#[allow(unsafe_code)]
fn keep_descriptor(fd: RawFd) -> io::Result<()> {
    // SAFETY: the call touches no memory of ours, and takes no descriptor away.
    match unsafe { nix::libc::fcntl(fd, nix::libc::F_SETFD, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// From now on this process, and it alone, sees the folder as a read-only one. What is mounted below it is
/// not seen.
#[allow(unsafe_code)]
fn see_read_only(folder: &CStr) -> io::Result<()> {
    use nix::libc::{MS_BIND, MS_NODEV, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT};
    let mount = |what: &CStr, at: &CStr, flags| {
        // SAFETY: the strings live through the call, and the type and the options may be left out.
        match unsafe { nix::libc::mount(what.as_ptr(), at.as_ptr(), null(), flags, null()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(c"none", c"/", MS_REC | MS_PRIVATE)?;
    mount(folder, folder, MS_BIND)?;
    mount(c"none", folder, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
}

/// What of `/proc/PID/stat` is looked at.
struct Stat {
    /// `Z` for one that has ended and was not collected.
    state: char,
    cpu_ticks: u64,
    started_ticks: u64,
    resident_pages: u64,
}

impl Process {
    /// Takes hold of a running process; `None` if there is none of this number.
    pub(super) fn open(pid: i32) -> io::Result<Option<Self>> {
        Ok(Self::hold(pid)?.filter(|(_, state)| *state != 'Z').map(|(process, _)| process))
    }

    /// Takes hold of a process, or of what is left of one, and says in which state it was.
    #[allow(unsafe_code)]
    fn hold(pid: i32) -> io::Result<Option<(Self, char)>> {
        let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
        let fd = match pidfd_open(number, PidfdFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Read after the pidfd was opened: it cannot be another's any more.
        let Some(stat) = stat(pid)? else { return Ok(None) };
        let identity = Identity { pid, started_ticks: stat.started_ticks, boot: boot()? };
        // SAFETY: an `OwnedFd` is open for as long as it is held, and the `AsyncFd` holds it.
        let fd = unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)?;
        Ok(Some((Self { identity, fd, child: Mutex::new(None) }, stat.state)))
    }

    /// Takes hold of the very process noted earlier, if it still runs.
    pub(super) fn find(identity: &Identity) -> io::Result<Option<Self>> {
        Ok(Self::open(identity.pid)?.filter(|process| process.identity == *identity))
    }

    /// Starts one in `folder` with nothing to read, see [`Spawning::spawn`].
    pub(super) fn spawn(
        program: &Path,
        words: &[String],
        handed: Vec<BorrowedFd<'_>>,
        folder: &Path,
        errors: &Path,
        bounds: Option<&Bounds>,
    ) -> io::Result<Self> {
        let errors = begin_log(errors)?;
        let (input, read_only) = (Stdio::null(), None);
        Spawning { program, words, handed, input, folder, errors, read_only, bounds }.spawn()
    }

    /// Waits until it has ended, and collects it if it is ours. Cancel-safe.
    pub(super) async fn ended(&self) -> io::Result<()> {
        // A pidfd becomes readable when its process ends, and stays so.
        let _ = self.fd.readable().await?;
        Ok(())
    }

    /// How it ended, in a few words, as far as can be known: only of our own children.
    pub(super) fn how_it_ended(&self) -> Option<String> {
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let status = child.as_mut()?.try_wait().ok()??;
        match (status.code(), status.signal()) {
            (Some(0), _) | (None, None) => None,
            (Some(code), _) => Some(format!("with status {code}")),
            (None, Some(signal)) => Some(match nix::sys::signal::Signal::try_from(signal) {
                Ok(signal) => format!("by {}", signal.as_str()),
                Err(_) => format!("by signal {signal}"),
            }),
        }
    }

    /// Ends it, whatever it does.
    pub(super) fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(self.fd.get_ref().as_fd(), Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What it uses now; `None` once it has ended.
    pub(super) fn usage(&self) -> io::Result<Option<Usage>> {
        let Some(stat) = stat(self.identity.pid)? else { return Ok(None) };
        if stat.state == 'Z' || stat.started_ticks != self.identity.started_ticks {
            return Ok(None);
        }
        let uptime = fs::read_to_string("/proc/uptime")?;
        let up = uptime.split(' ').next().and_then(|up| up.parse().ok()).unwrap_or(0.0);
        let host_up = Duration::from_secs_f64(f64::max(up, 0.0));
        Ok(Some(Usage {
            running_for: host_up.saturating_sub(of_ticks(stat.started_ticks)),
            cpu_time: of_ticks(stat.cpu_ticks),
            resident_bytes: stat.resident_pages * rustix::param::page_size() as u64,
        }))
    }
}

fn of_ticks(ticks: u64) -> Duration {
    let hertz = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(ticks.saturating_mul(1000) / hertz)
}

fn stat(pid: i32) -> io::Result<Option<Stat>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => {
            parse(&text).map(Some).ok_or_else(|| io::Error::other("the kernel's /proc/PID/stat is odd"))
        }
        // Gone before it was opened, or while it was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The second field is the program's name in brackets, which may itself hold blanks and brackets:
/// fields are counted from the last one.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    // proc_pid_stat(5) counts from 1, and `rest` begins with field 3.
    let field = |number: usize| fields.get(number - 3)?.trim().parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        cpu_ticks: field(14)? + field(15)?,
        started_ticks: field(22)?,
        resident_pages: field(24)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let text =
            "4711 (a) S 1 (b)) S 1 4711 4711 0 -1 4194560 1 2 3 4 500 25 0 0 20 0 3 0 987654 1000 321 18\n";
        let stat = parse(text).unwrap();
        assert_eq!((stat.state, stat.cpu_ticks), ('S', 525));
        assert_eq!((stat.started_ticks, stat.resident_pages), (987_654, 321));
        assert!(parse("4711 (a").is_none());
    }

    #[tokio::test]
    async fn a_process_is_known_again_and_not_mistaken_once_it_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let errors = folder.path().join("errors");
        let process =
            Process::spawn(Path::new("sleep"), &["1000".into()], vec![], folder.path(), &errors, None)
                .unwrap();
        assert!(Process::find(&process.identity).unwrap().is_some());
        let other =
            Identity { started_ticks: process.identity.started_ticks + 1, ..process.identity.clone() };
        assert!(Process::find(&other).unwrap().is_none());
        assert!(process.usage().unwrap().is_some());
        process.kill().unwrap();
        process.ended().await.unwrap();
        assert!(process.usage().unwrap().is_none());
        assert_eq!(process.how_it_ended().as_deref(), Some("by SIGKILL"));
        assert!(Process::find(&process.identity).unwrap().is_none());
        process.kill().unwrap();
    }

    #[tokio::test]
    async fn it_has_no_descriptor_of_ours_but_those_handed_on() {
        let folder = tempfile::tempdir().unwrap();
        let errors = folder.path().join("errors");
        // As a shell or systemd would have left it to us: not closed by an exec.
        let (inherited, handed) =
            (fs::File::open("/dev/null").unwrap(), fs::File::open("/dev/null").unwrap());
        let inherited = rustix::io::dup(&inherited).unwrap();
        for hand in [vec![], vec![handed.as_fd()]] {
            let kept: Vec<RawFd> = hand.iter().map(AsRawFd::as_raw_fd).collect();
            let words = ["1000".to_owned()];
            let process =
                Process::spawn(Path::new("sleep"), &words, hand, folder.path(), &errors, None).unwrap();
            let fds = fs::read_dir(format!("/proc/{}/fd", process.identity.pid)).unwrap();
            let mut held: Vec<RawFd> = fds
                .map(|fd| fd.unwrap().file_name().to_str().unwrap().parse().unwrap())
                .filter(|fd| *fd > 2)
                .collect();
            held.sort_unstable();
            process.kill().unwrap();
            process.ended().await.unwrap();
            assert_eq!(held, kept, "{inherited:?} is ours");
        }
    }
}
