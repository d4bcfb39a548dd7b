//! A machine's folder: what of a running machine is noted there, and its sockets, however long the
//! folder's own path is.

use std::{
    fs, io,
    os::{
        fd::AsRawFd,
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use uuid::Uuid;

use super::{
    arguments::{AGENT, CONSOLE, CONTROL, SCREEN},
    migrate::LUGGAGE,
    process::Identity,
};
use crate::driver::DriverError;

/// What QEMU said on its standard error.
pub(super) const ERRORS_LOG: &str = "qemu.log";
/// The note of the running process.
const NOTE: &str = "qemu.json";
/// Much more than QEMU says before it gives up.
const ERRORS_READ_MAX: usize = 16 * 1024;

/// What is noted of a running machine, for the agent that comes after this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Its process.
    pub(super) process: Identity,
    /// Set if somebody else started it: how it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) adopted: Option<Adopted>,
    /// Until when a guest that shuts down does so to reboot, as it was asked; seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reboots_until: Option<u64>,
}

/// A machine that somebody else started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Adopted {
    /// Its control socket.
    pub(super) control: PathBuf,
    /// What it answers as its UUID.
    pub(super) uuid: Uuid,
}

/// The folder of one machine.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn within(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes it the owner's alone: who can reach the sockets owns the machine.
    pub(super) fn close_to_others(&self) -> Result<(), DriverError> {
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700))
            .map_err(|source| DriverError::system(format!("preparing {}", self.0.display()), source))
    }

    /// Removes what a run leaves besides its logs.
    pub(super) fn clear(&self) {
        for name in [CONTROL, CONSOLE, SCREEN, AGENT, NOTE, LUGGAGE] {
            match fs::remove_file(self.within(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, file = %self.within(name).display(), "could not be removed");
                }
                _ => {}
            }
        }
    }

    /// Notes the process, whole or not at all.
    pub(super) fn note(&self, note: &Note) -> Result<(), DriverError> {
        let written = serde_json::to_vec(note).map_err(io::Error::from).and_then(|text| {
            let beside = self.within("qemu.json.new");
            fs::write(&beside, text)?;
            fs::rename(&beside, self.within(NOTE))
        });
        written.map_err(|source| DriverError::system(format!("writing to {}", self.0.display()), source))
    }

    /// What was noted; `None` also for a note that cannot be read, which is said in the log.
    pub(super) fn noted(&self) -> Option<Note> {
        let text = fs::read(self.within(NOTE)).ok()?;
        match serde_json::from_slice(&text) {
            Ok(note) => Some(note),
            Err(error) => {
                tracing::warn!(%error, file = %self.within(NOTE).display(), "the note cannot be read");
                None
            }
        }
    }

    /// The last of what QEMU said on its standard error.
    pub(super) fn errors(&self) -> String {
        let text = fs::read(self.within(ERRORS_LOG)).unwrap_or_default();
        let from = text.len().saturating_sub(ERRORS_READ_MAX);
        String::from_utf8_lossy(&text[from..]).into_owned()
    }

    /// Connects to one of its sockets.
    pub(super) async fn connect(&self, name: &str) -> io::Result<UnixStream> {
        connect(&self.within(name)).await
    }
}

/// Connects to a unix socket by a path of any length.
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (_folder, short) = short(path)?;
    UnixStream::connect(short).await
}

/// Listens on a unix socket by a path of any length.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    let (_folder, short) = short(path)?;
    UnixListener::bind(short)
}

/// A short path to the same, good for as long as the folder is held: a socket's address has 107 bytes, so
/// its folder is named by a descriptor.
fn short(path: &Path) -> io::Result<(fs::File, PathBuf)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let folder = fs::File::open(folder)?;
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((folder, short))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_socket_is_reached_however_long_its_path() {
        let above = tempfile::tempdir().unwrap();
        let long = above.path().join("a".repeat(200));
        fs::create_dir(&long).unwrap();
        // Bound by another, short name; what is tried is the way in.
        let short = above.path().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&short).unwrap();
        fs::rename(&short, long.join("qmp.sock")).unwrap();
        Folder::new(&long).connect("qmp.sock").await.unwrap();
        assert!(UnixStream::connect(long.join("qmp.sock")).await.is_err(), "else this tries nothing");
    }

    #[test]
    fn a_note_is_read_as_it_was_written_and_cleared() {
        let path = tempfile::tempdir().unwrap();
        let folder = Folder::new(path.path());
        assert_eq!(folder.noted(), None);
        let process = Identity { pid: 7, started_ticks: 8, boot: "b".into() };
        let note = Note {
            process,
            adopted: Some(Adopted { control: "/x/qmp".into(), uuid: Uuid::from_u128(9) }),
            reboots_until: Some(10),
        };
        folder.note(&note).unwrap();
        assert_eq!(folder.noted(), Some(note));
        folder.clear();
        assert_eq!(fs::read_dir(path.path()).unwrap().count(), 0);
        fs::write(folder.within(NOTE), "{").unwrap();
        assert_eq!(folder.noted(), None);
    }
}
