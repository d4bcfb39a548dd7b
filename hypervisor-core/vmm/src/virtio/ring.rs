//! One queue of a device: what its driver has put there, and what it gets back (sections 2.6 and 2.7).

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT, Reader, Writer};
use vmm_sys_util::eventfd::EventFd;

use super::{Broken, Sound};
use crate::memory::GuestMemory;

/// A queue has something for the driver; its configuration has changed (4.2.2, InterruptStatus).
const USED: u32 = 1;
const CHANGED: u32 = 2;
/// Requests that are served before others have their turn.
const TURN: usize = 1024;

/// A device's interrupt.
#[derive(Clone, Debug)]
pub struct Interrupt {
    status: Arc<AtomicU32>,
    line: Arc<EventFd>,
}

impl Interrupt {
    /// Raised by writing to `line`.
    pub fn new(line: EventFd) -> Self {
        Self { status: Arc::default(), line: Arc::new(line) }
    }

    fn raise(&self, why: u32) {
        self.status.fetch_or(why, Ordering::SeqCst);
        // One that is full is raised.
        let _ = self.line.write(1);
    }

    /// Something in a queue is done.
    pub fn used(&self) {
        self.raise(USED);
    }

    /// The configuration, or the device's status, has changed.
    pub fn changed(&self) {
        self.raise(CHANGED);
    }

    /// Why it was raised.
    pub fn status(&self) -> u32 {
        self.status.load(Ordering::SeqCst)
    }

    /// The driver has seen these.
    pub fn acknowledge(&self, seen: u32) {
        self.status.fetch_and(!seen, Ordering::SeqCst);
    }
}

/// A request: memory to read, then memory to write.
pub type Chain<'a> = DescriptorChain<&'a GuestMemory>;

/// What a driver has asked, from its first byte on.
pub struct Request<'a> {
    /// What it gives.
    pub reader: Reader<'a>,
    /// Where the answer goes.
    pub writer: Writer<'a>,
}

/// A queue that is in use.
pub struct Ring {
    queue: Queue,
    memory: GuestMemory,
    interrupt: Interrupt,
    /// Tells its own device that there is something, for work that is put off.
    notify: EventFd,
}

impl Ring {
    /// A queue that the driver has set up.
    ///
    /// # Errors
    /// [`Broken`] when it lies outside of the guest's memory.
    pub fn new(queue: Queue, memory: &GuestMemory, interrupt: &Interrupt, notify: EventFd) -> Sound<Self> {
        if !queue.is_valid(memory) {
            return Err(Broken);
        }
        Ok(Self { queue, memory: memory.clone(), interrupt: interrupt.clone(), notify })
    }

    /// The queue, to be kept.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The guest's memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Takes the next request: its number, and what it says.
    ///
    /// # Errors
    /// [`Broken`] when it cannot be one.
    pub fn take(&mut self) -> Sound<Option<(u16, Request<'_>)>> {
        let memory = &self.memory;
        let Some(chain) = self.queue.iter(memory).map_err(|_| Broken)?.next() else { return Ok(None) };
        let head = chain.head_index();
        let reader = chain.clone().reader(memory).map_err(|_| Broken)?;
        let writer = chain.writer(memory).map_err(|_| Broken)?;
        Ok(Some((head, Request { reader, writer })))
    }

    /// Puts the last one back, as if it had not been taken.
    pub fn put_back(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// A request is done, and so many bytes were written for it.
    ///
    /// # Errors
    /// [`Broken`] when the queue cannot take it.
    pub fn done(&mut self, head: u16, written: u32) -> Sound<()> {
        self.queue.add_used(&self.memory, head, written).map_err(|_| Broken)
    }

    /// Asks the driver to tell of what it puts there; whether there is something meanwhile.
    ///
    /// # Errors
    /// [`Broken`] when the queue makes no sense.
    pub fn wait(&mut self) -> Sound<bool> {
        self.queue.enable_notification(&self.memory).map_err(|_| Broken)
    }

    /// Tells the driver, if it wants to know.
    ///
    /// # Errors
    /// [`Broken`] when the queue makes no sense.
    pub fn tell(&mut self) -> Sound<()> {
        if self.queue.needs_notification(&self.memory).map_err(|_| Broken)? {
            self.interrupt.used();
        }
        Ok(())
    }

    /// Serves all that is there by `serve`, which says how many bytes it wrote; tells the driver. A driver
    /// that never ends has its turn, and others have theirs.
    ///
    /// # Errors
    /// [`Broken`] when it makes no sense, of the queue or of `serve`.
    pub fn serve(&mut self, mut serve: impl FnMut(Request<'_>) -> Sound<u32>) -> Sound<()> {
        let mut left = TURN;
        loop {
            self.queue.disable_notification(&self.memory).map_err(|_| Broken)?;
            while let Some((head, request)) = self.take()? {
                let written = serve(request)?;
                self.done(head, written)?;
                left -= 1;
                if left == 0 {
                    self.later();
                    return self.tell();
                }
            }
            if !self.wait()? {
                return self.tell();
            }
        }
    }

    /// Goes on with it after what else there is to do.
    pub fn later(&self) {
        let _ = self.notify.write(1);
    }
}
