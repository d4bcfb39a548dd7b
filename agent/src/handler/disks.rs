//! The disks of a machine. The definition is written last, and decides: what was made for a disk that
//! is not in it is taken away again.

mod attaching;
pub(crate) mod files;
pub(crate) mod moving;
mod trimming;

use hypervisor_core::{
    definition::{Boot, Bus, Definition, Disk},
    driver::DriverError,
};
use skerry_stanzas::{
    command::machine::{self, DiskCreate},
    refusal::{Reason, Refusal},
    reply::{Changed, DiskLine, DiskList},
};

pub(crate) use self::attaching::meant;
use self::files::{Detached, Making};
use super::{
    Handle,
    define::checked,
    edit::edit,
    life::named,
    quotas::{Takes, size_of},
    storage::{Held, no_file, shown, size_bytes},
};
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    machine::Edit,
    rights::quota::{Amount, Kind},
};

impl Handle<machine::DiskList> for Agent {
    async fn handle(&self, job: &Job, _command: machine::DiskList) -> Result<DiskList, Refusal> {
        let card = &job.machine()?.card;
        let (record, launch) = (card.record(), card.launch());
        let Some(driver) = card.driver.disks() else { return Ok(empty(record.name.to_string())) };
        let seen = driver.list(&launch).await.map_err(|error| super::storage::said(&record.name, error))?;
        let runs = matches!(record.state.word(), "running" | "paused");
        let mut lines: Vec<DiskLine> = Vec::new();
        for (disk, seen) in record.definition.disks.iter().zip(seen) {
            let file = seen.file.as_ref();
            lines.push(DiskLine {
                name: disk.name.clone(),
                size_bytes: file.map(|file| file.size_bytes),
                used_bytes: file.map(|file| file.used_bytes),
                format: disk.format.word().into(),
                bus: disk.bus.word().into(),
                state: if runs && !seen.plugged { "next-start" } else { "attached" }.into(),
                path: disk.path.display().to_string(),
                backing: file.and_then(|file| file.backing.as_ref()).map(|path| path.display().to_string()),
            });
        }
        for Detached { name, path, format } in files::detached(&card.folder, &record) {
            let file = driver.file(&path, format).await.ok();
            lines.push(DiskLine {
                name,
                size_bytes: file.as_ref().map(|file| file.size_bytes),
                used_bytes: file.as_ref().map(|file| file.used_bytes),
                format: format.word().into(),
                bus: Bus::default().word().into(),
                state: "detached".into(),
                path: path.display().to_string(),
                backing: file.and_then(|file| file.backing).map(|path| path.display().to_string()),
            });
        }
        Ok(DiskList { name: record.name.to_string(), disks: lines })
    }
}

fn empty(name: String) -> DiskList {
    DiskList { name, disks: Vec::new() }
}

impl Handle<DiskCreate> for Agent {
    async fn takes(&self, job: &Job, command: &DiskCreate) -> Result<Option<Takes>, Refusal> {
        self.for_machine(job, Amount::default().with(Kind::Disk, size_bytes(&command.size)?))
    }

    async fn handle(&self, job: &Job, command: DiskCreate) -> Result<Changed, Refusal> {
        let bytes = size_bytes(&command.size)?;
        let held = Held::by(job)?;
        let format = attaching::format(command.format);
        // Looked at before it is part of a path.
        let path = held.card.folder.join("disks").join(format!("{}.{}", command.name, format.word()));
        let bus = match command.bus {
            machine::Bus::Virtio => Bus::Virtio,
            machine::Bus::Scsi => Bus::Scsi,
            machine::Bus::Sata => Bus::Sata,
        };
        let disk = Disk { name: command.name.clone(), bus, ..Disk::new(&path, format) };
        fits(&held, &disk)?;
        if files::detached(&held.card.folder, &held.record).iter().any(|one| one.name == disk.name) {
            let text = format!("{} has a detached disk {} already.", held.name(), disk.name);
            return Err(Refusal::new(Reason::Conflict, text)
                .field("name")
                .hint(format!("\"disk attach {}\" attaches it again.", disk.name)));
        }
        if path.exists() {
            let text = format!("{} is there already.", path.display());
            return Err(Refusal::new(Reason::Conflict, text).field("name").hint("Choose another name."));
        }
        let making = Making::begin(&held.card.folder, job.id, &path).await;
        let making = making.map_err(|error| no_file(held.name(), &error))?;
        crash::point("folder-made");
        let plugged = match self.make_disk(job, &held, &disk, bytes).await {
            Ok(plugged) => plugged,
            Err(refusal) => {
                making.undo().await;
                return Err(refusal);
            }
        };
        making.end().await;
        let when = if held.runs() && !plugged { ", from its next start on" } else { "" };
        let sentence = format!("{} has a new disk {} of {}{when}.", held.name(), disk.name, shown(bytes));
        Ok(self.changed(&held.card.record(), sentence))
    }
}

impl Agent {
    /// The file, and the disk. Whether the guest has it at once.
    async fn make_disk(&self, job: &Job, held: &Held, disk: &Disk, bytes: u64) -> Result<bool, Refusal> {
        let made = held.disks()?.create(&disk.path, disk.format, bytes).await;
        made.map_err(|error| held.said(error))?;
        crash::point("disk-made");
        self.put_in(job, held, disk).await
    }

    /// Gives a disk whose file is there to the guest, where that can be done at once, and writes it into
    /// the definition. Whether the guest has it at once.
    async fn put_in(&self, job: &Job, held: &Held, disk: &Disk) -> Result<bool, Refusal> {
        let now = held.runs() && disk.bus == Bus::Virtio;
        if now {
            crash::point("before-driver");
            let attached = held.disks()?.attach(&held.card.launch(), disk).await;
            crash::point("after-driver");
            attached.map_err(|error| held.said(error))?;
        }
        let written = edit(job, Edit::Attach(Box::new(disk.clone()))).await;
        crash::point("definition-stored");
        if let Err(refusal) = written {
            if now && let Err(error) = held.disks()?.detach(&held.card.launch(), &disk.name).await {
                tracing::warn!(machine = %held.name(), %error, "a disk that was not written down stays attached");
            }
            return Err(refusal);
        }
        Ok(now)
    }
}

/// Refuses a disk with which the definition cannot be.
fn fits(held: &Held, disk: &Disk) -> Result<(), Refusal> {
    if held.record.definition.disk(&disk.name).is_some() {
        let text = format!("{} has a disk {} already.", held.name(), disk.name);
        return Err(Refusal::new(Reason::Conflict, text).field("name").hint("Choose another name."));
    }
    let mut definition = Definition::clone(&held.record.definition);
    definition.disks.push(disk.clone());
    checked(&definition)
}

/// The disk of this name, or a refusal that says which there are.
fn find<'a>(held: &'a Held, name: &str) -> Result<&'a Disk, Refusal> {
    held.record.definition.disk(name).ok_or_else(|| {
        let names: Vec<&str> = held.record.definition.disks.iter().map(|disk| disk.name.as_str()).collect();
        let refusal =
            Refusal::new(Reason::NotFound, format!("{} has no disk {name:?}.", held.name())).field("name");
        match names.as_slice() {
            [] => refusal.hint("\"disk list\" shows what it has."),
            names => refusal.hint(format!("It has: {}.", names.join(", "))),
        }
    })
}

impl Handle<machine::DiskDetach> for Agent {
    async fn handle(&self, job: &Job, command: machine::DiskDetach) -> Result<Changed, Refusal> {
        let held = Held::by(job)?;
        let disk = find(&held, &command.name)?;
        let first = held.record.definition.disks.first();
        if held.record.definition.boot == Boot::Disk && first.is_some_and(|first| first.name == disk.name) {
            let text = format!("{} starts from its disk {}.", held.name(), disk.name);
            return Err(Refusal::new(Reason::Conflict, text).field("name"));
        }
        let mut without = held.record.definition.clone();
        without.disks.retain(|one| one.name != disk.name);
        held.record.layers.fits(&held.record.definition, &without)?;
        if held.runs() {
            job.say(format!("The guest of {} is asked to let go of {}.", held.name(), disk.name));
            crash::point("before-driver");
            let detached = held.disks()?.detach(&held.card.launch(), &disk.name).await;
            crash::point("after-driver");
            detached.map_err(|error| held.said(error))?;
        }
        edit(job, Edit::Detach(disk.name.clone())).await?;
        crash::point("definition-stored");
        let stays = match files::is_own(&held.card.folder, &disk.path) {
            true => {
                let called = files::called(&disk.path);
                format!("\"disk attach {called}\" brings it back, \"disk delete {called}\" deletes it.")
            }
            false => format!("Its file {} stays as it is.", disk.path.display()),
        };
        let sentence = format!("{} no longer has its disk {}. {stays}", held.name(), disk.name);
        Ok(self.changed(&held.card.record(), sentence))
    }
}

/// The disk of this name that was detached, and so may be deleted.
fn find_detached(held: &Held, name: &str) -> Result<files::Detached, Refusal> {
    if held.record.definition.disk(name).is_some() {
        let text = format!("{} has its disk {name} attached.", held.name());
        return Err(Refusal::new(Reason::Conflict, text)
            .field("name")
            .hint(format!("\"disk detach {name}\" first.")));
    }
    let detached = files::detached(&held.card.folder, &held.record);
    detached.into_iter().find(|one| one.name == name).ok_or_else(|| {
        let text = format!("{} has no detached disk {name:?}.", held.name());
        Refusal::new(Reason::NotFound, text).field("name").hint("\"disk list\" shows what it has.")
    })
}

impl Handle<machine::DiskDelete> for Agent {
    async fn obstacle(&self, job: &Job, command: &machine::DiskDelete) -> Result<(), Refusal> {
        find_detached(&Held::by(job)?, &command.name).map(drop)
    }

    async fn handle(&self, job: &Job, command: machine::DiskDelete) -> Result<Changed, Refusal> {
        let held = Held::by(job)?;
        let one = find_detached(&held, &command.name)?;
        tokio::fs::remove_file(&one.path).await.map_err(|error| no_file(held.name(), &error))?;
        crash::point("disk-removed");
        let sentence = format!("The disk {} of {} is deleted.", one.name, held.name());
        self.tell(job, &held.record, "machine.disk-deleted", &sentence).await;
        Ok(self.changed(&held.record, sentence))
    }

    fn warning(&self, job: &Job, command: &machine::DiskDelete) -> String {
        format!("This deletes the disk {} of {}, and all that is on it, for good.", command.name, named(job))
    }
}

impl Handle<machine::DiskResize> for Agent {
    async fn takes(&self, job: &Job, command: &machine::DiskResize) -> Result<Option<Takes>, Refusal> {
        let before = size_of(&job.machine()?.card, &command.name).await;
        let more = size_bytes(&command.size)?.saturating_sub(before);
        self.for_machine(job, Amount::default().with(Kind::Disk, more))
    }

    async fn handle(&self, job: &Job, command: machine::DiskResize) -> Result<Changed, Refusal> {
        let bytes = size_bytes(&command.size)?;
        let held = Held::by(job)?;
        let disk = find(&held, &command.name)?;
        if disk.read_only {
            let text = format!("The disk {} of {} can only be read.", disk.name, held.name());
            return Err(Refusal::new(Reason::Conflict, text).field("name"));
        }
        let launch = held.card.launch();
        let seen = held.disks()?.list(&launch).await.map_err(|error| held.said(error))?;
        let file = seen.into_iter().find(|seen| seen.name == disk.name).and_then(|seen| seen.file);
        let before = file.ok_or_else(|| {
            held.said(DriverError::Unfit(format!("the file of its disk {} cannot be read", disk.name)))
        })?;
        if bytes < before.size_bytes {
            let text = format!(
                "The disk {} of {} has {}, and a disk is never made smaller: what lies at its end would be lost.",
                disk.name,
                held.name(),
                shown(before.size_bytes)
            );
            return Err(Refusal::new(Reason::Conflict, text)
                .field("size")
                .hint("Make a smaller one with \"disk create\", and copy over in the guest."));
        }
        if bytes == before.size_bytes {
            let sentence = format!("The disk {} of {} has {} already.", disk.name, held.name(), shown(bytes));
            return Ok(self.changed(&held.record, sentence));
        }
        crash::point("before-driver");
        let resized = held.disks()?.resize(&launch, &disk.name, bytes).await;
        crash::point("after-driver");
        resized.map_err(|error| held.said(error))?;
        let sentence = format!(
            "The disk {} of {} has {} now, {} before. The guest's file system does not grow by itself.",
            disk.name,
            held.name(),
            shown(bytes),
            shown(before.size_bytes)
        );
        self.tell(job, &held.record, "machine.disk-resized", &sentence).await;
        Ok(self.changed(&held.record, sentence))
    }
}
