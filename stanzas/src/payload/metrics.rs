//! What a host and its machines use: the one item of the node [`ns::METRICS`].

use chrono::{DateTime, Utc};
use xmpp_parsers::date::Xep0082;
use xso::{AsXml, FromXml, error::Error};

use super::{MACHINES_MAX, bounded};
use crate::ns;

/// One look at a host and all its machines.
#[derive(Clone, Debug, PartialEq, FromXml, AsXml)]
#[xml(namespace = ns::METRICS, name = "metrics", deserialize_callback = check)]
pub struct Metrics {
    /// When, to the second (XEP-0082).
    #[xml(attribute(codec = Xep0082))]
    pub at: DateTime<Utc>,
    /// The host.
    #[xml(child)]
    pub host: HostMetrics,
    /// Its machines that run.
    #[xml(child(n = ..))]
    pub machines: Vec<MachineMetrics>,
}

/// What a host uses.
#[derive(Clone, Debug, PartialEq, FromXml, AsXml)]
#[xml(namespace = ns::METRICS, name = "host")]
pub struct HostMetrics {
    /// Processors.
    #[xml(attribute)]
    pub cpus: u32,
    /// Load average of the last minute.
    #[xml(attribute)]
    pub load: f64,
    /// Memory in MiB.
    #[xml(attribute(name = "memory-mib"))]
    pub memory_mib: u64,
    /// Memory free for use, in MiB.
    #[xml(attribute(name = "memory-free-mib"))]
    pub memory_free_mib: u64,
    /// Free space where machines are kept, in MiB.
    #[xml(attribute(name = "disk-free-mib"))]
    pub disk_free_mib: u64,
}

/// What a machine uses.
#[derive(Clone, Debug, PartialEq, FromXml, AsXml)]
#[xml(namespace = ns::METRICS, name = "machine", deserialize_callback = check_machine)]
pub struct MachineMetrics {
    /// Its name.
    #[xml(attribute)]
    pub name: String,
    /// Processor time used since it started, in seconds.
    #[xml(attribute(name = "cpu-seconds"))]
    pub cpu_seconds: f64,
    /// Memory of the host it holds, in bytes.
    #[xml(attribute(name = "resident-bytes"))]
    pub resident_bytes: u64,
}

fn check(metrics: &mut Metrics) -> Result<(), Error> {
    let finite = metrics.host.load.is_finite() && metrics.machines.iter().all(|m| m.cpu_seconds.is_finite());
    match finite && metrics.machines.len() <= MACHINES_MAX {
        true => Ok(()),
        false => Err(Error::Other("Metrics out of bounds.")),
    }
}

fn check_machine(machine: &mut MachineMetrics) -> Result<(), Error> {
    bounded([&machine.name])
}
