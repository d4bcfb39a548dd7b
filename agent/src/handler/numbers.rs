//! Stats and top: what the host and its machines use now.

use std::{cmp::Reverse, sync::Arc};

use hypervisor_core::driver::numbers::{DiskTraffic, NicTraffic};
use skerry_stanzas::{
    command::{
        host::{self, SortKey},
        machine,
    },
    natural::natural,
    refusal::{Reason, Refusal},
    reply::{DiskStats, HostStats, MachineStats, NicStats, PressureStats, Top, TopLine},
};

use super::Handle;
use crate::{
    agent::Agent,
    dispatch::Job,
    numbers::{
        meter::{HostUse, MachineUse},
        rates::{Rates, Waits},
    },
};

/// The most machines of one table.
const ROWS_MAX: u32 = 200;

impl Handle<machine::Stats> for Agent {
    async fn handle(&self, job: &Job, _command: machine::Stats) -> Result<MachineStats, Refusal> {
        let machine = job.machine()?;
        let record = machine.record();
        if !record.state.has_guest() {
            let text = format!("{} does not run: it uses nothing.", record.name);
            return Err(Refusal::new(Reason::Conflict, text).hint("Start it first."));
        }
        let (_, uses) = self.uses(&[Arc::clone(machine)]).await;
        uses.first().map(machine_stats).ok_or_else(|| {
            Refusal::new(Reason::Unavailable, format!("What {} uses cannot be read now.", record.name))
                .hint("Try again in a moment.")
        })
    }
}

impl Handle<host::Stats> for Agent {
    async fn handle(&self, _job: &Job, _command: host::Stats) -> Result<HostStats, Refusal> {
        let (host, _) = self.uses(&[]).await;
        self.host_stats(host)
    }
}

impl Handle<host::Top> for Agent {
    async fn handle(&self, _job: &Job, command: host::Top) -> Result<Top, Refusal> {
        let machines = self.measurable();
        let (host, mut uses) = self.uses(&machines).await;
        sort(&mut uses, command.sort);
        let running = u32::try_from(uses.len()).unwrap_or(u32::MAX);
        let rows = usize::try_from(command.rows.clamp(1, ROWS_MAX)).unwrap_or(1);
        let machines = uses.iter().take(rows).map(top_line).collect();
        Ok(Top { host: self.host_stats(host)?, running, machines })
    }
}

impl Agent {
    fn host_stats(&self, host: Option<HostUse>) -> Result<HostStats, Refusal> {
        let Some(HostUse { look, rates }) = host else {
            let text = "What the host uses cannot be read now.";
            return Err(Refusal::new(Reason::Unavailable, text).hint("Try again in a moment."));
        };
        let rates = rates.unwrap_or_default();
        Ok(HostStats {
            name: self.config().name.clone(),
            over_seconds: tenths(rates.over.as_secs_f64()),
            cpus: look.read.cpus,
            cpu_percent: rates.cpu.map(tenths),
            steal_percent: rates.steal.map(tenths),
            load: look.read.load,
            memory_bytes: look.read.memory_bytes,
            memory_free_bytes: look.read.available_bytes,
            read_bytes_per_second: rates.read.map(whole),
            written_bytes_per_second: rates.written.map(whole),
            received_bytes_per_second: rates.received.map(whole),
            sent_bytes_per_second: rates.sent.map(whole),
            pressure: rates.pressure.map(pressure),
        })
    }
}

/// To a tenth: more is noise.
pub(crate) fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Bytes in a second are not counted in parts.
pub(crate) fn whole(number: f64) -> u64 {
    number.max(0.0).round() as u64
}

fn pressure(waits: Waits) -> PressureStats {
    PressureStats {
        cpu_percent: tenths(waits.cpu),
        memory_percent: tenths(waits.memory),
        disk_percent: tenths(waits.io),
    }
}

fn machine_stats(one: &MachineUse) -> MachineStats {
    let read = &one.look.read;
    let rates = one.rates.clone().unwrap_or_default();
    let disks = read.disks.iter().map(|disk| {
        let speed = |of: fn(&DiskTraffic) -> u64| {
            one.speed(|read| Some(of(read.disks.iter().find(|other| other.name == disk.name)?))).map(whole)
        };
        DiskStats {
            name: disk.name.clone(),
            read_bytes_per_second: speed(|disk| disk.read_bytes),
            written_bytes_per_second: speed(|disk| disk.written_bytes),
            read_bytes: disk.read_bytes,
            written_bytes: disk.written_bytes,
        }
    });
    let nics = read.nics.iter().map(|nic| {
        let speed = |of: fn(&NicTraffic) -> u64| {
            one.speed(|read| Some(of(read.nics.iter().find(|other| other.name == nic.name)?))).map(whole)
        };
        NicStats {
            name: nic.name.clone(),
            received_bytes_per_second: speed(|nic| nic.received_bytes),
            sent_bytes_per_second: speed(|nic| nic.sent_bytes),
            received_bytes: nic.received_bytes,
            sent_bytes: nic.sent_bytes,
        }
    });
    MachineStats {
        name: one.name.clone(),
        over_seconds: tenths(rates.over.as_secs_f64()),
        vcpus: one.vcpus,
        cpu_percent: rates.cpu.map(tenths),
        host_percent: one.host_percent.map(tenths),
        steal_percent: rates.steal.map(tenths),
        resident_bytes: read.resident_bytes,
        memory_mib: one.memory_mib,
        guest_used_bytes: one.guest_used(),
        guest_total_bytes: read.guest_memory.map(|memory| memory.total_bytes),
        disks: disks.collect(),
        nics: nics.collect(),
        pressure: rates.pressure.map(pressure),
    }
}

fn top_line(one: &MachineUse) -> TopLine {
    let rates = one.rates.clone().unwrap_or_default();
    TopLine {
        name: one.name.clone(),
        cpu_percent: rates.cpu.map(tenths),
        host_percent: one.host_percent.map(tenths),
        steal_percent: rates.steal.map(tenths),
        resident_bytes: one.look.read.resident_bytes,
        disk_bytes_per_second: rates.disk().map(whole),
        net_bytes_per_second: rates.net().map(whole),
    }
}

/// The most first; those alike by name.
pub(crate) fn sort(uses: &mut [MachineUse], key: SortKey) {
    let rate = |one: &MachineUse, of: fn(&Rates) -> Option<f64>| {
        one.rates.as_ref().and_then(of).map_or(-1, |rate| (rate * 10.0) as i64)
    };
    uses.sort_by(|a, b| natural(&a.name, &b.name));
    uses.sort_by_key(|one| {
        Reverse(match key {
            SortKey::Cpu => one.host_percent.map_or(-1, |percent| (percent * 100.0) as i64),
            SortKey::Memory => i64::try_from(one.look.read.resident_bytes).unwrap_or(i64::MAX),
            SortKey::Disk => rate(one, Rates::disk),
            SortKey::Net => rate(one, Rates::net),
            SortKey::Steal => rate(one, |rates| rates.steal),
            SortKey::Name => 0,
        })
    });
}
