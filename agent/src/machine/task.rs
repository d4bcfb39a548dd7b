//! The task that owns one machine: it alone changes it, one thing at a time.
//!
//! What the guest did comes before what is asked of it. Long work (a start, waiting for a guest that
//! was asked to shut down) runs beside the queue, so that a kill gets through. A panic anywhere in it
//! fails this machine and nothing else.

mod asking;
mod doing;
mod edits;
mod restarting;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use hypervisor_core::{
    driver::{GuestEvent, Observed, Power},
    lifecycle::{Cause, Event, Exit, Obstacle, Request, State, Wanted, next},
};
use skerry_stanzas::refusal::Refusal;
use tokio::{sync::mpsc, time::Instant};

pub(crate) use self::edits::{labels, protected, taken};
use self::{
    asking::Asking,
    doing::{Doing, End},
};
use super::{
    Card, Do, Ending, Machine, Order, QUEUE_MAX, Record, Reply, Report,
    publisher::{Change, Publisher},
    queue::{self, Verdict},
    reboots::Reboots,
    restarts, wording,
};
use crate::{crash, handler::storage::busy, reference, store::StoreError};

/// What a guest did that may wait to be looked at; beyond it the task looks for itself.
const GUEST_EVENTS_MAX: usize = 16;

/// The task's own.
pub(crate) struct Task {
    card: Arc<Card>,
    publisher: Arc<Publisher>,
    orders: mpsc::Receiver<Box<Order>>,
    guest: mpsc::Receiver<GuestEvent>,
    doing: Option<Box<Doing>>,
    reboots: Reboots,
    /// When it is started again by its policy.
    restart_at: Option<Instant>,
}

/// Whether the task goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    End,
}

/// Starts the task of a machine.
pub(crate) fn spawn(card: Arc<Card>, publisher: Arc<Publisher>) -> Machine {
    let (orders, order_queue) = mpsc::channel(QUEUE_MAX);
    let (guest, guest_queue) = mpsc::channel(GUEST_EVENTS_MAX);
    let task = Task {
        card: Arc::clone(&card),
        publisher,
        orders: order_queue,
        guest: guest_queue,
        doing: None,
        reboots: Reboots::default(),
        restart_at: None,
    };
    tokio::spawn(task.run());
    Machine { card, orders, guest }
}

impl Task {
    async fn run(mut self) {
        loop {
            match AssertUnwindSafe(self.turn()).catch_unwind().await {
                Ok(Flow::On) => {}
                Ok(Flow::End) => break,
                Err(panic) => Box::pin(self.panicked(panic)).await,
            }
        }
    }

    /// Waits for the next thing to happen, and deals with it.
    async fn turn(&mut self) -> Flow {
        let request = self.doing.as_ref().map(|doing| doing.request);
        let hears = !request.is_some_and(queue::is_deaf);
        let takes_orders = !request.is_some_and(queue::is_exclusive);
        let (due, restart_at) = (self.reboots.due(), self.restart_at);
        tokio::select! {
            biased;
            Some(event) = self.guest.recv(), if hears => Box::pin(self.guest_did(event)).await,
            () = self.card.overlooked.notified(), if hears => Box::pin(self.look()).await,
            end = Doing::end(&mut self.doing), if request.is_some() => match end {
                End::NotYet(asking) => self.not_yet(asking),
                end => Box::pin(self.ended(end)).await,
            },
            order = self.orders.recv(), if takes_orders => match order {
                Some(order) => return Box::pin(self.order(*order)).await,
                None => return Flow::End,
            },
            () = quiet_until(due), if due.is_some() => Box::pin(self.tell_reboots()).await,
            () = quiet_until(restart_at), if restart_at.is_some() => Box::pin(self.start_again()).await,
        }
        Flow::On
    }

    async fn order(&mut self, order: Order) -> Flow {
        match order {
            Order::Do(ask) => self.asked(ask).await,
            Order::Edit { edit, by, reply } => self.edit(edit, by, reply).await,
            Order::Resume => self.wait_for_restart(),
            Order::Release { by, reply } => return self.release(by, reply).await,
            Order::Retire { by, reply } => return self.retire(by, reply).await,
        }
        Flow::On
    }

    /// The queue's answer to a request, and what follows from it.
    async fn asked(&mut self, ask: Do) {
        self.restart_called_off(&ask).await;
        let record = self.card.record();
        if self.card.is_elsewhere() {
            let _ = ask.reply.send(Err(wording::obstacle(&record.name, ask.request, Obstacle::Migrating)));
            return;
        }
        let doing = self.doing.as_ref().map(|doing| doing.request);
        match queue::verdict(&record.state, doing, ask.request) {
            Verdict::Refused(obstacle) => {
                let _ = ask.reply.send(Err(wording::obstacle(&record.name, ask.request, obstacle)));
            }
            Verdict::AlreadySo => {
                let _ = ask.reply.send(Ok(Report { record, already: true }));
            }
            Verdict::Join => {
                if let Some(doing) = &mut self.doing {
                    doing.join(ask);
                }
            }
            Verdict::Interrupt | Verdict::Begin if ask.unasked => {
                let _ = ask.reply.send(Err(wording::not_so_any_more(&record.name, &record.state)));
            }
            Verdict::Interrupt => {
                if let Some(interrupted) = self.doing.take() {
                    let refusal = doing::interrupted(&record.name, interrupted.request, ask.request);
                    interrupted.refuse(&refusal);
                }
                self.begin(ask).await;
            }
            Verdict::Begin => self.begin(ask).await,
        }
    }

    /// Stores what is meant, then sets it going.
    async fn begin(&mut self, ask: Do) {
        let event = match ask.request {
            Request::Start => Some(Event::StartAccepted),
            Request::Shutdown => Some(Event::ShutdownAccepted),
            Request::Kill | Request::Reboot | Request::Reset => None,
            Request::Pause | Request::Resume | Request::Delete => None,
        };
        let mut storage = None;
        if ask.request == Request::Start {
            storage = self.card.storage();
            if storage.is_none() {
                let _ = ask.reply.send(Err(busy(&self.card.record().name)));
                return;
            }
            if let Err(refusal) = self.may_start() {
                let _ = ask.reply.send(Err(refusal));
                return;
            }
            // What an earlier life of the guest did is no news of this one.
            while self.guest.try_recv().is_ok() {}
        }
        let before = self.card.record().wanted;
        if let Some(event) = event
            && let Err(refusal) = self.happen(event, ask.by.clone()).await
        {
            let _ = ask.reply.send(Err(refusal));
            return;
        }
        crash::point("intent-stored");
        self.doing = Some(Box::new(Doing::begin(&self.card, ask, before, storage)));
    }

    /// The guest was asked once more; it may be listening now.
    fn not_yet(&mut self, asking: Asking) {
        if let Some(doing) = &mut self.doing {
            doing.say(&wording::asked_again(&self.card.record().name, asking.plea));
            doing.go_on(&self.card, asking);
        }
    }

    /// What was being done has come to its end.
    async fn ended(&mut self, end: End) {
        if matches!(end, End::TimedOut) {
            // The guest may have done it, and the word of it been lost.
            self.look().await;
        }
        let Some(mut doing) = self.doing.take() else { return };
        let name = self.card.record().name.clone();
        let event = match (doing.request, &end) {
            (Request::Start, End::Done) => Some(Event::Started),
            (Request::Start, End::Failed(error)) => Some(Event::StartFailed(Cause(wording::cause(error)))),
            (Request::Start, End::TimedOut) => None,
            (Request::Shutdown, End::TimedOut | End::Failed(_)) => Some(Event::ShutdownTimedOut),
            (Request::Kill, End::Done) => Some(Event::KilledNow),
            (Request::Reset, End::Done) => Some(Event::GuestRebooted),
            (Request::Pause, End::Done) => Some(Event::PausedNow),
            (Request::Resume, End::Done) => Some(Event::ResumedNow),
            _ => None,
        };
        let mut stored = Ok(());
        if let Some(event) = event {
            let endings = if matches!(end, End::Done) { doing.endings() } else { Vec::new() };
            stored = self.happen_ending(event, doing.by.clone(), doing.wanted_after(&end), endings).await;
        }
        crash::point("state-stored");
        let failed = matches!(end, End::Failed(_));
        match end {
            // The guest did it; a store that could not take it down is the log's and the next start's.
            End::Done => match stored {
                Ok(()) => doing.answer(&Report { record: self.card.record(), already: false }),
                Err(refusal) => doing.refuse(&refusal),
            },
            End::TimedOut => {
                let refusal = doing::timed_out(&name, doing.request, doing.wait);
                doing.refuse(&refusal);
            }
            End::NotYet(_) => {}
            End::Failed(error) => {
                let refusal = wording::driver_said(&name, doing.request, error);
                doing.refuse(&refusal);
            }
        }
        if failed {
            self.look().await;
        }
    }

    /// The guest did something unasked, or what it was asked to do.
    async fn guest_did(&mut self, event: GuestEvent) {
        if self.card.is_elsewhere() {
            return;
        }
        let event = match event {
            GuestEvent::Halted => Event::GuestHalted,
            GuestEvent::Rebooted => Event::GuestRebooted,
            GuestEvent::Paused => Event::PausedNow,
            GuestEvent::Resumed => Event::ResumedNow,
            GuestEvent::Crashed(cause) => Event::Crashed(cause),
        };
        let by = self.doing.as_ref().and_then(|doing| doing.by.clone());
        let rebooted = event == Event::GuestRebooted;
        if rebooted && self.doing.is_none() && !self.reboots.tells(Instant::now()) {
            return;
        }
        if self.happen(event, by).await.is_ok() {
            self.conclude(rebooted);
        }
    }

    /// Tells together of the reboots that were not told one by one.
    async fn tell_reboots(&mut self) {
        let count = self.reboots.take(Instant::now());
        let record = Record::clone(&self.card.record());
        let times = if count == 1 { "once more" } else { &format!("{count} more times") };
        let sentence = format!("{} rebooted {times}: its guest does not stay up.", record.name);
        let change = Change { what: "machine.rebooted", sentence, by: None };
        if let Err(error) = self.publish(record, change).await {
            tracing::error!(%error, "could not be stored");
        }
    }

    /// Ends what was under way, if what the guest did is its end.
    fn conclude(&mut self, rebooted: bool) {
        let record = self.card.record();
        let request = self.doing.as_ref().map(|doing| doing.request);
        let over = match record.state {
            State::Stopped(_) | State::Failed(_) => true,
            State::Starting | State::Running | State::Paused | State::Saved => false,
            State::Stopping | State::Migrating(_) => false,
        };
        let came_back = rebooted && request == Some(Request::Reboot);
        if !over && !came_back {
            return;
        }
        let Some(doing) = self.doing.take() else { return };
        let done = matches!(
            (doing.request, &record.state),
            (Request::Shutdown, State::Stopped(_)) | (Request::Reboot, State::Running)
        );
        if done {
            doing.answer(&Report { record, already: false });
        } else {
            let refusal = doing::overtaken(&record, doing.request);
            doing.refuse(&refusal);
        }
    }

    /// Looks at the guest, and believes what is seen: what it told may have been lost.
    async fn look(&mut self) {
        let record = self.card.record();
        if matches!(record.state, State::Migrating(_)) {
            // Whoever moves it looks at its end.
            return;
        }
        let state = match self.card.driver.observe(&self.card.launch()).await {
            Ok(observed) => observed_state(&record.state, &observed),
            Err(error) => {
                tracing::warn!(machine = %record.name, %error, "could not be looked at");
                return;
            }
        };
        if state != record.state && self.happen(Event::Observed(Box::new(state)), None).await.is_ok() {
            self.conclude(false);
        }
    }

    async fn happen(&mut self, event: Event, by: Option<String>) -> Result<(), Refusal> {
        let wanted = match &event {
            Event::StartAccepted => Some(Wanted::Running),
            Event::ShutdownAccepted => Some(Wanted::Stopped),
            _ => None,
        };
        self.happen_ending(event, by, wanted, Vec::new()).await
    }

    /// An event makes of the machine what the lifecycle says; that is stored, with the commands that end with
    /// it, and told.
    async fn happen_ending(
        &mut self,
        event: Event,
        by: Option<String>,
        wanted: Option<Wanted>,
        endings: Vec<Ending>,
    ) -> Result<(), Refusal> {
        let record = self.card.record();
        let state = match next(&record.state, &event) {
            Ok(state) => state,
            Err(unexpected) => {
                tracing::debug!(machine = %record.name, %unexpected, "ignored");
                return Ok(());
            }
        };
        let (what, mut sentence) = wording::happened(&record.name, &event, &state);
        let wanted = wanted.unwrap_or(match &event {
            // A guest that shuts itself down is not to be brought back, unless its policy says so.
            Event::GuestHalted if !restarts::brings_back(&record) => Wanted::Stopped,
            _ => record.wanted,
        });
        let mut changed = Record { state, wanted, ..Record::clone(&record) };
        let at = chrono::Utc::now();
        changed.restarts = restarts::after(&record, &event, by.is_some(), &changed, at);
        if changed == *record && event != Event::GuestRebooted {
            return Ok(());
        }
        if let Some(told) = restarts::told(&record, &changed, at) {
            sentence = format!("{sentence} {told}");
        }
        let change = Change { what, sentence, by };
        let stored = self.publisher.publish_ending(&self.card, changed, change, endings).await;
        self.wait_for_restart();
        stored.map_err(|error| {
            tracing::error!(machine = %record.name, what, %error, "could not be stored");
            Refusal::from(error)
        })
    }

    async fn publish(&mut self, record: Record, change: Change) -> Result<(), StoreError> {
        self.publisher.publish(&self.card, record, change).await
    }

    /// A defect of ours: this machine has failed, under a reference; its guest is left alone.
    async fn panicked(&mut self, panic: Box<dyn std::any::Any + Send>) {
        let reference = reference::fresh();
        let said = reference::panic_text(panic.as_ref());
        let record = self.card.record();
        tracing::error!(machine = %record.name, %reference, %said, "the machine's task panicked");
        if let Some(doing) = self.doing.take() {
            doing.refuse(&reference::answer(&format!("{} has failed", record.name), &reference));
        }
        let state = State::Failed(Cause(format!("an internal error (reference {reference})")));
        let changed = Record { state, ..Record::clone(&record) };
        let sentence = wording::is(&changed.name, &changed.state);
        let change = Change { what: "machine.failed", sentence, by: None };
        if let Err(error) = self.publish(changed, change).await {
            tracing::error!(machine = %record.name, %error, "could not be stored");
        }
    }
}

async fn quiet_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What a machine that was `before` is, as its driver sees it now.
pub(crate) fn observed_state(before: &State, observed: &Observed) -> State {
    match (&observed.power, before) {
        (Power::Running, State::Stopping) => State::Stopping,
        (Power::Running, _) => State::Running,
        (Power::Paused, _) => State::Paused,
        (Power::Crashed(cause), _) => State::Failed(cause.clone()),
        (Power::Off, State::Stopped(_) | State::Saved | State::Failed(_)) => before.clone(),
        (Power::Off, State::Stopping) => State::Stopped(Exit::Asked),
        (Power::Off, State::Starting | State::Running | State::Paused | State::Migrating(_)) => {
            State::Stopped(Exit::Found)
        }
    }
}

/// How long a request may take when the caller says nothing.
pub(crate) const WAIT: Duration = Duration::from_secs(90);
