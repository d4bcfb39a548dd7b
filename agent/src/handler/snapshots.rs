//! Snapshots: the disks have them, a note beside the disks says which was taken after which.

pub(crate) mod external;
pub(crate) mod notes;
pub(crate) mod schedules;

use hypervisor_core::driver::{
    SnapshotSeen,
    snapshots::{is_name, taking_part},
};
use skerry_stanzas::{
    command::machine::{Quiesce, SnapshotDelete, SnapshotList, SnapshotRevert, SnapshotTake, SnapshotTree},
    refusal::{Reason, Refusal},
    reply::{self, Changed, SnapshotLine, measure},
};

use self::notes::{Note, Notes};
use super::{
    Handle,
    guest::quiet::{Quiet, Stood},
    life::named,
    quotas::Takes,
    storage::{Held, no_file, said},
};
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    rights::quota::{Amount, Kind},
};

/// Snapshots of one machine: each makes every later one slower to take, and the disks larger.
const SNAPSHOTS_MAX: usize = 32;

impl Handle<SnapshotTake> for Agent {
    async fn takes(&self, job: &Job, _command: &SnapshotTake) -> Result<Option<Takes>, Refusal> {
        self.for_machine(job, Amount::default().with(Kind::Snapshots, 1))
    }

    async fn handle(&self, job: &Job, command: SnapshotTake) -> Result<Changed, Refusal> {
        let SnapshotTake { name, memory, external, quiesce } = command;
        if !is_name(&name) {
            let text = format!("{name:?} cannot be the name of a snapshot.");
            return Err(Refusal::new(Reason::BadRequest, text)
                .field("name")
                .hint("Begin with a letter; small letters, digits, - _ and . may follow, 40 in all."));
        }
        let held = Held::by(job)?;
        if external && memory {
            let text = "A snapshot with the memory is kept in the disks themselves.";
            return Err(Refusal::new(Reason::BadRequest, text)
                .field("external")
                .hint("Leave out one of the two."));
        }
        if memory {
            self.may_keep_memory(&held, quiesce)?;
        }
        let launch = held.card.launch();
        let before = held.snapshots()?.list(&launch).await.map_err(|error| held.said(error))?;
        let layers = &held.record.layers;
        if before.iter().any(|seen| seen.name == name) || layers.find(&name).is_some() {
            let text = format!("{} has a snapshot {name} already.", held.name());
            return Err(Refusal::new(Reason::Conflict, text).field("name").hint("Choose another name."));
        }
        if before.len() + layers.snapshots.len() >= SNAPSHOTS_MAX {
            let text = format!("{} has {SNAPSHOTS_MAX} snapshots, and may not have more.", held.name());
            return Err(Refusal::new(Reason::Limit, text).hint("\"snapshot delete NAME\" deletes one."));
        }
        if external {
            return self.take_external(job, &held, &name, quiesce).await;
        }
        let (stood, layout) = self.take(job, &held, &name, memory, quiesce).await?;
        let disks = taking_part(&held.record.definition).map(|disk| disk.name.clone()).collect();
        let mut notes = Notes::read(&held.card.folder);
        let quiesced = Some(stood.is_quiet());
        notes.taken(&name, Note { parent: None, disks, layout, quiesced }, job.id);
        notes.write(&held.card.folder).map_err(|error| no_file(held.name(), &error))?;
        crash::point("snapshot-noted");
        let with = match (memory, stood.is_quiet(), held.runs()) {
            (true, ..) => ", with its memory",
            (false, false, _) => ": of its disks, as a power cut would leave them",
            (false, true, true) => ": of its disks",
            (false, true, false) => "",
        };
        let sentence = format!("The snapshot {name} of {} is taken{with}.{}", held.name(), stood.said());
        self.tell(job, &held.record, "machine.snapshot-taken", &sentence).await;
        Ok(self.changed(&held.record, sentence))
    }
}

impl Agent {
    /// Refuses to keep memory that is not there, or from which the guest could not go on.
    fn may_keep_memory(&self, held: &Held, quiesce: Quiesce) -> Result<(), Refusal> {
        let no = |text: String| Refusal::new(Reason::Conflict, text).field("memory");
        if !held.runs() {
            return Err(no(format!("{} does not run: there is no memory to keep.", held.name())));
        }
        if quiesce == Quiesce::Yes {
            let text = "With its memory nothing is missing: nothing has to stand still in the guest.";
            return Err(Refusal::new(Reason::BadRequest, text)
                .field("quiesce")
                .hint("Leave out one of the two."));
        }
        if self.inner.freezes.until(held.card.id).is_some() {
            let text =
                format!("The file systems of {} hold still, and would do so in its memory.", held.name());
            return Err(no(text).hint("\"fsthaw\" lets them go on."));
        }
        Ok(())
    }

    /// Takes it, and says how the guest was meanwhile. Nothing is left of one that is refused.
    async fn take(
        &self,
        job: &Job,
        held: &Held,
        name: &str,
        memory: bool,
        quiesce: Quiesce,
    ) -> Result<(Stood, Option<String>), Refusal> {
        let (launch, machine) = (held.card.launch(), job.machine()?);
        let quiet = match memory {
            true => {
                job.say(format!("{} is held still while its memory is written.", held.name()));
                Quiet::NotNeeded
            }
            false => Quiet::begin(self, machine, quiesce).await?,
        };
        crash::point("before-driver");
        let taken = held.snapshots()?.take(&launch, name, memory).await;
        crash::point("after-driver");
        let stood = quiet.end().await;
        let layout = taken.map_err(|error| held.said(error))?;
        if let Err(refusal) = stood.suffices(machine, quiesce) {
            held.snapshots()?.delete(&launch, name).await.map_err(|error| held.said(error))?;
            return Err(refusal);
        }
        Ok((stood, layout))
    }

    /// The machine's name, where it stands, and its snapshots.
    async fn snapshots(&self, job: &Job) -> Result<(String, Option<String>, Vec<SnapshotLine>), Refusal> {
        let card = &job.machine()?.card;
        let (record, launch) = (card.record(), card.launch());
        let name = record.name.to_string();
        let Some(driver) = card.driver.snapshots() else { return Ok((name, None, Vec::new())) };
        let seen = driver.list(&launch).await.map_err(|error| said(&record.name, error))?;
        let notes = Notes::read(&card.folder);
        let line = |SnapshotSeen { name, taken_at, memory_bytes, disks }| {
            let note = notes.snapshots.get(&name);
            let parent = note.and_then(|note| note.parent.clone());
            let quiesced = note.and_then(|note| note.quiesced);
            let (kept, files) = ("internal".into(), Vec::new());
            SnapshotLine { name, taken_at, memory_bytes, disks, parent, quiesced, kept, files }
        };
        let mut lines: Vec<SnapshotLine> = seen.into_iter().map(line).collect();
        lines.extend(record.layers.snapshots.iter().map(|one| external::line(one, &notes)));
        lines.sort_by_key(|line| line.taken_at);
        let current = notes.current.clone().filter(|current| lines.iter().any(|one| one.name == *current));
        Ok((name, current, lines))
    }
}

impl Handle<SnapshotList> for Agent {
    async fn handle(&self, job: &Job, _command: SnapshotList) -> Result<reply::SnapshotList, Refusal> {
        let (name, current, snapshots) = self.snapshots(job).await?;
        Ok(reply::SnapshotList { name, current, snapshots })
    }
}

impl Handle<SnapshotTree> for Agent {
    async fn handle(&self, job: &Job, _command: SnapshotTree) -> Result<reply::SnapshotTree, Refusal> {
        let (name, current, mut snapshots) = self.snapshots(job).await?;
        snapshots.retain(|line| line.kept != "for-others");
        Ok(reply::SnapshotTree { name, current, snapshots })
    }
}

/// The snapshot of this name, or a refusal that says which there are.
async fn find(held: &Held, name: &str) -> Result<SnapshotSeen, Refusal> {
    let seen = held.snapshots()?.list(&held.card.launch()).await.map_err(|error| held.said(error))?;
    let external = held.record.layers.snapshots.iter().filter(|one| !one.deleted).map(|one| &one.name);
    let names: Vec<String> = seen.iter().map(|one| &one.name).chain(external).cloned().collect();
    seen.into_iter().find(|one| one.name == name).ok_or_else(|| {
        let text = format!("{} has no snapshot {name:?}.", held.name());
        let refusal = Refusal::new(Reason::NotFound, text).field("name");
        match names.as_slice() {
            [] => refusal.hint("It has none. \"snapshot take NAME\" takes one."),
            names => refusal.hint(format!("It has: {}.", names.join(", "))),
        }
    })
}

/// The snapshot to go back to, as far as that can be done now.
async fn to_revert_to(held: &Held, name: &str) -> Result<SnapshotSeen, Refusal> {
    let seen = find(held, name).await?;
    if held.runs() && seen.memory_bytes.is_none() {
        let text = format!("{} runs, and the snapshot {name} has no memory to go on from.", held.name());
        return Err(Refusal::new(Reason::Conflict, text)
            .hint("Shut it down first, or kill it: its work since then is to be lost anyway."));
    }
    Ok(seen)
}

impl Handle<SnapshotRevert> for Agent {
    async fn obstacle(&self, job: &Job, command: &SnapshotRevert) -> Result<(), Refusal> {
        let held = Held::by(job)?;
        match held.record.layers.find(&command.name).filter(|one| !one.deleted) {
            Some(external) => external::may_revert(&held, external).await,
            None => to_revert_to(&held, &command.name).await.map(drop),
        }
    }

    async fn handle(&self, job: &Job, command: SnapshotRevert) -> Result<Changed, Refusal> {
        let held = Held::by(job)?;
        let name = command.name;
        if let Some(external) = held.record.layers.find(&name).filter(|one| !one.deleted) {
            return self.revert_external(job, &held, external).await;
        }
        let seen = to_revert_to(&held, &name).await?;
        let mut notes = Notes::read(&held.card.folder);
        let layout = notes.snapshots.get(&name).and_then(|note| note.layout.clone());
        notes.reverting = Some(name.clone());
        notes.write(&held.card.folder).map_err(|error| no_file(held.name(), &error))?;
        job.say(format!("{} goes back to {name}.", held.name()));
        crash::point("before-driver");
        // One that does not run is not asked for its layout.
        let launch = held.card.launch();
        let reverted = held.snapshots()?.revert(&launch, &name, layout.as_deref()).await;
        crash::point("after-driver");
        notes.reverting = None;
        if reverted.is_ok() {
            notes.stands_on(&name, job.id);
        }
        let noted = notes.write(&held.card.folder);
        crash::point("snapshot-noted");
        reverted.map_err(|error| held.said(error))?;
        noted.map_err(|error| no_file(held.name(), &error))?;
        let how = match (held.runs(), seen.memory_bytes.is_some()) {
            (true, _) => "; it goes on from its memory of then",
            (false, true) => "; its memory of then is there for a revert while it runs",
            (false, false) => "",
        };
        let at = measure::moment(seen.taken_at);
        let sentence = format!("{} is as it was at {at}, in the snapshot {name}{how}.", held.name());
        self.tell(job, &held.record, "machine.reverted", &sentence).await;
        Ok(self.changed(&held.record, sentence))
    }

    fn warning(&self, job: &Job, command: &SnapshotRevert) -> String {
        let Ok(machine) = job.machine() else { return String::new() };
        let (record, notes) = (machine.record(), Notes::read(&machine.card.folder));
        let all = || taking_part(&record.definition).map(|disk| disk.name.clone()).collect::<Vec<_>>();
        let note = notes.snapshots.get(&command.name);
        let disks = note.map_or_else(all, |note| note.disks.clone());
        let memory = match machine.card.record().state.word() {
            "running" | "paused" => ", and what its guest has in memory now,",
            _ => "",
        };
        format!(
            "This puts {} back to the snapshot {}: all that was written to {} since then{memory} is lost. \
             A new snapshot taken first would keep it.",
            record.name,
            command.name,
            disks.join(", ")
        )
    }
}

impl Handle<SnapshotDelete> for Agent {
    async fn obstacle(&self, job: &Job, command: &SnapshotDelete) -> Result<(), Refusal> {
        let held = Held::by(job)?;
        match held.record.layers.find(&command.name) {
            Some(_) => external::merging::may_delete(&held, &command.name).await,
            None => find(&held, &command.name).await.map(drop),
        }
    }

    async fn handle(&self, job: &Job, command: SnapshotDelete) -> Result<Changed, Refusal> {
        let held = Held::by(job)?;
        let name = command.name;
        if held.record.layers.find(&name).is_some() {
            return self.delete_external(job, &held, &name).await;
        }
        find(&held, &name).await?;
        crash::point("before-driver");
        let deleted = held.snapshots()?.delete(&held.card.launch(), &name).await;
        crash::point("after-driver");
        deleted.map_err(|error| held.said(error))?;
        let mut notes = Notes::read(&held.card.folder);
        notes.deleted(&name, job.id);
        notes.write(&held.card.folder).map_err(|error| no_file(held.name(), &error))?;
        crash::point("snapshot-noted");
        let sentence = format!("The snapshot {name} of {} is deleted.", held.name());
        self.tell(job, &held.record, "machine.snapshot-deleted", &sentence).await;
        Ok(self.changed(&held.record, sentence))
    }

    fn warning(&self, job: &Job, command: &SnapshotDelete) -> String {
        let name = named(job);
        format!("This deletes the snapshot {} of {name}: {name} cannot go back to it any more.", command.name)
    }
}
