//! Define: show what a machine is made of, change it, or make it again of what it was made of before.

pub(crate) mod cd;
mod files;
pub(crate) mod live;
mod nics;
mod policy;
mod room;

pub(crate) use self::files::check as allowed_files;
pub(super) use self::files::place;

use hypervisor_core::{
    definition::{Boot, Definition, DefinitionError, Size, SizeError, differences, say_nic},
    lifecycle::State,
};
use skerry_stanzas::{
    command::machine,
    refusal::{Reason, Refusal},
    reply::{Defined, DefinitionHistory, DefinitionLine, Redefined},
};

use super::{
    Handle,
    edit::edit,
    quotas::{Takes, of_definition},
};
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    machine::{Edit, Machine, Record},
    store::definitions,
};

impl Handle<machine::Define> for Agent {
    async fn handle(&self, job: &Job, command: machine::Define) -> Result<Defined, Refusal> {
        let machine = job.machine()?;
        let record = machine.record();
        // Until it is stored what CD is in it, no image goes.
        let held = self.inner.images.hold().await;
        let definition = self.wanted(machine, &record, &command).await?;
        let defined = define(job, &record, definition).await;
        drop(held);
        defined
    }

    async fn takes(&self, job: &Job, command: &machine::Define) -> Result<Option<Takes>, Refusal> {
        let now = &job.machine()?.record().definition;
        self.for_machine(job, of_definition(&asked(now, command)?).beyond(of_definition(now)))
    }

    async fn obstacle(&self, job: &Job, command: &machine::Define) -> Result<(), Refusal> {
        let machine = job.machine()?;
        self.wanted(machine, &machine.record(), command).await.map(drop)
    }
}

impl Agent {
    /// What it is to be made of, looked at.
    async fn wanted(
        &self,
        machine: &Machine,
        record: &Record,
        command: &machine::Define,
    ) -> Result<Definition, Refusal> {
        let mut definition = asked(&record.definition, command)?;
        checked(&definition)?;
        record.layers.fits(&record.definition, &definition)?;
        files::check(&self.config(), &machine.card.folder, &record.definition, &definition).await?;
        self.check_nics(record.id, &definition).await?;
        self.check_devices(&record.definition, &definition).await?;
        if let Some(cd) = &command.cd {
            self.insert_cd(&mut definition, cd).await?;
            checked(&definition)?;
        }
        Ok(definition)
    }
}

impl Handle<machine::DefinitionList> for Agent {
    async fn handle(
        &self,
        job: &Job,
        _command: machine::DefinitionList,
    ) -> Result<DefinitionHistory, Refusal> {
        let record = job.machine()?.record();
        let id = record.id;
        let kept = self.inner.store.run(move |connection| definitions::list(connection, id)).await?;
        let lines = kept.into_iter().map(|kept| {
            let definitions::Kept { number, at, who, what } = kept;
            DefinitionLine { number, at, who, what }
        });
        Ok(DefinitionHistory { name: record.name.to_string(), definitions: lines.collect() })
    }
}

impl Handle<machine::DefinitionRevert> for Agent {
    async fn takes(&self, job: &Job, command: &machine::DefinitionRevert) -> Result<Option<Takes>, Refusal> {
        let (record, number) = (job.machine()?.record(), command.number);
        let id = record.id;
        let found = self.inner.store.run(move |connection| definitions::one(connection, id, number)).await?;
        let beyond = |then: &Definition| of_definition(then).beyond(of_definition(&record.definition));
        self.for_machine(job, found.as_ref().map(beyond).unwrap_or_default())
    }

    async fn handle(&self, job: &Job, command: machine::DefinitionRevert) -> Result<Defined, Refusal> {
        let record = job.machine()?.record();
        let (id, number) = (record.id, command.number);
        let found = self.inner.store.run(move |connection| definitions::one(connection, id, number)).await?;
        let mut definition = found.ok_or_else(|| {
            let text = format!("{} had no definition {number}, or it is no longer kept.", record.name);
            Refusal::new(Reason::NotFound, text)
                .field("number")
                .hint("\"definition list\" shows those there are.")
        })?;
        record.layers.carry_over(&record.definition, &mut definition);
        record.layers.fits(&record.definition, &definition)?;
        // Its files were looked at when it was defined: what may be named now is not asked again.
        checked(&definition)?;
        self.check_nics(id, &definition).await?;
        self.check_devices(&record.definition, &definition).await?;
        define(job, &record, definition).await
    }
}

/// Makes it so, and says what is different and from when on.
pub(super) async fn define(job: &Job, record: &Record, definition: Definition) -> Result<Defined, Refusal> {
    let found = differences(&record.definition, &definition);
    let mut defined = shown(record, &definition, vec![]);
    if !found.is_empty() {
        let words: Vec<&str> = found.iter().map(|one| one.words.as_str()).collect();
        let (before, what) = (Box::new(record.definition.clone()), words.join(", "));
        edit(job, Edit::Define { before, after: Box::new(definition), what }).await?;
        crash::point("definition-stored");
    }
    let runs = !matches!(record.state, State::Stopped(_) | State::Failed(_) | State::Saved);
    for difference in found {
        let effective = live::alter(&job.machine()?.card, runs, &difference).await;
        defined.changed.push(Redefined { what: difference.words, effective });
    }
    Ok(defined)
}

/// What it is made of, for people and for programs, and what was changed.
pub(super) fn shown(record: &Record, definition: &Definition, changed: Vec<Redefined>) -> Defined {
    let typed = serde_json::to_value(definition).unwrap_or_default();
    Defined { name: record.name.to_string(), changed, toml: definition.to_toml(), definition: typed }
}

/// What it is to be made of: first the whole of it, where that is given, then each thing alone. What is
/// given as it is now says nothing: a form is sent back with all its fields, also those nobody touched.
pub(crate) fn asked(now: &Definition, command: &machine::Define) -> Result<Definition, Refusal> {
    let machine::Define {
        memory,
        memory_max,
        vcpus,
        vcpus_max,
        cmdline,
        note,
        restart,
        order,
        delay,
        nic,
        cd: _,
        toml,
    } = command;
    let mut asked = match toml {
        Some(toml) => Definition::from_toml(&toml.0).map_err(|error| wrong(&error).field("toml"))?,
        None => now.clone(),
    };
    if let Some(memory_mib) = memory.as_deref().map(memory_mib).transpose()?
        && memory_mib != now.memory_mib
    {
        asked.memory_mib = memory_mib;
    }
    if let Some(vcpus) = vcpus.filter(|vcpus| *vcpus != now.vcpus) {
        asked.vcpus = vcpus;
    }
    room::say(&mut asked, now, memory_max.as_deref(), *vcpus_max)?;
    if let Some(note) = note {
        let note = Some(note.clone()).filter(|note| !note.is_empty());
        if note != now.note {
            asked.note = note;
        }
    }
    if let Some(new) = cmdline {
        match (&mut asked.boot, &now.boot) {
            (_, Boot::Kernel { cmdline, .. }) if cmdline == new => {}
            (Boot::Kernel { cmdline, .. }, _) => cmdline.clone_from(new),
            (Boot::Disk, _) => {
                let text = "It boots from a disk, which brings its own command line.";
                return Err(Refusal::new(Reason::Conflict, text).field("cmdline"));
            }
        }
    }
    policy::say(&mut asked, now, *restart, order.as_deref(), delay.as_deref())?;
    for word in nic {
        say_nic(&mut asked.nics, word).map_err(|error| {
            Refusal::new(Reason::BadRequest, format!("nic: {error}."))
                .field("nic")
                .hint("Such as: define nic=forward=8080:80, or nic=lan,bridge=br0")
        })?;
    }
    Ok(asked)
}

/// Reads a size of memory.
pub(super) fn memory_mib(text: &str) -> Result<u64, Refusal> {
    text.parse::<Size>().and_then(Size::mib).map_err(|error: SizeError| {
        Refusal::new(Reason::BadRequest, format!("memory: {error}.")).field("memory")
    })
}

/// Refuses a definition that cannot be.
pub(super) fn checked(definition: &Definition) -> Result<(), Refusal> {
    definition.check().map_err(|error| wrong(&error))
}

fn wrong(error: &DefinitionError) -> Refusal {
    let why = error.to_string();
    let end = if why.ends_with('?') { "" } else { "." };
    let refusal = Refusal::new(Reason::BadRequest, format!("That cannot be: {why}{end}"));
    match error.field() {
        Some(field) => refusal.field(field),
        None => refusal,
    }
}
