//! `exec`: a program in the guest, until its end; also for an agent that was killed meanwhile.
//!
//! That it is about to be begun is noted in the machine's folder, then the number it has in the guest, then
//! how it ended, since a guest tells that once. The note goes when the command is closed. The agent that
//! comes after one that was killed has it from the note, or asks the guest by that number.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hypervisor_core::driver::guest_agent::{INPUT_BYTES_MAX, Ran};
use serde::{Deserialize, Serialize};
use skerry_stanzas::{
    command::machine,
    refusal::{Reason, Refusal},
    reply::Executed,
};
use tokio::fs;
use uuid::Uuid;

use super::{Handle, agent_of, said};
use crate::{agent::Agent, crash, dispatch::Job, handler::console::lines, machine::Machine};

/// As long as a command is waited for at most.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Lines shown of what it wrote.
const LINES_MAX: u32 = 200;
/// What the name of a note begins with.
pub(crate) const NOTE: &str = "program-";

impl Handle<machine::Exec> for Agent {
    async fn handle(&self, job: &Job, command: machine::Exec) -> Result<Executed, Refusal> {
        let machine = job.machine()?;
        let agent = agent_of(machine)?;
        let input = command.input.map(|input| input.0).unwrap_or_default();
        if input.len() > INPUT_BYTES_MAX {
            let text = format!("That is too much to read: at most {INPUT_BYTES_MAX} bytes.");
            return Err(Refusal::new(Reason::BadRequest, text).field("input"));
        }
        let limit = command.wait.min(WAIT_MAX);
        let id = machine.card.id;
        let refused = |error| said(machine, error);
        let noted = Noted::put(job, machine, &command.command).await;
        let number = agent.begin(id, &command.command, input.as_bytes()).await.map_err(refused)?;
        noted.begun(number).await;
        crash::point("program-begun");
        let ran = agent.wait(id, number, limit).await.map_err(refused)?;
        let executed = executed(machine, &ran);
        noted.ended(&executed).await;
        Ok(executed)
    }
}

/// The answer for a program that has ended.
fn executed(machine: &Machine, ran: &Ran) -> Executed {
    let (output, errors) = (lines(&ran.output, LINES_MAX), lines(&ran.errors, LINES_MAX));
    let written = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    let cut = ran.cut || written(&ran.output) > output.len() || written(&ran.errors) > errors.len();
    let name = machine.record().name.to_string();
    Executed { name, code: ran.code, signal: ran.signal, output, errors, cut }
}

/// A program in a guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    /// What it is called.
    program: String,
    /// The number it has there, once it is begun.
    number: Option<i64>,
    /// How it ended.
    ended: Option<Executed>,
}

/// Its note. In a folder that cannot be written to there is none, which is in the log.
struct Noted {
    path: PathBuf,
    note: Note,
}

impl Noted {
    async fn put(job: &Job, machine: &Machine, command: &[String]) -> Self {
        let path = path(&machine.card.folder, job.id);
        job.until_closed(path.clone());
        let program = command.first().cloned().unwrap_or_default();
        let noted = Self { path, note: Note { program, number: None, ended: None } };
        noted.write(&noted.note).await;
        noted
    }

    async fn begun(&self, number: i64) {
        self.write(&Note { number: Some(number), ..self.note.clone() }).await;
    }

    async fn ended(&self, executed: &Executed) {
        self.write(&Note { ended: Some(executed.clone()), ..self.note.clone() }).await;
    }

    /// Whole or not at all.
    async fn write(&self, note: &Note) {
        let beside = self.path.with_extension("new");
        let written = async {
            fs::write(&beside, serde_json::to_vec(note).unwrap_or_default()).await?;
            fs::rename(&beside, &self.path).await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, file = %self.path.display(), "a program in a guest could not be noted");
        }
    }
}

fn path(folder: &Path, job: Uuid) -> PathBuf {
    folder.join(format!("{NOTE}{job}.json"))
}

/// What became of a program whose command was interrupted.
pub(crate) enum Became {
    /// It was not begun.
    Nothing,
    /// It ended so.
    Ended(Box<Executed>),
    /// It goes on in the guest, under this number.
    GoesOn(String, i64),
    /// Nobody can say.
    Unknown,
}

/// What became of it, by the note and by the guest.
pub(crate) async fn became(machine: &Machine, entry: Uuid, limit: Duration) -> Became {
    let Ok(text) = fs::read(path(&machine.card.folder, entry)).await else { return Became::Nothing };
    let Ok(note) = serde_json::from_slice::<Note>(&text) else { return Became::Unknown };
    let (number, agent) = match (note.ended, note.number, agent_of(machine)) {
        (Some(executed), ..) => return Became::Ended(Box::new(executed)),
        (None, Some(number), Ok(agent)) => (number, agent),
        _ => return Became::Unknown,
    };
    match tokio::time::timeout(limit, agent.ended(machine.card.id, number)).await {
        Ok(Ok(Some(ran))) => Became::Ended(Box::new(executed(machine, &ran))),
        Ok(Ok(None)) => Became::GoesOn(note.program, number),
        Ok(Err(_)) | Err(_) => Became::Unknown,
    }
}
