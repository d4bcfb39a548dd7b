//! What the host itself does with a device: what it would be without, the moment a machine is given it.
//!
//! A disk is in use when something is mounted from it, swapped to it, or held by it for a volume (LVM, RAID,
//! ZFS), a network interface when a route of the host goes over it or a bridge, bond or VLAN does. Both are
//! found below the device, however deep: the disk on the USB port of a controller, too.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{
    choice::Lent,
    tree::{Tree, entries, said},
};

/// How many places or interfaces are named.
const NAMED_MAX: usize = 3;

/// What the host does with a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostUse {
    /// Something is mounted from it.
    Mounted {
        /// The disk, or the part of one or the volume on it.
        disk: String,
        /// Where.
        at: Vec<String>,
    },
    /// It is swapped to.
    Swap {
        /// The disk, or the part of one or the volume on it.
        disk: String,
    },
    /// Something of the host holds it: a volume group, a RAID, a pool.
    Held {
        /// The disk, or the part of one.
        disk: String,
    },
    /// Routes of the host go over it.
    Routes {
        /// The network interface.
        interface: String,
    },
    /// Other interfaces stand on it.
    Carries {
        /// The network interface.
        interface: String,
        /// Those: bridges, bonds, VLANs.
        others: Vec<String>,
    },
}

fn few(all: &[String]) -> String {
    match all.len().saturating_sub(NAMED_MAX) {
        0 => all.join(", "),
        more => format!("{} and {more} more", all[..NAMED_MAX].join(", ")),
    }
}

impl fmt::Display for HostUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted { disk, at } => {
                let are = if at.len() == 1 { "is" } else { "are" };
                write!(f, "{} {are} mounted from it ({disk})", few(at))
            }
            Self::Swap { disk } => write!(f, "it swaps to it ({disk})"),
            Self::Held { disk } => write!(f, "something of it holds the disk ({disk})"),
            Self::Routes { interface } => write!(f, "its routes go over it ({interface})"),
            Self::Carries { interface, others } => {
                let stand = if others.len() == 1 { "stands" } else { "stand" };
                write!(f, "{} {stand} on it ({interface})", few(others))
            }
        }
    }
}

impl HostUse {
    /// What the host loses with it, in a sentence.
    pub fn loss(&self) -> &'static str {
        match self {
            Self::Mounted { .. } | Self::Swap { .. } | Self::Held { .. } => {
                "To the host that is a disk pulled out while it writes: what it had not written is lost, and \
                 without its own disk it does not go on."
            }
            Self::Routes { .. } | Self::Carries { .. } => {
                "The host, and its machines, are not reached over it any more, and by that perhaps not at \
                 all: then nobody can take it back from afar."
            }
        }
    }
}

impl Tree {
    /// What the host does with a device now; nothing of one that is not there.
    ///
    /// # Errors
    /// When the kernel's word on it cannot be read.
    pub fn host_uses(&self, lent: &Lent) -> io::Result<Vec<HostUse>> {
        let place = match lent {
            Lent::Pci { address } => self.pci(*address),
            Lent::Usb { port, .. } => self.usb().join(port.to_string()),
        };
        let place = match place.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            place => place?,
        };
        let mut uses = self.disks_below(&place)?;
        uses.extend(self.interfaces_below(&place)?);
        Ok(uses)
    }

    fn class(&self, class: &str) -> PathBuf {
        self.root.join("sys/class").join(class)
    }

    /// The names of what is of this class and below a device.
    fn beneath(&self, class: &str, place: &Path) -> io::Result<BTreeSet<String>> {
        let mut below = BTreeSet::new();
        for entry in entries(&self.class(class))? {
            // What goes away meanwhile is in nobody's use.
            if entry.canonicalize().is_ok_and(|entry| entry.starts_with(place)) {
                below.extend(name(&entry));
            }
        }
        Ok(below)
    }

    fn disks_below(&self, place: &Path) -> io::Result<Vec<HostUse>> {
        let mut disks = self.beneath("block", place)?;
        // By several ways a namespace of NVMe is one disk, which is below none of them.
        for head in disks.iter().filter_map(|disk| several_ways(disk)).collect::<BTreeSet<_>>() {
            if let Ok(head) = self.class("block").join(head).canonicalize() {
                disks.extend(self.beneath("block", &head)?);
            }
        }
        let on_them = closure(disks.clone(), |disk| {
            let holders = entries(&self.class("block").join(disk).join("holders")).unwrap_or_default();
            holders.iter().filter_map(|holder| name(holder)).collect()
        });
        let mut uses = self.mounted(&on_them);
        uses.extend(self.swapped(&on_them).into_iter().map(|disk| HostUse::Swap { disk }));
        if uses.is_empty() {
            let held = disks.iter().find(|disk| on_them.len() > disks.len() || self.is_held(disk));
            uses.extend(held.map(|disk| HostUse::Held { disk: disk.clone() }));
        }
        Ok(uses)
    }

    fn mounted(&self, disks: &BTreeSet<String>) -> Vec<HostUse> {
        let mounts = fs::read_to_string(self.root.join("proc/self/mountinfo")).unwrap_or_default();
        let mut mounted: Vec<(String, String)> = Vec::new();
        for line in mounts.lines() {
            // proc_pid_mountinfo(5): number, parent, device, root, where, options, tags, "-", type, source.
            let (before, after) = line.split_once(" - ").unwrap_or((line, ""));
            let fields: Vec<&str> = before.split(' ').collect();
            let (Some(device), Some(at)) = (fields.get(2), fields.get(4)) else { continue };
            let source = after.split(' ').nth(1).unwrap_or_default();
            let is = |disk: &&String| {
                let number = said(&self.class("block").join(disk), "dev");
                // btrfs has a number of its own there.
                number.as_deref() == Some(device) || self.called(source).as_ref() == Some(disk)
            };
            mounted.extend(disks.iter().find(is).map(|disk| (disk.clone(), plain(at))));
        }
        mounted.sort();
        mounted.dedup();
        mounted
            .chunk_by(|one, other| one.0 == other.0)
            .map(|of_one| HostUse::Mounted {
                disk: of_one[0].0.clone(),
                at: of_one.iter().map(|(_, at)| at.clone()).collect(),
            })
            .collect()
    }

    fn swapped(&self, disks: &BTreeSet<String>) -> BTreeSet<String> {
        let swaps = fs::read_to_string(self.root.join("proc/swaps")).unwrap_or_default();
        let named =
            swaps.lines().skip(1).filter_map(|line| self.called(&plain(line.split_whitespace().next()?)));
        named.filter(|disk| disks.contains(disk)).collect()
    }

    /// What the kernel calls a disk of this path.
    fn called(&self, path: &str) -> Option<String> {
        let path = path.strip_prefix("/dev/")?;
        name(&self.root.join("dev").join(path).canonicalize().ok()?)
    }

    /// Whether the kernel gives a disk to nobody else. Where we may not ask, it is not known.
    fn is_held(&self, disk: &str) -> bool {
        let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(self.root.join("dev").join(disk), flags, Mode::empty());
        matches!(opened, Err(Errno::BUSY))
    }

    fn interfaces_below(&self, place: &Path) -> io::Result<Vec<HostUse>> {
        let routed = self.routed();
        let uppers = |interface: &String| -> BTreeSet<String> {
            let entries = entries(&self.class("net").join(interface)).unwrap_or_default();
            let upper = |entry: &PathBuf| Some(name(entry)?.strip_prefix("upper_")?.to_owned());
            entries.iter().filter_map(upper).collect()
        };
        let mut uses = Vec::new();
        for interface in self.beneath("net", place)? {
            let own = BTreeSet::from([interface.clone()]);
            let mut others = closure(own.clone(), uppers);
            let is_routed = others.iter().any(|one| routed.contains(one));
            others.remove(&interface);
            match (is_routed, others.is_empty()) {
                (true, _) => uses.push(HostUse::Routes { interface }),
                (false, false) => {
                    uses.push(HostUse::Carries { interface, others: others.into_iter().collect() });
                }
                (false, true) => {}
            }
        }
        Ok(uses)
    }

    /// The interfaces that routes of the host go over.
    fn routed(&self) -> BTreeSet<String> {
        let read = |file: &str| fs::read_to_string(self.root.join("proc/net").join(file)).unwrap_or_default();
        let four = read("route");
        let four = four.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        let six = read("ipv6_route");
        // Each interface that is up has routes to its neighbours and to groups.
        let far = |line: &&str| !line.starts_with("fe8") && !line.starts_with("ff0");
        let six = six.lines().filter(far).filter_map(|line| line.split_whitespace().last());
        four.chain(six).filter(|interface| *interface != "lo").map(str::to_owned).collect()
    }
}

fn name(path: &Path) -> Option<String> {
    path.file_name()?.to_str().map(str::to_owned)
}

/// These, and all that stands on them.
fn closure(first: BTreeSet<String>, on: impl Fn(&String) -> BTreeSet<String>) -> BTreeSet<String> {
    let (mut all, mut new) = (first.clone(), first);
    while !new.is_empty() {
        new = new.iter().flat_map(&on).filter(|one| !all.contains(one)).collect();
        all.extend(new.iter().cloned());
    }
    all
}

/// `nvme0c1n1` is one of the ways to `nvme0n1`.
fn several_ways(disk: &str) -> Option<String> {
    let (subsystem, rest) = disk.strip_prefix("nvme")?.split_once('c')?;
    let (_, namespace) = rest.split_once('n')?;
    Some(format!("nvme{subsystem}n{namespace}"))
}

/// What the kernel writes for blanks in a path, and for what else would break its lines.
fn plain(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (written, meant)| path.replace(written, meant))
}

#[cfg(test)]
#[path = "in_use_tests.rs"]
mod tests;
