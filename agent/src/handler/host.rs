//! List, status, drivers, version, uptime: how the host is.

use std::{fs, path::Path};

use hypervisor_core::lifecycle::State;
use nix::sys::statvfs::statvfs;
use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::{DriverLine, DriverList, HostStatus, MachineLine, MachineList, Uptime, Version},
};

use super::Handle;
use crate::{
    agent::Agent,
    dispatch::Job,
    machine::{Record, wording::STATE_WORDS},
};

impl Agent {
    /// A machine in a list.
    pub(crate) fn line(&self, record: &Record) -> MachineLine {
        MachineLine {
            name: record.name.to_string(),
            jid: self.addresses().machine(&record.name).to_string(),
            host: self.addresses().host().to_string(),
            state: record.state.word().into(),
            driver: record.driver.into(),
            vcpus: record.definition.vcpus,
            memory_mib: record.definition.memory_mib,
            labels: record.labels.clone(),
        }
    }
}

impl Handle<host::List> for Agent {
    async fn handle(&self, job: &Job, command: host::List) -> Result<MachineList, Refusal> {
        if let Some(state) = &command.state
            && !STATE_WORDS.contains(&state.as_str())
        {
            return Err(Refusal::new(Reason::BadRequest, format!("{state:?} is no state."))
                .field("state")
                .hint(format!("There is: {}.", STATE_WORDS.join(", "))));
        }
        let fits = |record: &Record| {
            command.state.as_ref().is_none_or(|state| record.state.word() == state)
                && command.label.as_ref().is_none_or(|label| record.labels.contains(label))
        };
        let seen = self.seen_by(&job.permit.person());
        let records = seen.into_iter().map(|machine| machine.record());
        let machines = records.filter(|record| fits(record)).map(|record| self.line(&record)).collect();
        Ok(MachineList { machines })
    }
}

impl Handle<host::Status> for Agent {
    async fn handle(&self, _job: &Job, _command: host::Status) -> Result<HostStatus, Refusal> {
        let config = self.config();
        let machines = self.inner.machines.all();
        let running = machines.iter().filter(|machine| machine.record().state == State::Running).count();
        let (memory_mib, memory_free_mib) = host_memory_mib();
        Ok(HostStatus {
            name: config.name.clone(),
            jid: self.addresses().host().to_string(),
            machines: u32::try_from(machines.len()).unwrap_or(u32::MAX),
            running: u32::try_from(running).unwrap_or(u32::MAX),
            cpus: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
            load: load(),
            memory_mib,
            memory_free_mib,
            disk_free_mib: disk_free_mib(&config.state),
            driver: self.inner.drivers.preferred().map_or("none", |driver| driver.name()).into(),
        })
    }
}

impl Handle<host::Drivers> for Agent {
    async fn handle(&self, _job: &Job, _command: host::Drivers) -> Result<DriverList, Refusal> {
        let default = self.inner.drivers.preferred().map(|driver| driver.name());
        let lines = self.inner.drivers.enabled().iter().map(|driver| {
            let probe = driver.probe();
            DriverLine {
                name: driver.name().into(),
                usable: probe.usable,
                default: Some(driver.name()) == default,
                why: probe.why.clone(),
                capabilities: probe.capabilities.iter().map(|one| one.word().into()).collect(),
            }
        });
        Ok(DriverList { drivers: lines.collect() })
    }
}

impl Handle<host::Version> for Agent {
    async fn handle(&self, _job: &Job, _command: host::Version) -> Result<Version, Refusal> {
        Ok(Version {
            agent: env!("CARGO_PKG_VERSION").into(),
            os: os(),
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
        })
    }
}

impl Handle<host::Uptime> for Agent {
    async fn handle(&self, _job: &Job, _command: host::Uptime) -> Result<Uptime, Refusal> {
        let up = read("/proc/uptime");
        let seconds = up.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok());
        Ok(Uptime {
            host_seconds: seconds.unwrap_or(0),
            agent_seconds: self.inner.started.elapsed().as_secs(),
            link_seconds: self.linked_for().map_or(0, |time| time.as_secs()),
        })
    }
}

/// Load average of the last minute.
fn load() -> f64 {
    read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

/// Memory of the host, and what of it is free for use.
pub(crate) fn host_memory_mib() -> (u64, u64) {
    let meminfo = read("/proc/meminfo");
    let mib = |field: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
    };
    (mib("MemTotal").unwrap_or(0), mib("MemAvailable").unwrap_or(0))
}

/// What is free where this folder is.
pub(crate) fn disk_free_mib(folder: &Path) -> u64 {
    statvfs(folder).map_or(0, |disk| disk.blocks_available() * disk.fragment_size() / (1 << 20))
}

/// What the operating system calls itself.
fn os() -> String {
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".into(), |name| name.trim_matches('"').into())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
