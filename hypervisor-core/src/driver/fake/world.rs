//! The world of the fake driver: its guests, and what they do.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{broadcast, mpsc},
    time::Instant,
};

use super::{
    faults::{Faults, Orders, born_deaf, unheard},
    guest::{Guest, Life, Told},
    guest_agent::Within,
    ledger::{Ledger, Record},
    numbers::Work,
};
use crate::{
    definition::Definition,
    driver::{DriverError, DriverEvent, Foreign, GuestEvent, Launch, Observed, Plea, Power, screen},
    lifecycle::Cause,
    machine::MachineId,
};

/// How many events may wait for a reader. Room is taken as they come, not beforehand.
const EVENTS_WAITING_MAX: usize = 65_536;

/// Locks; a panic elsewhere does not make a fake world unusable, every change of it is whole.
pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where fake guests live. Cheap to clone: the same world.
#[derive(Clone, Debug)]
pub struct FakeWorld(pub(super) Arc<World>);

#[derive(Debug)]
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) inside: Mutex<Inside>,
}

/// Tokio's clock, so that tests can pause it, counted from a moment that other processes know.
#[derive(Debug)]
pub(super) struct Clock {
    origin: Instant,
    origin_ms: u64,
}

#[derive(Debug, Default)]
pub(super) struct Inside {
    pub(super) guests: HashMap<MachineId, Guest>,
    pub(super) foreign: BTreeMap<String, Foreigner>,
    /// What was somebody else's and is ours: what it was there.
    pub(super) adopted: HashMap<MachineId, (String, Foreigner)>,
    pub(super) orders: Orders,
    /// What comes from other hosts.
    pub(super) arrivals: HashMap<MachineId, super::migrate::Coming>,
    events: Option<mpsc::Sender<DriverEvent>>,
    ledger: Option<Ledger>,
}

/// A running machine that somebody else started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Foreigner {
    pub(super) definition: Definition,
    pub(super) born_ms: u64,
}

impl Clock {
    fn from(origin_ms: u64) -> Self {
        Self { origin: Instant::now(), origin_ms }
    }

    pub(super) fn now_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.origin_ms.saturating_add(elapsed)
    }
}

impl FakeWorld {
    /// What a fake guest writes to its console when it is up.
    pub const READY: &'static str = "ready";

    /// An empty one, whose clock starts at zero.
    #[allow(clippy::new_without_default, reason = "a new world is not a default one")]
    pub fn new() -> Self {
        Self(Arc::new(World { clock: Clock::from(0), inside: Mutex::default() }))
    }

    /// The one kept in this file, which is made when it is not there.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn persistent(path: &Path) -> Result<Self, DriverError> {
        let mut inside = Inside::default();
        inside.ledger = Some(Ledger::open(path, &mut inside)?);
        let now_ms = u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0);
        Ok(Self(Arc::new(World { clock: Clock::from(now_ms), inside: Mutex::new(inside) })))
    }

    /// What goes wrong in it, to order.
    pub fn faults(&self) -> Faults {
        Faults(self.clone())
    }

    /// A new driver listens; what an earlier one watched is watched no longer.
    pub(super) fn listen(&self) -> mpsc::Receiver<DriverEvent> {
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let mut inside = held(&self.0.inside);
        inside.events = Some(sender);
        for guest in inside.guests.values_mut() {
            guest.watched = false;
        }
        receiver
    }

    pub(super) fn slowness(&self) -> Duration {
        held(&self.0.inside).orders.slowness
    }

    pub(super) fn observe(&self, id: MachineId) -> Observed {
        let mut inside = held(&self.0.inside);
        let ordered = inside.orders.observed.get(&id).cloned();
        let Some(guest) = inside.guests.get_mut(&id) else {
            return ordered.unwrap_or(OFF);
        };
        guest.watched = true;
        let seen = if guest.life.on() {
            let age = Duration::from_millis(self.0.clock.now_ms().saturating_sub(guest.born_ms));
            Observed {
                power: guest.life.power(),
                running_for: Some(age),
                // A guest that is a tenth busy.
                cpu_time: Some(age / 10),
                resident_bytes: Some(guest.memory_mib.saturating_mul(1024 * 1024)),
            }
        } else {
            Observed { power: guest.life.power(), ..OFF }
        };
        ordered.unwrap_or(seen)
    }

    pub(super) fn begin_start(&self, launch: &Launch) -> Result<Starting, DriverError> {
        let mut inside = held(&self.0.inside);
        let guest = inside.guests.entry(launch.id).or_default();
        if guest.life.on() || guest.starting.is_some() {
            return Err(DriverError::AlreadyRunning);
        }
        guest.run += 1;
        guest.starting = Some(guest.run);
        // What is left of one that crashed goes first.
        guest.life = Life::Off;
        guest.watched = true;
        Ok(Starting { world: self.clone(), id: launch.id, run: guest.run })
    }

    /// A guest that is paused or deaf does not hear it.
    pub(super) fn ask(&self, id: MachineId, plea: Plea) -> Result<(), DriverError> {
        let mut inside = held(&self.0.inside);
        let takes = inside.orders.guest_takes;
        inside.on(id)?.asked = Some(plea);
        let ordered = inside.orders.deaf.get_mut(&id).is_some_and(unheard);
        let guest = inside.on(id)?;
        if ordered || unheard(&mut guest.deaf_for) || guest.life != Life::Running {
            return Ok(());
        }
        guest.heard = true;
        let run = guest.run;
        drop(inside);
        let told = match plea {
            Plea::Shutdown => Told::Halt,
            Plea::Reboot => Told::Reboot,
        };
        if takes.is_zero() {
            self.act(id, told, None);
        } else {
            let world = Arc::downgrade(&self.0);
            tokio::spawn(async move {
                tokio::time::sleep(takes).await;
                if let Some(world) = world.upgrade().map(FakeWorld)
                    && world.run(id) == Some(run)
                {
                    world.act(id, told, None);
                }
            });
        }
        Ok(())
    }

    /// One that heard the first time needs no second.
    pub(super) fn ask_again(&self, id: MachineId, plea: Plea) -> Result<(), DriverError> {
        let open = {
            let mut inside = held(&self.0.inside);
            let guest = inside.on(id)?;
            guest.asked == Some(plea) && !guest.heard
        };
        if open { self.ask(id, plea) } else { Ok(()) }
    }

    fn run(&self, id: MachineId) -> Option<u64> {
        held(&self.0.inside).guests.get(&id).map(|guest| guest.run)
    }

    /// The guest does something by itself. False if it does not run.
    pub(super) fn act(&self, id: MachineId, told: Told, cause: Option<Cause>) -> bool {
        let mut inside = held(&self.0.inside);
        let Ok(guest) = inside.on(id) else { return false };
        let what = match told {
            Told::Halt => {
                guest.end(Life::Off);
                GuestEvent::Halted
            }
            Told::Reboot => {
                guest.did();
                GuestEvent::Rebooted
            }
            Told::Crash => {
                let cause = cause.unwrap_or_else(|| Cause("the guest crashed".into()));
                guest.end(Life::Crashed(cause.clone()));
                GuestEvent::Crashed(cause)
            }
        };
        inside.keep(id);
        if told == Told::Reboot {
            inside.write(id, format!("{}\r\n", Self::READY).as_bytes());
        }
        inside.tell(id, what);
        true
    }

    pub(super) fn reset(&self, id: MachineId) -> Result<(), DriverError> {
        if self.act(id, Told::Reboot, None) { Ok(()) } else { Err(DriverError::NotRunning) }
    }

    pub(super) fn kill(&self, id: MachineId) -> Result<(), DriverError> {
        let mut inside = held(&self.0.inside);
        if let Some(guest) = inside.guests.get_mut(&id) {
            guest.starting = None;
            guest.end(Life::Off);
            inside.keep(id);
        }
        Ok(())
    }

    pub(super) fn forget(&self, id: MachineId) -> Result<(), DriverError> {
        let mut inside = held(&self.0.inside);
        if inside.guests.get(&id).is_some_and(|guest| guest.life.on()) {
            return Err(DriverError::AlreadyRunning);
        }
        inside.guests.remove(&id);
        inside.adopted.remove(&id);
        inside.record(&Record::Forgotten { id });
        Ok(())
    }

    pub(super) fn hold(&self, id: MachineId, paused: bool) -> Result<(), DriverError> {
        let mut inside = held(&self.0.inside);
        inside.on(id)?.life = if paused { Life::Paused } else { Life::Running };
        inside.keep(id);
        Ok(())
    }

    /// The names of the disks it has, if it runs.
    pub(super) fn disks(&self, id: MachineId) -> Option<Vec<String>> {
        held(&self.0.inside).on(id).ok().map(|guest| guest.disks.clone())
    }

    /// From now on it has these.
    pub(super) fn set_disks(&self, id: MachineId, disks: Vec<String>) {
        let mut inside = held(&self.0.inside);
        if let Ok(guest) = inside.on(id) {
            guest.disks = disks;
            inside.keep(id);
        }
    }

    pub(super) fn console_tail(&self, id: MachineId, bytes_max: usize) -> Vec<u8> {
        held(&self.0.inside).guests.get(&id).map(|guest| guest.tail(bytes_max).to_vec()).unwrap_or_default()
    }

    /// What the screen shows of the console, while the guest is on.
    pub(super) fn console_shown(&self, id: MachineId) -> Result<Vec<u8>, DriverError> {
        let mut inside = held(&self.0.inside);
        let console = inside.on(id)?.tail(super::screen::CELLS);
        // A form feed clears the screen, as on a terminal.
        let cleared = console.iter().rposition(|byte| *byte == 0x0c).map_or(0, |at| at + 1);
        Ok(console[cleared..].to_vec())
    }

    pub(super) fn console_write(&self, id: MachineId, bytes: &[u8]) -> bool {
        let mut inside = held(&self.0.inside);
        let on = inside.on(id).is_ok();
        if on {
            inside.write(id, bytes);
        }
        on
    }

    /// Refuses keys for a guest that is paused.
    pub(super) fn takes_keys(&self, id: MachineId) -> Result<(), DriverError> {
        let mut inside = held(&self.0.inside);
        if inside.on(id)?.life == Life::Running { Ok(()) } else { Err(screen::held_still()) }
    }

    /// Echoes what is typed, and obeys it; a paused guest does neither.
    pub(super) fn console_type(&self, id: MachineId, bytes: &[u8]) -> Result<(), DriverError> {
        let told = {
            let mut inside = held(&self.0.inside);
            let guest = inside.on(id)?;
            if guest.life != Life::Running {
                return Ok(());
            }
            let told = guest.listen(bytes);
            inside.write(id, bytes);
            told
        };
        for told in told {
            self.act(id, told, None);
        }
        Ok(())
    }

    pub(super) fn console_follow(&self, id: MachineId) -> Result<broadcast::Receiver<Vec<u8>>, DriverError> {
        Ok(held(&self.0.inside).on(id)?.follow())
    }

    pub(super) fn foreign(&self) -> Vec<Foreign> {
        let inside = held(&self.0.inside);
        let foreign = inside.foreign.iter();
        foreign
            .map(|(name, there)| Foreign { name: name.clone(), definition: there.definition.clone() })
            .collect()
    }

    pub(super) fn adopt(&self, name: &str, id: MachineId) -> Result<(), DriverError> {
        let mut inside = held(&self.0.inside);
        if inside.guests.get(&id).is_some_and(|guest| guest.life.on() || guest.starting.is_some()) {
            return Err(DriverError::AlreadyRunning);
        }
        let Some(foreigner) = inside.foreign.remove(name) else {
            return Err(DriverError::Unfit(format!("there is no machine called {name:?} to adopt")));
        };
        inside.record(&Record::Adopted { name: name.into(), id: Some(id) });
        let guest = inside.guests.entry(id).or_default();
        guest.run += 1;
        guest.life = Life::Running;
        guest.born_ms = foreigner.born_ms;
        guest.memory_mib = foreigner.definition.memory_mib;
        guest.room_mib = foreigner.definition.memory_mib;
        guest.disks = names(&foreigner.definition);
        guest.watched = true;
        inside.adopted.insert(id, (name.into(), foreigner));
        inside.keep(id);
        Ok(())
    }

    pub(super) fn is_adopted(&self, id: MachineId) -> bool {
        let inside = held(&self.0.inside);
        inside.adopted.contains_key(&id) && inside.guests.get(&id).is_some_and(|guest| guest.life.on())
    }

    pub(super) fn release(&self, id: MachineId) {
        let mut inside = held(&self.0.inside);
        let runs = inside.guests.get(&id).is_some_and(|guest| guest.life.on());
        let Some((name, foreigner)) = inside.adopted.remove(&id).filter(|_| runs) else { return };
        inside.guests.remove(&id);
        inside.record(&Record::Forgotten { id });
        inside.settle(name, foreigner);
    }
}

fn names(definition: &Definition) -> Vec<String> {
    definition.disks.iter().map(|disk| disk.name.clone()).collect()
}

const OFF: Observed = Observed { power: Power::Off, running_for: None, cpu_time: None, resident_bytes: None };

impl Inside {
    /// A guest that runs or is paused.
    pub(super) fn on(&mut self, id: MachineId) -> Result<&mut Guest, DriverError> {
        self.guests.get_mut(&id).filter(|guest| guest.life.on()).ok_or(DriverError::NotRunning)
    }

    pub(super) fn tell(&mut self, id: MachineId, what: GuestEvent) {
        let watched = self.guests.get(&id).is_some_and(|guest| guest.watched);
        let Some(events) = self.events.as_ref().filter(|_| watched && !self.orders.events_lost) else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(lost)) = events.try_send(DriverEvent { id, what }) {
            tracing::warn!(machine = %id, event = ?lost.what, "too many events wait, one is lost");
        }
    }

    pub(super) fn settle(&mut self, name: String, foreigner: Foreigner) {
        self.record(&Record::Foreign { name: name.clone(), foreigner: foreigner.clone() });
        self.foreign.insert(name, foreigner);
    }

    pub(super) fn write(&mut self, id: MachineId, bytes: &[u8]) {
        if let Some(guest) = self.guests.get_mut(&id) {
            guest.write(bytes);
            if self.ledger.is_some() {
                self.record(&Record::Wrote { id, bytes: bytes.to_vec() });
            }
        }
    }

    /// Notes what has become of a guest, where the world is kept.
    pub(super) fn keep(&mut self, id: MachineId) {
        if let (Some(ledger), Some(guest)) = (&mut self.ledger, self.guests.get(&id)) {
            ledger.append(&Record::guest(id, guest));
            self.tidy();
        }
    }

    fn record(&mut self, record: &Record<'_>) {
        if let Some(ledger) = &mut self.ledger {
            ledger.append(record);
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        self.ledger = self.ledger.take().map(|ledger| ledger.tidied(self));
    }
}

/// A start that is under way. Dropped before [`Starting::finish`], nothing has been started.
#[derive(Debug)]
pub(super) struct Starting {
    world: FakeWorld,
    id: MachineId,
    run: u64,
}

impl Starting {
    pub(super) fn finish(self, launch: &Launch) -> Result<(), DriverError> {
        let mut inside = held(&self.world.0.inside);
        let guest = inside.guests.get_mut(&self.id).filter(|guest| guest.starting == Some(self.run));
        let Some(guest) = guest else {
            return Err(DriverError::Unfit("it was killed while it was starting".into()));
        };
        guest.life = Life::Running;
        guest.born_ms = self.world.0.clock.now_ms();
        guest.memory_mib = launch.definition.memory_mib;
        guest.room_mib = launch.definition.memory_room_mib();
        guest.work = Work::begun(&launch.definition);
        guest.deaf_for = born_deaf(&launch.definition);
        guest.disks = names(&launch.definition);
        guest.within = Within::booted(launch);
        inside.keep(self.id);
        inside.write(self.id, Guest::greeting(launch).as_bytes());
        Ok(())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(guest) = held(&self.world.0.inside).guests.get_mut(&self.id)
            && guest.starting == Some(self.run)
        {
            guest.starting = None;
        }
    }
}
