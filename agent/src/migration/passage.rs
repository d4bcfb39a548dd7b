//! One machine on its way, on one of its two hosts: the effects of the hand-over's steps, carried out one
//! after the other.

mod deeds;
mod points;

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use hypervisor_core::{
    driver::{
        Driver, DriverError, Launch,
        migrate::{Half, Migrate, Place, Sent},
    },
    handover::{Effect, Input, Message, Pass, Standing, Step, Word, step},
    lifecycle::Side,
};
use skerry_stanzas::{
    payload::migration::{Accepted, Refused},
    refusal::Refusal,
};
use tokio::{
    sync::{OwnedMutexGuard, mpsc, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use self::points::{point, said_point};
use super::{Agent, Unheard, journal::Row, leaving::Sign};
use crate::{crash, machine::Machine, networks::Expected, store::StoreError};

/// How often what may not have been heard is said again.
const TICK: Duration = Duration::from_secs(2);
/// How long the other host may take to answer an offer, once it has heard it.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// How long a destination that has not got all waits for a source it does not hear of.
const SILENCE_MAX: Duration = Duration::from_secs(1800);
/// How long a source that has sent all of it, so that its guest stands still, does without a word of the
/// destination, which says one every [`TICK`] as long as it is there.
const STILL_MAX: Duration = Duration::from_secs(30);
/// How often it is said that nothing came of it, until it is heard.
const FAILED_TRIES: u32 = 300;

/// What a passage is told.
pub(crate) enum Heard {
    /// The other host said this, and this went along.
    Word(Message, String),
    /// The source has sent all of a machine that does not run.
    Sent(Pass),
    /// Somebody calls it off.
    CallOff,
    /// A person knows what the other host has done.
    Resolve(Word),
    /// A person knows that the other host has not got it, and never will.
    Keep,
}

/// How it ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// It is the other host's now.
    Moved(Sent, Option<Duration>),
    /// It stays, and why.
    Stayed(String),
}

/// What is known of it from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// It cannot be called off any more.
    pub(crate) decided: bool,
    pub(crate) end: Option<End>,
}

/// What goes along with "taken".
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Ran {
    /// For how long the guest has been running again.
    ran_for_ms: u64,
}

/// What was asked for besides.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) bytes_per_second: Option<u64>,
    /// Where it is said how far it is.
    pub(crate) passing: Option<Arc<dyn Fn(hypervisor_core::driver::migrate::Passed) + Send + Sync>>,
}

/// A machine on its way.
pub(crate) struct Passage {
    pub(super) agent: Agent,
    pub(super) row: Row,
    pub(super) standing: Standing,
    pub(super) side: Side,
    pub(super) driver: Arc<dyn Driver>,
    pub(super) launch: Launch,
    /// The machine, where it is in the list of this host.
    pub(super) machine: Option<Arc<Machine>>,
    pub(super) storage: Option<OwnedMutexGuard<()>>,
    pub(super) options: Options,
    signs: Vec<Sign>,
    _room: Option<crate::handler::quotas::Room>,
    pub(super) keys: Option<Half>,
    /// Of the destination's, what was made for it.
    pub(super) made: Vec<PathBuf>,
    pub(super) accepted: Option<Accepted>,
    pub(super) place: Option<Place>,
    /// Of the destination's, its place on the networks until it is in the list.
    pub(super) expected: Option<Expected>,
    pub(super) view: watch::Sender<View>,
    pub(super) why: Option<String>,
    hears: mpsc::Receiver<Heard>,
    tells: mpsc::Sender<(Input, String)>,
    told: mpsc::Receiver<(Input, String)>,
    next: VecDeque<Input>,
    work: Option<JoinHandle<()>>,
    sent: Option<watch::Receiver<Option<Result<(), String>>>>,
    measured: Sent,
    stood_since: Option<Instant>,
    stood: Option<Duration>,
    ran_since: Option<Instant>,
    heard_at: Instant,
    begun_at: Instant,
}

/// What a passage begins with.
pub(super) struct Beginning {
    pub(super) row: Row,
    pub(super) side: Side,
    pub(super) driver: Arc<dyn Driver>,
    pub(super) launch: Launch,
    pub(super) machine: Option<Arc<Machine>>,
    pub(super) storage: Option<OwnedMutexGuard<()>>,
    pub(super) options: Options,
    pub(super) made: Vec<PathBuf>,
    /// What was put beside its disks, until the other host has seen it.
    pub(super) signs: Vec<Sign>,
    /// Of the destination's, what is held for it in a quota.
    pub(super) room: Option<crate::handler::quotas::Room>,
}

impl Passage {
    pub(super) fn new(agent: Agent, beginning: Beginning, hears: mpsc::Receiver<Heard>) -> Self {
        let Beginning { row, side, driver, launch, machine, storage, options, made, signs, room } = beginning;
        let (tells, told) = mpsc::channel(8);
        let now = Instant::now();
        Self {
            standing: row.standing,
            agent,
            row,
            side,
            driver,
            launch,
            machine,
            storage,
            options,
            signs,
            _room: room,
            keys: Half::make().inspect_err(|error| tracing::error!(%error, "no keys could be made")).ok(),
            made,
            accepted: None,
            place: None,
            expected: None,
            view: watch::Sender::default(),
            why: None,
            hears,
            tells,
            told,
            next: VecDeque::new(),
            work: None,
            sent: None,
            measured: Sent::default(),
            stood_since: None,
            stood: None,
            ran_since: None,
            heard_at: now,
            begun_at: now,
        }
    }

    /// What is seen of it from outside.
    pub(super) fn watch(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    pub(super) fn migrate(&self) -> Result<&dyn Migrate, DriverError> {
        self.driver.migrate().ok_or_else(|| DriverError::Unfit("its driver cannot move machines".into()))
    }

    pub(super) fn pass(&self) -> Option<Pass> {
        self.standing.pass().or(self.row.standing.pass())
    }

    /// Goes on to its end.
    pub(super) async fn run(mut self, begin: Step) {
        self.carry_out(begin).await;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.reset();
        while !self.is_over() {
            let input = match self.next.pop_front() {
                Some(input) => Some(input),
                None => tokio::select! {
                    heard = self.hears.recv() => match heard {
                        Some(heard) => self.hear(heard),
                        // The agent ends.
                        None => return,
                    },
                    told = self.told.recv() => told.map(|(input, what)| self.take(input, what)),
                    _ = tick.tick() => Some(self.tick()),
                },
            };
            if let Some(input) = input {
                let step = step(self.standing, input);
                self.carry_out(step).await;
            }
        }
        if let (Side::Source, Standing::Owner { .. }) = (self.side, self.row.standing) {
            while let Err(error) = self.stays().await {
                tracing::error!(machine = %self.launch.name, %error, "how it is cannot be written down");
                tokio::time::sleep(TICK).await;
            }
        }
        self.finish();
    }

    fn is_over(&self) -> bool {
        matches!(self.row.standing, Standing::Owner { .. } | Standing::Away { .. })
            && self.row.standing == self.standing
    }

    fn finish(self) {
        let id = self.row.machine;
        if let Some(work) = &self.work {
            work.abort();
        }
        drop(self.storage);
        self.agent.inner.passages.end(id);
        let end = match (self.side, self.row.standing) {
            (Side::Source, Standing::Away { .. }) => End::Moved(self.measured, self.stood),
            _ => End::Stayed(self.why.unwrap_or_else(|| "it was called off".into())),
        };
        self.view.send_modify(|view| view.end = Some(end));
    }

    /// What its own hypervisor says, with a reason, or a place.
    fn take(&mut self, input: Input, what: String) -> Input {
        match input {
            Input::Prepared => self.place = serde_json::from_str(&what).ok(),
            _ if what.is_empty() => {}
            _ => self.why = Some(what),
        }
        input
    }

    fn hear(&mut self, heard: Heard) -> Option<Input> {
        match heard {
            Heard::Word(message, content) => {
                self.heard_at = Instant::now();
                self.note(message, &content);
                Some(Input::Heard(message))
            }
            Heard::Sent(pass) => {
                let waits = matches!(self.standing, Standing::Prepared { pass: own, .. } if own == pass);
                let idle = self.work.as_ref().is_none_or(JoinHandle::is_finished);
                if waits && !self.row.about.offer.live && idle {
                    self.begin_settling();
                }
                None
            }
            Heard::CallOff => Some(Input::GiveUp),
            Heard::Keep => Some(Input::Kept),
            Heard::Resolve(word) => self.pass().map(|pass| Input::Heard(Message { word, pass })),
        }
    }

    /// What goes along with a word.
    fn note(&mut self, message: Message, content: &str) {
        if self.pass() != Some(message.pass) {
            return;
        }
        match message.word {
            Word::Accept => {
                if let Ok(accepted) = serde_json::from_str::<Accepted>(content) {
                    self.accepted = Some(accepted);
                    self.signs.clear();
                }
            }
            Word::Refuse => {
                let refused = serde_json::from_str::<Refused>(content).unwrap_or_default();
                self.why = Some(refused.reasons.join("; "));
            }
            Word::Failed => {
                let why = "the other host says that it did not come through";
                self.why.get_or_insert_with(|| why.into());
            }
            Word::Ready => {
                self.stood_since.get_or_insert_with(Instant::now);
            }
            Word::Taken => {
                // Since the guest runs again some time has passed, as the destination says.
                let ran = serde_json::from_str::<Ran>(content).unwrap_or_default();
                let ran = Duration::from_millis(ran.ran_for_ms);
                self.stood = self.stood_since.map(|since| since.elapsed().saturating_sub(ran));
            }
            Word::Commit => {
                if matches!(self.row.standing, Standing::Received { .. }) {
                    self.is_handed(content);
                }
            }
            Word::Offer | Word::Ask | Word::Abort => {}
        }
    }

    fn tick(&mut self) -> Input {
        if is_late(self.standing, self.has_sent_all(), self.begun_at.elapsed(), self.heard_at.elapsed()) {
            self.why.get_or_insert_with(|| "the other host does not answer".into());
            return Input::GiveUp;
        }
        Input::Tick
    }

    /// Whether this host's hypervisor is done with sending.
    fn has_sent_all(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| matches!(&*sent.borrow(), Some(Ok(()))))
    }

    /// Does what a step asks for. What cannot be done is as if it had never been begun.
    async fn carry_out(&mut self, step: Step) {
        for effect in step.effects {
            let done = match effect {
                Effect::Write(standing) => self.write(standing).await.map_err(|error| error.to_string()),
                Effect::Do(deed) => self.act(deed).await.map_err(|error| error.to_string()),
                Effect::Say(message) => {
                    self.say(message);
                    Ok(())
                }
            };
            if let Err(why) = done {
                tracing::error!(machine = %self.launch.name, ?effect, why, "a hand-over is held up");
                self.why.get_or_insert(why);
                let may_give_up = matches!(
                    self.standing,
                    Standing::Offered { .. }
                        | Standing::Sending { .. }
                        | Standing::Holding { .. }
                        | Standing::Preparing { .. }
                        | Standing::Prepared { .. }
                );
                // Else it is tried again when the other host is heard again.
                if may_give_up || matches!(self.row.standing, Standing::Offered { .. }) {
                    tokio::time::sleep(TICK).await;
                    self.next.push_back(Input::GiveUp);
                }
                return;
            }
            if let Some(point) = point(effect) {
                crash::point(point);
            }
        }
        self.standing = step.next;
        if matches!(self.standing, Standing::HandedOver { .. }) {
            self.view.send_modify(|view| view.decided = true);
        }
    }

    /// Says a word to the other host, with what goes along with it.
    fn say(&mut self, message: Message) {
        let content = match message.word {
            Word::Offer => self.offer_content(),
            Word::Accept => self.accept_content(),
            Word::Commit => self.commit_content(),
            Word::Taken => {
                let ran = self.ran_since.map_or(0, |since| since.elapsed().as_millis());
                let ran = Ran { ran_for_ms: u64::try_from(ran).unwrap_or(u64::MAX) };
                serde_json::to_string(&ran).unwrap_or_default()
            }
            _ => String::new(),
        };
        let (agent, to, id) = (self.agent.clone(), self.row.peer.clone(), self.row.machine);
        let tells = self.tells.clone();
        // Whoever says that it failed has forgotten the rest by then, and will not say it again by itself;
        // and what begins with an agent is said before its link is up. The other host's guest stands still.
        let tries = if message.word == Word::Failed { FAILED_TRIES } else { 1 };
        self.agent.keep(async move {
            let mut said = Err(Unheard::Lost);
            for again in 0..tries {
                if again > 0 {
                    tokio::time::sleep(TICK).await;
                }
                said = agent.try_say(&to, id, message.word.word(), message.pass, content.clone()).await;
                if !matches!(said, Err(Unheard::Lost)) {
                    break;
                }
            }
            if let Some(point) = said_point(message.word) {
                crash::point(point);
            }
            if let (Word::Offer, Err(error)) = (message.word, said) {
                let _ = tells.send((Input::Failed, format!("{to}: {error}"))).await;
            }
        });
    }

    /// Writes a standing down, with what belongs to it.
    async fn write(&mut self, standing: Standing) -> Result<(), StoreError> {
        let mut row = Row { standing, ..self.row.clone() };
        match self.side {
            Side::Source => self.write_leaving(&mut row).await?,
            Side::Destination => self.write_arriving(&row).await?,
        }
        self.row = row;
        Ok(())
    }

    /// Writes down the standing alone.
    pub(super) async fn put(&self, row: &Row) -> Result<(), StoreError> {
        let row = row.clone();
        self.agent.inner.store.run(move |connection| super::journal::put(connection, &row)).await
    }
}

/// Whether the other host is waited for no longer: what it does not answer is given up where that may be.
fn is_late(standing: Standing, has_sent_all: bool, lasts: Duration, silent: Duration) -> bool {
    match standing {
        Standing::Offered { .. } => lasts > ANSWER_MAX,
        Standing::Preparing { .. } | Standing::Prepared { .. } => silent > SILENCE_MAX,
        Standing::Sending { .. } => has_sent_all && silent > STILL_MAX,
        _ => false,
    }
}

/// A refusal as a store's error would be told: that of a machine's task.
pub(super) fn of_task(refusal: Refusal) -> StoreError {
    StoreError::Unreadable(refusal.text)
}

#[cfg(test)]
mod tests {
    use hypervisor_core::handover::Attempt;

    use super::*;

    /// What is waited for needs a limit: a guest stands still meanwhile, or a place is held.
    #[test]
    fn whoever_waits_for_what_may_have_been_lost_gives_up_in_the_end() {
        let pass = Pass { attempt: Attempt(uuid::Uuid::nil()), epoch: 2 };
        let long = SILENCE_MAX + ANSWER_MAX;
        let (offered, sending) = (Standing::Offered { pass }, Standing::Sending { pass });
        let prepared = Standing::Prepared { pass, known: 1 };
        for standing in [offered, sending, prepared, Standing::Preparing { pass, known: 1 }] {
            assert!(is_late(standing, true, long, long), "{standing:?}");
            assert!(!is_late(standing, true, TICK, TICK), "{standing:?}");
        }
        assert!(!is_late(sending, false, long, long), "its hypervisor says how the sending ends");
        assert!(is_late(sending, true, long, STILL_MAX + TICK), "a guest does not stand still for longer");
        for theirs in [Standing::HandedOver { pass }, Standing::Received { pass, known: 1 }] {
            assert!(!is_late(theirs, true, long, long), "{theirs:?} is not this host's to decide");
        }
    }
}
