//! What goes wrong, to order.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use super::{
    FakeWorld,
    guest::Told,
    world::{Foreigner, held},
};
use crate::{
    definition::{Boot, Definition},
    driver::{GuestEvent, Observed},
    lifecycle::Cause,
    machine::MachineId,
};

/// What becomes of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFault {
    /// It fails, with this reason.
    Fails(String),
    /// It never returns.
    Hangs,
    /// It takes this long, by tokio's clock.
    Takes(Duration),
}

impl StartFault {
    /// What a machine's kernel command line orders: `fake.start=fails`, `hangs`, or a time as `2s`.
    /// So whoever can only define machines, as the author of a bot, can order it too.
    pub(super) fn of(definition: &Definition) -> Option<Self> {
        let order = words(definition).find_map(|word| word.strip_prefix("fake.start="))?;
        match order {
            "fails" => Some(Self::Fails("its command line says so: fake.start=fails".into())),
            "hangs" => Some(Self::Hangs),
            time => humantime::parse_duration(time).ok().map(Self::Takes),
        }
    }
}

/// How often a machine does not hear what it is asked, by its kernel command line: `fake.deaf` never
/// does, `fake.deaf=2` not the first two times. See [`Faults::deaf`] and [`Faults::deaf_for`].
pub(super) fn born_deaf(definition: &Definition) -> u32 {
    words(definition)
        .find_map(|word| match word.strip_prefix("fake.deaf")? {
            "" => Some(ALWAYS),
            times => times.strip_prefix('=')?.parse().ok(),
        })
        .unwrap_or(0)
}

/// How busy it is from the beginning, in percent, by its kernel command line: `fake.busy=70`.
pub(super) fn born_busy(definition: &Definition) -> Option<u32> {
    let percent: u32 = words(definition).find_map(|word| word.strip_prefix("fake.busy="))?.parse().ok()?;
    Some(percent.min(100))
}

/// How long it takes to move a machine, by its kernel command line; `None` for never.
pub(super) fn moves_in(definition: &Definition) -> Option<Duration> {
    match words(definition).find_map(|word| word.strip_prefix("fake.move=")) {
        None => Some(Duration::ZERO),
        Some("breaks") => None,
        Some(time) => Some(humantime::parse_duration(time).unwrap_or_default()),
    }
}

/// So often that it is always.
pub(super) const ALWAYS: u32 = u32::MAX;

/// Whether it is not heard this time either.
pub(super) fn unheard(times: &mut u32) -> bool {
    let unheard = *times > 0;
    if *times != ALWAYS {
        *times = times.saturating_sub(1);
    }
    unheard
}

fn words(definition: &Definition) -> impl Iterator<Item = &str> {
    let cmdline = match &definition.boot {
        Boot::Kernel { cmdline, .. } => cmdline.as_str(),
        Boot::Disk => "",
    };
    cmdline.split_whitespace()
}

/// What has been ordered.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) next_starts: HashMap<MachineId, VecDeque<StartFault>>,
    pub(super) next_start_of_any: Option<StartFault>,
    pub(super) deaf: HashMap<MachineId, u32>,
    pub(super) observed: HashMap<MachineId, Observed>,
    pub(super) events_lost: bool,
    pub(super) restless: HashSet<MachineId>,
    pub(super) slowness: Duration,
    pub(super) guest_takes: Duration,
}

/// The handle by which a test makes things happen in a [`FakeWorld`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Faults(pub(super) FakeWorld);

impl Faults {
    /// What becomes of the next start of this machine; ordered twice, of the next two.
    pub fn next_start(&self, id: MachineId, fault: StartFault) {
        held(&self.0.0.inside).orders.next_starts.entry(id).or_default().push_back(fault);
    }

    /// What becomes of the next start of whichever machine; once.
    pub fn next_start_of_any(&self, fault: StartFault) {
        held(&self.0.0.inside).orders.next_start_of_any = Some(fault);
    }

    /// Whether the guest ignores being asked to shut down or to reboot.
    pub fn deaf(&self, id: MachineId, deaf: bool) {
        self.deaf_for(id, if deaf { ALWAYS } else { 0 });
    }

    /// So often the guest does not hear that it is asked to shut down or to reboot, as one that boots.
    pub fn deaf_for(&self, id: MachineId, times: u32) {
        held(&self.0.0.inside).orders.deaf.insert(id, times);
    }

    /// The guest says from now on that its file systems hold still, and goes on all the same.
    pub fn restless(&self, id: MachineId) {
        held(&self.0.0.inside).orders.restless.insert(id);
    }

    /// What an observation says from now on instead of the truth; `None` for the truth again.
    pub fn observed(&self, id: MachineId, instead: Option<Observed>) {
        let mut inside = held(&self.0.0.inside);
        match instead {
            Some(instead) => inside.orders.observed.insert(id, instead),
            None => inside.orders.observed.remove(&id),
        };
    }

    /// Whether events are lost from now on.
    pub fn lose_events(&self, lost: bool) {
        held(&self.0.0.inside).orders.events_lost = lost;
    }

    /// What becomes of the next start of this machine, if something was ordered.
    pub(super) fn take_start(&self, id: MachineId) -> Option<StartFault> {
        let orders = &mut held(&self.0.0.inside).orders;
        let own = orders.next_starts.get_mut(&id).and_then(VecDeque::pop_front);
        if orders.next_starts.get(&id).is_some_and(VecDeque::is_empty) {
            orders.next_starts.remove(&id);
        }
        own.or_else(|| orders.next_start_of_any.take())
    }

    /// How long each operation takes, by tokio's clock.
    pub fn slow(&self, each: Duration) {
        held(&self.0.0.inside).orders.slowness = each;
    }

    /// How long guests take to do what they were asked, by tokio's clock; at once if nothing is said.
    /// What a guest was asked is forgotten when the process ends.
    pub fn guests_take(&self, time: Duration) {
        held(&self.0.0.inside).orders.guest_takes = time;
    }

    /// The guest shuts itself down now. False if it does not run.
    pub fn halt(&self, id: MachineId) -> bool {
        self.0.act(id, Told::Halt, None)
    }

    /// The guest reboots now. False if it does not run.
    pub fn reboot(&self, id: MachineId) -> bool {
        self.0.act(id, Told::Reboot, None)
    }

    /// The guest crashes now. False if it does not run.
    pub fn crash(&self, id: MachineId, why: &str) -> bool {
        self.0.act(id, Told::Crash, Some(Cause(why.into())))
    }

    /// Somebody else pauses the guest (or lets it run on): an event follows. False if it does not run.
    pub fn hold_by_others(&self, id: MachineId, paused: bool) -> bool {
        let done = self.0.hold(id, paused).is_ok();
        if done {
            held(&self.0.0.inside).tell(id, if paused { GuestEvent::Paused } else { GuestEvent::Resumed });
        }
        done
    }

    /// The guest writes to its console. False if it does not run.
    pub fn write(&self, id: MachineId, bytes: &[u8]) -> bool {
        self.0.console_write(id, bytes)
    }

    /// How busy the guest is from now on, in percent of its processors.
    pub fn busy(&self, id: MachineId, percent: u32) {
        self.0.set_busy(id, percent);
    }

    /// Somebody else starts a machine, which can be adopted.
    pub fn foreign(&self, name: &str, definition: Definition) {
        let born_ms = self.0.0.clock.now_ms();
        held(&self.0.0.inside).settle(name.into(), Foreigner { definition, born_ms });
    }
}
