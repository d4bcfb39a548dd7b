//! Move: a disk gets another file, while its guest uses it or not. The copy is made first, then written
//! down, then used: until it is written down nothing has changed, and from then on both hold the same until
//! the guest goes on with the new one.

use std::{
    io,
    path::{Path, PathBuf},
};

use hypervisor_core::definition::{Definition, Disk};
use skerry_stanzas::{
    command::machine::DiskMove,
    refusal::{Reason, Refusal},
    reply::Changed,
};
use uuid::Uuid;

use super::{files, find};
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    handler::{
        Handle,
        define::place,
        edit::edit,
        storage::{Held, no_file},
    },
    machine::Edit,
};

/// The word for the machine's own folder.
const OWN: &str = "own";

/// A move that is under way, as a note in the machine's folder says.
pub(crate) struct Moving {
    note: PathBuf,
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
}

impl Moving {
    fn note(folder: &Path, job: Uuid) -> PathBuf {
        folder.join("disks").join(format!("{job}.moving"))
    }

    async fn begin(folder: &Path, job: Uuid, from: &Path, to: &Path) -> io::Result<Self> {
        let moving = Self { note: Self::note(folder, job), from: from.into(), to: to.into() };
        tokio::fs::create_dir_all(folder.join("disks")).await?;
        let beside = moving.note.with_extension("moving.new");
        tokio::fs::write(&beside, serde_json::to_vec(&(from, to))?).await?;
        tokio::fs::rename(beside, &moving.note).await?;
        Ok(moving)
    }

    /// What a job that was interrupted was moving.
    pub(crate) async fn interrupted(folder: &Path, job: Uuid) -> Option<Self> {
        let note = Self::note(folder, job);
        // Killed while it was written: then nothing was copied.
        drop(tokio::fs::remove_file(note.with_extension("moving.new")).await);
        let (from, to) = serde_json::from_slice(&tokio::fs::read(&note).await.ok()?).ok()?;
        Some(Self { note, from, to })
    }

    /// It is done: the file before goes, if it is the machine's own.
    pub(crate) async fn end(self, folder: &Path) {
        match files::is_own(folder, &self.from) {
            true => self.forget(&self.from).await,
            false => self.end_note().await,
        }
    }

    /// It is not to be.
    pub(crate) async fn undo(self) {
        self.forget(&self.to).await;
    }

    async fn forget(&self, file: &Path) {
        match tokio::fs::remove_file(file).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(file = %file.display(), %error, "could not be removed");
            }
            _ => self.end_note().await,
        }
    }

    async fn end_note(&self) {
        crash::point("disk-removed");
        if let Err(error) = tokio::fs::remove_file(&self.note).await {
            tracing::warn!(note = %self.note.display(), %error, "could not be removed");
        }
    }
}

/// The definition with a disk in another file.
fn moved(definition: &Definition, disk: &str, to: &Path) -> Definition {
    let mut definition = definition.clone();
    for one in definition.disks.iter_mut().filter(|one| one.name == disk) {
        one.path = to.to_owned();
    }
    definition
}

impl Handle<DiskMove> for Agent {
    async fn handle(&self, job: &Job, command: DiskMove) -> Result<Changed, Refusal> {
        let held = Held::by(job)?;
        let disk = find(&held, &command.name)?.clone();
        held.stands_on_its_own_ground(self)?;
        let to = self.destination(&held, &disk, &command.to).await?;
        if to == disk.path {
            let sentence = format!("The disk {} of {} is there already.", disk.name, held.name());
            return Ok(self.changed(&held.record, sentence));
        }
        movable(&held, &disk).await?;
        if tokio::fs::try_exists(&to).await.unwrap_or(true) {
            let text = format!("{} is there already.", to.display());
            return Err(Refusal::new(Reason::Conflict, text).field("to").hint("Choose another name."));
        }
        let moving = Moving::begin(&held.card.folder, job.id, &disk.path, &to).await;
        let moving = moving.map_err(|error| no_file(held.name(), &error))?;
        crash::point("folder-made");
        let done = self.carry_over(job, &held, &disk, &to).await;
        if let Err(refusal) = done {
            if let Ok(disks) = held.disks()
                && let Err(error) = disks.abandon(&held.card.launch()).await
            {
                tracing::warn!(machine = %held.name(), %error, "a copy goes on that nobody waits for");
            }
            moving.undo().await;
            return Err(refusal);
        }
        moving.end(&held.card.folder).await;
        let stays = match files::is_own(&held.card.folder, &disk.path) {
            true => String::new(),
            false => format!(" {} stays as it is, and is needed no more.", disk.path.display()),
        };
        let sentence =
            format!("The disk {} of {} is in {} now.{stays}", disk.name, held.name(), to.display());
        self.tell(job, &held.card.record(), "machine.disk-moved", &sentence).await;
        Ok(self.changed(&held.card.record(), sentence))
    }
}

impl Agent {
    /// Copies it, writes it down, and has the guest go on with it. What it was before, it is after an error.
    async fn carry_over(&self, job: &Job, held: &Held, disk: &Disk, to: &Path) -> Result<(), Refusal> {
        let (disks, launch) = (held.disks()?, held.card.launch());
        let doing = format!("The disk {} of {} is being copied", disk.name, held.name());
        let progress = |percent: u8| job.reach(&doing, percent.into(), 100);
        let work = async {
            let copied = disks.mirror(&launch, &disk.name, to, &progress).await;
            copied.map_err(|error| held.said(error))
        };
        job.unless_called_off(work).await?;
        crash::point("disk-made");
        edit(job, Edit::Move(disk.name.clone(), to.to_owned())).await?;
        crash::point("definition-stored");
        crash::point("before-driver");
        let switched = disks.switch(&launch, &disk.name, to).await;
        crash::point("after-driver");
        let Err(error) = switched else { return Ok(()) };
        // What QEMU did counts, not what it said of it.
        if disks.is_in(&launch, &disk.name, to).await.ok().flatten() == Some(true) {
            return Ok(());
        }
        edit(job, Edit::Move(disk.name.clone(), disk.path.clone())).await?;
        Err(held.said(error))
    }

    async fn destination(&self, held: &Held, disk: &Disk, to: &str) -> Result<PathBuf, Refusal> {
        if to.trim() != OWN {
            return place(&self.config(), Path::new(to.trim())).await;
        }
        if files::is_own(&held.card.folder, &disk.path) {
            return Ok(disk.path.clone());
        }
        Ok(held.card.folder.join("disks").join(format!("{}.{}", disk.name, disk.format.word())))
    }
}

/// Refuses what would not come along.
async fn movable(held: &Held, disk: &Disk) -> Result<(), Refusal> {
    let no = |text: String| Refusal::new(Reason::Conflict, text).field("name");
    if disk.read_only {
        let text = format!("The disk {} of {} can only be read.", disk.name, held.name());
        return Err(no(text).hint("Copy its file, and attach that."));
    }
    let there = moved(&held.record.definition, &disk.name, Path::new("/elsewhere"));
    held.record.layers.fits(&held.record.definition, &there)?;
    let Some(snapshots) = held.card.driver.snapshots() else { return Ok(()) };
    let seen = snapshots.list(&held.card.launch()).await.map_err(|error| held.said(error))?;
    let within = seen.into_iter().filter(|one| one.disks.contains(&disk.name));
    let names: Vec<String> = within.map(|one| one.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    let text = format!(
        "{} has snapshots in the file of its disk {}, which would stay behind: {}.",
        held.name(),
        disk.name,
        names.join(", ")
    );
    Err(no(text).hint("\"snapshot delete NAME\" deletes one. \"clone NAME --full\" makes a machine without."))
}
