//! The process: it makes its machine, listens to what it is told, and ends with it.

use std::{
    io::{ErrorKind, Read, Write},
    os::{
        fd::AsRawFd,
        unix::net::{UnixListener, UnixStream},
    },
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use vmm_sys_util::eventfd::EventFd;

use crate::{
    console::{Console, Screen},
    control::{Ask, Happened, LINE_MAX, Said, VERSION},
    cpu::run,
    ending::{Ending, Endings},
    error::{Error, Result},
    machine::{Machine, Parts},
    worker::Worker,
};

/// Who may be connected at once.
const CALLERS_MAX: usize = 8;
/// How long somebody who does not read may hold up a machine.
const PATIENCE: Duration = Duration::from_secs(1);

struct Caller {
    stream: UnixStream,
    line: Vec<u8>,
}

impl Caller {
    /// Says something; `false` when nobody is there to hear it.
    fn say(&mut self, said: &Said) -> bool {
        // What is said has no key that is not a word.
        let Ok(mut line) = serde_json::to_vec(said) else { return false };
        line.push(b'\n');
        self.stream.write_all(&line).is_ok()
    }

    /// The lines that have come; `None` when the connection has ended.
    fn lines(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut bytes = [0; 4096];
        let count = match self.stream.read(&mut bytes) {
            Ok(0) => return None,
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => 0,
            Err(_) => return None,
        };
        self.line.extend_from_slice(&bytes[..count]);
        let mut lines = Vec::new();
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            lines.push(self.line.drain(..=end).collect());
        }
        (self.line.len() <= LINE_MAX).then_some(lines)
    }
}

/// A machine with its process.
pub struct Monitor {
    parts: Parts,
    machine: Option<Machine>,
    screen: Screen,
    typed: EventFd,
    console: Arc<Mutex<Console>>,
    endings: Arc<Endings>,
    listener: UnixListener,
    callers: Vec<Caller>,
    /// How it ended, once it has.
    ended: Arc<Mutex<Option<Ending>>>,
}

impl Monitor {
    /// Makes the machine, which waits for [`Ask::Go`]. `typed` is what `console` was made with.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub fn new(
        parts: Parts,
        screen: Screen,
        typed: EventFd,
        console: Console,
        listener: UnixListener,
    ) -> Result<Self> {
        run::prepare()?;
        listener.set_nonblocking(true).map_err(Error::at("the control socket"))?;
        let mut monitor = Self {
            parts,
            machine: None,
            screen,
            typed,
            console: Arc::new(Mutex::new(console)),
            endings: Arc::new(Endings::new()?),
            listener,
            callers: Vec::new(),
            ended: Arc::default(),
        };
        monitor.make()?;
        Ok(monitor)
    }

    fn make(&mut self) -> Result<()> {
        // The one before gives its memory back first.
        self.machine = None;
        let _ = self.endings.take();
        let machine = Machine::make(&self.parts, self.screen.clone(), &self.typed, &self.endings)?;
        self.console.lock().unwrap_or_else(PoisonError::into_inner).plug(machine.port().clone());
        self.machine = Some(machine);
        Ok(())
    }

    /// Lets the machine run until it ends, and says how.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn run(self) -> Result<Ending> {
        let console = self.console.clone();
        let keeper = Worker::begin("console", vec![console.clone()])?;
        let ended = self.ended.clone();
        let mut manager =
            EventManager::<Box<dyn MutEventSubscriber>>::new().map_err(Error::at("a loop of events"))?;
        let monitor = manager.add_subscriber(Box::new(self));
        loop {
            // What fails is a wait that a signal broke off.
            let _ = manager.run();
            let ending = ended.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(ending) = ending {
                // The machine goes first, so that the console has all that it wrote.
                drop(manager.remove_subscriber(monitor));
                keeper.end();
                console.lock().unwrap_or_else(PoisonError::into_inner).flush();
                return Ok(ending);
            }
        }
    }

    fn end(&mut self, ending: Ending) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(ending);
    }

    fn tell(&mut self, what: Happened) {
        let said = Said::Happened { what };
        self.callers.retain_mut(|caller| caller.say(&said));
    }

    fn guest_ended(&mut self) {
        let Some(ending) = self.endings.take() else { return };
        let what = match ending.clone() {
            Ending::Reset => {
                return match self.make() {
                    Ok(()) => {
                        self.go();
                        self.tell(Happened::Rebooted);
                    }
                    Err(error) => {
                        self.tell(Happened::Crashed { why: error.to_string() });
                        self.end(Ending::Crashed(error.to_string()));
                    }
                };
            }
            Ending::Halted => Happened::Halted,
            Ending::Panicked => Happened::Panicked,
            Ending::Crashed(why) => Happened::Crashed { why },
        };
        self.machine = None;
        self.tell(what);
        self.end(ending);
    }

    fn go(&self) {
        if let Some(machine) = &self.machine {
            machine.go();
        }
    }

    /// Makes it anew: it runs, if it did.
    fn reset(&mut self) -> Result<()> {
        let runs = self.machine.as_ref().is_some_and(Machine::runs);
        if let Err(error) = self.make() {
            // There is no machine any more to go on with.
            self.end(Ending::Crashed(error.to_string()));
            return Err(error);
        }
        if runs {
            self.go();
        }
        Ok(())
    }

    fn answer(&mut self, ask: &Ask) -> Said {
        let Some(machine) = &self.machine else {
            return Said::Refused { why: "it has ended".into() };
        };
        let done = match ask {
            Ask::Status => return Said::Status { runs: machine.runs() },
            Ask::Press => machine.press(),
            Ask::Hold => {
                machine.hold();
                Ok(())
            }
            Ask::Go => {
                machine.go();
                Ok(())
            }
            Ask::Reset => self.reset(),
            Ask::End => {
                self.machine = None;
                self.end(Ending::Halted);
                Ok(())
            }
        };
        match done {
            Ok(()) => Said::Done,
            Err(error) => Said::Refused { why: error.to_string() },
        }
    }

    fn welcome(&mut self, ops: &mut EventOps<'_>) {
        while let Ok((stream, _)) = self.listener.accept() {
            let may = rustix::net::sockopt::socket_peercred(&stream)
                .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid());
            let ready = stream.set_nonblocking(false).is_ok()
                && stream.set_write_timeout(Some(PATIENCE)).is_ok()
                && stream.set_read_timeout(Some(PATIENCE)).is_ok();
            let mut caller = Caller { stream, line: Vec::new() };
            if may
                && ready
                && self.callers.len() < CALLERS_MAX
                && caller.say(&Said::Hello { version: VERSION })
                && ops.add(Events::new(&caller.stream, EventSet::IN)).is_ok()
            {
                self.callers.push(caller);
            }
        }
    }

    fn attend(&mut self, fd: i32) {
        let Some(at) = self.callers.iter().position(|caller| caller.stream.as_raw_fd() == fd) else { return };
        let mut caller = self.callers.swap_remove(at);
        // Closed when it is dropped, the descriptor leaves the set of those that are waited for.
        let Some(lines) = caller.lines() else { return };
        for line in lines {
            let Ok(ask) = serde_json::from_slice(&line) else { return };
            let said = self.answer(&ask);
            if !caller.say(&said) {
                return;
            }
        }
        self.callers.push(caller);
    }
}

impl MutEventSubscriber for Monitor {
    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        match events.fd() {
            fd if fd == self.endings.told.as_raw_fd() => self.guest_ended(),
            fd if fd == self.listener.as_raw_fd() => self.welcome(ops),
            fd => self.attend(fd),
        }
    }

    fn init(&mut self, ops: &mut EventOps<'_>) {
        for fd in [self.endings.told.as_raw_fd(), self.listener.as_raw_fd()] {
            // What fails is a descriptor that is there twice.
            let _ = ops.add(Events::new_raw(fd, EventSet::IN));
        }
    }
}
