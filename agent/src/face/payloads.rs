//! What is told to programs: the agent's values as payloads of the wire.

use minidom::Element;
use skerry_stanzas::{command::host::SortKey, payload};

use super::{Face, entity::Entity};
use crate::{
    agent::{Event, Seen},
    handler::{sort, tenths, whole},
    numbers::meter::{HostUse, MachineUse},
};

/// The most machines of one metrics item: some 60 kB.
const MACHINES_MAX: usize = 256;
/// On an account a server may take 3 kB a second from us, for all we say.
const MACHINES_ON_ACCOUNT_MAX: usize = 32;

impl Face {
    /// A machine as it is now.
    pub(crate) fn machine_state(&self, seen: &Seen) -> Element {
        payload::Machine {
            id: seen.id.to_string(),
            name: seen.name.to_string(),
            state: seen.state.word().to_owned(),
            generation: seen.generation,
            wanted: seen.wanted.word().to_owned(),
            host: self.addresses().host().to_string(),
            driver: seen.driver.to_string(),
        }
        .into()
    }

    /// The host as it is now.
    pub(crate) fn host_state(&self) -> Element {
        let (machines, running) = self.agent.tally();
        payload::Host {
            name: self.host_name.clone(),
            machines: u32::try_from(machines).unwrap_or(u32::MAX),
            running: u32::try_from(running).unwrap_or(u32::MAX),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
        .into()
    }

    /// What the host and its machines use now, of the busiest machines at most so many.
    pub(crate) async fn metrics(&self) -> Element {
        let most = if self.addresses().is_component() { MACHINES_MAX } else { MACHINES_ON_ACCOUNT_MAX };
        let machines = self.agent.measurable();
        let age = self.agent.config().metrics.every / 2;
        let (host, mut uses) = self.agent.uses_lately(&machines, age).await;
        sort(&mut uses, SortKey::Cpu);
        payload::Metrics {
            at: chrono::Utc::now(),
            left_out: u32::try_from(uses.len().saturating_sub(most)).unwrap_or(u32::MAX),
            host: self.host_metrics(host),
            machines: uses.iter().take(most).map(machine_metrics).collect(),
        }
        .into()
    }

    fn host_metrics(&self, host: Option<HostUse>) -> payload::HostMetrics {
        let disk_free_mib = disk_free_mib(&self.agent.config().state);
        let Some(HostUse { look, rates }) = host else {
            return payload::HostMetrics { disk_free_mib, ..payload::HostMetrics::default() };
        };
        let rates = rates.unwrap_or_default();
        payload::HostMetrics {
            cpus: look.read.cpus,
            load: look.read.load,
            memory_mib: look.read.memory_bytes >> 20,
            memory_free_mib: look.read.available_bytes >> 20,
            disk_free_mib,
            cpu_percent: rates.cpu.map(tenths),
            steal_percent: rates.steal.map(tenths),
            disk_read: rates.read.map(whole),
            disk_written: rates.written.map(whole),
            net_received: rates.received.map(whole),
            net_sent: rates.sent.map(whole),
            cpu_pressure: rates.pressure.map(|waits| tenths(waits.cpu)),
            memory_pressure: rates.pressure.map(|waits| tenths(waits.memory)),
            disk_pressure: rates.pressure.map(|waits| tenths(waits.io)),
        }
    }

    /// An entity as it is now.
    pub(crate) fn state_of(&self, entity: Entity) -> Option<Element> {
        match entity {
            Entity::Host => Some(self.host_state()),
            Entity::Machine(_) => self.seen(entity).map(|seen| self.machine_state(&seen)),
        }
    }
}

fn machine_metrics(one: &MachineUse) -> payload::MachineMetrics {
    let rates = one.rates.clone().unwrap_or_default();
    payload::MachineMetrics {
        name: one.name.clone(),
        cpu_seconds: one.look.read.cpu_time.as_secs_f64(),
        resident_bytes: one.look.read.resident_bytes,
        vcpus: one.vcpus,
        memory_mib: one.memory_mib,
        cpu_percent: rates.cpu.map(tenths),
        host_percent: one.host_percent.map(tenths),
        steal_percent: rates.steal.map(tenths),
        guest_used_bytes: one.guest_used(),
        disk_read: rates.read.map(whole),
        disk_written: rates.written.map(whole),
        net_received: rates.received.map(whole),
        net_sent: rates.sent.map(whole),
    }
}

/// Something that happened.
pub(crate) fn event(event: &Event) -> Element {
    payload::Event {
        sequence: event.sequence,
        at: event.at,
        what: event.what.clone(),
        machine: event.machine.clone(),
        state: event.state.clone(),
        generation: event.generation,
        by: event.by.clone(),
        sentence: event.sentence.clone(),
    }
    .into()
}

/// Free space where machines are kept.
fn disk_free_mib(folder: &std::path::Path) -> u64 {
    nix::sys::statvfs::statvfs(folder)
        .map_or(0, |disk| disk.blocks_available() * disk.fragment_size() / (1 << 20))
}
