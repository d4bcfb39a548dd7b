//! Small files in machines' folders by which an agent that comes after one that was killed knows how far a
//! command came. They go when their command is closed; what a crash in between leaves goes at the next
//! start.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use crate::{
    agent::Inner,
    handler::{guest::programs, keys},
};

/// The notes of one command.
#[derive(Default)]
pub(super) struct Notes(Mutex<Vec<PathBuf>>);

impl Notes {
    pub(super) fn put(&self, note: PathBuf) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// Its end is in the journal.
    pub(super) fn remove(&self) {
        for note in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may never have been made.
            let _ = fs::remove_file(note);
        }
    }
}

/// Removes what was left. Called when every command is closed and none was let in yet.
pub(crate) fn tidy(inner: &Inner) {
    for machine in inner.machines.all() {
        for file in fs::read_dir(&machine.card.folder).into_iter().flatten().flatten() {
            let name = file.file_name();
            let name = name.to_string_lossy();
            if [programs::NOTE, keys::NOTE].iter().any(|note| name.starts_with(note)) {
                let _ = fs::remove_file(file.path());
            }
        }
    }
}
