//! Telling people who asked for it when a machine or the host uses too much, and when that is over.
//!
//! What is so is written down first, then told, then it is written down that it was told: an agent that
//! dies in between tells it again, under the same id, and never forgets it. So it is also told late: when
//! the link is up again, or after somebody's quiet hours, if it is still so then. Whoever may not look any
//! more is told nothing, and is forgotten.

pub(crate) mod hold;
pub(crate) mod quiet;
pub(crate) mod rule;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use skerry_stanzas::{
    command::{COMMANDS, Object},
    reply::measure,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};
use xmpp_parsers::jid::BareJid;

use self::{
    hold::{Hold, Seen, Turn},
    rule::What,
};
use crate::{
    agent::{Agent, Inner},
    asked::Target,
    crash,
    machine::Machine,
    store::{
        StoreError,
        alerts::{self as rows, Alert},
    },
};

/// Something to tell somebody unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whose it is.
    pub from: Target,
    /// Whom.
    pub to: BareJid,
    /// The message's id: the same when it is told again.
    pub id: String,
    /// The words.
    pub text: String,
    /// The id of the message it is the end of.
    pub answers: Option<String>,
    /// The id of the message it takes the place of (XEP-0308).
    pub instead: Option<String>,
    /// Answers that can be given with one tap (XEP-0439).
    pub buttons: Vec<String>,
    /// It is told to a room, and all who are in it.
    pub in_room: bool,
}

/// Tells people something.
#[async_trait]
pub trait Messages: Send + Sync {
    /// Tells it; whether it is on its way.
    async fn tell(&self, told: Told) -> bool;
}

/// What people want to be told of.
#[derive(Default)]
pub(crate) struct Alerts {
    all: Mutex<Vec<Alert>>,
    /// How often they were looked after.
    looks: watch::Sender<u64>,
    messages: RwLock<Option<Weak<dyn Messages>>>,
}

impl Alerts {
    fn all(&self) -> MutexGuard<'_, Vec<Alert>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those there were before.
    pub(crate) fn load(&self, alerts: Vec<Alert>) {
        *self.all() = alerts;
    }

    /// Those of one person.
    pub(crate) fn of(&self, person: &BareJid) -> Vec<Alert> {
        self.all().iter().filter(|alert| alert.person == *person).cloned().collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.all().len()
    }

    /// One more.
    pub(crate) fn add(&self, alert: Alert) {
        self.all().push(alert);
    }

    /// One less.
    pub(crate) fn remove(&self, number: u64) {
        self.all().retain(|alert| alert.number != number);
    }

    /// From now on people are told by this, as long as it is there.
    pub(crate) fn told_by(&self, messages: Weak<dyn Messages>) {
        *self.messages.write().unwrap_or_else(PoisonError::into_inner) = Some(messages);
    }

    pub(crate) fn messages(&self) -> Option<Arc<dyn Messages>> {
        self.messages.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Alert)) {
        if let Some(alert) = self.all().iter_mut().find(|alert| alert.number == number) {
            change(alert);
        }
    }
}

/// Looks after all alerts until the agent ends.
pub(crate) async fn look_after(inner: Weak<Inner>, every: std::time::Duration) {
    let mut clock = interval_at(Instant::now() + every, every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut holds: HashMap<u64, Hold> = HashMap::new();
    loop {
        clock.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let agent = Agent { inner };
        if let Err(error) = agent.look_after_alerts(&mut holds).await {
            // What was not told is told after the next look.
            tracing::warn!(%error, "alerts could not be looked after");
        }
        agent.inner.alerts.looks.send_modify(|looks| *looks += 1);
    }
}

impl Agent {
    /// From now on people are told by this, as long as it is there.
    pub fn messages_by(&self, messages: Weak<dyn Messages>) {
        self.inner.alerts.told_by(messages);
    }

    /// How often alerts were looked after, for whoever waits for the next time.
    pub fn alert_looks(&self) -> watch::Receiver<u64> {
        self.inner.alerts.looks.subscribe()
    }

    async fn look_after_alerts(&self, holds: &mut HashMap<u64, Hold>) -> Result<(), StoreError> {
        let alerts = self.inner.alerts.all().clone();
        holds.retain(|number, _| alerts.iter().any(|alert| alert.number == *number));
        if alerts.is_empty() {
            return Ok(());
        }
        let mut machines = self.measurable();
        machines.retain(|machine| alerts.iter().any(|alert| alert.machine == Some(machine.card.id)));
        let (host, uses) = self.uses_lately(&machines, self.config().metrics.every / 2).await;
        let room =
            alerts.iter().any(|alert| alert.rule.what == What::Room).then(|| self.room_bytes()).flatten();
        for alert in alerts {
            let seen = match alert.machine {
                None => host.as_ref().and_then(|host| alert.rule.what.of_host(host, room)),
                Some(id) => {
                    let Some(machine) = self.inner.machines.get(id) else { continue };
                    if !machine.record().state.has_guest() {
                        self.turn(&alert, holds, Seen::Gone).await?;
                        continue;
                    }
                    uses.iter().find(|one| one.id == id).and_then(|one| alert.rule.what.of_machine(one))
                }
            };
            self.turn(&alert, holds, seen.map_or(Seen::Nothing, Seen::Number)).await?;
        }
        self.tell_what_is_due(Utc::now()).await
    }

    /// Takes in what was seen, and writes down what became of it.
    async fn turn(
        &self,
        alert: &Alert,
        holds: &mut HashMap<u64, Hold>,
        seen: Seen,
    ) -> Result<(), StoreError> {
        let hold = holds.entry(alert.number).or_insert_with(|| Hold::from(alert.since.is_some()));
        let before = *hold;
        let Some(turn) = hold.see(&alert.rule, seen, Instant::now()) else { return Ok(()) };
        let (since, number) = match turn {
            Turn::Began(number) => (Some(Utc::now()), Some(number)),
            Turn::Ended(number) => (None, number),
        };
        let row = alert.number;
        let written =
            self.inner.store.run(move |connection| rows::turn(connection, row, since, number)).await;
        if written.is_err() {
            *hold = before;
        }
        written?;
        crash::point("alert-turned");
        self.inner.alerts.change(row, |alert| (alert.since, alert.seen) = (since, number));
        Ok(())
    }

    /// Tells what is so and was not told, and what is over and was told.
    async fn tell_what_is_due(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let due: Vec<Alert> = {
            let all = self.inner.alerts.all();
            all.iter().filter(|alert| alert.since.is_some() != alert.told.is_some()).cloned().collect()
        };
        for alert in due {
            if !self.may_be_told(&alert) {
                tracing::info!(person = %alert.person, number = alert.number, "may not look any more: forgotten");
                let number = alert.number;
                self.inner.store.run(move |connection| rows::remove(connection, number)).await?;
                self.inner.alerts.remove(number);
                continue;
            }
            let person = alert.person.clone();
            let quiet = self.inner.store.run(move |connection| rows::quiet(connection, &person)).await?;
            if quiet.is_some_and(|quiet| quiet.is_now(now)) {
                continue;
            }
            self.tell_person(alert).await?;
        }
        Ok(())
    }

    async fn tell_person(&self, alert: Alert) -> Result<(), StoreError> {
        let from = match alert.machine {
            None => Some(Target::Host),
            Some(id) => self.inner.machines.get(id).map(|one| Target::Machine(one.record().name.clone())),
        };
        let (Some(from), Some(messages)) = (from, self.inner.alerts.messages()) else { return Ok(()) };
        let machine = alert.machine.and_then(|id| self.inner.machines.get(id));
        let (id, text) = match alert.since {
            Some(since) => {
                (format!("alert-{}-{}", alert.number, since.timestamp()), self.began(&alert, machine))
            }
            None => {
                let begun = alert.told.as_deref().unwrap_or_default();
                (format!("{begun}-end"), self.ended(&alert, machine))
            }
        };
        let told = Told {
            from,
            to: alert.person.clone(),
            id: id.clone(),
            text,
            answers: alert.told.clone(),
            instead: None,
            buttons: Vec::new(),
            in_room: false,
        };
        if !messages.tell(told).await {
            return Ok(());
        }
        crash::point("alert-told");
        let (number, told) = (alert.number, alert.since.map(|_| id));
        let kept = told.clone();
        self.inner.store.run(move |connection| rows::told(connection, number, told.as_deref())).await?;
        self.inner.alerts.change(number, |alert| alert.told = kept);
        Ok(())
    }

    fn may_be_told(&self, alert: &Alert) -> bool {
        let object = if alert.machine.is_some() { Object::Machine } else { Object::Host };
        let look = COMMANDS.iter().find(|known| known.object == object && known.verb == "stats");
        let target = match alert.machine.map(|id| self.inner.machines.get(id)) {
            None => Target::Host,
            Some(Some(machine)) => Target::Machine(machine.record().name.clone()),
            Some(None) => return false,
        };
        look.is_some_and(|declaration| self.allows(&alert.person, declaration, &target))
    }

    fn whose(&self, machine: Option<&Arc<Machine>>) -> String {
        machine.map_or_else(|| self.config().name.clone(), |machine| machine.record().name.to_string())
    }

    fn began(&self, alert: &Alert, machine: Option<Arc<Machine>>) -> String {
        let (rule, whose) = (&alert.rule, self.whose(machine.as_ref()));
        let now = alert.seen.map(|number| format!(": {}", rule.what.said(number))).unwrap_or_default();
        let time = match rule.for_seconds {
            0 => String::new(),
            seconds => format!(" for {}", measure::duration(seconds)),
        };
        let since = alert.since.map(measure::moment).unwrap_or_default();
        format!(
            "{whose}: {}{time}{now} ({since}). To hear no more of it: alert remove {}",
            rule.said(),
            alert.number
        )
    }

    fn ended(&self, alert: &Alert, machine: Option<Arc<Machine>>) -> String {
        let (rule, whose) = (&alert.rule, self.whose(machine.as_ref()));
        match alert.seen {
            Some(number) => format!("{whose}: {} is over: {}.", rule.said(), rule.what.said(number)),
            None => format!("{whose}: {} is over: it does not run any more.", rule.said()),
        }
    }

    fn room_bytes(&self) -> Option<u64> {
        let disk = nix::sys::statvfs::statvfs(&self.config().state).ok()?;
        Some(disk.blocks_available() * disk.fragment_size())
    }
}
