//! Changes of what is remembered of a machine, and its way into the trash.

use hypervisor_core::lifecycle::{Admission, Request, State, admit};
use skerry_stanzas::refusal::{Reason, Refusal};

use super::{Flow, Reply, Report, Task};
use crate::{
    handler::storage::busy,
    machine::{
        Edit, Record,
        publisher::{Change, Leaving},
        restarts, wording,
    },
    store::{StoreError, machines as rows},
};

impl Task {
    pub(super) async fn edit(&mut self, edit: Edit, by: Option<String>, reply: Reply) {
        let record = self.card.record();
        if let Edit::Become(state, change) = edit {
            return self.become_so(*state, change, reply).await;
        }
        if let State::Migrating(_) = record.state {
            // The other host has it as it was.
            let text = format!("{} cannot be changed: it is migrating.", record.name);
            let _ = reply.send(Err(Refusal::new(Reason::Conflict, text).hint("Wait until it has moved.")));
            return;
        }
        let layers = matches!(edit, Edit::Layer(..));
        let mut changed = Record::clone(&record);
        let (what, sentence) = match apply(&mut changed, edit) {
            Ok(applied) => applied,
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
                return;
            }
        };
        if !layers && let Err(refusal) = record.layers.fits(&record.definition, &changed.definition) {
            let _ = reply.send(Err(refusal));
            return;
        }
        changed.restarts = restarts::redefined(&changed);
        if changed == *record {
            let _ = reply.send(Ok(Report { record, already: true }));
            return;
        }
        let name = changed.name.to_string();
        let done = self.publish(changed, Change { what, sentence, by }).await;
        self.wait_for_restart();
        let _ = reply.send(match done {
            Ok(()) => Ok(Report { record: self.card.record(), already: false }),
            Err(StoreError::Taken) => Err(taken(&name)),
            Err(error) => Err(error.into()),
        });
    }

    /// It begins to move, or has ended to.
    async fn become_so(&mut self, state: State, change: Change, reply: Reply) {
        let record = self.card.record();
        let begins = matches!(state, State::Migrating(_));
        let ready = matches!(record.state, State::Running | State::Paused | State::Stopped(_));
        if begins && (self.doing.is_some() || !ready) {
            let text = format!("{} is in the middle of something else.", record.name);
            let _ = reply.send(Err(Refusal::new(Reason::Conflict, text).hint("Wait until it is done.")));
            return;
        }
        let becomes = Record { state, ..Record::clone(&record) };
        let done = self.publish(becomes, change).await;
        let report = done.map(|()| Report { record: self.card.record(), already: false });
        let _ = reply.send(report.map_err(Refusal::from));
    }

    /// Into the trash, if nothing runs; the task ends with it.
    pub(super) async fn retire(&mut self, by: String, reply: Reply) -> Flow {
        let record = self.card.record();
        if let Admission::Refused(obstacle) = admit(&record.state, &Request::Delete) {
            let _ = reply.send(Err(wording::obstacle(&record.name, Request::Delete, obstacle)));
            return Flow::On;
        }
        if record.protected {
            let _ = reply.send(Err(protected(&record)));
            return Flow::On;
        }
        let Some(_storage) = self.card.storage() else {
            let _ = reply.send(Err(busy(&record.name)));
            return Flow::On;
        };
        // A failed machine may have left something running.
        if matches!(record.state, State::Failed(_))
            && let Err(error) = self.card.driver.kill(self.card.id).await
        {
            let _ = reply.send(Err(wording::driver_said(&record.name, Request::Delete, error)));
            return Flow::On;
        }
        let change = Change {
            what: "machine.deleted",
            sentence: format!("{} was put into the trash.", record.name),
            by: Some(by),
        };
        self.leave(rows::put_into_trash, change, reply).await
    }

    /// Out of what is remembered, for good; the task ends with it.
    pub(super) async fn release(&mut self, by: String, reply: Reply) -> Flow {
        let sentence = format!("{} was given back to who started it.", self.card.record().name);
        let change = Change { what: "machine.released", sentence, by: Some(by) };
        self.leave(rows::give_back, change, reply).await
    }

    async fn leave(&mut self, write: Leaving, change: Change, reply: Reply) -> Flow {
        let record = self.card.record();
        match self.publisher.farewell(&self.card, write, change).await {
            Ok(()) => {
                let _ = reply.send(Ok(Report { record, already: false }));
                Flow::End
            }
            Err(error) => {
                let _ = reply.send(Err(error.into()));
                Flow::On
            }
        }
    }
}

/// Makes the change, and says what it is called.
fn apply(record: &mut Record, edit: Edit) -> Result<(&'static str, String), Refusal> {
    let name = record.name.clone();
    Ok(match edit {
        Edit::Define { before, after, what } => {
            if record.definition != *before {
                let text = format!("{name} was changed by another command meanwhile.");
                return Err(Refusal::new(Reason::Conflict, text).hint("Look at it, and ask again."));
            }
            record.definition = *after;
            ("machine.defined", format!("{name} was changed: {what}."))
        }
        Edit::Move(disk, to) => {
            let what = format!("its disk {disk} is in {}", to.display());
            let disks = record.definition.disks.iter_mut().filter(|one| one.name == disk);
            disks.for_each(|one| one.path.clone_from(&to));
            ("machine.defined", format!("{name} was changed: {what}."))
        }
        Edit::Layer(layering, what) => {
            record.layers.lay(layering, &mut record.definition);
            ("machine.layered", format!("{name} was changed: {what}."))
        }
        Edit::Attach(disk) => {
            let sentence = format!("{name} has the disk {}.", disk.name);
            record.definition.disks.retain(|other| other.name != disk.name);
            record.definition.disks.push(*disk);
            ("machine.disk-attached", sentence)
        }
        Edit::Detach(disk) => {
            record.definition.disks.retain(|other| other.name != disk);
            ("machine.disk-detached", format!("{name} no longer has the disk {disk}."))
        }
        Edit::Rename(to) => {
            let sentence = format!("{name} is called {to} now.");
            record.name = to;
            ("machine.renamed", sentence)
        }
        Edit::Label { add, remove } => {
            record.labels.retain(|label| !remove.contains(label));
            for label in add {
                if !record.labels.contains(&label) {
                    record.labels.push(label);
                }
            }
            record.labels.sort();
            ("machine.labelled", labels(record))
        }
        Edit::Autostart(on) => {
            record.autostart = on;
            let words = if on { "starts with its host now" } else { "no longer starts with its host" };
            ("machine.autostart-set", format!("{name} {words}."))
        }
        // Done apart, since it is no change of what it is made of.
        Edit::Become(state, change) => {
            record.state = *state;
            (change.what, change.sentence)
        }
        Edit::Protect(on) => {
            record.protected = on;
            let words = if on { "is protected now" } else { "is no longer protected" };
            ("machine.protection-set", format!("{name} {words}."))
        }
    })
}

/// The labels, in a sentence.
pub(crate) fn labels(record: &Record) -> String {
    match record.labels.as_slice() {
        [] => format!("{} has no labels.", record.name),
        labels => format!("{} has the labels {}.", record.name, labels.join(", ")),
    }
}

/// The refusal for a name that is taken, or looks like one that is.
pub(crate) fn taken(name: &str) -> Refusal {
    Refusal::new(
        Reason::Conflict,
        format!("There is a machine {name} already, or one whose name looks the same."),
    )
    .hint("Choose another name.")
}

/// The refusal for a protected machine.
pub(crate) fn protected(record: &Record) -> Refusal {
    Refusal::new(Reason::Conflict, format!("{} is protected.", record.name))
        .hint(format!("\"protect {} off\" first, if it is really meant.", record.name))
}
