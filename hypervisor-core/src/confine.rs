//! Bounds of a process that is started: which files of the host it may reach (landlock, and a tree of mounts
//! that shows no others), and what of root's rights it keeps. docs/design/0016-confined-guests.md.
//!
//! On Linux all of these belong to a thread, and a process begins with those of the thread that starts it
//! (credentials(7), landlock(7), mount_namespaces(7)). So a thread that does nothing else takes the bounds
//! upon itself, starts the program, and ends: no launcher, no fork that copies our memory's tables, and
//! nothing to be done between fork and exec.

mod calls;
mod files;
mod rights;
mod tree;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Once,
    thread,
};

use serde::{Deserialize, Serialize};

pub use self::{calls::refuse_calls, rights::Right};

/// What may be done with a file, or with all below a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum May {
    /// Know its name: it is there to go through, and nothing of it is read.
    Pass,
    /// Read it.
    Read,
    /// Read it, and run what is a program.
    Run,
    /// Read it, listen on sockets in it, and take away what is in it: a folder for sockets.
    Listen,
    /// Read and write what is there: nothing new is made, and nothing taken away.
    Write,
    /// Make, write and take away files and folders in it; no links, devices, pipes or sockets.
    Fill,
    /// Read and write it, and ask of its driver what it has to offer: a device.
    Drive,
}

/// The bounds of a process. It reaches nothing but what is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    files: Vec<(PathBuf, May)>,
    rights: Vec<Right>,
}

impl Bounds {
    /// It may do this with what is there; what is not there is left out. The path is absolute.
    pub fn may(&mut self, may: May, path: impl Into<PathBuf>) -> &mut Self {
        self.files.push((path.into(), may));
        self
    }

    /// It may do this with each of these.
    pub fn may_all<P: Into<PathBuf>>(&mut self, may: May, paths: impl IntoIterator<Item = P>) -> &mut Self {
        self.files.extend(paths.into_iter().map(|path| (path.into(), may)));
        self
    }

    /// It keeps this right, if we have it.
    pub fn keeps(&mut self, right: Right) -> &mut Self {
        self.rights.push(right);
        self
    }

    /// What was said of files.
    pub fn files(&self) -> &[(PathBuf, May)] {
        &self.files
    }

    /// The rights it keeps.
    pub fn rights(&self) -> &[Right] {
        &self.rights
    }

    /// Runs `start` within these bounds, on a thread of its own: what it starts has them for life, and we
    /// do not.
    ///
    /// # Errors
    /// The kernel refuses to bound it, though it knows how; or those of `start`.
    pub fn within<T: Send>(&self, start: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let run = || {
            self.take()?;
            start()
        };
        let run = thread::scope(|scope| {
            let thread = thread::Builder::new().name("confined".into()).spawn_scoped(scope, run)?;
            thread.join().map_err(|_| io::Error::other("a confined start broke off"))
        });
        run?
    }

    /// Takes them upon this thread, for good. In a process of one thread they are the process's.
    ///
    /// # Errors
    /// The kernel refuses to bound it, though it knows how.
    pub fn take(&self) -> io::Result<()> {
        if let Err(error) = tree::show(&self.files) {
            // The kernel's rules alone bound it then.
            static SAID: Once = Once::new();
            SAID.call_once(|| tracing::warn!(%error, "guests get no tree of mounts of their own"));
        }
        files::bound(&self.files)?;
        rights::keep(&self.rights)
    }
}

/// What the kernel of this host can do about the files of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Landlock, with this version of its interface.
    Landlock(i32),
    /// The kernel has none, or it is switched off.
    Missing,
}

impl Support {
    /// That of this host, asked of the kernel.
    pub fn of_host() -> Self {
        files::support()
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Support::Landlock(version) => {
                write!(f, "Guests reach no files of the host but their own (landlock {version}).")
            }
            Support::Missing => f.write_str(
                "The kernel has no landlock, so QEMU is not kept from the host's files: Linux 5.13 has it, and lsm= at \
                 its boot may leave it out.",
            ),
        }
    }
}

/// Whether a path is one of these, or below one.
pub(crate) fn is_below<'a>(path: &Path, folders: impl IntoIterator<Item = &'a Path>) -> bool {
    folders.into_iter().any(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, io::ErrorKind, os::unix::fs::symlink, process::Command};

    use rustix::thread::{CapabilitySet, capabilities};

    use super::*;

    fn can(may: May, path: impl Into<PathBuf>) -> Bounds {
        let mut bounds = Bounds::default();
        bounds.may(may, path);
        bounds
    }

    #[test]
    fn a_thread_is_bounded_for_life_and_whoever_made_it_is_not() {
        if Support::of_host() == Support::Missing {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (own, secret) = (folder.path().join("own"), folder.path().join("secret"));
        fs::write(&own, "own").unwrap();
        fs::write(&secret, "secret").unwrap();
        let seen = can(May::Read, &own).within(|| {
            let wrote = fs::write(&own, "other").map_err(|error| error.kind());
            Ok((
                fs::read(&own),
                fs::read(&secret).is_err(),
                wrote,
                fs::write(folder.path().join("new"), "").is_err(),
            ))
        });
        let (read, hidden, wrote, none_made) = seen.unwrap();
        assert_eq!(read.unwrap(), b"own");
        assert!(hidden && wrote.is_err() && none_made);
        assert_eq!(fs::read(&secret).unwrap(), b"secret");
        fs::write(&own, "ours").unwrap();
    }

    #[test]
    fn what_is_shown_is_at_its_paths_and_the_rest_is_nowhere() {
        if !capabilities(None).unwrap().effective.contains(CapabilitySet::SYS_ADMIN) {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("real/inner")).unwrap();
        fs::write(at("real/inner/disk"), "disk").unwrap();
        fs::write(at("real/other"), "other").unwrap();
        symlink("real/../real", at("link")).unwrap();
        let mut bounds = can(May::Write, at("link/inner/disk"));
        bounds.may(May::Read, "/usr").may(May::Write, at("link/not-there"));
        let seen = bounds.within(|| {
            let other = fs::metadata(at("real/other")).map_err(|error| error.kind());
            Ok((
                fs::read(at("link/inner/disk")),
                other,
                Path::new("/run").exists(),
                Path::new("/usr/bin").exists(),
            ))
        });
        let (disk, other, run, usr) = seen.unwrap();
        assert_eq!(disk.unwrap(), b"disk");
        assert_eq!(other.unwrap_err(), ErrorKind::NotFound, "it is not only forbidden");
        assert!(!run && usr);
        assert!(at("real/other").exists() && Path::new("/run").exists(), "of the others nobody notices");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_right_that_was_given_away_comes_back_by_no_program() {
        let mut bounds = can(May::Run, "/");
        bounds.keeps(Right::LowPorts);
        let status = || Command::new("grep").args(["CapEff", "/proc/self/status"]).output();
        let said = bounds.within(status).unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let left = u64::from_str_radix(said.trim_start_matches("CapEff:").trim(), 16).unwrap();
        let ours = capabilities(None).unwrap().effective;
        assert_eq!(left, (ours & CapabilitySet::NET_BIND_SERVICE).bits());
    }
}
