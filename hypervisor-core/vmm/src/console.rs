//! What the guest writes on its serial port: kept in a log, and shown to whoever watches; and what they type.
//!
//! The processor that writes a byte only leaves it; a thread of its own takes all that is there at once. When
//! the log's disk is slower than the guest for long, the guest waits.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::AsRawFd,
        unix::net::{UnixListener, UnixStream},
    },
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use vmm_sys_util::eventfd::EventFd;

use crate::{
    devices::serial::Port,
    error::{Error, Result},
    wake::wake,
};

/// Bytes that wait for the log before the guest does.
const WAITING_MAX: usize = 64 << 10;
/// Bytes that wait for one who watches before he is left out.
const UNSEEN_MAX: usize = 256 << 10;
/// Bytes typed that wait for the guest.
const TYPED_MAX: usize = 64 << 10;
/// Who may watch at once.
const WATCHERS_MAX: usize = 8;

struct Left {
    bytes: Mutex<Vec<u8>>,
    room: Condvar,
    there: EventFd,
}

/// Where the serial port leaves what the guest writes.
#[derive(Clone)]
pub struct Screen(Arc<Left>);

impl Screen {
    /// An empty one.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> Result<Self> {
        let there = wake()?;
        Ok(Self(Arc::new(Left { bytes: Mutex::default(), room: Condvar::new(), there })))
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<u8> {
        let _ = self.0.there.read();
        let taken = std::mem::take(&mut *self.bytes());
        self.0.room.notify_all();
        taken
    }
}

impl Write for Screen {
    fn write(&mut self, new: &[u8]) -> io::Result<usize> {
        let mut bytes = self.bytes();
        while bytes.len() >= WAITING_MAX {
            bytes = self.0.room.wait(bytes).unwrap_or_else(PoisonError::into_inner);
        }
        if bytes.is_empty() {
            self.0.there.write(1)?;
        }
        bytes.extend_from_slice(new);
        Ok(new.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Watcher {
    stream: UnixStream,
    unseen: VecDeque<u8>,
}

impl Watcher {
    /// Shows what there is; `false` when nobody is there any more, or is too slow.
    fn show(&mut self, bytes: &[u8]) -> bool {
        self.unseen.extend(bytes);
        while !self.unseen.is_empty() {
            match self.stream.write(self.unseen.as_slices().0) {
                Ok(0) => return false,
                Ok(count) => drop(self.unseen.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.unseen.len() <= UNSEEN_MAX
    }
}

/// The log, who watches, and who types.
pub struct Console {
    screen: Screen,
    log: File,
    listener: UnixListener,
    watchers: Vec<Watcher>,
    typed: VecDeque<u8>,
    /// The port of the guest that runs.
    port: Option<Port>,
    /// The guest has read what was typed.
    read: EventFd,
}

impl Console {
    /// A console that is kept in `log`, and watched by whoever connects.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(screen: Screen, read: EventFd, log: File, listener: UnixListener) -> Result<Self> {
        listener.set_nonblocking(true).map_err(Error::at("the console's socket"))?;
        Ok(Self { screen, log, listener, watchers: Vec::new(), typed: VecDeque::new(), port: None, read })
    }

    /// From now on this is the guest's port.
    pub fn plug(&mut self, port: Port) {
        self.port = Some(port);
    }

    /// Keeps and shows what the guest has left.
    pub fn flush(&mut self) {
        let bytes = self.screen.take();
        if bytes.is_empty() {
            return;
        }
        // A full disk loses the log, not the machine; who watches sees it all the same.
        let _ = self.log.write_all(&bytes);
        self.watchers.retain_mut(|watcher| watcher.show(&bytes));
    }

    fn type_in(&mut self) {
        let Some(port) = &self.port else { return };
        loop {
            let count = port.type_in(self.typed.as_slices().0);
            if count == 0 {
                return;
            }
            self.typed.drain(..count);
        }
    }

    fn welcome(&mut self, ops: &mut EventOps<'_>) {
        while let Ok((stream, _)) = self.listener.accept() {
            let fits = self.watchers.len() < WATCHERS_MAX && stream.set_nonblocking(true).is_ok();
            let events = EventSet::IN | EventSet::OUT | EventSet::EDGE_TRIGGERED;
            if fits && ops.add(Events::new(&stream, events)).is_ok() {
                self.watchers.push(Watcher { stream, unseen: VecDeque::new() });
            }
        }
    }

    fn attend(&mut self, fd: i32) {
        let Some(at) = self.watchers.iter().position(|watcher| watcher.stream.as_raw_fd() == fd) else {
            return;
        };
        let mut bytes = [0; 4096];
        let is_there = loop {
            if self.typed.len() >= TYPED_MAX {
                // Who types faster than the guest reads for so long loses what is too much.
                self.typed.truncate(TYPED_MAX);
            }
            match self.watchers[at].stream.read(&mut bytes) {
                Ok(0) => break false,
                Ok(count) => self.typed.extend(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break self.watchers[at].show(&[]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break false,
            }
        };
        if !is_there {
            // Closed with it, the descriptor leaves the set of those that are waited for.
            self.watchers.remove(at);
        }
        self.type_in();
    }
}

impl MutEventSubscriber for Console {
    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        match events.fd() {
            fd if fd == self.screen.0.there.as_raw_fd() => self.flush(),
            fd if fd == self.listener.as_raw_fd() => self.welcome(ops),
            fd if fd == self.read.as_raw_fd() => {
                let _ = self.read.read();
                self.type_in();
            }
            fd => self.attend(fd),
        }
    }

    fn init(&mut self, ops: &mut EventOps<'_>) {
        for fd in [self.screen.0.there.as_raw_fd(), self.listener.as_raw_fd(), self.read.as_raw_fd()] {
            // What fails is a descriptor that is there twice.
            let _ = ops.add(Events::new_raw(fd, EventSet::IN));
        }
    }
}
