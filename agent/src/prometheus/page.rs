//! What Prometheus reads: counters and gauges by its conventions, in the OpenMetrics text format.

use std::{collections::BTreeMap, fmt::Error, sync::PoisonError, time::Duration};

use hypervisor_core::driver::numbers::{DiskTraffic, NicTraffic, Reading};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::{
    agent::Agent,
    machine::wording::STATE_WORDS,
    numbers::{
        Tally,
        meter::{HostUse, MachineUse},
    },
};

/// A look that others had so lately is as good.
const AGE: Duration = Duration::from_secs(1);

/// All that is shown, at one moment.
#[derive(Debug)]
struct Page {
    host: Option<HostUse>,
    machines: Vec<MachineUse>,
    states: BTreeMap<&'static str, u64>,
    commands: BTreeMap<String, Tally>,
    up: f64,
    linked: bool,
}

/// Labels and a number.
type Rows<const N: usize> = Vec<([(&'static str, String); N], f64)>;

impl Agent {
    /// The whole page, as of now.
    pub(crate) async fn prometheus_page(&self) -> String {
        let machines = self.measurable();
        let (host, machines) = self.uses_lately(&machines, AGE).await;
        let mut states: BTreeMap<&'static str, u64> = STATE_WORDS.iter().map(|word| (*word, 0)).collect();
        for machine in self.inner.machines.all() {
            *states.entry(machine.record().state.word()).or_default() += 1;
        }
        let commands = self.inner.tallies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let up = self.inner.started.elapsed().as_secs_f64();
        let page = Page { host, machines, states, commands, up, linked: self.linked_for().is_some() };
        let mut registry = Registry::with_prefix("skerry");
        registry.register_collector(Box::new(page));
        let mut text = String::new();
        // Writing into memory does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

fn gauges<const N: usize>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: Rows<N>,
) -> Result<(), Error> {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, number) in rows {
        if N == 0 {
            return ConstGauge::new(number).encode(family);
        }
        ConstGauge::new(number).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn counters<const N: usize>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: Rows<N>,
) -> Result<(), Error> {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, number) in rows {
        if N == 0 {
            return ConstCounter::new(number).encode(family);
        }
        ConstCounter::new(number).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// A row without labels, when the number is known.
fn one(number: Option<f64>) -> Rows<0> {
    number.map(|number| ([], number)).into_iter().collect()
}

impl Collector for Page {
    fn encode(&self, mut to: DescriptorEncoder) -> Result<(), Error> {
        self.agent(&mut to)?;
        self.host(&mut to)?;
        self.machines(&mut to)?;
        self.traffic(&mut to)
    }
}

impl Page {
    fn agent(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        gauges(to, "agent_uptime_seconds", "How long the agent has run", one(Some(self.up)))?;
        let linked = if self.linked { 1.0 } else { 0.0 };
        gauges(to, "link_up", "Whether the agent is connected to its server", one(Some(linked)))?;
        let states =
            self.states.iter().map(|(state, count)| ([("state", (*state).to_owned())], *count as f64));
        gauges(to, "machines", "Machines of this host, by state", states.collect())?;
        let commands = self.commands.iter().flat_map(|(command, tally)| {
            [("done", tally.done), ("refused", tally.refused)].map(|(outcome, count)| {
                ([("command", command.clone()), ("outcome", outcome.to_owned())], count as f64)
            })
        });
        counters(to, "commands", "Commands since the agent started, by what came of them", commands.collect())
    }

    fn host(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let Some(HostUse { look, .. }) = &self.host else { return Ok(()) };
        let read = &look.read;
        let modes = [("busy", read.busy), ("idle", read.idle), ("steal", read.steal)];
        let times = modes
            .into_iter()
            .filter_map(|(mode, time)| Some(([("mode", mode.to_owned())], time?.as_secs_f64())));
        counters(to, "host_cpu_seconds", "Time of all processors of the host together", times.collect())?;
        gauges(to, "host_load1", "Load average of the last minute", one(Some(read.load)))?;
        let memory = Some(read.memory_bytes as f64);
        gauges(to, "host_memory_bytes", "Memory of the host", one(memory))?;
        let available = Some(read.available_bytes as f64);
        gauges(to, "host_memory_available_bytes", "Memory of the host free for use", one(available))?;
        let [(read_bytes, written), (received, sent)] =
            [read.disks, read.nics].map(|pair| pair.map(|(a, b)| (a as f64, b as f64)).unzip());
        counters(to, "host_disk_read_bytes", "Read from the host's own disks", one(read_bytes))?;
        counters(to, "host_disk_written_bytes", "Written to the host's own disks", one(written))?;
        counters(to, "host_network_receive_bytes", "Come in over the host's own networks", one(received))?;
        counters(to, "host_network_transmit_bytes", "Gone out over the host's own networks", one(sent))?;
        let waits = read.pressure.into_iter().flat_map(|pressure| {
            [("cpu", pressure.cpu), ("memory", pressure.memory), ("io", pressure.io)]
                .map(|(resource, time)| ([("resource", resource.to_owned())], time.as_secs_f64()))
        });
        counters(
            to,
            "host_pressure_waiting_seconds",
            "Time in which something waited for it",
            waits.collect(),
        )
    }

    /// A number of each machine, when it is known.
    fn each(&self, of: impl Fn(&MachineUse) -> Option<f64>) -> Rows<1> {
        let rows = self.machines.iter().map(|one| Some(([("machine", one.name.clone())], of(one)?)));
        rows.flatten().collect()
    }

    fn machines(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let read = |of: fn(&Reading) -> Option<Duration>| self.each(|one| seconds(of(&one.look.read)));
        let cpu = read(|read| Some(read.cpu_time));
        counters(to, "machine_cpu_seconds", "Processor time of the machine's whole process", cpu)?;
        let vcpu = read(|read| read.vcpu_time);
        counters(to, "machine_vcpu_seconds", "Processor time of its virtual processors", vcpu)?;
        let steal = read(|read| read.steal);
        counters(to, "machine_steal_seconds", "Time its virtual processors waited for the host's", steal)?;
        let vcpus = self.each(|one| Some(f64::from(one.vcpus)));
        gauges(to, "machine_vcpus", "Its virtual processors", vcpus)?;
        let given = self.each(|one| Some((one.memory_mib << 20) as f64));
        gauges(to, "machine_memory_bytes", "Memory it was given", given)?;
        let resident = self.each(|one| Some(one.look.read.resident_bytes as f64));
        gauges(to, "machine_resident_bytes", "Memory of the host it holds", resident)?;
        let total = self.each(|one| Some(one.look.read.guest_memory?.total_bytes as f64));
        gauges(to, "machine_guest_memory_bytes", "Memory the guest sees, by its own word", total)?;
        let available = self.each(|one| Some(one.look.read.guest_memory?.available_bytes as f64));
        let name = "machine_guest_memory_available_bytes";
        gauges(to, name, "Memory the guest has free for use, by its own word", available)
    }

    fn traffic(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let disks = |of: fn(&DiskTraffic) -> u64| -> Rows<2> {
            let row = |one: &MachineUse, disk: &DiskTraffic| {
                ([("machine", one.name.clone()), ("disk", disk.name.clone())], of(disk) as f64)
            };
            let rows = self.machines.iter();
            rows.flat_map(|one| one.look.read.disks.iter().map(move |disk| row(one, disk))).collect()
        };
        counters(to, "machine_disk_read_bytes", "Read by the guest", disks(|disk| disk.read_bytes))?;
        counters(to, "machine_disk_written_bytes", "Written by the guest", disks(|disk| disk.written_bytes))?;
        counters(to, "machine_disk_reads", "How often the guest read", disks(|disk| disk.reads))?;
        counters(to, "machine_disk_writes", "How often the guest wrote", disks(|disk| disk.writes))?;
        let nics = |of: fn(&NicTraffic) -> u64| -> Rows<2> {
            let row = |one: &MachineUse, nic: &NicTraffic| {
                ([("machine", one.name.clone()), ("nic", nic.name.clone())], of(nic) as f64)
            };
            let rows = self.machines.iter();
            rows.flat_map(|one| one.look.read.nics.iter().map(move |nic| row(one, nic))).collect()
        };
        let received = nics(|nic| nic.received_bytes);
        counters(to, "machine_network_receive_bytes", "Come in at the guest's NIC", received)?;
        counters(
            to,
            "machine_network_transmit_bytes",
            "Gone out of the guest's NIC",
            nics(|nic| nic.sent_bytes),
        )
    }
}
