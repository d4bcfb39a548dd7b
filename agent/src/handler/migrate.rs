//! Migrate: a machine goes to another host.

use std::{sync::Arc, time::Duration};

use hypervisor_core::{driver::migrate::Passed, handover::Standing, machine::MachineId};
use skerry_stanzas::{
    command::machine,
    payload::migration::Storage,
    refusal::{Reason, Refusal},
    reply::{Changed, Migrated},
};
use tokio::sync::watch;
use xmpp_parsers::jid::Jid;

use super::{Handle, storage::size_bytes};
use crate::{
    agent::Agent,
    dispatch::Job,
    machine::{Machine, wording},
    migration::{End, Options, Resolved, View},
};

/// How long the destination may take to answer, once it was handed over, before that is said to people.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How a machine is to be moved.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) dry_run: bool,
    pub(super) bytes_per_second: Option<u64>,
    pub(super) storage: Storage,
    pub(super) postcopy: bool,
}

/// Reads a bandwidth: so many bytes a second.
pub(super) fn bandwidth(text: Option<&str>) -> Result<Option<u64>, Refusal> {
    text.map(|text| size_bytes(text).map_err(|refusal| refusal.field("bandwidth"))).transpose()
}

impl Handle<machine::Migrate> for Agent {
    async fn handle(&self, job: &Job, command: machine::Migrate) -> Result<Migrated, Refusal> {
        let to = self.peer(&command.to)?;
        let wish = Wish {
            dry_run: command.dry_run,
            bytes_per_second: bandwidth(command.bandwidth.as_deref())?,
            storage: match command.storage {
                machine::Storage::Auto => Storage::Auto,
                machine::Storage::Shared => Storage::Shared,
                machine::Storage::Copy => Storage::Copy,
            },
            postcopy: command.postcopy,
        };
        self.move_one(job, job.machine()?, &to, wish).await
    }
}

impl Agent {
    /// Moves a machine, or says what would be done.
    pub(super) async fn move_one(
        &self,
        job: &Job,
        machine: &Arc<Machine>,
        to: &Jid,
        wish: Wish,
    ) -> Result<Migrated, Refusal> {
        let mut leaving = self.leaving(machine, &job.by(), to, wish.storage, wish.postcopy).await?;
        let plan = leaving.plan(self).await?;
        let name = leaving.name().to_owned();
        let mut migrated = Migrated {
            name: name.clone(),
            to: to.to_string(),
            address: plan.address.clone(),
            planned: wish.dry_run,
            copies: plan.copies.clone(),
            downtime_ms: None,
            sent_bytes: None,
            slowed_percent: None,
            notes: plan.notes.clone(),
        };
        if wish.dry_run {
            return Ok(migrated);
        }
        job.say(format!("{name} is moving to {to}."));
        let (told, passed) = watch::channel(Passed::default());
        let passing = move |now: Passed| {
            told.send_replace(now);
        };
        let options = Options { bytes_per_second: wish.bytes_per_second, passing: Some(Arc::new(passing)) };
        let (id, mut view) = leaving.begin(self, &plan, options).await?;
        let mut slowed_percent = 0;
        let going = async {
            slowed_percent = follow(job, &name, &mut view.clone(), passed).await;
            Ok(())
        };
        let called_off = job.unless_called_off(going).await.err();
        if called_off.is_some() {
            self.call_off_move(id);
        }
        let ended = tokio::time::timeout(ANSWER_MAX, view.wait_for(|view| view.end.is_some())).await;
        let end = match ended {
            Ok(Ok(view)) => view.end.clone(),
            Ok(Err(_)) => None,
            Err(_) => return Err(unanswered(&name, to)),
        };
        match (end, called_off) {
            (Some(End::Moved(sent, stood)), _) => {
                let stood = sent.downtime.map(|downtime| downtime + stood.unwrap_or_default());
                migrated.downtime_ms = stood.and_then(|stood| u64::try_from(stood.as_millis()).ok());
                migrated.sent_bytes = Some(sent.bytes).filter(|bytes| *bytes > 0);
                migrated.slowed_percent = Some(slowed_percent).filter(|percent| *percent > 0);
                Ok(migrated)
            }
            (Some(End::Stayed(_)), Some(refusal)) => Err(refusal),
            (Some(End::Stayed(why)), None) => {
                let text = format!("{name} was not moved: {why}.");
                Err(Refusal::new(Reason::Conflict, text).hint("It stays here as it was."))
            }
            (None, _) => Err(Refusal::new(Reason::Unavailable, "That was given up.")),
        }
    }
}

/// Says how it goes, until it cannot be called off any more. By how much its guest was slowed down at most.
async fn follow(
    job: &Job,
    name: &str,
    view: &mut watch::Receiver<View>,
    mut passed: watch::Receiver<Passed>,
) -> u8 {
    let (mut tells, mut slowed_percent) = (true, 0);
    while !{
        let view = view.borrow();
        view.decided || view.end.is_some()
    } {
        tokio::select! {
            changed = view.changed() => {
                if changed.is_err() {
                    break;
                }
            }
            changed = passed.changed(), if tells => {
                tells = changed.is_ok();
                let now = *passed.borrow_and_update();
                slowed_percent = slowed_percent.max(now.slowed_percent);
                job.reach(&moving(name, now), now.sent_bytes, now.total_bytes);
            }
        }
    }
    slowed_percent
}

/// How it goes, in words.
fn moving(name: &str, passed: Passed) -> String {
    let rate = match passed.bytes_per_second >> 20 {
        0 => None,
        rate => Some(format!("{rate} MiB/s")),
    };
    let slowed = match passed.slowed_percent {
        0 => None,
        percent => Some(format!("its guest writes faster than can be sent, and is slowed by {percent} %")),
    };
    match [rate, slowed].into_iter().flatten().collect::<Vec<_>>().join("; ") {
        nothing if nothing.is_empty() => format!("{name} is moving"),
        how => format!("{name} is moving ({how})"),
    }
}

fn unanswered(name: &str, to: &Jid) -> Refusal {
    let text = format!(
        "{name} was handed over to {to}, which has not answered since. It stands still here, and never runs here \
         again; {to} lets it run as soon as it hears of it."
    );
    let hint = "See to that host, or to the link between the two. If it is lost: \"migrate resolve\".";
    Refusal::new(Reason::Unavailable, text).hint(hint)
}

impl Handle<machine::MigrateResolve> for Agent {
    async fn handle(&self, job: &Job, command: machine::MigrateResolve) -> Result<Changed, Refusal> {
        let machine = job.machine()?;
        let keep = command.outcome == machine::Resolution::Keep;
        let (before, id) = (machine.record(), machine.card.id);
        match self.resolve_move(id, keep).await {
            Resolved::NothingToDo => {
                let text = format!("Nothing about {} is in doubt.", before.name);
                Err(Refusal::new(Reason::Conflict, text).hint("\"status\" shows how it is."))
            }
            Resolved::AnswersStill(peer) => {
                let text = format!("{peer} answers: what became of {} is settled with it.", before.name);
                Err(Refusal::new(Reason::Conflict, text).hint("Wait a moment, and look again."))
            }
            Resolved::Done => {
                let record = machine.record();
                let sentence = match self.inner.machines.get(id) {
                    Some(_) => wording::is(&record.name, &record.state),
                    None => format!("{} is not on this host any more.", record.name),
                };
                Ok(self.changed(&record, sentence))
            }
        }
    }

    fn warning(&self, job: &Job, command: &machine::MigrateResolve) -> String {
        let name = job.machine().map_or_else(|_| "the machine".to_owned(), |m| m.record().name.to_string());
        match command.outcome {
            machine::Resolution::Keep => format!(
                "From now on {name} is this host's. If the other host runs it too, or ever does, both write to its \
                 disks and destroy what is on them. Make sure that it does not and never will. What is \
                 granted on it is what was granted when it was offered."
            ),
            machine::Resolution::GiveUp => format!(
                "{name} is given up here: nothing of it is left on this host. If the other host does not have it, it \
                 is lost."
            ),
        }
    }

    async fn obstacle(&self, job: &Job, _command: &machine::MigrateResolve) -> Result<(), Refusal> {
        let machine = job.machine()?;
        let standing = self.row(machine.card.id).await?.map(|row| row.standing);
        match standing {
            Some(Standing::HandedOver { .. } | Standing::Received { .. }) => Ok(()),
            _ => {
                let text = format!("Nothing about {} is in doubt.", machine.record().name);
                Err(Refusal::new(Reason::Conflict, text).hint("\"status\" shows how it is."))
            }
        }
    }
}

/// What became of an interrupted move, by what is written down of it.
pub(crate) async fn moved(agent: &Agent, id: MachineId) -> Option<bool> {
    let row = agent.row(id).await.ok()??;
    Some(matches!(row.standing, Standing::HandedOver { .. } | Standing::Away { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_hears_how_fast_it_goes_and_what_it_costs_the_guest() {
        let how = |bytes_per_second, slowed_percent| {
            moving("web1", Passed { bytes_per_second, slowed_percent, ..Passed::default() })
        };
        assert_eq!(how(0, 0), "web1 is moving");
        assert_eq!(how(8 << 20, 0), "web1 is moving (8 MiB/s)");
        let slowed = "its guest writes faster than can be sent, and is slowed by 30 %";
        assert_eq!(how(8 << 20, 30), format!("web1 is moving (8 MiB/s; {slowed})"));
        assert_eq!(how(0, 30), format!("web1 is moving ({slowed})"));
    }
}
