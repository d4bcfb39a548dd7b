//! A user of its own for a process: a number nobody else has, for as long as the process lives. Nothing is
//! written down. Whoever has a number is asked of the kernel, which forgets none of those that live.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io,
    ops::RangeInclusive,
    os::unix::fs::OpenOptionsExt,
    str::FromStr,
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Uid, geteuid, getpriority_user},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use serde::{Deserialize, Serialize};

/// Who looks for a number holds this, until it has one: two that look at once would find the same.
const LOCK: &str = "/run/skerry-users.lock";
/// The least number that is no system's, person's or service's, by systemd's table of users and groups.
const FIRST: u32 = 65_536;

/// The numbers that users of processes may have. systemd's "Users, Groups, UIDs and GIDs" leaves all from
/// 65536 to 524287 to nobody, and useradd gives out those from 100000 for containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    first: u32,
    last: u32,
}

impl Default for Users {
    fn default() -> Self {
        Self { first: 70_000, last: 79_999 }
    }
}

impl FromStr for Users {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('-').and_then(|(first, last)| {
            Some((first.trim().parse::<u32>().ok()?, last.trim().parse::<u32>().ok()?))
        });
        // The very last number means "none" to the kernel.
        numbers
            .filter(|(first, last)| (FIRST..u32::MAX).contains(first) && (*first..u32::MAX).contains(last))
            .map(|(first, last)| Self { first, last })
            .ok_or_else(|| {
                format!("{text:?} is no range of users from {FIRST} on; write one such as \"70000-79999\"")
            })
    }
}

impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl Users {
    fn all(self) -> RangeInclusive<u32> {
        self.first..=self.last
    }

    /// Takes the least number that no process has. It is this thread's real user from now on, and so nobody
    /// else's; what it may do is still what it might before.
    ///
    /// # Errors
    /// We are not root; all numbers are taken; the lock cannot be had.
    pub(super) fn claim(self) -> io::Result<Claim> {
        if !geteuid().is_root() {
            return Err(io::Error::other("only root can give them others"));
        }
        let _alone = lock()?;
        for uid in self.all() {
            if is_free(uid)? {
                set_thread_res_uid(Uid::from_raw(uid), None, None)?;
                return Ok(Claim(uid));
            }
        }
        Err(io::Error::other(format!("all users of {self} are taken")))
    }
}

/// A number that this thread has taken.
#[derive(Debug)]
pub(super) struct Claim(u32);

impl Claim {
    /// The number of the user, and of its only group.
    pub(super) fn uid(&self) -> u32 {
        self.0
    }

    /// Gives it back.
    pub(super) fn drop_it(self) -> io::Result<()> {
        Ok(set_thread_res_uid(Uid::ROOT, None, None)?)
    }

    /// From now on this thread is that user and nobody else.
    pub(super) fn become_it(self) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.0), rustix::process::Gid::from_raw(self.0));
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        Ok(())
    }
}

fn lock() -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(LOCK)?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Whether no thread has it as its real user, which none can change without root's rights (setpriority(2)).
fn is_free(uid: u32) -> io::Result<bool> {
    match getpriority_user(Uid::from_raw(uid)) {
        Ok(_) => Ok(false),
        Err(rustix::io::Errno::SRCH) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{process::Command, thread};

    use super::*;

    #[test]
    fn a_range_is_beyond_systems_and_peoples() {
        assert_eq!(Users::default().to_string().parse::<Users>().unwrap(), Users::default());
        assert!("65536-65536".parse::<Users>().is_ok());
        for wrong in ["", "7", "1000-2000", "80000-70000", "70000-4294967295", "65535-70000"] {
            assert!(wrong.parse::<Users>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_number_is_one_processs_alone_for_as_long_as_it_lives() {
        if !geteuid().is_root() {
            return;
        }
        let users: Users = "69000-69001".parse().unwrap();
        // What it starts keeps it, the thread being gone.
        let started = || {
            let claim = users.claim().unwrap();
            (claim.uid(), Command::new("sleep").arg("1000").spawn().unwrap())
        };
        let start = || thread::scope(|scope| scope.spawn(started).join().unwrap());
        let ((first, mut one), (second, mut other)) = (start(), start());
        assert_eq!((first, second), (69_000, 69_001));
        let none_left = thread::spawn(move || users.claim().unwrap_err().to_string()).join().unwrap();
        assert_eq!(none_left, "all users of 69000-69001 are taken");
        one.kill().unwrap();
        one.wait().unwrap();
        let (third, mut again) = start();
        assert_eq!(third, 69_000);
        for child in [&mut other, &mut again] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(geteuid().is_root() && rustix::process::getuid().is_root(), "it was those threads'");
    }
}
