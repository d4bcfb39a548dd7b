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
    /// How many machines run that are not among these, which are the busiest.
    #[xml(attribute(name = "left-out", default))]
    pub left_out: u32,
    /// The host.
    #[xml(child)]
    pub host: HostMetrics,
    /// Its machines that run.
    #[xml(child(n = ..))]
    pub machines: Vec<MachineMetrics>,
}

/// What a host uses. Rates are means since the look before; what is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, FromXml, AsXml)]
#[xml(namespace = ns::METRICS, name = "host", deserialize_callback = check_host)]
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
    /// How busy its processors are, in percent of all of them.
    #[xml(attribute(name = "cpu-percent", default))]
    pub cpu_percent: Option<f64>,
    /// How much of the time it had work and was not run, being a machine itself, in percent.
    #[xml(attribute(name = "steal-percent", default))]
    pub steal_percent: Option<f64>,
    /// Read from its disks, in bytes a second.
    #[xml(attribute(name = "disk-read", default))]
    pub disk_read: Option<u64>,
    /// Written to its disks, in bytes a second.
    #[xml(attribute(name = "disk-written", default))]
    pub disk_written: Option<u64>,
    /// Coming in over its networks, in bytes a second.
    #[xml(attribute(name = "net-received", default))]
    pub net_received: Option<u64>,
    /// Going out over its networks, in bytes a second.
    #[xml(attribute(name = "net-sent", default))]
    pub net_sent: Option<u64>,
    /// How much of the time something waited for a processor, in percent.
    #[xml(attribute(name = "cpu-pressure", default))]
    pub cpu_pressure: Option<f64>,
    /// How much of the time something waited for memory, in percent.
    #[xml(attribute(name = "memory-pressure", default))]
    pub memory_pressure: Option<f64>,
    /// How much of the time something waited for a disk, in percent.
    #[xml(attribute(name = "disk-pressure", default))]
    pub disk_pressure: Option<f64>,
}

/// What a machine uses. Rates are means since the look before; what is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, FromXml, AsXml)]
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
    /// Virtual processors.
    #[xml(attribute(default))]
    pub vcpus: u32,
    /// Memory it was given, in MiB.
    #[xml(attribute(name = "memory-mib", default))]
    pub memory_mib: u64,
    /// How busy its virtual processors are, in percent of all of them.
    #[xml(attribute(name = "cpu-percent", default))]
    pub cpu_percent: Option<f64>,
    /// How much of all the host's processors it keeps busy, in percent.
    #[xml(attribute(name = "host-percent", default))]
    pub host_percent: Option<f64>,
    /// How much of the time its virtual processors waited for one of the host's, in percent.
    #[xml(attribute(name = "steal-percent", default))]
    pub steal_percent: Option<f64>,
    /// Memory used inside, by the guest's own word, in bytes.
    #[xml(attribute(name = "guest-used-bytes", default))]
    pub guest_used_bytes: Option<u64>,
    /// Read from its disks, in bytes a second.
    #[xml(attribute(name = "disk-read", default))]
    pub disk_read: Option<u64>,
    /// Written to its disks, in bytes a second.
    #[xml(attribute(name = "disk-written", default))]
    pub disk_written: Option<u64>,
    /// Coming in by its NICs, in bytes a second.
    #[xml(attribute(name = "net-received", default))]
    pub net_received: Option<u64>,
    /// Going out by its NICs, in bytes a second.
    #[xml(attribute(name = "net-sent", default))]
    pub net_sent: Option<u64>,
}

fn check(metrics: &mut Metrics) -> Result<(), Error> {
    match metrics.machines.len() <= MACHINES_MAX {
        true => Ok(()),
        false => Err(Error::Other("There are too many machines.")),
    }
}

fn check_host(host: &mut HostMetrics) -> Result<(), Error> {
    let percents = [host.cpu_percent, host.steal_percent];
    let pressure = [host.cpu_pressure, host.memory_pressure, host.disk_pressure];
    finite([Some(host.load)].into_iter().chain(percents).chain(pressure))
}

fn check_machine(machine: &mut MachineMetrics) -> Result<(), Error> {
    bounded([&machine.name])?;
    finite([Some(machine.cpu_seconds), machine.cpu_percent, machine.host_percent, machine.steal_percent])
}

/// Refuses what would be infinitely much, or no number.
fn finite(numbers: impl IntoIterator<Item = Option<f64>>) -> Result<(), Error> {
    match numbers.into_iter().flatten().all(f64::is_finite) {
        true => Ok(()),
        false => Err(Error::Other("A number of the payload is none.")),
    }
}
