//! A thread with a loop of events, for what is served there until it is ended.

use std::{
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use vmm_sys_util::eventfd::EventFd;

use crate::{
    calls::{self, Thread},
    error::{Error, Result},
    wake::wake,
};

/// What is served in a thread.
pub type Served = Arc<Mutex<dyn MutEventSubscriber + Send>>;

/// The end of a loop.
struct End {
    asked: EventFd,
    is_over: Arc<Mutex<bool>>,
}

impl MutEventSubscriber for End {
    fn process(&mut self, _: Events, _: &mut EventOps<'_>) {
        *self.is_over.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
    }

    fn init(&mut self, ops: &mut EventOps<'_>) {
        // What fails is a descriptor that is there twice.
        let _ = ops.add(Events::new(&self.asked, EventSet::IN));
    }
}

/// A thread that serves.
#[derive(Debug)]
pub struct Worker {
    thread: JoinHandle<()>,
    end: EventFd,
}

impl Worker {
    /// Begins a thread of this name.
    ///
    /// # Errors
    /// What the system says.
    pub fn begin(name: &str, served: Vec<Served>) -> Result<Self> {
        let end = wake()?;
        let asked = end.try_clone().map_err(Error::at("an event"))?;
        let mut manager = EventManager::<Served>::new().map_err(Error::at("a loop of events"))?;
        let is_over = Arc::new(Mutex::new(false));
        manager.add_subscriber(Arc::new(Mutex::new(End { asked, is_over: is_over.clone() })));
        for served in served {
            manager.add_subscriber(served);
        }
        let run = move || {
            if calls::bound(Thread::Server).is_err() {
                return;
            }
            while !*is_over.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
                // What fails is a wait that a signal broke off.
                let _ = manager.run();
            }
        };
        let thread = thread::Builder::new().name(name.into()).spawn(run);
        Ok(Self { thread: thread.map_err(Error::at("a thread"))?, end })
    }

    /// Ends it: nothing is served any more when this returns.
    pub fn end(self) {
        // One that cannot be told has a loop that cannot be read: it goes with the process.
        if self.end.write(1).is_ok() {
            let _ = self.thread.join();
        }
    }
}
