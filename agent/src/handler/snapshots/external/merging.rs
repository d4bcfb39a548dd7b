//! Deleting an external snapshot: nobody goes back to it from then on, and what is in its files is merged
//! with the one that stands on them. While several do, they stay for those.

use hypervisor_core::{
    driver::layers::Merge,
    lifecycle::{Request, State},
};
use skerry_stanzas::{refusal::Refusal, reply::Changed};
use uuid::Uuid;

use super::{
    super::notes::Notes,
    none_within,
    work::{Merging, Work},
};
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    handler::{
        edit::edit,
        storage::{Held, no_file},
    },
    machine::{
        Do, Edit, Machine, Order, Record,
        layers::{Frozen, Layering, Step},
    },
};

impl Agent {
    /// Deletes one. What is not merged in the end is so at the next time somebody asks.
    pub(in super::super) async fn delete_external(
        &self,
        job: &Job,
        held: &Held,
        name: &str,
    ) -> Result<Changed, Refusal> {
        may_delete(held, name).await?;
        if let Err(refusal) = self.merge_away(job, held, name).await {
            let text = format!(
                "The snapshot {name} of {} is deleted, and its files are not merged yet. {}",
                held.name(),
                refusal.text
            );
            return Err(
                Refusal { text, ..refusal }.hint(format!("\"snapshot delete {name}\" goes on with it."))
            );
        }
        let record = held.card.record();
        let stays = match record.layers.find(name) {
            None => String::new(),
            Some(_) => " Its files stay for as long as more than one thing stands on them.".into(),
        };
        let sentence = format!("The snapshot {name} of {} is deleted.{stays}", held.name());
        self.tell(job, &record, "machine.snapshot-deleted", &sentence).await;
        Ok(self.changed(&record, sentence))
    }

    /// Writes down that nobody goes back to it, and merges what can be.
    pub(super) async fn merge_away(&self, job: &Job, held: &Held, name: &str) -> Result<(), Refusal> {
        let record = held.card.record();
        if record.layers.find(name).is_some_and(|one| !one.deleted) {
            let what = format!("its snapshot {name} is deleted");
            edit(job, Edit::Layer(Layering::Delete(name.to_owned()), what)).await?;
            crash::point("snapshot-hidden");
        }
        let mut notes = Notes::read(&held.card.folder);
        notes.deleted(name, job.id);
        notes.write(&held.card.folder).map_err(|error| no_file(held.name(), &error))?;
        crash::point("snapshot-noted");
        self.tidy_layers(job, held).await
    }

    /// Merges, or removes, what is there only for one other thing, or for nothing.
    pub(super) async fn tidy_layers(&self, job: &Job, held: &Held) -> Result<(), Refusal> {
        loop {
            let record = held.card.record();
            match record.layers.step(&record.definition) {
                None => return Ok(()),
                Some(Step::Drop(frozen)) => drop_file(job, held, &frozen).await?,
                Some(Step::Merge(merge)) => merge_files(job, held, &record, &merge).await?,
            }
        }
    }
}

/// Refuses to delete one whose file cannot be merged as things are.
pub(in super::super) async fn may_delete(held: &Held, name: &str) -> Result<(), Refusal> {
    let mut trial = held.record.layers.clone();
    trial.delete(name);
    match trial.step(&held.record.definition) {
        Some(Step::Merge(merge)) => none_lost(held, &merge).await,
        Some(Step::Drop(_)) | None => Ok(()),
    }
}

/// Refuses to lose snapshots that are kept in a file that is to go.
async fn none_lost(held: &Held, merge: &Merge) -> Result<(), Refusal> {
    match is_top(&held.card.record(), merge) {
        true => none_within(held, [merge.disk.as_str()].into_iter(), "would be lost").await,
        false => Ok(()),
    }
}

fn is_top(record: &Record, merge: &Merge) -> bool {
    record.definition.disk(&merge.disk).is_some_and(|disk| disk.path == merge.from)
}

async fn drop_file(job: &Job, held: &Held, frozen: &Frozen) -> Result<(), Refusal> {
    let work = Work { before: vec![frozen.path.clone()], ..Work::default() };
    let work = work.begin(&held.card.folder, job.id).await.map_err(|error| no_file(held.name(), &error))?;
    let what = format!("nothing stands on {} any more", frozen.path.display());
    edit(job, Edit::Layer(Layering::Drop(frozen.path.clone()), what)).await?;
    crash::point("layers-stored");
    work.end(&held.card.folder).await;
    Ok(())
}

async fn merge_files(job: &Job, held: &Held, record: &Record, merge: &Merge) -> Result<(), Refusal> {
    none_lost(held, merge).await?;
    let (snapshots, disks, launch) = (held.snapshots()?, held.disks()?, held.card.launch());
    let Merge { disk, from, into, format, above } = merge.clone();
    let held_still = is_top(record, merge) && record.state == State::Running;
    let merging = Merging { disk, from, into, format, above, held: held_still };
    let work = Work { merging: Some(merging), ..Work::default() }.begin(&held.card.folder, job.id).await;
    let work = work.map_err(|error| no_file(held.name(), &error))?;
    crash::point("folder-made");
    let doing = format!("The files of the disk {} of {} are being merged", merge.disk, held.name());
    let progress = |percent: u8| job.reach(&doing, percent.into(), 100);
    let merging = async { Ok(snapshots.merge(&launch, merge, &progress).await) };
    let merged = job.unless_called_off(merging).await;
    crash::point("layers-merged");
    let turned = match merged {
        Ok(Ok(())) => snapshots.turn(&launch, merge).await.map_err(|error| held.said(error)),
        Ok(Err(error)) => Err(held.said(error)),
        Err(refusal) => {
            let text = format!("It was called off ({}).", refusal.text.trim_end_matches('.'));
            Err(Refusal { text, ..refusal })
        }
    };
    crash::point("layers-turned");
    if let Err(refusal) = turned {
        // While it cannot be known which file it is in the note stays, and the next agent looks.
        let is_in = disks.is_in(&launch, &merge.disk, &merge.into).await;
        if is_in.map_err(|error| held.said(error))? != Some(true) {
            if let Err(error) = disks.abandon(&launch).await {
                tracing::warn!(machine = %held.name(), %error, "files are merged that nobody waits for");
            }
            work.forget().await;
            return Err(refusal);
        }
    }
    // Should that fail, the guest is held still and the note stays: it must not write where nobody looks.
    edit(job, merged_edit(merge)).await?;
    crash::point("layers-stored");
    if let Err(error) = snapshots.go_on(&launch).await {
        tracing::error!(machine = %held.name(), %error, "does not go on after its files were merged");
    }
    work.end(&held.card.folder).await;
    Ok(())
}

fn merged_edit(merge: &Merge) -> Edit {
    let what = format!("{} is part of {}", merge.from.display(), merge.into.display());
    Edit::Layer(Layering::Merged(merge.clone()), what)
}

/// What came of a deletion that was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// It is deleted, and all is merged that can be.
    Done,
    /// It is deleted, and its files are still to be merged.
    Unmerged,
    /// It is there.
    Undone,
}

/// Looks what came of one, and takes the step it was in back, or to its end.
pub(crate) async fn settle_deleted(
    held: &Held,
    machine: &Machine,
    name: &str,
    job: Uuid,
) -> Option<Deletion> {
    if let Some(work) = Work::interrupted(&held.card.folder, job).await {
        settle_step(held, machine, work).await?;
    }
    let record = held.card.record();
    let Some(external) = record.layers.find(name) else { return Some(Deletion::Done) };
    if !external.deleted {
        return Some(Deletion::Undone);
    }
    let mut notes = Notes::read(&held.card.folder);
    notes.deleted(name, job);
    notes.write(&held.card.folder).ok()?;
    Some(match record.layers.step(&record.definition) {
        Some(_) => Deletion::Unmerged,
        None => Deletion::Done,
    })
}

pub(super) async fn settle_step(held: &Held, machine: &Machine, work: Work) -> Option<()> {
    let (folder, record) = (&held.card.folder, held.card.record());
    let Some(merging) = work.merging.clone() else {
        match work.before.iter().any(|file| record.layers.is_frozen(file)) {
            true => work.forget().await,
            false => work.end(folder).await,
        }
        return Some(());
    };
    let (held_still, merge) = (merging.held, Merge::from(merging));
    let written = !is_top(&record, &merge) && !record.layers.is_frozen(&merge.from);
    let mut merged = written;
    if !written {
        let (disks, launch) = (held.disks().ok()?, held.card.launch());
        // Only then it does not go on while it is looked at.
        disks.abandon(&launch).await.ok()?;
        merged = match merge.above.as_slice() {
            [] => disks.is_in(&launch, &merge.disk, &merge.into).await.ok()? == Some(true),
            above => {
                above.iter().all(|file| disks.backing(file).ok().flatten().as_ref() == Some(&merge.into))
            }
        };
    }
    if merged && !written {
        let edit = merged_edit(&merge);
        machine.order(|reply| Order::Edit { edit, by: None, reply }).await.ok()?;
    }
    if held_still && machine.record().state == State::Paused {
        let resume = |reply| Order::Do(Do::unwatched(Request::Resume, None, reply));
        machine.order(resume).await.ok()?;
    }
    match merged {
        true => work.end(folder).await,
        false => work.forget().await,
    }
    Some(())
}
