//! From counters to rates: two looks at the same thing, and the time between them. Pure.

use std::time::Duration;

use hypervisor_core::{
    driver::numbers::{Pressure, Reading},
    host::HostReading,
};
use tokio::time::Instant;

/// One look: what was read, and when.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Look<T> {
    pub(crate) at: Instant,
    pub(crate) read: T,
}

/// What is said of a machine's or a host's load, as means over some time. Bytes are in a second, the rest
/// in percent of what there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) over: Duration,
    /// Of its own processors.
    pub(crate) cpu: Option<f64>,
    pub(crate) steal: Option<f64>,
    pub(crate) read: Option<f64>,
    pub(crate) written: Option<f64>,
    pub(crate) received: Option<f64>,
    pub(crate) sent: Option<f64>,
    pub(crate) pressure: Option<Waits>,
}

/// How much of the time something had to wait, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Waits {
    pub(crate) cpu: f64,
    pub(crate) memory: f64,
    pub(crate) io: f64,
}

impl Rates {
    /// To and from the disks, together.
    pub(crate) fn disk(&self) -> Option<f64> {
        Some(self.read? + self.written?)
    }

    /// In and out, together.
    pub(crate) fn net(&self) -> Option<f64> {
        Some(self.received? + self.sent?)
    }
}

/// A counter's growth in percent of a time. Nothing when it began anew meanwhile.
fn part(before: Duration, now: Duration, of: Duration) -> Option<f64> {
    let grown = now.checked_sub(before)?;
    (!of.is_zero()).then(|| grown.as_secs_f64() / of.as_secs_f64() * 100.0)
}

/// A counter's growth in a second.
fn speed(before: u64, now: u64, over: Duration) -> Option<f64> {
    let grown = now.checked_sub(before)?;
    (!over.is_zero()).then(|| grown as f64 / over.as_secs_f64())
}

/// Those both looks know, by name, summed up. Nothing when they have none in common.
fn summed<T>(
    before: &[T],
    now: &[T],
    name: impl Fn(&T) -> &str,
    of: impl Fn(&T) -> u64,
) -> Option<(u64, u64)> {
    let pairs = now.iter().filter_map(|one| {
        let earlier = before.iter().find(|earlier| name(earlier) == name(one))?;
        Some((of(earlier), of(one)))
    });
    pairs.reduce(|a, b| (a.0.saturating_add(b.0), a.1.saturating_add(b.1)))
}

fn waits(before: Option<Pressure>, now: Option<Pressure>, over: Duration) -> Option<Waits> {
    let (before, now) = (before?, now?);
    Some(Waits {
        cpu: part(before.cpu, now.cpu, over)?.min(100.0),
        memory: part(before.memory, now.memory, over)?.min(100.0),
        io: part(before.io, now.io, over)?.min(100.0),
    })
}

/// The rates of a machine between two looks at the same run of it; nothing when it was started anew.
pub(crate) fn of_machine(before: &Look<Reading>, now: &Look<Reading>, vcpus: u32) -> Option<Rates> {
    let over = now.at.checked_duration_since(before.at).filter(|over| !over.is_zero())?;
    let (first, second) = (&before.read, &now.read);
    if second.running_for < first.running_for || second.cpu_time < first.cpu_time {
        return None;
    }
    let all = over * vcpus.max(1);
    let busy =
        part(first.vcpu_time.unwrap_or(first.cpu_time), second.vcpu_time.unwrap_or(second.cpu_time), all);
    let disk = |of: fn(&hypervisor_core::driver::numbers::DiskTraffic) -> u64| {
        let (before, now) = summed(&first.disks, &second.disks, |disk| &disk.name, of)?;
        speed(before, now, over)
    };
    let nic = |of: fn(&hypervisor_core::driver::numbers::NicTraffic) -> u64| {
        let (before, now) = summed(&first.nics, &second.nics, |nic| &nic.name, of)?;
        speed(before, now, over)
    };
    Some(Rates {
        over,
        // The kernel counts by ticks, and a look takes its time: a hundred is all there is.
        cpu: busy.map(|percent| percent.min(100.0)),
        steal: first.steal.zip(second.steal).and_then(|(before, now)| part(before, now, all)),
        read: disk(|disk| disk.read_bytes),
        written: disk(|disk| disk.written_bytes),
        received: nic(|nic| nic.received_bytes),
        sent: nic(|nic| nic.sent_bytes),
        pressure: waits(first.pressure, second.pressure, over),
    })
}

/// How fast one counter of a machine grew between two looks.
pub(crate) fn of_counter(
    before: &Look<Reading>,
    now: &Look<Reading>,
    counter: impl Fn(&Reading) -> Option<u64>,
) -> Option<f64> {
    let over = now.at.checked_duration_since(before.at)?;
    speed(counter(&before.read)?, counter(&now.read)?, over)
}

/// How much of all the host's processors a machine kept busy between two looks, in percent.
pub(crate) fn of_host_percent(before: &Look<Reading>, now: &Look<Reading>, cpus: u32) -> Option<f64> {
    let over = now.at.checked_duration_since(before.at)?;
    part(before.read.cpu_time, now.read.cpu_time, over * cpus.max(1)).map(|percent| percent.min(100.0))
}

/// The rates of the host between two looks.
pub(crate) fn of_host(before: &Look<HostReading>, now: &Look<HostReading>) -> Option<Rates> {
    let over = now.at.checked_duration_since(before.at).filter(|over| !over.is_zero())?;
    let (first, second) = (&before.read, &now.read);
    let grown = |of: fn(&HostReading) -> Option<Duration>| of(second)?.checked_sub(of(first)?);
    let times = grown(|host| host.busy).zip(grown(|host| host.idle));
    let all = times.map(|(busy, idle)| busy + idle + grown(|host| host.steal).unwrap_or_default());
    let of_all = |time: Option<Duration>| {
        let (time, all) = time.zip(all.filter(|all| !all.is_zero()))?;
        Some(time.as_secs_f64() / all.as_secs_f64() * 100.0)
    };
    let pair = |of: fn(&HostReading) -> Option<(u64, u64)>| {
        let (before, now) = (of(first)?, of(second)?);
        speed(before.0, now.0, over).zip(speed(before.1, now.1, over))
    };
    let (read, written) = pair(|host| host.disks).unzip();
    let (received, sent) = pair(|host| host.nics).unzip();
    Some(Rates {
        over,
        cpu: of_all(times.map(|(busy, _)| busy)),
        steal: of_all(grown(|host| host.steal)),
        read,
        written,
        received,
        sent,
        pressure: waits(first.pressure, second.pressure, over),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use hypervisor_core::driver::numbers::DiskTraffic;

    use super::*;

    fn reading(seconds: u64) -> Reading {
        let disk = |name: &str| DiskTraffic {
            name: name.into(),
            read_bytes: seconds * 1000,
            written_bytes: seconds * 10,
            reads: 0,
            writes: 0,
        };
        Reading {
            running_for: Duration::from_secs(seconds),
            cpu_time: Duration::from_secs(seconds),
            vcpu_time: Some(Duration::from_secs(seconds) * 9 / 10),
            steal: Some(Duration::from_millis(seconds * 10)),
            disks: vec![disk("disk1"), disk("disk2")],
            ..Reading::default()
        }
    }

    fn look<T>(begun: Instant, seconds: u64, read: T) -> Look<T> {
        Look { at: begun + Duration::from_secs(seconds), read }
    }

    #[track_caller]
    fn near(seen: Option<f64>, expected: f64) {
        assert!(seen.is_some_and(|seen| (seen - expected).abs() < 0.001), "{seen:?} is not {expected}");
    }

    #[test]
    fn counters_become_rates() {
        let begun = Instant::now();
        let (before, now) = (look(begun, 0, reading(100)), look(begun, 10, reading(110)));
        let rates = of_machine(&before, &now, 2).unwrap();
        assert_eq!(rates.over, Duration::from_secs(10));
        near(rates.cpu, 45.0);
        near(rates.steal, 0.5);
        near(rates.read, 2000.0);
        near(rates.written, 20.0);
        assert_eq!((rates.received, rates.pressure), (None, None), "what is not known is not zero");
        near(of_host_percent(&before, &now, 8), 12.5);
    }

    #[test]
    fn a_new_run_has_no_rates_and_a_new_disk_no_share_in_them() {
        let begun = Instant::now();
        let before = look(begun, 0, reading(100));
        assert_eq!(of_machine(&before, &look(begun, 10, reading(3)), 1), None, "it was started anew");
        assert_eq!(of_machine(&before, &look(begun, 0, reading(100)), 1), None, "no time has passed");
        let mut less = reading(100);
        less.disks.pop();
        let rates = of_machine(&look(begun, 0, less), &look(begun, 10, reading(110)), 1).unwrap();
        near(rates.read, 1000.0);
    }

    #[test]
    fn a_host_is_busy_in_parts_of_all_its_time() {
        let begun = Instant::now();
        let read = |seconds: u64| HostReading {
            busy: Some(Duration::from_secs(seconds)),
            idle: Some(Duration::from_secs(seconds * 2)),
            steal: Some(Duration::from_secs(seconds)),
            nics: Some((seconds * 10, seconds)),
            pressure: Some(Pressure { cpu: Duration::from_secs(seconds), ..Pressure::default() }),
            ..HostReading::default()
        };
        let rates = of_host(&look(begun, 0, read(10)), &look(begun, 20, read(20))).unwrap();
        near(rates.cpu, 25.0);
        near(rates.steal, 25.0);
        near(rates.received, 5.0);
        near(rates.pressure.map(|waits| waits.cpu), 50.0);
        assert_eq!(rates.read, None);
    }
}
