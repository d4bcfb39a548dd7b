//! The last two looks at the host and at each machine.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use hypervisor_core::{
    driver::numbers::Reading,
    host::{HostMeter, HostReading},
    machine::MachineId,
};
use tokio::time::Instant;

use super::rates::{self, Look, Rates};
use crate::{agent::Agent, handler::LOOK_MAX, machine::Machine};

/// Machines looked at at once.
const AT_ONCE: usize = 16;
/// How long is waited for a second look, when there was only one.
const BETWEEN: Duration = Duration::from_secs(1);
/// A look of that long ago says how it is now, to who asks once.
const FRESH: Duration = Duration::from_secs(15);

/// Two looks at one thing.
struct Looks<T> {
    before: Option<Arc<Look<T>>>,
    last: Arc<Look<T>>,
}

impl<T> Looks<T> {
    fn put(slot: Option<Self>, look: Look<T>) -> Self {
        Self { before: slot.map(|looks| looks.last), last: Arc::new(look) }
    }
}

/// The last two looks at the host and at each machine that runs.
#[derive(Default)]
pub(crate) struct Meter {
    meter: HostMeter,
    host: Mutex<Option<Looks<HostReading>>>,
    machines: Mutex<HashMap<MachineId, Looks<Reading>>>,
    /// Held while somebody looks, at machines and at the host: whoever comes meanwhile takes what that
    /// shows. Two looks at one moment would leave no time between them in which anything was used.
    looking: [tokio::sync::Mutex<()>; 2],
}

/// What a machine uses.
#[derive(Clone, Debug)]
pub(crate) struct MachineUse {
    pub(crate) id: MachineId,
    pub(crate) name: String,
    pub(crate) vcpus: u32,
    pub(crate) memory_mib: u64,
    pub(crate) look: Arc<Look<Reading>>,
    /// The look before, when it was at the same run.
    pub(crate) before: Option<Arc<Look<Reading>>>,
    /// Since the look before.
    pub(crate) rates: Option<Rates>,
    /// Of all the host's processors.
    pub(crate) host_percent: Option<f64>,
}

impl MachineUse {
    /// How fast a counter of it grows.
    pub(crate) fn speed(&self, counter: impl Fn(&Reading) -> Option<u64>) -> Option<f64> {
        rates::of_counter(self.before.as_ref()?, &self.look, counter)
    }

    /// Memory used inside, by the guest's word.
    pub(crate) fn guest_used(&self) -> Option<u64> {
        let memory = self.look.read.guest_memory?;
        Some(memory.total_bytes.saturating_sub(memory.available_bytes))
    }
}

/// What the host uses.
#[derive(Clone, Debug)]
pub(crate) struct HostUse {
    pub(crate) look: Arc<Look<HostReading>>,
    pub(crate) rates: Option<Rates>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    fn is_older<T>(looks: Option<&Looks<T>>, age: Duration) -> bool {
        looks.is_none_or(|looks| looks.last.at.elapsed() >= age)
    }

    /// Looks at those of these machines that were not looked at for so long.
    pub(crate) async fn look(&self, machines: &[Arc<Machine>], age: Duration) {
        let _looking = self.looking[0].lock().await;
        let due: Vec<Arc<Machine>> = {
            let seen = held(&self.machines);
            machines.iter().filter(|one| Self::is_older(seen.get(&one.card.id), age)).cloned().collect()
        };
        let reads = stream::iter(due).map(|machine| async move { (machine.card.id, read(&machine).await) });
        reads
            .buffer_unordered(AT_ONCE)
            .for_each(|(id, read)| {
                let mut seen = held(&self.machines);
                let before = seen.remove(&id);
                if let Some(read) = read {
                    seen.insert(id, Looks::put(before, Look { at: Instant::now(), read }));
                }
                std::future::ready(())
            })
            .await;
    }

    /// Looks at the host, if it was not looked at for so long.
    pub(crate) async fn look_at_host(&self, age: Duration) {
        let _looking = self.looking[1].lock().await;
        if !Self::is_older(held(&self.host).as_ref(), age) {
            return;
        }
        let meter = self.meter.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || meter.read()).await else { return };
        let mut host = held(&self.host);
        *host = Some(Looks::put(host.take(), Look { at: Instant::now(), read }));
    }

    /// Forgets those that are not among these.
    pub(crate) fn retain(&self, there: &[Arc<Machine>]) {
        let there: std::collections::HashSet<MachineId> = there.iter().map(|one| one.card.id).collect();
        held(&self.machines).retain(|id, _| there.contains(id));
    }

    /// What the last looks say of a machine.
    pub(crate) fn of(&self, machine: &Machine) -> Option<MachineUse> {
        let (look, before) = {
            let seen = held(&self.machines);
            let looks = seen.get(&machine.card.id)?;
            (Arc::clone(&looks.last), looks.before.clone())
        };
        let record = machine.record();
        let vcpus = record.definition.vcpus;
        let rates = before.as_ref().and_then(|before| rates::of_machine(before, &look, vcpus));
        let before = before.filter(|_| rates.is_some());
        let host_percent = before.as_ref().and_then(|before| rates::of_host_percent(before, &look, cpus()));
        let memory_mib = record.definition.memory_mib;
        Some(MachineUse {
            id: record.id,
            name: record.name.to_string(),
            vcpus,
            memory_mib,
            look,
            before,
            rates,
            host_percent,
        })
    }

    /// What the last looks say of the host.
    pub(crate) fn of_host(&self) -> Option<HostUse> {
        let host = held(&self.host);
        let looks = host.as_ref()?;
        let rates = looks.before.as_ref().and_then(|before| rates::of_host(before, &looks.last));
        Some(HostUse { look: Arc::clone(&looks.last), rates })
    }
}

/// The host's processors, as far as we may use them.
pub(crate) fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1))
}

/// Reads one machine's counters; a driver that does not answer is not waited for.
async fn read(machine: &Machine) -> Option<Reading> {
    let numbers = machine.card.driver.numbers()?;
    let launch = machine.card.launch();
    tokio::time::timeout(LOOK_MAX, numbers.read(&launch)).await.ok()?.ok()
}

impl Agent {
    /// The machines that have a guest whose use can be known.
    pub(crate) fn measurable(&self) -> Vec<Arc<Machine>> {
        let mut machines = self.inner.machines.all();
        machines
            .retain(|machine| machine.record().state.has_guest() && machine.card.driver.numbers().is_some());
        machines
    }

    /// What these machines and the host use, from looks that are no older than this, where there can be any.
    pub(crate) async fn uses_lately(
        &self,
        machines: &[Arc<Machine>],
        age: Duration,
    ) -> (Option<HostUse>, Vec<MachineUse>) {
        let meter = &self.inner.meter;
        tokio::join!(meter.look(machines, age), meter.look_at_host(age));
        (meter.of_host(), machines.iter().filter_map(|machine| meter.of(machine)).collect())
    }

    /// What these machines and the host use now, for somebody who waits for it: what was never looked at
    /// before is looked at twice, a second apart.
    pub(crate) async fn uses(&self, machines: &[Arc<Machine>]) -> (Option<HostUse>, Vec<MachineUse>) {
        let (host, uses) = self.uses_lately(machines, FRESH).await;
        let unrated =
            |machine: &Machine| uses.iter().any(|one| one.id == machine.card.id && one.rates.is_none());
        let unrated: Vec<Arc<Machine>> = machines.iter().filter(|one| unrated(one)).cloned().collect();
        if unrated.is_empty() && host.as_ref().is_some_and(|host| host.rates.is_some()) {
            return (host, uses);
        }
        tokio::time::sleep(BETWEEN).await;
        let meter = &self.inner.meter;
        tokio::join!(meter.look(&unrated, BETWEEN), meter.look_at_host(BETWEEN));
        (meter.of_host(), machines.iter().filter_map(|machine| meter.of(machine)).collect())
    }
}
