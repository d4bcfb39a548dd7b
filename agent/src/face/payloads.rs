//! What is told to programs: the agent's values as payloads of the wire.

use minidom::Element;
use skerry_stanzas::payload;

use super::{Face, entity::Entity};
use crate::agent::{Event, Seen};

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

    /// What the host and its machines use now.
    pub(crate) async fn metrics(&self) -> Element {
        let now = self.agent.metrics().await;
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let machines = now.machines.into_iter().map(|machine| payload::MachineMetrics {
            name: machine.name,
            cpu_seconds: machine.cpu_seconds.unwrap_or(0.0),
            resident_bytes: machine.resident_bytes.unwrap_or(0),
        });
        let host = payload::HostMetrics {
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            load: now.load,
            memory_mib: now.memory_mib,
            memory_free_mib: now.memory_free_mib,
            disk_free_mib: disk_free_mib(&self.agent.config().state),
        };
        payload::Metrics { at: chrono::Utc::now(), host, machines: machines.collect() }.into()
    }

    /// An entity as it is now.
    pub(crate) fn state_of(&self, entity: Entity) -> Option<Element> {
        match entity {
            Entity::Host => Some(self.host_state()),
            Entity::Machine(_) => self.seen(entity).map(|seen| self.machine_state(&seen)),
        }
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
