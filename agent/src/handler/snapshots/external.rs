//! External snapshots: the file of each disk stays as it is, and the disk goes on in a new one that stands on
//! it. What was made is written down in one piece, and only then believed. docs/design/0010 says why so.

pub(crate) mod merging;
pub(crate) mod work;

use std::path::{Path, PathBuf};

use hypervisor_core::{
    definition::Disk,
    driver::{layers::Layer, snapshots::taking_part},
};
use skerry_stanzas::{
    command::machine::Quiesce,
    refusal::{Reason, Refusal},
    reply::{Changed, SnapshotFile, SnapshotLine, measure},
};
use uuid::Uuid;

use self::work::Work;
use super::notes::{Note, Notes};
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    handler::{
        edit::edit,
        guest::quiet::{Quiet, Stood},
        storage::{Held, no_file},
    },
    machine::{
        Edit, Machine, Order,
        layers::{External, Frozen, Layering, Layers},
    },
};

impl Agent {
    /// Takes one. That there is none of its name was looked at.
    pub(super) async fn take_external(
        &self,
        job: &Job,
        held: &Held,
        name: &str,
        quiesce: Quiesce,
    ) -> Result<Changed, Refusal> {
        layerable(held).await?;
        let (folder, record) = (&held.card.folder, &held.record);
        let tops: Vec<Layer> = taking_part(&record.definition)
            .map(|disk| (disk.name.clone(), fresh(folder, &disk.name, &record.layers)))
            .collect();
        let work =
            Work { name: name.into(), tops: tops.clone(), ..Work::default() }.begin(folder, job.id).await;
        let work = work.map_err(|error| no_file(held.name(), &error))?;
        crash::point("folder-made");
        let stood = match self.cover_all(job, held, &tops, quiesce).await {
            Ok(stood) => stood,
            Err(refusal) => {
                // One that does not say which file it is in may be in these: the note stays, and nothing is
                // started or removed until the next agent has looked.
                if are_in(held, &tops).await.is_ok_and(|so| so != Some(true)) {
                    work.undo().await;
                }
                return Err(refusal);
            }
        };
        // Should that fail, the note stays, and what is done is written down by the next agent.
        edit(job, taken(name, job.id, &tops)).await?;
        crash::point("definition-stored");
        let mut notes = Notes::read(folder);
        let disks = tops.iter().map(|(disk, _)| disk.clone()).collect();
        let quiesced = Some(stood.is_quiet());
        notes.taken(name, Note { parent: None, disks, layout: None, quiesced }, job.id);
        notes.write(folder).map_err(|error| no_file(held.name(), &error))?;
        crash::point("snapshot-noted");
        work.end(folder).await;
        if let Err(refusal) = stood.suffices(job.machine()?, quiesce) {
            self.merge_away(job, held, name).await?;
            return Err(refusal);
        }
        let with = match (stood.is_quiet(), held.runs()) {
            (false, _) => ", as a power cut would leave it",
            (true, _) => "",
        };
        let sentence = format!(
            "The snapshot {name} of {} is taken{with}: its files stay as they are, and the disks go on in \
             others.{}",
            held.name(),
            stood.said()
        );
        self.tell(job, &held.card.record(), "machine.snapshot-taken", &sentence).await;
        Ok(self.changed(&held.card.record(), sentence))
    }

    /// Makes the new files, and has the guest go on in them. After an error it does not.
    async fn cover_all(
        &self,
        job: &Job,
        held: &Held,
        tops: &[Layer],
        quiesce: Quiesce,
    ) -> Result<Stood, Refusal> {
        let (snapshots, launch) = (held.snapshots()?, held.card.launch());
        for (name, path) in tops {
            let Some(disk) = launch.definition.disk(name) else { continue };
            let covered = snapshots.cover(&launch, name, (&disk.path, disk.format), path).await;
            covered.map_err(|error| held.said(error))?;
        }
        crash::point("disk-made");
        let quiet = Quiet::begin(self, job.machine()?, quiesce).await?;
        crash::point("before-driver");
        let layered = snapshots.layer(&launch, tops).await;
        crash::point("after-driver");
        let stood = quiet.end().await;
        match layered {
            Ok(()) => Ok(stood),
            // What was done counts, not what was said of it.
            Err(_) if are_in(held, tops).await.is_ok_and(|so| so == Some(true)) => Ok(stood),
            Err(error) => Err(held.said(error)),
        }
    }

    /// Goes back to one: new files that stand on it, for a machine that does not run.
    pub(super) async fn revert_external(
        &self,
        job: &Job,
        held: &Held,
        external: &External,
    ) -> Result<Changed, Refusal> {
        let (name, folder, record) = (&external.name, &held.card.folder, &held.record);
        may_revert(held, external).await?;
        let tops: Vec<Layer> = external
            .disks
            .iter()
            .map(|frozen| (frozen.disk.clone(), fresh(folder, &frozen.disk, &record.layers)))
            .collect();
        let before = record.layers.clone().revert(name, &mut record.definition.clone(), &tops);
        let work = Work { name: name.clone(), tops: tops.clone(), before, ..Work::default() };
        let work = work.begin(folder, job.id).await;
        let work = work.map_err(|error| no_file(held.name(), &error))?;
        crash::point("folder-made");
        let done = async {
            for (Frozen { disk, path, format, .. }, (_, top)) in external.disks.iter().zip(&tops) {
                let covered = held.snapshots()?.cover(&held.card.launch(), disk, (path, *format), top).await;
                covered.map_err(|error| held.said(error))?;
            }
            crash::point("disk-made");
            let what = format!("its disks stand on the snapshot {name}");
            edit(job, Edit::Layer(Layering::Revert(name.clone(), tops.clone()), what)).await
        };
        if let Err(refusal) = done.await {
            work.undo().await;
            return Err(refusal);
        }
        crash::point("definition-stored");
        let mut notes = Notes::read(folder);
        notes.stands_on(name, job.id);
        notes.write(folder).map_err(|error| no_file(held.name(), &error))?;
        crash::point("snapshot-noted");
        work.end(folder).await;
        if let Err(refusal) = self.tidy_layers(job, held).await {
            tracing::warn!(machine = %held.name(), %refusal, "files of deleted snapshots are not merged");
        }
        let at = measure::moment(external.taken_at);
        let sentence = format!("{} is as it was at {at}, in the snapshot {name}.", held.name());
        self.tell(job, &held.card.record(), "machine.reverted", &sentence).await;
        Ok(self.changed(&held.card.record(), sentence))
    }
}

/// What is written down of one that was taken.
fn taken(name: &str, by: Uuid, tops: &[Layer]) -> Edit {
    let layering = Layering::Take(name.to_owned(), by, tops.to_vec());
    Edit::Layer(layering, format!("its disks stand on the snapshot {name}"))
}

/// Whether a machine's disks are in these files; `None` if it does not run.
async fn are_in(held: &Held, tops: &[Layer]) -> Result<Option<bool>, Refusal> {
    let Some((disk, path)) = tops.first() else { return Ok(None) };
    held.disks()?.is_in(&held.card.launch(), disk, path).await.map_err(|error| held.said(error))
}

/// A file for a disk to go on in, that nothing has the name of.
fn fresh(folder: &Path, disk: &str, layers: &Layers) -> PathBuf {
    // No disk's own name has a dot in it.
    let named = |number: u64| folder.join("disks").join(format!("{disk}.{number}.qcow2"));
    let mut number = 1;
    while named(number).exists() || layers.is_frozen(&named(number)) {
        number += 1;
    }
    named(number)
}

/// Refuses to go back to one while that cannot be done.
pub(super) async fn may_revert(held: &Held, external: &External) -> Result<(), Refusal> {
    if held.runs() {
        let text =
            format!("{} runs, and the snapshot {} has no memory to go on from.", held.name(), external.name);
        return Err(Refusal::new(Reason::Conflict, text)
            .hint("Shut it down first, or kill it: its work since then is to be lost anyway."));
    }
    none_within(held, external.disks.iter().map(|frozen| frozen.disk.as_str()), "would be lost").await
}

/// Refuses disks that cannot go on in other files.
async fn layerable(held: &Held) -> Result<(), Refusal> {
    use std::os::unix::fs::FileTypeExt;
    let no = |text: String| Refusal::new(Reason::Conflict, text).field("external");
    let disks: Vec<&Disk> = taking_part(&held.record.definition).collect();
    if disks.is_empty() {
        return Err(no(format!("{} has no disk that can be written to.", held.name())));
    }
    for disk in &disks {
        let file = tokio::fs::metadata(&disk.path).await.map_err(|error| no_file(held.name(), &error))?;
        if file.file_type().is_block_device() {
            let text = format!(
                "The disk {} of {} is the device {}, and not a file to leave as it is.",
                disk.name,
                held.name(),
                disk.path.display()
            );
            return Err(no(text));
        }
    }
    none_within(held, disks.iter().map(|disk| disk.name.as_str()), "would be out of its reach").await
}

/// Refuses what would become of snapshots that are kept in the files themselves.
pub(super) async fn none_within(
    held: &Held,
    mut disks: impl Iterator<Item = &str>,
    what: &str,
) -> Result<(), Refusal> {
    let seen = held.snapshots()?.list(&held.card.launch()).await.map_err(|error| held.said(error))?;
    let within = |disk: &str| seen.iter().find(|one| one.disks.iter().any(|name| name == disk));
    match disks.find_map(within) {
        None => Ok(()),
        Some(one) => {
            let text = format!("{} has the snapshot {} in its disks, which {what}.", held.name(), one.name);
            Err(Refusal::new(Reason::Conflict, text)
                .hint(format!("\"snapshot delete {}\" deletes it.", one.name)))
        }
    }
}

/// In a list.
pub(super) fn line(external: &External, notes: &Notes) -> SnapshotLine {
    let note = notes.snapshots.get(&external.name);
    let file = |frozen: &Frozen| SnapshotFile {
        disk: frozen.disk.clone(),
        path: frozen.path.display().to_string(),
        used_bytes: std::fs::metadata(&frozen.path).ok().map(|file| {
            // What it takes, not how far it reaches.
            std::os::unix::fs::MetadataExt::blocks(&file) * 512
        }),
    };
    SnapshotLine {
        name: external.name.clone(),
        taken_at: external.taken_at,
        memory_bytes: None,
        disks: external.disks.iter().map(|frozen| frozen.disk.clone()).collect(),
        parent: note.and_then(|note| note.parent.clone()),
        quiesced: note.and_then(|note| note.quiesced),
        kept: if external.deleted { "for-others" } else { "external" }.into(),
        files: external.disks.iter().map(file).collect(),
    }
}

/// Settles what is left of commands that were answered though what they did could not be written down: the
/// disk of the store was full, mostly. Nothing else is under way.
pub(crate) async fn settle_left(held: &Held, machine: &Machine) {
    for job in Work::left(&held.card.folder) {
        let Some(work) = Work::interrupted(&held.card.folder, job).await else { continue };
        let name = work.name.clone();
        let settled = match (work.tops.is_empty(), work.before.is_empty()) {
            (true, _) => merging::settle_step(held, machine, work).await.is_some(),
            (false, true) => settle_taken(held, machine, &name, job).await.is_some(),
            (false, false) => settle_reverted(held, &name, job).await.is_some(),
        };
        tracing::warn!(machine = %held.name(), snapshot = name, settled, "where its disks are was not written down");
    }
}

/// What came of a taking that was interrupted. True when it was done.
pub(crate) async fn settle_taken(held: &Held, machine: &Machine, name: &str, job: Uuid) -> Option<bool> {
    let folder = &held.card.folder;
    let work = Work::interrupted(folder, job).await;
    let written = held.record.layers.find(name).is_some_and(|one| one.by == job);
    let Some(work) = work else { return Some(written) };
    let mut done = written;
    if !written {
        // Whole but for its being written down; of a machine that is off they hold all it wrote, if anything.
        done = match are_in(held, &work.tops).await {
            Ok(Some(so)) => so,
            Ok(None) | Err(_) => work.tops.iter().all(|(_, top)| top.exists()),
        };
        if !done {
            held.disks().ok()?.abandon(&held.card.launch()).await.ok()?;
            work.undo().await;
            return Some(false);
        }
        let edit = taken(name, job, &work.tops);
        machine.order(|reply| Order::Edit { edit, by: None, reply }).await.ok()?;
    }
    let mut notes = Notes::read(folder);
    if notes.done != Some(job) {
        let disks = work.tops.iter().map(|(disk, _)| disk.clone()).collect();
        notes.taken(name, Note { parent: None, disks, layout: None, quiesced: None }, job);
        notes.write(folder).ok()?;
    }
    work.end(folder).await;
    Some(done)
}

/// What came of a going back that was interrupted. True when it was done.
pub(crate) async fn settle_reverted(held: &Held, name: &str, job: Uuid) -> Option<bool> {
    let folder = &held.card.folder;
    let mut notes = Notes::read(folder);
    let Some(work) = Work::interrupted(folder, job).await else {
        let noted = notes.done == Some(job);
        return Some(noted);
    };
    let now = &held.record.definition;
    let is_in = |(disk, top): &Layer| now.disk(disk).is_some_and(|one| one.path == *top);
    if !work.tops.iter().all(is_in) {
        work.undo().await;
        return Some(false);
    }
    work.end(folder).await;
    notes.stands_on(name, job);
    notes.write(folder).ok()?;
    Some(true)
}
