//! Bounds of a process that is started: which files of the host it may reach (landlock, and a tree of mounts
//! that shows no others), and what of root's rights it keeps. docs/design/0016-confined-guests.md.
//!
//! On Linux all of these belong to a thread, and a process begins with those of the thread that starts it
//! (credentials(7), landlock(7), mount_namespaces(7)). So a thread that does nothing else takes the bounds
//! upon itself, starts the program, and ends: no launcher, no fork that copies our memory's tables, and
//! nothing to be done between fork and exec.

mod calls;
mod files;
mod mapped;
mod rights;
mod support;
mod tree;
mod user;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Once,
    thread,
};

use serde::{Deserialize, Serialize};

use self::user::Claim;
pub use self::{
    calls::refuse_calls,
    rights::Right,
    support::{Support, of_users},
    user::Users,
};

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    users: Option<Users>,
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

    /// It is a user of its own, one of these, where that can be had: the files it may write, and those that
    /// it may read and others may not, are shown to it as its own, and stay whose they are.
    pub fn is_one_of(&mut self, users: Option<Users>) -> &mut Self {
        self.users = users;
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
        let users = self.users.filter(|_| !self.rights.contains(&Right::FileOwners));
        let user = match users.map(|users| self.show_as(users)) {
            Some(Ok(user)) => Some(user),
            Some(Err(error)) => {
                static SAID: Once = Once::new();
                SAID.call_once(|| tracing::warn!(%error, "guests get no users of their own"));
                self.show();
                None
            }
            None => {
                self.show();
                None
            }
        };
        files::bound(&self.files)?;
        rights::keep(&self.rights, user)?;
        calls::refuse_rights_of_owners()
    }

    /// Shows what is shown as the files of a user who is nobody else. After an error nothing has changed.
    fn show_as(&self, users: Users) -> io::Result<Claim> {
        let user = users.claim()?;
        let error = match tree::show(&self.files, Some(user.uid())) {
            Ok(true) => return Ok(user),
            Ok(false) => io::Error::other("it takes a tree of mounts, and there is none"),
            Err(error) => error,
        };
        user.drop_it()?;
        Err(error)
    }

    /// Shows what is shown as it is.
    fn show(&self) {
        if let Err(error) = tree::show(&self.files, None) {
            // The kernel's rules alone bound it then.
            static SAID: Once = Once::new();
            SAID.call_once(|| tracing::warn!(%error, "guests get no tree of mounts of their own"));
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

    use std::{
        fs,
        io::{ErrorKind, Read as _},
        os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
        process::Command,
    };

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

    fn can_run_a_shell() -> Bounds {
        let mut bounds = can(May::Drive, "/dev/null");
        bounds.may_all(May::Run, ["/usr", "/bin", "/lib", "/lib64"]);
        bounds
    }

    /// Whether this thread could make users of its own for others.
    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
            && capabilities(None).unwrap().effective.contains(CapabilitySet::SYS_ADMIN)
    }

    #[test]
    fn a_user_of_its_own_has_its_files_and_on_the_disk_they_stay_whose_they_are() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let private = |name: &str, owner: u32| {
            fs::write(at(name), name).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).unwrap();
            chown(at(name), Some(owner), Some(owner)).unwrap();
        };
        fs::create_dir(at("own")).unwrap();
        fs::set_permissions(at("own"), fs::Permissions::from_mode(0o700)).unwrap();
        private("own/log", 0);
        private("disk", 1234);
        private("image", 4321);
        let mut bounds = can_run_a_shell();
        bounds
            .may(May::Fill, at("own"))
            .may(May::Write, at("disk"))
            .may(May::Read, at("image"))
            .may(May::Read, "/proc");
        bounds.keeps(Right::LowPorts).keeps(Right::OthersFiles);
        bounds.is_one_of(Some("68000-68009".parse().unwrap()));
        let script = format!(
            "cd {0} && echo more >>own/log && echo more >>disk && cat image && echo new >own/new && mkdir own/sub \
             && ! (: >>image) && kill -0 {1}; cat /proc/self/status",
            folder.path().display(),
            std::process::id()
        );
        let said = bounds.within(|| Command::new("/bin/sh").args(["-c", &script]).output()).unwrap();
        let (said, complaints) =
            (String::from_utf8(said.stdout).unwrap(), String::from_utf8_lossy(&said.stderr).into_owned());
        assert!(said.starts_with("image"), "{said} {complaints}");
        let field = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let uid: u32 = field("Uid")[0].parse().unwrap();
        assert!((68_000..=68_009).contains(&uid));
        assert_eq!(field("Uid"), vec![uid.to_string(); 4]);
        assert_eq!((field("Gid"), field("Groups")), (field("Uid"), vec![]));
        let low_ports = CapabilitySet::NET_BIND_SERVICE.bits();
        assert_eq!(u64::from_str_radix(&field("CapEff")[0], 16).unwrap(), low_ports);
        // Whatever it wrote and made is whose it was, or would have been.
        let owner = |name: &str| {
            let file = fs::metadata(at(name)).unwrap();
            assert_eq!(file.uid(), file.gid());
            file.uid()
        };
        let owners = ["own/log", "own/new", "own/sub", "disk", "image"].map(owner);
        assert_eq!(owners, [0, 0, 0, 1234, 4321]);
        assert_eq!(fs::read_to_string(at("disk")).unwrap(), "diskmore\n");
        assert!(nix::unistd::getuid().is_root(), "it was that thread's");
    }

    #[test]
    fn a_user_of_its_own_signals_nobody_also_where_landlock_does_not_keep_it() {
        if !is_root() {
            return;
        }
        let mut bounds = can_run_a_shell();
        bounds.is_one_of(Some("68010-68019".parse().unwrap()));
        let start = |words: &[&str]| Command::new("/bin/sh").args(words).spawn();
        let mut other = bounds.within(|| start(&["-c", "exec sleep 1000"])).unwrap();
        let without_landlock = || {
            let user = bounds.show_as(bounds.users.unwrap()).unwrap();
            rights::keep(&[], Some(user)).unwrap();
            [std::process::id(), other.id()].map(|pid| {
                let script = format!("kill -0 {pid}; echo $?");
                let said = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
                (String::from_utf8(said.stdout).unwrap(), String::from_utf8(said.stderr).unwrap())
            })
        };
        for (status, why) in thread::scope(|scope| scope.spawn(without_landlock).join().unwrap()) {
            assert!(status.trim() != "0" && why.contains("not permitted"), "{status} {why}");
        }
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn a_device_of_roots_is_there_for_a_user_of_its_own() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let zero = folder.path().join("zero");
        let made = Command::new("mknod").args(["-m", "600"]).arg(&zero).args(["c", "1", "5"]).status();
        assert!(made.unwrap().success());
        let mut bounds = can(May::Drive, &zero);
        bounds.is_one_of(Some("68020-68029".parse().unwrap()));
        let (is_root, read) = bounds
            .within(|| {
                let mut four = [7; 4];
                let file = fs::File::options().read(true).write(true).open(&zero);
                Ok((nix::unistd::geteuid().is_root(), file.and_then(|mut file| file.read_exact(&mut four))))
            })
            .unwrap();
        assert!(!is_root);
        read.unwrap();
        let device = fs::metadata(&zero).unwrap();
        assert_eq!((device.uid(), device.mode() & 0o777), (0, 0o600));
    }

    #[test]
    fn where_files_cannot_be_shown_as_anothers_it_is_bounded_as_ever() {
        if !is_root() {
            return;
        }
        // The kernel's own file systems know of no such thing.
        let mut bounds = can(May::Write, "/proc/sys/kernel/domainname");
        bounds.is_one_of(Some("68030-68039".parse().unwrap()));
        let seen = bounds.within(|| {
            let ids = rustix::process::getuid();
            Ok((ids.is_root(), Path::new("/usr").exists(), capabilities(None)?.effective))
        });
        assert_eq!(seen.unwrap(), (true, false, CapabilitySet::empty()));
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
