//! What is carried out inside a guest, by its guest agent.

use std::time::Duration;

use hypervisor_core::driver::DriverError;
use skerry_stanzas::{
    command::machine,
    refusal::{Reason, Refusal},
    reply::Executed,
};

use super::{Handle, console::lines};
use crate::{agent::Agent, dispatch::Job, machine::Machine, reference};

/// As long as a command is waited for at most.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Lines shown of what it wrote.
const LINES_MAX: u32 = 200;

impl Handle<machine::Exec> for Agent {
    async fn handle(&self, job: &Job, command: machine::Exec) -> Result<Executed, Refusal> {
        let machine = job.machine()?;
        let name = machine.record().name.to_string();
        let agent = machine.card.driver.guest_agent();
        let agent =
            agent.ok_or_else(|| Refusal::new(Reason::NotSupported, format!("{name} has no guest agent.")))?;
        let limit = command.wait.min(WAIT_MAX);
        let ran = agent
            .exec(machine.card.id, &command.command, limit)
            .await
            .map_err(|error| said(machine, error))?;
        let (output, errors) = (lines(&ran.output, LINES_MAX), lines(&ran.errors, LINES_MAX));
        let written = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
        let cut = ran.cut || written(&ran.output) > output.len() || written(&ran.errors) > errors.len();
        Ok(Executed { name, code: ran.code, signal: ran.signal, output, errors, cut })
    }
}

/// What a driver's "no" means to whoever wanted something of the guest.
fn said(machine: &Machine, error: DriverError) -> Refusal {
    let name = &machine.record().name;
    match error {
        DriverError::NotRunning => {
            Refusal::new(Reason::Conflict, format!("{name} is not running.")).hint("Start it first.")
        }
        DriverError::Unfit(why) => Refusal::new(Reason::Conflict, format!("{name}: {why}.")),
        DriverError::TimedOut { limit, .. } => Refusal::new(
            Reason::Unavailable,
            format!(
                "It has not ended after {}, and goes on in the guest.",
                humantime::format_duration(limit)
            ),
        )
        .hint("Give it longer with wait=10m, for example."),
        error => reference::internal(&format!("The guest of {name} could not be reached"), &error),
    }
}
