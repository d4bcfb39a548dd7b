//! One machine on its way, on one of its two hosts: the effects of the hand-over's steps, carried out one
//! after the other.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use hypervisor_core::{
    driver::{
        Driver, DriverError, Launch,
        migrate::{Migrate, Place, Sent},
    },
    handover::{Deed, Effect, Input, Message, Pass, Standing, Step, Word, step},
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

use super::{Agent, journal::Row, keys::Half};
use crate::{crash, machine::Machine, store::StoreError};

/// How often what may not have been heard is said again.
const TICK: Duration = Duration::from_secs(2);
/// How long the other host may take to answer an offer, once it has heard it.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// How long a destination that has not got all waits for a source it does not hear of.
const SILENCE_MAX: Duration = Duration::from_secs(1800);
/// How long the source's hypervisor may take to see that all was sent, once the destination has it.
const SENT_MAX: Duration = Duration::from_secs(30);

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
    pub(super) keys: Option<Half>,
    /// Of the destination's, what was made for it.
    pub(super) made: Vec<PathBuf>,
    pub(super) accepted: Option<Accepted>,
    pub(super) place: Option<Place>,
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
}

impl Passage {
    pub(super) fn new(agent: Agent, beginning: Beginning, hears: mpsc::Receiver<Heard>) -> Self {
        let Beginning { row, side, driver, launch, machine, storage, options, made } = beginning;
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
            keys: Half::make().inspect_err(|error| tracing::error!(%error, "no keys could be made")).ok(),
            made,
            accepted: None,
            place: None,
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
            Word::Taken => self.stood = self.stood_since.map(|since| since.elapsed()),
            Word::Offer | Word::Ask | Word::Commit | Word::Abort => {}
        }
    }

    fn tick(&mut self) -> Input {
        let late = match self.standing {
            Standing::Offered { .. } => self.begun_at.elapsed() > ANSWER_MAX,
            Standing::Preparing { .. } | Standing::Prepared { .. } => self.heard_at.elapsed() > SILENCE_MAX,
            // What it was to become could not be written.
            Standing::Sending { .. } | Standing::Holding { .. } => false,
            _ => false,
        };
        if late {
            self.why.get_or_insert_with(|| "the other host does not answer".into());
            return Input::GiveUp;
        }
        Input::Tick
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
            _ => String::new(),
        };
        let (agent, to, id) = (self.agent.clone(), self.row.peer.clone(), self.row.machine);
        let tells = self.tells.clone();
        tokio::spawn(async move {
            let said = agent.try_say(&to, id, message.word.word(), message.pass, content).await;
            if let Some(point) = said_point(message.word) {
                crash::point(point);
            }
            if let (Word::Offer, Err(error)) = (message.word, said) {
                let _ = tells.send((Input::Failed, format!("{to}: {error}"))).await;
            }
        });
    }

    async fn act(&mut self, deed: Deed) -> Result<(), DriverError> {
        let (launch, runs) = (self.launch.clone(), self.runs());
        match deed {
            Deed::Prepare(pass) => self.begin_preparing(pass),
            Deed::Send(pass) => self.begin_sending(pass),
            Deed::Hold(_) => {
                let held = self.hold().await;
                self.next.push_back(match held {
                    Ok(sent) => {
                        self.measured = sent;
                        Input::Held
                    }
                    Err(why) => {
                        self.why = Some(why);
                        Input::Failed
                    }
                });
            }
            Deed::CallOff(_) => {
                self.stop_work().await;
                self.migrate()?.call_off(&launch, runs).await?;
            }
            Deed::Clear(_) => {
                self.stop_work().await;
                self.migrate()?.clear(&launch).await?;
            }
            Deed::Discard(_) => {
                self.stop_work().await;
                self.migrate()?.discard(&launch, &self.made).await?;
            }
            Deed::Continue(_) => {
                self.stop_work().await;
                self.migrate()?.go_on(&launch, runs).await?;
            }
        }
        Ok(())
    }

    /// Whether the guest is to run when it goes on.
    fn runs(&self) -> bool {
        self.row.about.offer.live && !self.row.about.offer.paused
    }

    /// What is under way is dropped, and undoes itself.
    async fn stop_work(&mut self) {
        if let Some(work) = self.work.take() {
            work.abort();
            let _ = work.await;
        }
    }

    fn begin(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.work = Some(tokio::spawn(work));
    }

    fn begin_preparing(&mut self, pass: Pass) {
        let arrival = self.arrival(pass);
        let (driver, tells, launch) = (Arc::clone(&self.driver), self.tells.clone(), self.launch.clone());
        let live = self.row.about.offer.live;
        self.begin(async move {
            let prepared = match (driver.migrate(), arrival) {
                (Some(migrate), Ok(arrival)) => {
                    migrate.prepare(&arrival).await.map_err(|error| error.to_string())
                }
                (None, _) => Err("its driver cannot move machines".into()),
                (_, Err(why)) => Err(why),
            };
            crash::point("move-room-made");
            let (input, what) = match prepared {
                Ok(place) => (Input::Prepared, serde_json::to_string(&place).unwrap_or_default()),
                Err(why) => (Input::Failed, why),
            };
            let ready = input == Input::Prepared;
            let _ = tells.send((input, what)).await;
            if !ready {
                return;
            }
            if let Some(migrate) = driver.migrate().filter(|_| live) {
                let end = match migrate.received(&launch).await {
                    Ok(()) => (Input::Received, String::new()),
                    Err(error) => (Input::Failed, error.to_string()),
                };
                let _ = tells.send(end).await;
            }
        });
    }

    /// All of a machine that does not run was sent: it is made sure of.
    fn begin_settling(&mut self) {
        let (driver, tells, launch) = (Arc::clone(&self.driver), self.tells.clone(), self.launch.clone());
        self.begin(async move {
            let Some(migrate) = driver.migrate() else { return };
            let end = match migrate.settled(&launch).await {
                Ok(()) => (Input::Received, String::new()),
                Err(error) => (Input::Failed, error.to_string()),
            };
            let _ = tells.send(end).await;
        });
    }

    fn begin_sending(&mut self, pass: Pass) {
        let departure = self.departure(pass);
        let (driver, tells) = (Arc::clone(&self.driver), self.tells.clone());
        let passing = self.options.passing.clone();
        let (end, sent) = watch::channel(None);
        self.sent = Some(sent);
        let (agent, peer, id) = (self.agent.clone(), self.row.peer.clone(), self.row.machine);
        self.begin(async move {
            let done = async {
                let departure = departure?;
                let migrate = driver.migrate().ok_or("its driver cannot move machines")?;
                let report = |passed| {
                    if let Some(passing) = &passing {
                        passing(passed);
                    }
                };
                migrate.send(&departure, &report).await.map_err(|error| error.to_string())?;
                Ok::<bool, String>(departure.live)
            };
            match done.await {
                Ok(live) => {
                    end.send_replace(Some(Ok(())));
                    crash::point("move-sent");
                    // Nothing else tells the destination.
                    while !live && agent.try_say(&peer, id, super::SENT, pass, String::new()).await.is_err() {
                        tokio::time::sleep(TICK).await;
                    }
                }
                Err(why) => {
                    end.send_replace(Some(Err(why.clone())));
                    let _ = tells.send((Input::Failed, why)).await;
                }
            }
        });
    }

    /// The guest stands still here, and all of it was sent.
    async fn hold(&mut self) -> Result<Sent, String> {
        if let Some(mut sent) = self.sent.clone() {
            let ended = tokio::time::timeout(SENT_MAX, sent.wait_for(Option::is_some)).await;
            match ended {
                Ok(Ok(end)) => end.clone().unwrap_or(Ok(()))?,
                _ => return Err("this host's hypervisor does not see the end of it".into()),
            }
        }
        let migrate = self.migrate().map_err(|error| error.to_string())?;
        migrate.hold(&self.launch, self.row.about.offer.live).await.map_err(|error| error.to_string())
    }

    /// Writes a standing down, with what belongs to it.
    async fn write(&mut self, standing: Standing) -> Result<(), StoreError> {
        let row = Row { standing, ..self.row.clone() };
        match self.side {
            Side::Source => self.write_leaving(&row).await?,
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

/// A refusal as a store's error would be told: that of a machine's task.
pub(super) fn of_task(refusal: Refusal) -> StoreError {
    StoreError::Unreadable(refusal.text)
}

/// The step of [`crash::STEPS`] after an effect.
fn point(effect: Effect) -> Option<&'static str> {
    Some(match effect {
        Effect::Write(Standing::Offered { .. }) => "move-offered",
        Effect::Write(Standing::HandedOver { .. }) => "move-handed-over",
        Effect::Write(Standing::Preparing { .. }) => "move-room-noted",
        Effect::Write(Standing::Received { .. }) => "move-received",
        Effect::Write(Standing::Dropping { .. }) => "move-dropping",
        Effect::Write(Standing::Taking { .. }) => "move-taken",
        Effect::Write(Standing::Owner { .. }) => "move-owned",
        Effect::Write(Standing::Away { .. }) => "move-away",
        Effect::Do(Deed::Send(_)) => "move-send-begun",
        Effect::Do(Deed::Hold(_)) => "move-held",
        Effect::Do(Deed::CallOff(_)) => "move-called-off",
        Effect::Do(Deed::Clear(_)) => "move-cleared",
        Effect::Do(Deed::Discard(_)) => "move-discarded",
        Effect::Do(Deed::Continue(_)) => "move-continued",
        Effect::Do(Deed::Prepare(_)) | Effect::Write(_) | Effect::Say(_) => return None,
    })
}

/// The step after a word was heard, or lost.
fn said_point(word: Word) -> Option<&'static str> {
    Some(match word {
        Word::Offer => "move-offer-said",
        Word::Accept => "move-accept-said",
        Word::Ready => "move-ready-said",
        Word::Commit => "move-commit-said",
        Word::Taken => "move-taken-said",
        Word::Refuse | Word::Failed | Word::Ask | Word::Abort => return None,
    })
}
