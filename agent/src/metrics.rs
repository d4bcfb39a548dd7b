//! What the host and its machines use.

use std::{collections::BTreeMap, sync::PoisonError};

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::{agent::Agent, handler, journal::Outcome};

/// Machines looked at at once.
const AT_ONCE: usize = 16;

/// What the host and its machines use now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Load average of the last minute.
    pub load: f64,
    /// Memory of the host in MiB.
    pub memory_mib: u64,
    /// Memory free for use, in MiB.
    pub memory_free_mib: u64,
    /// The machines that run, by name.
    pub machines: Vec<MachineUse>,
    /// How often each command was carried out since the agent started, by permission.
    pub commands: BTreeMap<String, Tally>,
}

/// What one machine uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineUse {
    /// Its name.
    pub name: String,
    /// Processor time used since it started, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
}

/// How often something was done, and how often refused or failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Done.
    pub done: u64,
    /// Refused, or failed.
    pub refused: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done { .. } => self.done += 1,
            Outcome::Refused(_) | Outcome::Unknown { .. } => self.refused += 1,
        }
    }
}

/// Looks at the host and at each machine that has a guest.
pub(crate) async fn collect(agent: &Agent) -> Metrics {
    let (memory_mib, memory_free_mib) = handler::host_memory_mib();
    let uses = stream::iter(agent.inner.machines.all()).map(|machine| async move {
        let seen = handler::observe(&machine).await?;
        Some(MachineUse {
            name: machine.record().name.to_string(),
            cpu_seconds: seen.cpu_time.map(|time| time.as_secs_f64()),
            resident_bytes: seen.resident_bytes,
        })
    });
    let machines = uses.buffered(AT_ONCE).filter_map(std::future::ready).collect().await;
    let commands = agent.inner.tallies.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Metrics { load: handler::load(), memory_mib, memory_free_mib, machines, commands }
}
