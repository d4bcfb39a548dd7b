//! Carries out the schedules of snapshots.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use skerry_stanzas::{
    command::{COMMANDS, Object},
    refusal::{Reason, Refusal},
};
use xmpp_parsers::jid::Jid;

use super::{Agent, Inner};
use crate::{
    asked::{Answer, Asked, Door, Hop, Target},
    handler::snapshots::schedules::{Schedule, Schedules},
    machine::Machine,
};

/// How often it is looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// How long one may take: the next is not begun before.
const PATIENCE: Duration = Duration::from_secs(3600);

/// For how long one that was refused is tried again: something else may be under way on the disks.
const RETRY_MAX: TimeDelta = TimeDelta::hours(1);

/// Looks again and again, until the agent ends.
pub(super) async fn keep_schedules(inner: Weak<Inner>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        Agent { inner }.carry_out_schedules().await;
    }
}

impl Agent {
    /// Takes what is due, and deletes what there is enough of. One after the other.
    pub async fn carry_out_schedules(&self) {
        for machine in self.inner.machines.all() {
            let names: Vec<String> = Schedules::read(&machine.card.folder).0.into_keys().collect();
            for name in names {
                self.carry_out(&machine, &name).await;
            }
        }
    }

    async fn carry_out(&self, machine: &Arc<Machine>, title: &str) {
        let Some(schedule) = self.one(machine, title) else { return };
        if schedule.due <= Utc::now() {
            let (name, due) = (Schedule::name(title, schedule.due), schedule.due);
            // First it is written down that there is one: should the agent end, it is counted all the same.
            let noted = self.change(machine, title, |schedule| {
                if !schedule.taken.contains(&name) {
                    schedule.taken.push(name.clone());
                }
            });
            if !noted.await {
                return;
            }
            // A refusal is the answer to its key for good: a later try is another question.
            let tries = (Utc::now() - due).num_minutes();
            let key = format!("{title} {due} {tries}");
            let argv = vec![format!("--name={name}")];
            let answer = self.ask_for(machine, (title, &schedule), "snapshot-take", argv, key).await;
            let done = matches!(answer, Answer::Done { .. }) || is_there(machine, &name).await;
            if let (false, Answer::Refused(refusal)) = (done, &answer) {
                let machine = &machine.record().name;
                tracing::warn!(%machine, schedule = title, %refusal, "no snapshot was taken");
                let later = matches!(refusal.reason, Reason::Conflict | Reason::Unavailable);
                if later && Utc::now() - due < RETRY_MAX {
                    return;
                }
            }
            let next = |schedule: &mut Schedule| {
                if schedule.due == due {
                    schedule.due = schedule.next(due, Utc::now());
                }
                if !done {
                    schedule.taken.retain(|taken| *taken != name);
                }
            };
            if !self.change(machine, title, next).await {
                return;
            }
        }
        self.let_go(machine, title).await;
    }

    /// Deletes the oldest, as long as there are more than are to be kept.
    async fn let_go(&self, machine: &Arc<Machine>, title: &str) {
        while let Some(schedule) = self.one(machine, title)
            && schedule.taken.len() > schedule.keep
            && let Some(oldest) = schedule.taken.first().cloned()
        {
            let argv = vec![format!("--name={oldest}")];
            let key = format!("{title} without {oldest}");
            let answer = self.ask_for(machine, (title, &schedule), "snapshot-delete", argv, key).await;
            // Somebody may have deleted it already.
            let gone = match &answer {
                Answer::Done { .. } => true,
                Answer::Refused(refusal) => refusal.reason == Reason::NotFound,
                Answer::Confirm(_) => false,
            };
            if !gone {
                tracing::warn!(machine = %machine.record().name, snapshot = oldest, ?answer, "an old snapshot stays");
                return;
            }
            if !self.change(machine, title, |schedule| schedule.taken.retain(|taken| *taken != oldest)).await
            {
                return;
            }
        }
    }

    fn one(&self, machine: &Machine, title: &str) -> Option<Schedule> {
        Schedules::read(&machine.card.folder).0.remove(title)
    }

    /// Changes one that is still there.
    async fn change(&self, machine: &Machine, title: &str, change: impl FnOnce(&mut Schedule)) -> bool {
        let _alone = self.inner.schedules.lock().await;
        let mut schedules = Schedules::read(&machine.card.folder);
        let Some(schedule) = schedules.0.get_mut(title) else { return false };
        change(schedule);
        let written = schedules.write(&machine.card.folder);
        if let Err(error) = &written {
            tracing::warn!(machine = %machine.record().name, %error, "a schedule could not be written down");
        }
        written.is_ok()
    }

    /// Asks as who made the schedule would.
    async fn ask_for(
        &self,
        machine: &Machine,
        (title, schedule): (&str, &Schedule),
        verb: &str,
        argv: Vec<String>,
        key: String,
    ) -> Answer {
        let known = COMMANDS.iter().find(|known| known.object == Object::Machine && known.verb == verb);
        let (Some(declaration), Ok(caller)) = (known, Jid::new(&schedule.by)) else {
            return Answer::Refused(Refusal::new(Reason::BadRequest, "Nobody to take it for."));
        };
        let asked = Asked {
            caller,
            target: Target::Machine(machine.record().name.clone()),
            declaration,
            argv,
            door: Door::Schedule,
            key: Some(format!("schedule {} {key}", machine.card.id)),
            patience: PATIENCE,
            hops: vec![Hop::Schedule { title: title.to_owned(), made_by: schedule.by.clone() }],
            together: None,
            signature: None,
        };
        let (hears, _) = tokio::sync::mpsc::channel(1);
        // What it deletes was confirmed when the schedule was made: it said how many are kept.
        match self.dispatch(asked, Some(hears), true).await {
            Ok(answer) => answer,
            Err(refusal) => Answer::Refused(refusal),
        }
    }
}

/// Whether a snapshot of this name is there, whoever said what.
async fn is_there(machine: &Machine, name: &str) -> bool {
    let Some(snapshots) = machine.card.driver.snapshots() else { return false };
    let seen = snapshots.list(&machine.card.launch()).await;
    seen.is_ok_and(|seen| seen.iter().any(|one| one.name == name))
}
