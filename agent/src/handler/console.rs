//! The serial console: its last lines, or a line typed and what comes of it.

use std::{sync::Arc, time::Duration};

use skerry_stanzas::{
    command::machine,
    refusal::{Reason, Refusal},
    reply::ConsoleOutput,
    safe::{LINE_CHARS_MAX, safe_line},
};
use tokio::{sync::broadcast, time};

use super::Handle;
use crate::{agent::Agent, dispatch::Job, machine::Machine};

/// Silence after which a guest is taken to have answered.
const QUIET: Duration = Duration::from_secs(1);
/// How long it may go on talking.
const TALK_MAX: Duration = Duration::from_secs(10);
/// Of what it says, this much is kept while waiting.
const BYTES_MAX: usize = 64 << 10;
/// Lines shown at most.
const LINES_MAX: usize = 500;

impl Handle<machine::Console> for Agent {
    async fn handle(&self, job: &Job, command: machine::Console) -> Result<ConsoleOutput, Refusal> {
        let machine = job.machine()?;
        let name = machine.record().name.to_string();
        Ok(ConsoleOutput { name, lines: lines(&tail(machine).await?, command.lines) })
    }
}

impl Handle<machine::Send> for Agent {
    async fn handle(&self, job: &Job, command: machine::Send) -> Result<ConsoleOutput, Refusal> {
        let machine = job.machine()?;
        let name = machine.record().name.to_string();
        Ok(ConsoleOutput { name, lines: lines(&typed(machine, &command.line).await?, command.lines) })
    }
}

async fn tail(machine: &Arc<Machine>) -> Result<Vec<u8>, Refusal> {
    let console = machine.card.driver.console().ok_or_else(|| none(machine))?;
    console.tail(&machine.card.launch(), BYTES_MAX).await.map_err(|error| said(machine, error))
}

/// Types a line, and listens until the guest has been quiet for a while.
async fn typed(machine: &Arc<Machine>, line: &str) -> Result<Vec<u8>, Refusal> {
    let console = machine.card.driver.console().ok_or_else(|| none(machine))?;
    let id = machine.card.id;
    // Listening begins before typing, so that nothing of the answer is missed.
    let mut output = console.follow(id).await.map_err(|error| said(machine, error))?;
    let mut keys = line.as_bytes().to_vec();
    keys.push(b'\n');
    console.send(id, &keys).await.map_err(|error| said(machine, error))?;
    let mut heard = Vec::new();
    let listening = async {
        while let Ok(more) = time::timeout(QUIET, output.recv()).await {
            match more {
                Ok(bytes) => heard.extend_from_slice(&bytes),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => break,
            }
            // Of too much the end is kept: a guest decides how much it says.
            if heard.len() > 2 * BYTES_MAX {
                heard.drain(..heard.len() - BYTES_MAX);
            }
        }
    };
    // A guest that goes on talking is not listened to for ever.
    let _ = time::timeout(TALK_MAX, listening).await;
    Ok(heard)
}

/// The last lines, made safe to show.
pub(super) fn lines(bytes: &[u8], wanted: u32) -> Vec<String> {
    let lines_max = usize::try_from(wanted).unwrap_or(LINES_MAX).clamp(1, LINES_MAX);
    let text = String::from_utf8_lossy(bytes);
    let all: Vec<&str> = text.trim_end_matches(['\r', '\n']).split('\n').collect();
    let from = all.len().saturating_sub(lines_max);
    let shown = all.get(from..).unwrap_or_default();
    let lines: Vec<String> =
        shown.iter().map(|line| safe_line(line.trim_end_matches('\r'), LINE_CHARS_MAX)).collect();
    if lines.iter().all(String::is_empty) { Vec::new() } else { lines }
}

fn none(machine: &Machine) -> Refusal {
    Refusal::new(Reason::NotSupported, format!("{} has no console.", machine.record().name))
}

/// What a driver's "no" means to whoever wanted the console.
pub(crate) fn said(machine: &Machine, error: hypervisor_core::driver::DriverError) -> Refusal {
    use hypervisor_core::driver::DriverError;
    let name = &machine.record().name;
    match error {
        DriverError::NotRunning => Refusal::new(Reason::Conflict, format!("{name} is not running."))
            .hint("Start it first; \"console\" shows what it said last."),
        DriverError::Unfit(why) => Refusal::new(Reason::Conflict, format!("{name}: {why}.")),
        error => crate::reference::internal(&format!("The console of {name} could not be reached"), &error),
    }
}
