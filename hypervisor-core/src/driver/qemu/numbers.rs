//! What a machine uses: of its process from `/proc`, of its disks and its memory by its own word from
//! QEMU, of its NICs from the host's end of them.
//!
//! A NIC in user mode has no such end, and QEMU counts nothing of it: its traffic is not known.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    arguments::{BALLOON, disks::device},
    running::Running,
};
use crate::{
    driver::{
        DriverError, Launch,
        numbers::{DiskTraffic, GuestMemory, NicTraffic, Reading},
    },
    host,
};

/// How long QEMU may take to say what it knows: while it writes a memory down it says nothing.
const SAID_MAX: Duration = Duration::from_secs(2);
/// How often the guest is asked by QEMU for its memory, in seconds.
const ASKED_EVERY: u64 = 10;
/// What a guest said of its memory is believed for so long, in seconds.
const SAID_LATELY: u64 = 60;

impl Running {
    /// Reads all that is known.
    pub(super) async fn read(&self, launch: &Launch) -> Result<Reading, DriverError> {
        let unreadable = |source| DriverError::system("reading what QEMU's process uses", source);
        let usage = self.process.usage().map_err(unreadable)?.ok_or(DriverError::NotRunning)?;
        let pid = self.process.identity.pid;
        let said = timeout(SAID_MAX, self.said()).await.unwrap_or_default();
        let (vcpu_time, steal) = threads(pid, &said.threads).unzip();
        Ok(Reading {
            running_for: usage.running_for,
            cpu_time: usage.cpu_time,
            vcpu_time,
            steal,
            resident_bytes: usage.resident_bytes,
            guest_memory: said.memory,
            disks: said.disks,
            nics: if self.adopted.is_some() { Vec::new() } else { nics(Path::new("/sys/class/net"), launch) },
            pressure: own_cgroup(pid).and_then(|path| host::pressure_of_cgroup(&path)),
        })
    }

    /// What QEMU says.
    async fn said(&self) -> Said {
        let (threads, disks, memory) = tokio::join!(
            self.qmp.ask("query-cpus-fast", None),
            self.qmp.ask("query-blockstats", None),
            self.memory_said(),
        );
        let ours = self.adopted.is_none();
        Said {
            threads: threads.map(|cpus| thread_ids(&cpus)).unwrap_or_default(),
            disks: disks.map(|stats| traffic(&stats, ours)).unwrap_or_default(),
            memory,
        }
    }

    /// What the guest said of its memory lately. Where it was not asked yet it is from now on.
    async fn memory_said(&self) -> Option<GuestMemory> {
        if self.adopted.is_some() {
            return None;
        }
        let path = format!("/machine/peripheral/{BALLOON}");
        if !self.memory_asked.load(Ordering::Relaxed) {
            let every = json!({
                "path": path,
                "property": "guest-stats-polling-interval",
                "value": ASKED_EVERY,
            });
            self.qmp.ask("qom-set", Some(every)).await.ok()?;
            self.memory_asked.store(true, Ordering::Relaxed);
        }
        let stats = json!({"path": path, "property": "guest-stats"});
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        memory(&self.qmp.ask("qom-get", Some(stats)).await.ok()?, now)
    }
}

/// What QEMU said.
#[derive(Default)]
struct Said {
    threads: BTreeSet<i64>,
    disks: Vec<DiskTraffic>,
    memory: Option<GuestMemory>,
}

/// The threads that are virtual processors: in software several may be one.
pub(super) fn thread_ids(cpus: &Value) -> BTreeSet<i64> {
    cpus.as_array().into_iter().flatten().filter_map(|cpu| cpu["thread-id"].as_i64()).collect()
}

/// How long these threads ran, and how long they waited for a processor.
fn threads(pid: i32, threads: &BTreeSet<i64>) -> Option<(Duration, Duration)> {
    let mut sum = (Duration::ZERO, Duration::ZERO);
    for thread in threads {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
        let (ran, waited) = schedstat(&text)?;
        sum = (sum.0 + ran, sum.1 + waited);
    }
    (!threads.is_empty()).then_some(sum)
}

/// Nanoseconds on a processor, and nanoseconds in wait for one.
fn schedstat(text: &str) -> Option<(Duration, Duration)> {
    let mut numbers = text.split_whitespace().map(|number| number.parse().map(Duration::from_nanos));
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// What went to and from the disks. A machine of ours has them under the names of its definition, that
/// of another under its own.
pub(super) fn traffic(stats: &Value, ours: bool) -> Vec<DiskTraffic> {
    let mut found = Vec::new();
    for one in stats.as_array().into_iter().flatten() {
        let id = one["qdev"].as_str().unwrap_or_default();
        let own = id.split('/').find_map(|part| part.strip_prefix(&device("")));
        let name = match (own, ours) {
            (Some(own), true) => own,
            // Firmware, and the disk for cloud-init.
            (None, true) => continue,
            (_, false) => one["device"].as_str().filter(|name| !name.is_empty()).unwrap_or(id),
        };
        let count = |key: &str| one["stats"][key].as_u64();
        let counted = (count("rd_bytes"), count("wr_bytes"), count("rd_operations"), count("wr_operations"));
        if let (Some(read_bytes), Some(written_bytes), Some(reads), Some(writes)) = counted
            && !name.is_empty()
        {
            found.push(DiskTraffic { name: name.to_owned(), read_bytes, written_bytes, reads, writes });
        }
    }
    found
}

/// A guest that never answered has all ones, or minus one, for each number. What it says is its own
/// word: more free than there is, is all of it.
pub(super) fn memory(said: &Value, now: u64) -> Option<GuestMemory> {
    let at = said["last-update"].as_u64().filter(|at| *at > 0)?;
    let number = |key: &str| said["stats"][key].as_u64().filter(|bytes| *bytes < 1 << 62);
    let total_bytes = number("stat-total-memory").filter(|total| *total > 0)?;
    let available_bytes = number("stat-available-memory").or_else(|| number("stat-free-memory"))?;
    (now.saturating_sub(at) <= SAID_LATELY)
        .then_some(GuestMemory { total_bytes, available_bytes: available_bytes.min(total_bytes) })
}

/// What went through the host's ends of the NICs: what the host sends there, the guest hears.
fn nics(interfaces: &Path, launch: &Launch) -> Vec<NicTraffic> {
    let read = |interface: &str, counter: &str| {
        let path = interfaces.join(interface).join("statistics").join(counter);
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let known = launch.definition.nics.iter().filter_map(|nic| {
        let interface = nic.interface(launch.id);
        Some(NicTraffic {
            name: nic.name.clone(),
            received_bytes: read(&interface, "tx_bytes")?,
            sent_bytes: read(&interface, "rx_bytes")?,
        })
    });
    known.collect()
}

/// The cgroup of a process, when it shares it neither with us nor with the whole host.
fn own_cgroup(pid: i32) -> Option<String> {
    let of = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
    };
    let own = of(&pid.to_string()).filter(|path| path != "/")?;
    (of("self").as_ref() != Some(&own)).then_some(own)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use uuid::Uuid;

    use super::*;
    use crate::{
        definition::{Boot, Definition, Network, Nic},
        machine::MachineId,
    };

    #[test]
    fn disks_are_known_by_their_devices_and_what_is_no_disk_is_none() {
        let stats = |device: &str, qdev: &str| {
            json!({
                "device": device, "qdev": qdev, "node-name": "#block12",
                "stats": {"rd_bytes": 4096, "wr_bytes": 8192, "rd_operations": 1, "wr_operations": 2},
            })
        };
        let said = json!([
            stats("", "/machine/peripheral/dev-disk1/virtio-backend"),
            stats("", "dev-cd1"),
            stats("", "/machine/peripheral/cidata/virtio-backend"),
            {"device": "pflash0", "stats": {}},
        ]);
        let names: Vec<String> = traffic(&said, true).into_iter().map(|disk| disk.name).collect();
        assert_eq!(names, ["disk1", "cd1"]);
        let theirs = traffic(&json!([stats("drive0", "/machine/unattached/device[3]")]), false);
        assert_eq!((theirs[0].name.as_str(), theirs[0].written_bytes), ("drive0", 8192));
    }

    #[test]
    fn a_guest_that_says_nothing_or_nonsense_about_its_memory_is_not_believed() {
        let said = |at: u64, total: Value, available: Value| json!({"last-update": at, "stats": {"stat-total-memory": total, "stat-available-memory": available}});
        let believed = memory(&said(990, json!(1000), json!(400)), 1000).unwrap();
        assert_eq!((believed.total_bytes, believed.available_bytes), (1000, 400));
        assert_eq!(memory(&said(990, json!(1000), json!(4000)), 1000).unwrap().available_bytes, 1000);
        assert_eq!(memory(&said(0, json!(1000), json!(400)), 1000), None, "it never said anything");
        assert_eq!(memory(&said(900, json!(1000), json!(400)), 1000), None, "that is long ago");
        assert_eq!(memory(&said(990, json!(u64::MAX), json!(1)), 1000), None);
        assert_eq!(memory(&said(990, json!(-1), json!(1)), 1000), None);
    }

    #[test]
    fn schedstat_is_in_nanoseconds() {
        let (ran, waited) = schedstat("1500000000 25000000 77\n").unwrap();
        assert_eq!((ran, waited), (Duration::from_millis(1500), Duration::from_millis(25)));
        assert_eq!(schedstat("1"), None);
    }

    #[test]
    fn what_the_host_sends_the_guest_hears() {
        let folder = tempfile::tempdir().unwrap();
        let mut definition = Definition::new(1, 64, Boot::Disk);
        definition.nics = vec![
            Nic::new(Network::User { forwards: vec![] }),
            Nic::new(Network::Bridge { name: "br0".into() }),
        ];
        definition.name_all();
        let id = MachineId(Uuid::from_u128(7));
        let networks = crate::driver::Networks::default();
        let launch = Launch {
            id,
            name: "web1".into(),
            definition,
            folder: "/nowhere".into(),
            own: Vec::new(),
            networks,
            devices: Default::default(),
        };
        let bridged = &launch.definition.nics[1];
        let counters = folder.path().join(bridged.interface(id)).join("statistics");
        fs::create_dir_all(&counters).unwrap();
        fs::write(counters.join("tx_bytes"), "100\n").unwrap();
        fs::write(counters.join("rx_bytes"), "7\n").unwrap();
        let seen = nics(folder.path(), &launch);
        let expected = NicTraffic { name: bridged.name.clone(), received_bytes: 100, sent_bytes: 7 };
        assert_eq!(seen, [expected], "and in user mode nothing is known");
    }
}
