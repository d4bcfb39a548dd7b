//! Clone: a machine like another, with an identity of its own. Linked, both stand on what the disks of
//! the first held; full, all of it is copied.

mod bases;

use std::path::{Path, PathBuf};

use hypervisor_core::{
    definition::{Definition, Disk, DiskFormat, Network},
    driver::live::Copy,
    lifecycle::{Exit, State},
    machine::{MachineId, MachineName},
};
use skerry_stanzas::{
    command::machine::{self, Quiesce},
    refusal::{Reason, Refusal},
    reply::Changed,
};

pub(crate) use self::bases::sweep_bases;
use super::{
    Handle,
    disks::files,
    guest::quiet::{Quiet, Stood},
    quotas::{Takes, all_disks, of_definition},
    storage::{Held, no_file},
};
use crate::{
    agent::{Agent, Inner},
    crash,
    dispatch::Job,
    machine::{Record, publisher::Change, task},
    rights::quota::Kind,
    store::StoreError,
};

/// What becomes of a disk in the clone.
enum Share {
    /// Only read: the same file.
    Same,
    /// A thin copy; so becomes the disk it is of.
    Thin(PathBuf),
    /// A whole copy.
    Whole(PathBuf),
}

/// Checked, nothing made.
struct Planned {
    id: MachineId,
    name: MachineName,
    folder: PathBuf,
    disks: Vec<(Disk, Share)>,
    /// Ports of the host are forwarded to one machine only.
    forwards_dropped: bool,
}

impl Handle<machine::Clone> for Agent {
    async fn takes(&self, job: &Job, _command: &machine::Clone) -> Result<Option<Takes>, Refusal> {
        self.as_much_as(job).await
    }

    async fn handle(&self, job: &Job, command: machine::Clone) -> Result<Changed, Refusal> {
        let name = super::name(&command.name, "name")?;
        self.free(&name, "name").await?;
        let held = Held::by(job)?;
        if held.runs() && !command.full {
            let text = format!("{} runs: while it does, it can only be copied.", held.name());
            return Err(Refusal::new(Reason::Conflict, text)
                .field("full")
                .hint("\"clone NAME --full\" copies it as it is now. Or shut it down first."));
        }
        held.stands_on_its_own_ground(self)?;
        let planned = self.plan(&held, MachineId(job.id), name, command.full).await?;
        job.say(format!("{} is being made from {}.", planned.name, held.name()));
        // It may be dropped anywhere: what it left is undone as after a crash.
        let furnished = self.furnish(job, &held, &planned, command.quiesce);
        let stood = match job.unless_called_off(furnished).await {
            Ok(stood) => stood,
            Err(refusal) => {
                unclone(&self.inner, &held, planned.id).await;
                return Err(refusal);
            }
        };
        let record = self.record(&held, &planned, job.by());
        let change = Change {
            what: "machine.created",
            sentence: format!("{} was cloned from {}.", planned.name, held.name()),
            by: Some(job.by()),
        };
        let welcomed =
            self.welcome(record, std::sync::Arc::clone(&held.card.driver), change, Some(&job.permit)).await;
        crash::point("machine-stored");
        let machine = match welcomed {
            Ok(machine) => machine,
            Err(error) => {
                unclone(&self.inner, &held, planned.id).await;
                return Err(match error {
                    StoreError::Taken => task::taken(planned.name.as_str()).field("name"),
                    error => error.into(),
                });
            }
        };
        let dropped = match planned.forwards_dropped {
            true => " Ports of the host are forwarded to the first one only.",
            false => "",
        };
        let (of, new) = (held.name(), &planned.name);
        let same_keys = match planned.folder.join("tpm").is_dir() {
            true => " Its TPM has the same secrets.",
            false => "",
        };
        let as_it_was = if held.runs() { ", its disks as they were when that began" } else { "" };
        let sentence = format!(
            "{new} was cloned from {of}{as_it_was}; \"start {new}\" starts it.{dropped}{same_keys}{}",
            stood.said()
        );
        Ok(self.changed(&machine.record(), sentence))
    }
}

/// Copies what the machine remembers besides its disks: without what its UEFI is set to it may not find what
/// to boot, and without its TPM's secrets a disk that is sealed by them stays shut.
async fn remember(held: &Held, planned: &Planned) -> std::io::Result<()> {
    for name in held.card.driver.remembered(&held.card.folder)? {
        let to = planned.folder.join(&name);
        if let Some(folder) = to.parent() {
            tokio::fs::create_dir_all(folder).await?;
        }
        tokio::fs::copy(held.card.folder.join(&name), to).await?;
    }
    Ok(())
}

impl Agent {
    /// A machine like another one takes what that takes, of who makes it.
    async fn as_much_as(&self, job: &Job) -> Result<Option<Takes>, Refusal> {
        let card = &job.machine()?.card;
        let amount = of_definition(&card.record().definition).with(Kind::Disk, all_disks(card).await);
        Ok(self.for_new(job, amount))
    }

    async fn plan(
        &self,
        held: &Held,
        id: MachineId,
        name: MachineName,
        full: bool,
    ) -> Result<Planned, Refusal> {
        let folder = self.inner.folders.machine(id);
        let linked = |text: String| {
            Err(Refusal::new(Reason::Conflict, text).hint("\"clone NAME --full\" copies all of it."))
        };
        if !full && !held.record.layers.is_empty() {
            return linked(format!(
                "{} has external snapshots, whose files would have to stay for both.",
                held.name()
            ));
        }
        if !full
            && let Some(snapshots) = held.card.driver.snapshots()
            && snapshots.list(&held.card.launch()).await.is_ok_and(|seen| !seen.is_empty())
        {
            return linked(format!(
                "{} has snapshots, which would be out of its reach once its disks stand on something else.",
                held.name()
            ));
        }
        let mut disks = Vec::new();
        for disk in &held.record.definition.disks {
            let own = files::is_own(&held.card.folder, &disk.path);
            let path = folder.join(disk.path.strip_prefix(&held.card.folder).map_or_else(
                |_| Path::new("disks").join(format!("{}.qcow2", disk.name)),
                |within| within.with_extension("qcow2"),
            ));
            let share = match (own, disk.format) {
                (false, _) if disk.read_only => Share::Same,
                _ if full => Share::Whole(path),
                (true, DiskFormat::Qcow2) => Share::Thin(path),
                (true, DiskFormat::Raw) => {
                    return linked(format!("The disk {} of {} is raw.", disk.name, held.name()));
                }
                (false, _) => {
                    return linked(format!("The disk {} of {} is not its own.", disk.name, held.name()));
                }
            };
            disks.push((disk.clone(), share));
        }
        let forwards =
            |network: &Network| matches!(network, Network::User { forwards } if !forwards.is_empty());
        let forwards_dropped = held.record.definition.nics.iter().any(|nic| forwards(&nic.network));
        Ok(Planned { id, name, folder, disks, forwards_dropped })
    }

    /// The folder, and the disks in it.
    async fn furnish(
        &self,
        job: &Job,
        held: &Held,
        planned: &Planned,
        quiesce: Quiesce,
    ) -> Result<Stood, Refusal> {
        let no_file = |error: std::io::Error| no_file(held.name(), &error);
        tokio::fs::create_dir(&planned.folder).await.map_err(no_file)?;
        crash::point("folder-made");
        tokio::fs::create_dir(planned.folder.join("disks")).await.map_err(no_file)?;
        remember(held, planned).await.map_err(no_file)?;
        let disks = held.disks()?;
        if held.runs() {
            return self.copy_running(job, held, planned, quiesce).await;
        }
        for (disk, share) in &planned.disks {
            match share {
                Share::Same => {}
                Share::Whole(path) => {
                    let doing = format!("{} is being copied", disk.name);
                    let progress = |percent: u8| job.reach(&doing, percent.into(), 100);
                    disks.copy(disk, path, &progress).await.map_err(|error| held.said(error))?;
                }
                Share::Thin(path) => {
                    // While the sweep is kept out, a base may be without a thin copy.
                    let _linking = self.inner.folders.linking().await;
                    let base = self.inner.folders.base(planned.id, held.card.id, &disk.name);
                    bases::link(disks, disk, &base).await.map_err(|error| held.said(error))?;
                    disks.overlay(&base, path).await.map_err(|error| held.said(error))?;
                }
            }
            crash::point("disk-made");
        }
        Ok(Stood::NotNeeded)
    }

    /// Of one that runs: all its disks as they are at one moment.
    async fn copy_running(
        &self,
        job: &Job,
        held: &Held,
        planned: &Planned,
        quiesce: Quiesce,
    ) -> Result<Stood, Refusal> {
        let (disks, launch) = (held.disks()?, held.card.launch());
        let copies: Vec<Copy> = planned
            .disks
            .iter()
            .filter_map(|(disk, share)| match share {
                Share::Whole(path) | Share::Thin(path) => Some((disk.name.clone(), path.clone())),
                Share::Same => None,
            })
            .collect();
        if copies.is_empty() {
            return Ok(Stood::NotNeeded);
        }
        let machine = job.machine()?;
        let quiet = Quiet::begin(self, machine, quiesce).await?;
        let begun = disks.begin_copies(&launch, &copies).await;
        crash::point("after-driver");
        let stood = quiet.end().await;
        begun.map_err(|error| held.said(error))?;
        stood.suffices(machine, quiesce)?;
        let doing = format!("The disks of {} are being copied", held.name());
        let progress = |percent: u8| job.reach(&doing, percent.into(), 100);
        disks.follow_copies(&launch, &progress).await.map_err(|error| held.said(error))?;
        crash::point("disk-made");
        Ok(stood)
    }

    fn record(&self, held: &Held, planned: &Planned, by: String) -> Record {
        let mut definition = Definition::clone(&held.record.definition);
        definition.disks = planned
            .disks
            .iter()
            .map(|(disk, share)| match share {
                Share::Same => disk.clone(),
                Share::Thin(path) | Share::Whole(path) => {
                    Disk { path: path.clone(), format: DiskFormat::Qcow2, ..disk.clone() }
                }
            })
            .collect();
        for nic in &mut definition.nics {
            // Made anew from the new machine's identity.
            nic.mac = None;
            if let Network::User { forwards } = &mut nic.network {
                forwards.clear();
            }
        }
        let state = State::Stopped(Exit::Never);
        Record::new(planned.id, planned.name.clone(), definition, held.card.driver.name(), state, by)
    }
}

/// Takes away what a clone left that was not finished. A machine it is of that was off must not have run
/// since.
pub(crate) async fn unclone(inner: &Inner, held: &Held, id: MachineId) {
    let Ok(disks) = held.disks() else {
        inner.folders.unmake(id).await;
        return;
    };
    if held.runs()
        && let Err(error) = disks.abandon(&held.card.launch()).await
    {
        tracing::warn!(machine = %held.name(), %error, "a copy goes on that nobody waits for");
    }
    inner.folders.unmake(id).await;
    if held.runs() {
        return;
    }
    let _linking = inner.folders.linking().await;
    for disk in &held.record.definition.disks {
        let base = inner.folders.base(id, held.card.id, &disk.name);
        if let Err(error) = bases::unlink(disks, disk, &base).await {
            tracing::warn!(base = %base.display(), %error, "a base that may not be needed stays");
        }
    }
}
