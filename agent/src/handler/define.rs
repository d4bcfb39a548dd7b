//! Define: show what a machine is made of, or change it.

use hypervisor_core::{
    definition::{Boot, Definition, DefinitionError, Effective, Size, SizeError, differences},
    lifecycle::State,
};
use skerry_stanzas::{
    command::machine,
    refusal::{Reason, Refusal},
    reply::Defined,
};

use super::{Handle, edit::edit};
use crate::{agent::Agent, dispatch::Job, machine::Edit};

impl Handle<machine::Define> for Agent {
    async fn handle(&self, job: &Job, command: machine::Define) -> Result<Defined, Refusal> {
        let mut record = job.machine()?.record();
        let mut definition = record.definition.clone();
        change(&mut definition, &command)?;
        checked(&definition)?;
        let found = differences(&record.definition, &definition);
        let changed: Vec<String> = found.iter().map(|one| one.words.clone()).collect();
        if !changed.is_empty() {
            let edited = edit(job, Edit::Define(Box::new(definition), changed.join(", "))).await?;
            record = edited.record;
        }
        let runs = !matches!(record.state, State::Stopped(_) | State::Failed(_) | State::Saved);
        let latest = found.iter().map(|one| one.effective).max().unwrap_or(Effective::Now);
        let effective = if runs { latest } else { Effective::Now };
        Ok(Defined {
            name: record.name.to_string(),
            changed,
            effective: effective.words().into(),
            toml: record.definition.to_toml(),
        })
    }
}

/// Makes the changes asked for.
fn change(definition: &mut Definition, command: &machine::Define) -> Result<(), Refusal> {
    if let Some(memory) = &command.memory {
        definition.memory_mib = memory_mib(memory)?;
    }
    if let Some(vcpus) = command.vcpus {
        definition.vcpus = vcpus;
    }
    if let Some(note) = &command.note {
        definition.note = Some(note.clone()).filter(|note| !note.is_empty());
    }
    match (&command.cmdline, &mut definition.boot) {
        (None, _) => Ok(()),
        (Some(new), Boot::Kernel { cmdline, .. }) => {
            cmdline.clone_from(new);
            Ok(())
        }
        (Some(_), Boot::Disk) => {
            let text = "It boots from a disk, which brings its own command line.";
            Err(Refusal::new(Reason::Conflict, text).field("cmdline"))
        }
    }
}

/// Reads a size of memory.
pub(super) fn memory_mib(text: &str) -> Result<u64, Refusal> {
    text.parse::<Size>().and_then(Size::mib).map_err(|error: SizeError| {
        Refusal::new(Reason::BadRequest, format!("memory: {error}.")).field("memory")
    })
}

/// Refuses a definition that cannot be.
pub(super) fn checked(definition: &Definition) -> Result<(), Refusal> {
    definition.check().map_err(|error: DefinitionError| {
        let refusal = Refusal::new(Reason::BadRequest, format!("That cannot be: {error}."));
        match error.field() {
            Some(field) => refusal.field(field),
            None => refusal,
        }
    })
}
