//! What is carried out inside a guest, by its guest agent.

mod files;
mod freeze;
mod password;
pub(crate) mod programs;
pub(crate) mod quiet;
mod seen;

use hypervisor_core::driver::{DriverError, GuestAgent};
use skerry_stanzas::refusal::{Reason, Refusal};

pub(crate) use self::{
    freeze::Freezes,
    seen::{Said, facts},
};
use super::Handle;
use crate::{machine::Machine, reference};

/// What talks with the guest of a machine.
pub(super) fn agent_of(machine: &Machine) -> Result<&dyn GuestAgent, Refusal> {
    let record = machine.record();
    let none =
        |why: &str| Refusal::new(Reason::NotSupported, format!("{} has no guest agent{why}.", record.name));
    if !record.definition.guest_agent {
        return Err(none(": it is made without").hint("guest_agent = true in its definition gives it one."));
    }
    machine.card.driver.guest_agent().ok_or_else(|| none(""))
}

/// What a driver's "no" means to whoever wanted something of the guest.
pub(super) fn said(machine: &Machine, error: DriverError) -> Refusal {
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
