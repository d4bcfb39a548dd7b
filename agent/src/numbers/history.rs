//! What is remembered of what was used: a look a minute, as means over it, for an hour; means over an hour
//! for a week. It costs one write a minute, whatever there is; without room for that the rest goes on.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use chrono::{DateTime, Utc};
use hypervisor_core::{driver::numbers::Reading, host::HostReading, machine::MachineId};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{
    meter::cpus,
    rates::{self, Look, Rates},
};
use crate::{
    agent::{Agent, Inner},
    store::samples::{self, HOST, Samples},
};

/// How often a minute is written down.
const MINUTE: Duration = Duration::from_secs(60);

/// What is remembered. Percent, or bytes, or bytes in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// How busy the processors are.
    Cpu,
    /// How much of the time they waited for the host's.
    Steal,
    /// Memory held of the host; of the host itself: in use.
    Memory,
    /// Memory used inside, by the guest's word.
    Inside,
    /// Read from disks.
    Read,
    /// Written to disks.
    Written,
    /// Come in.
    Received,
    /// Gone out.
    Sent,
    /// How much of the time something waited for a processor …
    CpuWait,
    /// … and for a disk.
    DiskWait,
    /// Of all the host's processors.
    OfHost,
}

const QUANTITIES: usize = 11;

/// The means of a minute, or an hour. A later agent may remember more: what is missing is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Sample(Vec<Option<f64>>);

impl Sample {
    /// One of its numbers.
    pub(crate) fn get(&self, quantity: Quantity) -> Option<f64> {
        self.0.get(quantity as usize).copied().flatten()
    }

    /// Notes a number, to a tenth; bytes are whole.
    pub(crate) fn set(&mut self, quantity: Quantity, number: Option<f64>) {
        if self.0.len() < QUANTITIES {
            self.0.resize(QUANTITIES, None);
        }
        self.0[quantity as usize] = number.filter(|number| number.is_finite()).map(|number| match number {
            large if large >= 1000.0 => large.round(),
            small => (small * 10.0).round() / 10.0,
        });
    }

    /// The mean of each number, of those that are known.
    pub(crate) fn mean(samples: &[Self]) -> Self {
        let mean = |at: usize| {
            let known: Vec<f64> = samples.iter().filter_map(|one| one.0.get(at).copied().flatten()).collect();
            (!known.is_empty())
                .then(|| (known.iter().sum::<f64>() / known.len() as f64 * 10.0).round() / 10.0)
        };
        Self((0..QUANTITIES).map(mean).collect())
    }

    fn of(rates: &Rates) -> Self {
        let mut sample = Self::default();
        for (quantity, number) in [
            (Quantity::Cpu, rates.cpu),
            (Quantity::Steal, rates.steal),
            (Quantity::Read, rates.read),
            (Quantity::Written, rates.written),
            (Quantity::Received, rates.received),
            (Quantity::Sent, rates.sent),
            (Quantity::CpuWait, rates.pressure.map(|waits| waits.cpu)),
            (Quantity::DiskWait, rates.pressure.map(|waits| waits.io)),
        ] {
            sample.set(quantity, number);
        }
        sample
    }
}

/// The looks a minute ago: others look more often, and a minute is to be remembered as a whole.
#[derive(Default)]
pub(crate) struct Remembering {
    host: Option<Arc<Look<HostReading>>>,
    machines: HashMap<MachineId, Arc<Look<Reading>>>,
    /// It was said that it cannot be written down.
    pub(crate) complained: bool,
}

impl Remembering {
    /// What became of the host and its machines since this was asked the last time.
    pub(crate) async fn minute(&mut self, agent: &Agent) -> Samples {
        let machines = agent.measurable();
        let meter = &agent.inner.meter;
        meter.retain(&machines);
        // What was looked at just now for somebody else is as good.
        let (host, uses) = agent.uses_lately(&machines, Duration::from_secs(1)).await;
        let mut all = Samples::new();
        if let Some(host) = host
            && let Some(before) = self.host.replace(Arc::clone(&host.look))
            && let Some(rates) = rates::of_host(&before, &host.look)
        {
            let mut sample = Sample::of(&rates);
            let used = host.look.read.memory_bytes.saturating_sub(host.look.read.available_bytes);
            sample.set(Quantity::Memory, Some(used as f64));
            all.insert(HOST.into(), sample);
        }
        let mut before = std::mem::take(&mut self.machines);
        for one in uses {
            self.machines.insert(one.id, Arc::clone(&one.look));
            let Some(before) = before.remove(&one.id) else { continue };
            let Some(rates) = rates::of_machine(&before, &one.look, one.vcpus) else { continue };
            let mut sample = Sample::of(&rates);
            sample.set(Quantity::Memory, Some(one.look.read.resident_bytes as f64));
            sample.set(Quantity::Inside, one.guest_used().map(|bytes| bytes as f64));
            sample.set(Quantity::OfHost, rates::of_host_percent(&before, &one.look, cpus()));
            all.insert(one.id.to_string(), sample);
        }
        all
    }

    /// Writes a minute down. A full disk is said once.
    pub(crate) async fn write(&mut self, agent: &Agent, at: DateTime<Utc>, samples: Samples) {
        let at = at.timestamp();
        let written =
            agent.inner.store.run(move |connection| samples::append(connection, at, &samples)).await;
        match written {
            Ok(()) => self.complained = false,
            Err(_) if self.complained => {}
            Err(error) => {
                self.complained = true;
                tracing::warn!(%error, "what was used is not remembered; all else goes on");
            }
        }
    }
}

/// Remembers, a minute at a time, until the agent ends.
pub(crate) async fn remember(inner: Weak<Inner>) {
    let mut every = interval_at(Instant::now(), MINUTE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut remembering = Remembering::default();
    loop {
        every.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let agent = Agent { inner };
        let samples = remembering.minute(&agent).await;
        if !samples.is_empty() {
            remembering.write(&agent, Utc::now(), samples).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mean_is_of_what_is_known() {
        let sample = |cpu: Option<f64>| {
            let mut sample = Sample::default();
            sample.set(Quantity::Cpu, cpu);
            sample
        };
        let mean = Sample::mean(&[sample(Some(10.0)), sample(None), sample(Some(20.04)), Sample::default()]);
        assert_eq!((mean.get(Quantity::Cpu), mean.get(Quantity::Sent)), (Some(15.0), None));
        assert_eq!(sample(Some(f64::NAN)).get(Quantity::Cpu), None);
    }

    #[test]
    fn what_an_earlier_agent_wrote_is_read() {
        let sample: Sample = serde_json::from_str("[12.5,null]").unwrap();
        assert_eq!((sample.get(Quantity::Cpu), sample.get(Quantity::OfHost)), (Some(12.5), None));
        assert_eq!(serde_json::to_string(&sample).unwrap(), "[12.5,null]");
    }
}
