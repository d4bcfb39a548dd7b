//! What the disks do not say of a machine's snapshots: which was taken after which, and how the machine
//! was laid out when its memory was kept. A file in the machine's folder; should it be lost, so is that
//! and nothing else.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The file's name.
const FILE: &str = "snapshots.json";

/// What is noted of a machine's snapshots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Notes {
    /// The one it stands on.
    pub(crate) current: Option<String>,
    /// By name.
    pub(crate) snapshots: BTreeMap<String, Note>,
    /// It is on its way back to this one.
    #[serde(default)]
    pub(crate) reverting: Option<String>,
    /// The command that was done last.
    #[serde(default)]
    pub(crate) done: Option<Uuid>,
}

/// What is noted of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// The one the machine stood on when it was taken.
    pub(crate) parent: Option<String>,
    /// The disks it is of.
    pub(crate) disks: Vec<String>,
    /// How the machine was laid out, when its memory was kept.
    pub(crate) layout: Option<String>,
    /// Whether all that the guest had written is in it; not known of one whose taking was interrupted.
    #[serde(default)]
    pub(crate) quiesced: Option<bool>,
}

impl Notes {
    /// Those of a machine; none where there are none, or where they cannot be read.
    pub(crate) fn read(folder: &Path) -> Self {
        let file = folder.join(FILE);
        match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), %error, "the notes of its snapshots cannot be read");
                Self::default()
            }),
            Err(_) => Self::default(),
        }
    }

    /// Writes them in place of the old ones: killed at any moment, there are the ones or the others.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let beside = folder.join("snapshots.json.new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(beside, folder.join(FILE))
    }

    /// One was taken: the machine stands on it.
    pub(crate) fn taken(&mut self, name: &str, note: Note, by: Uuid) {
        let note = Note { parent: self.current.take(), ..note };
        self.snapshots.insert(name.to_owned(), note);
        self.stands_on(name, by);
    }

    /// The machine stands on this one now.
    pub(crate) fn stands_on(&mut self, name: &str, by: Uuid) {
        self.current = Some(name.to_owned());
        self.done = Some(by);
    }

    /// One is gone; those after it come after the one before it.
    pub(crate) fn deleted(&mut self, name: &str, by: Uuid) {
        let parent = self.snapshots.remove(name).and_then(|note| note.parent);
        let is_it = |one: &Option<String>| one.as_deref() == Some(name);
        for note in self.snapshots.values_mut().filter(|note| is_it(&note.parent)) {
            note.parent.clone_from(&parent);
        }
        if is_it(&self.current) {
            self.current = parent;
        }
        self.done = Some(by);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_children_of_one_that_is_deleted_go_to_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let mut notes = Notes::read(folder.path());
        let by = Uuid::now_v7();
        for name in ["a", "b", "c"] {
            notes.taken(name, Note::default(), by);
        }
        notes.deleted("b", by);
        assert_eq!(notes.snapshots["c"].parent.as_deref(), Some("a"));
        notes.deleted("c", by);
        assert_eq!(notes.current.as_deref(), Some("a"));
        notes.write(folder.path()).unwrap();
        assert_eq!(Notes::read(folder.path()), notes);
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(Notes::read(folder.path()), Notes::default());
    }
}
