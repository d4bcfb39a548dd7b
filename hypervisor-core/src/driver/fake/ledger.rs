//! The file in which a [`FakeWorld`](super::FakeWorld) is kept: one line of JSON a change, replayed
//! when it is opened, and written anew when much of it is outdated.
//!
//! A line is one `write`, so that a process killed at any moment leaves at most a torn last line,
//! which is ignored. It is not synced: it must outlive the process, not the host.

use std::{
    borrow::Cow,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    guest::{Guest, Life},
    guest_agent::Within,
    world::{Foreigner, Inside},
};
use crate::{driver::DriverError, machine::MachineId};

/// How many lines more than there are machines may be outdated before the file is written anew.
const OUTDATED_MAX: usize = 10_000;

/// One change.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "what")]
#[expect(clippy::large_enum_variant, reason = "each is written or read, and none is kept")]
pub(super) enum Record<'a> {
    /// A machine, as it is now.
    Guest {
        id: MachineId,
        life: Cow<'a, Life>,
        born_ms: u64,
        memory_mib: u64,
        #[serde(default)]
        deaf_for: u32,
        #[serde(default)]
        disks: Cow<'a, [String]>,
        #[serde(default)]
        within: Cow<'a, Within>,
    },
    /// Its console grew.
    Wrote { id: MachineId, bytes: Vec<u8> },
    /// It is forgotten.
    Forgotten { id: MachineId },
    /// Somebody else's machine.
    Foreign { name: String, foreigner: Foreigner },
    /// It is somebody else's no longer.
    Adopted { name: String, id: Option<MachineId> },
}

impl<'a> Record<'a> {
    pub(super) fn guest(id: MachineId, guest: &'a Guest) -> Self {
        let Guest { life, born_ms, memory_mib, deaf_for, disks, within, .. } = guest;
        let (born_ms, memory_mib, deaf_for) = (*born_ms, *memory_mib, *deaf_for);
        let (life, within) = (Cow::Borrowed(life), Cow::Borrowed(within));
        Record::Guest { id, life, born_ms, memory_mib, deaf_for, disks: disks.into(), within }
    }

    fn replay(self, inside: &mut Inside) {
        match self {
            Record::Guest { id, life, born_ms, memory_mib, deaf_for, disks, within } => {
                let guest = inside.guests.entry(id).or_default();
                guest.life = life.into_owned();
                guest.born_ms = born_ms;
                guest.memory_mib = memory_mib;
                guest.deaf_for = deaf_for;
                guest.disks = disks.into_owned();
                guest.within = within.into_owned();
            }
            Record::Wrote { id, bytes } => inside.guests.entry(id).or_default().write(&bytes),
            Record::Forgotten { id } => {
                inside.guests.remove(&id);
                inside.adopted.remove(&id);
            }
            Record::Foreign { name, foreigner } => {
                inside.foreign.insert(name, foreigner);
            }
            Record::Adopted { name, id } => {
                if let (Some(foreigner), Some(id)) = (inside.foreign.remove(&name), id) {
                    inside.adopted.insert(id, (name, foreigner));
                }
            }
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    lines: usize,
}

impl Ledger {
    /// Opens the file and replays it.
    pub(super) fn open(path: &Path, inside: &mut Inside) -> Result<Self, DriverError> {
        let failed = |source| DriverError::system(format!("opening {}", path.display()), source);
        match File::open(path) {
            Ok(file) => {
                for line in BufReader::new(file).split(b'\n') {
                    match serde_json::from_slice::<Record<'_>>(&line.map_err(failed)?) {
                        Ok(record) => record.replay(inside),
                        Err(error) => {
                            tracing::warn!(%error, file = %path.display(), "a torn line is left out")
                        }
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        Self::anew(path, inside).map_err(failed)
    }

    /// Writes the file anew, beside the old one, and puts it in its place.
    fn anew(path: &Path, inside: &Inside) -> std::io::Result<Self> {
        let mut lines = Vec::new();
        for (id, guest) in &inside.guests {
            lines.push(Record::guest(*id, guest));
            lines.push(Record::Wrote { id: *id, bytes: guest.tail(usize::MAX).to_vec() });
        }
        // As it was: each was foreign first. Nobody else's has the name by now, or it comes later.
        for (id, (name, foreigner)) in &inside.adopted {
            lines.push(Record::Foreign { name: name.clone(), foreigner: foreigner.clone() });
            lines.push(Record::Adopted { name: name.clone(), id: Some(*id) });
        }
        for (name, foreigner) in &inside.foreign {
            lines.push(Record::Foreign { name: name.clone(), foreigner: foreigner.clone() });
        }
        let mut text = Vec::new();
        for line in &lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        let beside = path.with_extension("new");
        std::fs::write(&beside, text)?;
        std::fs::rename(&beside, path)?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self { path: path.into(), file, lines: lines.len() })
    }

    /// Adds a change. Should that fail, the world goes on without it: it is said in the log.
    pub(super) fn append(&mut self, record: &Record<'_>) {
        let written = serde_json::to_vec(record).map_err(std::io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.file.write_all(&line)
        });
        self.lines += 1;
        if let Err(error) = written {
            tracing::error!(%error, file = %self.path.display(), "a change of the fake world is not kept");
        }
    }

    /// The same ledger, written anew when too much of it is outdated.
    pub(super) fn tidied(self, inside: &Inside) -> Self {
        if self.lines <= OUTDATED_MAX + 2 * inside.guests.len() {
            return self;
        }
        match Self::anew(&self.path, inside) {
            Ok(anew) => anew,
            Err(error) => {
                tracing::error!(%error, file = %self.path.display(), "the fake world cannot be written anew");
                Self { lines: 0, ..self }
            }
        }
    }
}
