//! What a machine is in the middle of, and who waits for it.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use hypervisor_core::{
    driver::DriverError,
    lifecycle::{Request, State, Wanted},
    machine::MachineName,
};
use skerry_stanzas::refusal::{Reason, Refusal};
use tokio::sync::{OwnedMutexGuard, mpsc};

use super::{Reply, Report, asking::Asking};
use crate::{
    crash,
    machine::{Card, Do, Ending, Record, layers, start::Planned, wording},
};

/// How work ends by itself. What the guest does ends it as well, from outside.
pub(super) enum End {
    Done,
    TimedOut,
    Failed(DriverError),
    /// It has not: the guest was asked once more, and is waited for on.
    NotYet(Asking),
}

/// One who waits.
struct Waiting {
    progress: Option<mpsc::Sender<String>>,
    ending: Option<Ending>,
    reply: Reply,
}

/// Something under way.
pub(super) struct Doing {
    pub(super) request: Request,
    pub(super) by: Option<String>,
    pub(super) wait: Duration,
    waiting: Vec<Waiting>,
    wanted_before: Wanted,
    /// Held as long as it lasts, where it must be.
    _storage: Option<OwnedMutexGuard<()>>,
    work: Pin<Box<dyn Future<Output = End> + Send>>,
}

impl super::Task {
    /// Refuses a start that would write to what is to stay as it is.
    pub(super) fn may_start(&self) -> Result<(), Refusal> {
        let record = self.card.record();
        if crate::handler::snapshots::external::work::Work::is_open(&self.card.folder) {
            let text = format!("Where the disks of {} are was not written down.", record.name);
            return Err(Refusal::new(Reason::Conflict, text)
                .hint("When the agent begins anew, it looks at them. Its log says more."));
        }
        let all: Vec<_> = self.publisher.machines.all().iter().map(|machine| machine.record()).collect();
        let all = all.iter().map(|record| &record.layers);
        layers::may_start(&record, &self.card.folder, all)?;
        self.card.stands_on_its_own_ground(&record, &self.publisher.machines)
    }
}

impl Doing {
    /// Sets it going.
    pub(super) fn begin(
        card: &Arc<Card>,
        ask: Do,
        wanted_before: Wanted,
        storage: Option<OwnedMutexGuard<()>>,
    ) -> Self {
        let Do { request, wait, by, progress, ending, reply, unasked: _ } = ask;
        let card = Arc::clone(card);
        Self {
            request,
            by,
            wait,
            waiting: vec![Waiting { progress, ending, reply }],
            wanted_before,
            _storage: storage,
            work: Box::pin(work(card, request, wait)),
        }
    }

    /// Somebody else asks for the same: they wait for its end together.
    pub(super) fn join(&mut self, ask: Do) {
        self.waiting.push(Waiting { progress: ask.progress, ending: ask.ending, reply: ask.reply });
    }

    /// The commands that end with it.
    pub(super) fn endings(&mut self) -> Vec<Ending> {
        self.waiting.iter_mut().filter_map(|waiting| waiting.ending.take()).collect()
    }

    /// Tells those who wait how it goes. Who does not read misses it.
    pub(super) fn say(&self, text: &str) {
        for progress in self.waiting.iter().filter_map(|waiting| waiting.progress.as_ref()) {
            let _ = progress.try_send(text.to_owned());
        }
    }

    /// The guest is waited for on.
    pub(super) fn go_on(&mut self, card: &Card, asking: Asking) {
        self.work = Box::pin(asking.wait(Arc::clone(&card.driver), card.id));
    }

    /// Waits for the end of what is under way; for ever when nothing is.
    pub(super) async fn end(doing: &mut Option<Box<Self>>) -> End {
        match doing {
            Some(doing) => doing.work.as_mut().await,
            None => std::future::pending().await,
        }
    }

    /// What the machine should be once this has ended so.
    pub(super) fn wanted_after(&self, end: &End) -> Option<Wanted> {
        match (self.request, end) {
            (Request::Kill, End::Done) => Some(Wanted::Stopped),
            (Request::Pause, End::Done) => Some(Wanted::Paused),
            (Request::Resume, End::Done) => Some(Wanted::Running),
            (Request::Start | Request::Shutdown, End::TimedOut | End::Failed(_)) => Some(self.wanted_before),
            _ => None,
        }
    }

    /// Tells those who wait that it is done.
    pub(super) fn answer(self, report: &Report) {
        for Waiting { reply, .. } in self.waiting {
            let _ = reply.send(Ok(report.clone()));
        }
    }

    /// Tells those who wait why not.
    pub(super) fn refuse(self, refusal: &Refusal) {
        for Waiting { reply, .. } in self.waiting {
            let _ = reply.send(Err(refusal.clone()));
        }
    }
}

async fn work(card: Arc<Card>, request: Request, wait: Duration) -> End {
    let driver = &card.driver;
    if request == Request::Start {
        let planned = Planned { driver: Arc::clone(driver), launch: card.launch() };
        return planned.start().await.map_or_else(End::Failed, |()| End::Done);
    }
    crash::point("before-driver");
    let missing = || Err(DriverError::Unfit(format!("the driver {} cannot", driver.name())));
    let done = match request {
        Request::Start | Request::Delete => Ok(()),
        Request::Shutdown => driver.shutdown(card.id).await,
        Request::Reboot => driver.reboot(card.id).await,
        Request::Kill => driver.kill(card.id).await,
        Request::Reset => match driver.reset() {
            Some(reset) => reset.reset(card.id).await,
            None => missing(),
        },
        Request::Pause => match driver.pause() {
            Some(pause) => pause.pause(card.id).await,
            None => missing(),
        },
        Request::Resume => match driver.pause() {
            Some(pause) => pause.resume(card.id).await,
            None => missing(),
        },
    };
    crash::point("after-driver");
    match (done, Asking::of(request, wait)) {
        (Err(error), _) => End::Failed(error),
        // The guest was asked; it says itself when it has done it.
        (Ok(()), Some(asking)) => asking.wait(Arc::clone(driver), card.id).await,
        (Ok(()), None) => End::Done,
    }
}

/// The refusal for those whose work was given up for something else.
pub(super) fn interrupted(name: &MachineName, was: Request, by: Request) -> Refusal {
    let text = match by {
        Request::Kill => format!("{name} was killed meanwhile."),
        _ => format!("{name} was asked for something else meanwhile."),
    };
    let hint = match was {
        Request::Start => format!("\"start {name}\" starts it again."),
        _ => format!("\"status {name}\" shows how it is now."),
    };
    Refusal::new(Reason::Conflict, text).hint(hint)
}

/// The refusal for those who waited for a guest that did not do it.
pub(super) fn timed_out(name: &MachineName, request: Request, wait: Duration) -> Refusal {
    let wait = humantime::format_duration(wait);
    match request {
        Request::Reboot => {
            Refusal::new(Reason::Unavailable, format!("{name} did not reboot within {wait}; it runs on."))
                .hint(format!("\"reset {name}\" does not ask the guest."))
        }
        _ => {
            Refusal::new(Reason::Unavailable, format!("{name} did not shut down within {wait}; it runs on."))
                .hint(format!("\"kill {name}\" cuts the power."))
        }
    }
}

/// The refusal for those who waited for something that can no longer come.
pub(super) fn overtaken(record: &Record, request: Request) -> Refusal {
    let what = match request {
        Request::Reboot => "did not come back from its reboot",
        _ => "did something else",
    };
    let refusal = Refusal::new(
        Reason::Conflict,
        format!("{} {what}: {}", record.name, wording::is(&record.name, &record.state)),
    );
    match record.state {
        State::Stopped(_) | State::Failed(_) => refusal.hint(format!("\"start {}\" starts it.", record.name)),
        _ => refusal,
    }
}
