//! What came of commands of disks, snapshots and clones, by looking at the disks. What was half done is
//! undone, or done to its end where that is the only way on.

use hypervisor_core::{definition::Disk, machine::MachineId};
use serde_json::Value;
use uuid::Uuid;

use super::Found;
use crate::{
    agent::Agent,
    handler::{
        disks::{
            files::{Making, is_own},
            meant,
            moving::Moving,
        },
        snapshots::{
            external::{
                self,
                merging::{Deletion, settle_deleted},
                work::Work,
            },
            notes::{Note, Notes},
            schedules::Schedules,
        },
        storage::{Held, size_bytes},
        unclone,
    },
    journal::{Accepted, Outcome},
    machine::{Edit, Machine, Order},
};

/// What is seen of one of these commands; `None` for others.
pub(super) async fn found(agent: &Agent, entry: Uuid, accepted: &Accepted) -> Option<Found> {
    let (_, verb) = accepted.permission.split_once("machine.")?;
    if !(verb.starts_with("disk-") || verb.starts_with("snapshot-") || verb == "clone") {
        return None;
    }
    let machine = agent.inner.machines.get(MachineId(accepted.machine?))?;
    if matches!(verb, "snapshot-take" | "clone") {
        agent.unquiet(&machine, super::guest::PATIENCE).await;
    }
    // Nothing else is under way when the agent starts; what failed to be looked at has said so.
    let Ok(held) = Held::of(&machine) else { return Some(Found::Unknown) };
    let after = After { agent, entry, held, args: &accepted.args };
    Some(match verb {
        "disk-create" => after.disk_create().await,
        "disk-attach" => after.disk_attach().await,
        "disk-detach" => after.disk_detach(&machine).await,
        "disk-delete" => after.disk_delete(),
        "disk-move" => after.disk_move(&machine).await,
        "disk-resize" => after.disk_resize().await.unwrap_or(Found::Unknown),
        "snapshot-take" if after.flag("external") => after.external_take(&machine).await,
        "snapshot-take" => after.snapshot_take().await.unwrap_or(Found::Unknown),
        "snapshot-schedule" => After::seen(after.is_scheduled()),
        "snapshot-unschedule" => After::seen(!after.is_scheduled()),
        "snapshot-revert" if after.is_external().await => after.external_revert().await,
        "snapshot-revert" => after.snapshot_revert().await,
        "snapshot-delete" if after.is_external().await => after.external_delete(&machine).await,
        "snapshot-delete" => after.snapshot_delete().await.unwrap_or(Found::Unknown),
        "clone" => after.clone().await,
        _ => Found::Unknown,
    })
}

/// What commands left beside the disks that were closed all the same.
pub(super) async fn settle_left(agent: &Agent) {
    for machine in agent.inner.machines.all() {
        if Work::is_open(&machine.card.folder)
            && let Ok(held) = Held::of(&machine)
        {
            external::settle_left(&held, &machine).await;
        }
    }
}

/// After the interruption of a command.
struct After<'a> {
    agent: &'a Agent,
    entry: Uuid,
    held: Held,
    args: &'a Value,
}

impl After<'_> {
    fn arg(&self, name: &str) -> &str {
        self.args.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn has_disk(&self) -> bool {
        self.held.record.definition.disk(self.arg("name")).is_some()
    }

    fn seen(so: bool) -> Found {
        if so { Found::Finished } else { Found::Undone }
    }

    /// Takes a disk from the guest that was not written down. True when it has none of that name.
    async fn unplug(&self, name: &str) -> bool {
        let Ok(disks) = self.held.disks() else { return false };
        !self.held.runs() || disks.detach(&self.held.card.launch(), name).await.is_ok()
    }

    async fn disk_create(&self) -> Found {
        let making = Making::interrupted(&self.held.card.folder, self.entry).await;
        if self.has_disk() {
            if let Some(making) = making {
                making.end().await;
            }
            return Found::Finished;
        }
        let Some(making) = making else { return Found::Undone };
        if !self.unplug(self.arg("name")).await {
            // The guest has it, and holds on to it: its file is not taken from under it.
            making.end().await;
            return Found::Unknown;
        }
        making.undo().await;
        Found::Undone
    }

    async fn disk_attach(&self) -> Found {
        let definition = &self.held.record.definition;
        let what = self.arg("what");
        let name = self.args.get("name").and_then(Value::as_str);
        let is_it = |path: &std::path::Path| {
            path.canonicalize().ok() == std::path::Path::new(what).canonicalize().ok()
                || path.file_stem().is_some_and(|stem| stem == what)
        };
        if definition.disks.iter().any(|disk| is_it(&disk.path)) {
            return Found::Finished;
        }
        match self.unplug(&meant(definition, what, name)).await {
            true => Found::Undone,
            false => Found::Unknown,
        }
    }

    /// The guest let go of it: then the definition does as well, or it would be back at the next start.
    async fn disk_detach(&self, machine: &Machine) -> Found {
        if !self.has_disk() {
            return Found::Finished;
        }
        let name = self.arg("name");
        let Ok(disks) = self.held.disks() else { return Found::Unknown };
        match disks.list(&self.held.card.launch()).await {
            _ if !self.held.runs() => Found::Undone,
            Err(_) => Found::Unknown,
            Ok(seen) if seen.iter().any(|seen| seen.name == name && seen.plugged) => Found::Undone,
            Ok(_) => {
                let edit = Edit::Detach(name.to_owned());
                let edited = machine.order(|reply| Order::Edit { edit, by: None, reply }).await;
                if edited.is_ok() { Found::Finished } else { Found::Unknown }
            }
        }
    }

    /// Written down, it is done to its end, unless the guest has not gone on with it.
    async fn disk_move(&self, machine: &Machine) -> Found {
        let (name, folder) = (self.arg("name"), &self.held.card.folder);
        let definition = &self.held.record.definition;
        let Some(moving) = Moving::interrupted(folder, self.entry).await else {
            // The note goes last, and comes before anything is made.
            let to = self.arg("to").trim();
            let own = |disk: &Disk| to == "own" && is_own(folder, &disk.path);
            let there = definition.disk(name).is_some_and(|disk| own(disk) || disk.path.as_os_str() == to);
            return Self::seen(there);
        };
        let Ok(disks) = self.held.disks() else { return Found::Unknown };
        let launch = self.held.card.launch();
        let written = definition.disk(name).is_some_and(|disk| disk.path == moving.to);
        let used = match disks.is_in(&launch, name, &moving.to).await {
            Ok(used) => used,
            Err(_) => return Found::Unknown,
        };
        if written && used != Some(false) {
            moving.end(folder).await;
            return Found::Finished;
        }
        if disks.abandon(&launch).await.is_err() {
            return Found::Unknown;
        }
        if written {
            let edit = Edit::Move(name.to_owned(), moving.from.clone());
            if machine.order(|reply| Order::Edit { edit, by: None, reply }).await.is_err() {
                return Found::Unknown;
            }
        }
        moving.undo().await;
        Found::Undone
    }

    fn disk_delete(&self) -> Found {
        use crate::handler::disks::files::detached;
        let left = detached(&self.held.card.folder, &self.held.record);
        Self::seen(left.iter().all(|one| one.name != self.arg("name")))
    }

    async fn disk_resize(&self) -> Option<Found> {
        let wanted = size_bytes(self.arg("size")).ok()?;
        let seen = self.held.disks().ok()?.list(&self.held.card.launch()).await.ok()?;
        let file = seen.into_iter().find(|seen| seen.name == self.arg("name"))?.file?;
        Some(Self::seen(file.size_bytes >= wanted))
    }

    /// Whether there is a schedule of the name, and as it was asked for where that was said.
    fn is_scheduled(&self) -> bool {
        let schedules = Schedules::read(&self.held.card.folder);
        let keep = self.args.get("keep").and_then(Value::as_u64);
        schedules
            .0
            .get(self.arg("name"))
            .is_some_and(|schedule| keep.is_none_or(|keep| schedule.keep as u64 == keep))
    }

    /// In which disks a snapshot is, and in which it should be.
    async fn disks_having(&self, name: &str) -> Option<Vec<String>> {
        let seen = self.held.snapshots().ok()?.list(&self.held.card.launch()).await.ok()?;
        Some(seen.into_iter().find(|seen| seen.name == name).map(|seen| seen.disks).unwrap_or_default())
    }

    async fn snapshot_take(&self) -> Option<Found> {
        let name = self.arg("name");
        let mut notes = Notes::read(&self.held.card.folder);
        if notes.done == Some(self.entry) {
            return Some(Found::Finished);
        }
        if notes.snapshots.contains_key(name) {
            // It was there before, and refused for that.
            return Some(Found::Undone);
        }
        let having = self.disks_having(name).await?;
        let all: Vec<String> = hypervisor_core::driver::snapshots::taking_part(&self.held.record.definition)
            .map(|disk| disk.name.clone())
            .collect();
        // How it was laid out is not known any more: one with memory is as good as undone.
        let memory = self.args.get("memory").and_then(Value::as_bool).unwrap_or(false);
        if having == all && !memory {
            notes.taken(name, Note { parent: None, disks: having, layout: None, quiesced: None }, self.entry);
            notes.write(&self.held.card.folder).ok()?;
            return Some(Found::Finished);
        }
        if !having.is_empty() {
            self.held.snapshots().ok()?.delete(&self.held.card.launch(), name).await.ok()?;
        }
        Some(Found::Undone)
    }

    /// Begun on disks at rest, it is done to its end: it was confirmed, and there is no way back.
    async fn snapshot_revert(&self) -> Found {
        let folder = &self.held.card.folder;
        let mut notes = Notes::read(folder);
        if notes.done == Some(self.entry) {
            return Found::Finished;
        }
        let Some(name) = notes.reverting.take() else { return Found::Undone };
        let mut found = Found::Unknown;
        if !self.held.runs()
            && let Ok(snapshots) = self.held.snapshots()
            && snapshots.revert(&self.held.card.launch(), &name, None).await.is_ok()
        {
            notes.stands_on(&name, self.entry);
            found = Found::Finished;
        }
        match notes.write(folder) {
            Ok(()) => found,
            Err(_) => Found::Unknown,
        }
    }

    async fn snapshot_delete(&self) -> Option<Found> {
        let name = self.arg("name");
        let mut notes = Notes::read(&self.held.card.folder);
        if notes.done == Some(self.entry) {
            return Some(Found::Finished);
        }
        let having = self.disks_having(name).await?;
        let whole = notes.snapshots.get(name).is_none_or(|note| note.disks == having);
        if whole && !having.is_empty() {
            return Some(Found::Undone);
        }
        // Of a part of the disks it is no snapshot any more.
        self.held.snapshots().ok()?.delete(&self.held.card.launch(), name).await.ok()?;
        notes.deleted(name, self.entry);
        notes.write(&self.held.card.folder).ok()?;
        Some(Found::Finished)
    }

    fn flag(&self, name: &str) -> bool {
        self.args.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Whether the snapshot that was meant is one of files of its own, or was until lately.
    async fn is_external(&self) -> bool {
        let known = self.held.record.layers.find(self.arg("name")).is_some();
        known || Work::interrupted(&self.held.card.folder, self.entry).await.is_some()
    }

    async fn external_take(&self, machine: &Machine) -> Found {
        let taken = external::settle_taken(&self.held, machine, self.arg("name"), self.entry).await;
        taken.map_or(Found::Unknown, Self::seen)
    }

    async fn external_revert(&self) -> Found {
        let reverted = external::settle_reverted(&self.held, self.arg("name"), self.entry).await;
        reverted.map_or(Found::Unknown, Self::seen)
    }

    async fn external_delete(&self, machine: &Machine) -> Found {
        let name = self.arg("name");
        match settle_deleted(&self.held, machine, name, self.entry).await {
            Some(Deletion::Done) => Found::Finished,
            Some(Deletion::Undone) => Found::Undone,
            Some(Deletion::Unmerged) => Found::Told(Outcome::Unknown {
                text: format!(
                    "The agent was restarted meanwhile: the snapshot {name} of {} is deleted, and its files are not \
                     merged yet. \"snapshot delete {name}\" goes on with it.",
                    self.held.record.name
                ),
            }),
            None => Found::Unknown,
        }
    }

    async fn clone(&self) -> Found {
        let id = MachineId(self.entry);
        if self.agent.inner.machines.get(id).is_some() {
            return Found::Finished;
        }
        let names = self.held.record.definition.disks.iter();
        let linked = names
            .map(|disk| self.agent.inner.folders.base(id, self.held.card.id, &disk.name))
            .any(|base| base.exists());
        if self.held.runs() && linked {
            return Found::Unknown;
        }
        unclone(&self.agent.inner, &self.held, id).await;
        Found::Undone
    }
}
