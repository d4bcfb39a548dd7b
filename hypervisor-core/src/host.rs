//! What the host itself uses, from `/proc` and `/sys`: counters, and what is so now.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::driver::numbers::Pressure;

/// Bytes of a sector in `/proc/diskstats`, whatever the disk's own are (Documentation/admin-guide/iostats).
const SECTOR_BYTES: u64 = 512;
/// Where the second version of cgroups may be, alone or beside the first.
const CGROUPS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// What a host has used since it was started, and what it holds now. What is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostReading {
    /// Processors.
    pub cpus: u32,
    /// Time all of its processors together were at work.
    pub busy: Option<Duration>,
    /// Time all of them together had nothing to do, or waited for a disk.
    pub idle: Option<Duration>,
    /// Time all of them together had work and were not run, by what this host runs on itself.
    pub steal: Option<Duration>,
    /// Load average of the last minute.
    pub load: f64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Memory free for use, in bytes.
    pub available_bytes: u64,
    /// Bytes read from and written to its own disks.
    pub disks: Option<(u64, u64)>,
    /// Bytes that came in and went out by its own network interfaces.
    pub nics: Option<(u64, u64)>,
    /// For how long something on it had to wait.
    pub pressure: Option<Pressure>,
}

/// Where the kernel tells.
#[derive(Clone, Debug)]
pub struct HostMeter {
    proc: PathBuf,
    sys: PathBuf,
}

impl Default for HostMeter {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into() }
    }
}

impl HostMeter {
    /// Looks at everything: some files of the kernel's, no disk.
    pub fn read(&self) -> HostReading {
        let text = |name: &str| fs::read_to_string(self.proc.join(name)).unwrap_or_default();
        let stat = text("stat");
        let (busy, idle, steal) = times(&stat)
            .map_or((None, None, None), |[busy, idle, steal]| (Some(busy), Some(idle), Some(steal)));
        let cpus = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
        let meminfo = text("meminfo");
        HostReading {
            cpus: u32::try_from(cpus.max(1)).unwrap_or(u32::MAX),
            busy,
            idle,
            steal,
            load: text("loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            memory_bytes: kib(&meminfo, "MemTotal:"),
            available_bytes: kib(&meminfo, "MemAvailable:"),
            disks: self.disks(&text("diskstats")),
            nics: self.nics(&text("net/dev"), &text("net/route")),
            pressure: pressure(|what| fs::read_to_string(self.proc.join("pressure").join(what)).ok()),
        }
    }

    /// Sums whole disks of its own: those that are a device, not a part, a loop or a map of others.
    fn disks(&self, diskstats: &str) -> Option<(u64, u64)> {
        let own = |name: &str| self.sys.join("block").join(name).join("device").exists();
        let sums = diskstats.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let sectors = |at: usize| fields.get(at)?.parse::<u64>().ok();
            own(fields.get(2)?).then_some((sectors(5)? * SECTOR_BYTES, sectors(9)? * SECTOR_BYTES))
        });
        sums.reduce(both)
    }

    /// Sums what leads out of the host: interfaces that are a device, and those of its default routes.
    /// Bridges and the ends of machines' NICs carry the same bytes once more.
    fn nics(&self, dev: &str, route: &str) -> Option<(u64, u64)> {
        let by_default = |name: &str| {
            let mut routes = route.lines().skip(1).map(|line| line.split_whitespace());
            routes.any(|mut fields| fields.next() == Some(name) && fields.next() == Some("00000000"))
        };
        let is_device = |name: &str| self.sys.join("class/net").join(name).join("device").exists();
        let sums = dev.lines().filter_map(|line| {
            let (name, numbers) = line.split_once(':')?;
            let numbers: Vec<&str> = numbers.split_whitespace().collect();
            let bytes = |at: usize| numbers.get(at)?.parse::<u64>().ok();
            let own = is_device(name.trim()) || by_default(name.trim());
            own.then_some((bytes(0)?, bytes(8)?))
        });
        sums.reduce(both)
    }
}

fn both(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0.saturating_add(b.0), a.1.saturating_add(b.1))
}

/// Busy, idle and stolen time of all processors together (proc_stat(5)).
fn times(stat: &str) -> Option<[Duration; 3]> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|ticks| ticks.parse().ok()).collect();
    let of = |ticks: u64| {
        Duration::from_millis(ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second().max(1))
    };
    // user, nice, system, idle, waiting for a disk, two kinds of interrupts, stolen; guests are in user.
    match ticks.get(..8)? {
        [user, nice, system, idle, disk, hard, soft, steal] => {
            Some([of(user + nice + system + hard + soft), of(idle + disk), of(*steal)])
        }
        _ => None,
    }
}

/// A line of `/proc/meminfo`, in bytes.
fn kib(meminfo: &str, field: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// Pressure from its three files, when the kernel keeps any of them.
fn pressure(file: impl Fn(&str) -> Option<String>) -> Option<Pressure> {
    let some = |what: &str| {
        let text = file(what)?;
        let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
        let total = line.split(' ').find_map(|part| part.strip_prefix("total="))?;
        Some(Duration::from_micros(total.trim().parse().ok()?))
    };
    let (cpu, memory, io) = (some("cpu"), some("memory"), some("io"));
    (cpu.is_some() || memory.is_some() || io.is_some()).then(|| Pressure {
        cpu: cpu.unwrap_or_default(),
        memory: memory.unwrap_or_default(),
        io: io.unwrap_or_default(),
    })
}

/// The pressure on a cgroup, by its path as `/proc/PID/cgroup` has it.
pub(crate) fn pressure_of_cgroup(path: &str) -> Option<Pressure> {
    pressure_below(&CGROUPS.map(Path::new), path)
}

fn pressure_below(mounts: &[&Path], path: &str) -> Option<Pressure> {
    let inside = path.trim_start_matches('/');
    mounts.iter().find_map(|mount| {
        let folder = mount.join(inside);
        pressure(|what| fs::read_to_string(folder.join(format!("{what}.pressure"))).ok())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kernel(files: &[(&str, &str)]) -> (tempfile::TempDir, HostMeter) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let meter = HostMeter { proc: folder.path().join("proc"), sys: folder.path().join("sys") };
        (folder, meter)
    }

    #[test]
    fn a_host_is_read_from_its_kernels_files() {
        let (_folder, meter) = kernel(&[
            ("proc/stat", "cpu  100 0 50 800 50 1 2 7 30 0\ncpu0 1 2\ncpu1 1 2\nintr 1\n"),
            ("proc/loadavg", "0.42 0.1 0.2 1/2 3\n"),
            ("proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n"),
            (
                "proc/diskstats",
                " 254 0 vda 10 0 8 0 20 0 16 0 0 0 0\n 254 1 vda1 10 0 8 0 20 0 16 0 0 0 0\n 7 0 loop0 1 0 9 0 1 0 9 0 0 0 0\n",
            ),
            ("sys/block/vda/device/x", ""),
            (
                "proc/net/dev",
                "Inter-|\n face |\n  lo: 9 0 0 0 0 0 0 0 9 0 0\nbr0: 5 0 0 0 0 0 0 0 6 0 0\neth0:70 0 0 0 0 0 0 0 80 0 0\n",
            ),
            ("proc/net/route", "Iface Destination\nbr0 00000000 0\nlo 0000007F 0\n"),
            ("sys/class/net/eth0/device/x", ""),
            (
                "proc/pressure/cpu",
                "some avg10=1.0 avg60=2.0 avg300=0.0 total=1500\nfull avg10=0.00 total=9\n",
            ),
        ]);
        let seen = meter.read();
        let ticks =
            |ticks: u64| Some(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()));
        assert_eq!((seen.cpus, seen.busy, seen.idle, seen.steal), (2, ticks(153), ticks(850), ticks(7)));
        assert_eq!((seen.memory_bytes, seen.available_bytes), (1_024_000, 409_600));
        assert!((seen.load - 0.42).abs() < f64::EPSILON);
        assert_eq!(seen.disks, Some((4096, 8192)), "the whole disk, once");
        assert_eq!(seen.nics, Some((75, 86)), "what leads out");
        let pressure = seen.pressure.unwrap();
        assert_eq!((pressure.cpu, pressure.io), (Duration::from_micros(1500), Duration::ZERO));
    }

    #[test]
    fn how_long_something_waited_is_seen_to_grow() {
        let waited = |total: u64| format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n");
        let (folder, meter) = kernel(&[
            ("proc/pressure/cpu", &waited(1_000)),
            ("proc/pressure/memory", &waited(2_000)),
            ("proc/pressure/io", "some nonsense\n"),
        ]);
        let micros = |pressure: Option<Pressure>| {
            pressure.map(|waits| [waits.cpu, waits.memory, waits.io].map(|time| time.as_micros()))
        };
        assert_eq!(micros(meter.read().pressure), Some([1_000, 2_000, 0]));
        fs::write(folder.path().join("proc/pressure/memory"), waited(502_000)).unwrap();
        assert_eq!(micros(meter.read().pressure), Some([1_000, 502_000, 0]));
    }

    #[test]
    fn a_machine_is_held_up_by_what_its_own_cgroup_says() {
        let waited = |total: u64| format!("some avg10=1.00 total={total}\nfull avg10=0.00 total=1\n");
        let own = "machine.slice/skerry-web1.scope";
        let at = |file: &str| format!("unified/{own}/{file}");
        let (folder, _) = kernel(&[
            (&at("cpu.pressure"), &waited(7)),
            (&at("memory.pressure"), &waited(8)),
            (&at("io.pressure"), &waited(9)),
            ("unified/cpu.pressure", &waited(1)),
        ]);
        // The first version of cgroups is at the first place, and keeps no pressure.
        let (first, second) = (folder.path().join("first"), folder.path().join("unified"));
        let mounts = [first.as_path(), second.as_path()];
        let seen = pressure_below(&mounts, &format!("/{own}")).unwrap();
        assert_eq!([seen.cpu, seen.memory, seen.io].map(|time| time.as_micros()), [7, 8, 9]);
        assert_eq!(pressure_below(&mounts, "/machine.slice/skerry-web2.scope"), None, "none is not zero");
    }

    #[test]
    fn a_kernel_that_tells_nothing_is_no_zero() {
        let (_folder, meter) = kernel(&[]);
        let seen = meter.read();
        assert_eq!((seen.busy, seen.disks, seen.nics, seen.pressure), (None, None, None, None));
    }

    #[test]
    fn this_very_host_can_be_read() {
        let (first, second) = (HostMeter::default().read(), HostMeter::default().read());
        assert!(first.busy.is_some() && first.busy <= second.busy);
        assert!(first.memory_bytes > first.available_bytes);
    }
}
