//! `type` and `key`: keys pressed one after another, noted as they go.
//!
//! How many were pressed is noted in the machine's folder, a few bytes in place, so that after the end of an
//! agent in the middle it can be said how far it came.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use hypervisor_core::driver::screen::keys::{self, Chord, KeyError};
use skerry_stanzas::{
    command::machine,
    refusal::{Reason, Refusal},
    reply::Typed,
    safe::safe_line,
};
use uuid::Uuid;

use super::{
    Handle,
    screen::{said, screen},
};
use crate::{agent::Agent, crash, dispatch::Job, machine::Machine};

/// The most chords of one command: at 25 a second a guest takes 40 seconds for them.
const CHORDS_MAX: usize = 1000;
/// What the name of a note begins with.
pub(crate) const NOTE: &str = "keys-";

impl Handle<machine::Type> for Agent {
    async fn handle(&self, job: &Job, command: machine::Type) -> Result<Typed, Refusal> {
        let mut text = command.text;
        if command.enter {
            text.push('\n');
        }
        let chords = keys::written(&text).map_err(|error| unknown(&error).field("text"))?;
        press(job, &chords).await
    }
}

impl Handle<machine::Key> for Agent {
    async fn handle(&self, job: &Job, command: machine::Key) -> Result<Typed, Refusal> {
        let chords: Result<Vec<Chord>, KeyError> =
            command.keys.iter().map(|word| keys::chord(word)).collect();
        press(job, &chords.map_err(|error| unknown(&error).field("keys"))?).await
    }
}

async fn press(job: &Job, chords: &[Chord]) -> Result<Typed, Refusal> {
    let machine: &Arc<Machine> = job.machine()?;
    if chords.len() > CHORDS_MAX {
        let text = format!("That is too much at once: at most {CHORDS_MAX} keys.");
        return Err(Refusal::new(Reason::BadRequest, text));
    }
    let screen = screen(machine)?;
    let of = u32::try_from(chords.len()).unwrap_or(u32::MAX);
    let noted = Noted::put(job, &machine.card.folder, of);
    for (keys, chord) in (1..).zip(chords) {
        if let Err(error) = screen.press(machine.card.id, std::slice::from_ref(chord)).await {
            let refusal = said(machine, error);
            return Err(match keys {
                1 => refusal,
                _ => refusal.hint(format!("{} of {of} keys were pressed before.", keys - 1)),
            });
        }
        noted.pressed(keys);
        if keys == 2 {
            crash::point("keys-pressed");
        }
    }
    Ok(Typed { name: machine.record().name.to_string(), keys: of })
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pressed {
    /// So many were.
    pub(crate) keys: u32,
    /// Of so many.
    pub(crate) of: u32,
}

/// The note, until the command is closed. A folder that takes none has none, which is in the log.
struct Noted(Option<(File, PathBuf)>);

impl Noted {
    fn put(job: &Job, folder: &Path, of: u32) -> Self {
        let path = path(folder, job.id);
        job.until_closed(path.clone());
        let made = File::create(&path).and_then(|file| {
            file.write_all_at(&[0_u32.to_be_bytes(), of.to_be_bytes()].concat(), 0)?;
            Ok(file)
        });
        match made {
            Ok(file) => Self(Some((file, path))),
            Err(error) => {
                tracing::warn!(%error, file = %path.display(), "keys are pressed without a note of them");
                Self(None)
            }
        }
    }

    fn pressed(&self, keys: u32) {
        if let Self(Some((file, path))) = self
            && let Err(error) = file.write_all_at(&keys.to_be_bytes(), 0)
        {
            tracing::warn!(%error, file = %path.display(), "a key is not noted");
        }
    }
}

fn path(folder: &Path, job: Uuid) -> PathBuf {
    folder.join(format!("{NOTE}{job}"))
}

/// How far an interrupted command came, by its note, which goes. `None`: it pressed none.
pub(crate) fn pressed(machine: &Machine, entry: Uuid) -> Option<Pressed> {
    let path = path(&machine.card.folder, entry);
    let note = fs::read(&path).ok()?;
    let _ = fs::remove_file(&path);
    let number = |at: usize| Some(u32::from_be_bytes(note.get(at..at + 4)?.try_into().ok()?));
    Some(Pressed { keys: number(0)?, of: number(4)? })
}

fn unknown(error: &KeyError) -> Refusal {
    match error {
        KeyError::Unknown { word, nearest } => {
            let refusal =
                Refusal::new(Reason::BadRequest, format!("There is no key {}.", safe_line(word, 40)));
            match nearest {
                Some(nearest) => refusal.hint(format!("Did you mean {nearest}?")),
                None => refusal.hint("Write ctrl-alt-del, enter, F2, or a letter, for example."),
            }
        }
        KeyError::NoSuchCharacter(missing) => Refusal::new(
            Reason::BadRequest,
            format!("A US keyboard, which this one is, has no {}.", safe_line(&missing.to_string(), 4)),
        )
        .hint("Nothing was typed. \"send\" types anything into the serial console."),
        KeyError::TooMany => Refusal::new(Reason::BadRequest, format!("{error}."))
            .hint("Keys held down together are joined by -, the next ones follow after a space."),
    }
}
