//! A device in the loop of the thread that serves it.

use std::{
    os::fd::AsRawFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};

use super::transport::Transport;

/// The device; its processors reach its registers by the same lock.
pub struct Served(pub Arc<Mutex<Transport>>);

/// Events of a device's own sources are numbered from here, those of its queues from 0.
const SOURCES: u32 = 1 << 16;

impl Served {
    fn device(&self) -> MutexGuard<'_, Transport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MutEventSubscriber for Served {
    fn process(&mut self, events: Events, _: &mut EventOps<'_>) {
        match events.data().checked_sub(SOURCES) {
            Some(source) => self.device().ready(source as usize),
            None => self.device().notified(events.data() as usize),
        }
    }

    fn init(&mut self, ops: &mut EventOps<'_>) {
        let device = self.device();
        // What fails is a descriptor that is there twice.
        for (which, notify) in device.notify().iter().enumerate() {
            let _ = ops.add(Events::with_data_raw(notify.as_raw_fd(), which as u32, EventSet::IN));
        }
        for (which, source) in device.sources().into_iter().enumerate() {
            let once = EventSet::IN | EventSet::EDGE_TRIGGERED;
            let _ = ops.add(Events::with_data_raw(source, SOURCES + which as u32, once));
        }
    }
}
