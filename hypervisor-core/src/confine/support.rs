//! What of the bounds this host can keep, in words.

use std::{fmt, io, path::Path, thread};

use super::{Bounds, May, Users, files};

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

/// Whether guests whose folders are in `folder` have users of their own: tried, on a thread that ends.
pub fn of_users(users: Option<Users>, folder: &Path) -> String {
    let Some(users) = users else { return "Guests have the agent's user, as configured.".into() };
    let mut bounds = Bounds::default();
    bounds.may(May::Listen, folder);
    let tried = thread::scope(|scope| {
        let tried = scope.spawn(|| bounds.show_as(users).map(drop)).join();
        tried.unwrap_or_else(|_| Err(io::Error::other("the trial broke off")))
    });
    match tried {
        Ok(()) => format!("Each guest has a user of its own ({users}), and its files stay whose they are."),
        Err(error) => format!("Guests have the agent's user: {error}."),
    }
}
