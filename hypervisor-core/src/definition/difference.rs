//! What changes between two definitions, in words.

use std::{fmt, path::Path};

use super::{
    Boot, CloudInit, Cpu, Definition, Device, Disk, Limits, Media, Network, Nic, Rule, Share, Size, Startup,
    Via, Watchdog,
};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What changes, in words: `memory: 512M → 1G`.
    pub words: String,
    /// When it takes effect for a machine that runs.
    pub effective: Effective,
}

/// When a change takes effect for a machine that runs. For one that does not, all of them do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effective {
    /// At once.
    Now,
    /// When it is started the next time; a reboot of the guest is not enough.
    NextStart,
    /// At once where its driver can change that of a machine that runs, else at the next start.
    Live(Live),
}

/// What may be changed of a machine that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Live {
    /// How much memory it has, within what it was started with.
    Memory,
    /// How many processors it has, within what it was started with.
    Vcpus,
    /// The limits of its disk of this number.
    Limits(usize),
    /// The ports that lead to its NIC of this number.
    Forwards(usize),
    /// Whether the cable of its NIC of this number is in.
    Link(usize),
    /// Which devices of the host it has.
    Devices,
}

impl Effective {
    /// The words for it.
    pub const fn words(self) -> &'static str {
        match self {
            Effective::Now => "now",
            Effective::NextStart | Effective::Live(_) => "at the next start",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// What changes from one definition to another, each in words and with when it takes effect; nothing
/// when they are the same.
pub fn differences(old: &Definition, new: &Definition) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |what: &str, old: String, new: String, effective| {
        if old != new {
            found.push(Difference { words: format!("{what}: {old} → {new}"), effective });
        }
    };
    let next = Effective::NextStart;
    differ("vcpus", old.vcpus.to_string(), new.vcpus.to_string(), Effective::Live(Live::Vcpus));
    differ("vcpus at most", most(old.vcpus_max), most(new.vcpus_max), next);
    differ("memory", size(old.memory_mib), size(new.memory_mib), Effective::Live(Live::Memory));
    differ("memory at most", bound(old.memory_max_mib), bound(new.memory_max_mib), next);
    differ("memory at least", bound(old.memory_min_mib), bound(new.memory_min_mib), Effective::Now);
    differ("huge pages", on(old.hugepages), on(new.hugepages), next);
    differ("processor", cpu(&old.cpu), cpu(&new.cpu), next);
    differ("firmware", old.firmware.word().into(), new.firmware.word().into(), next);
    differ("boot", from(&old.boot).into(), from(&new.boot).into(), next);
    if let (
        Boot::Kernel { kernel, initrd, cmdline },
        Boot::Kernel { kernel: new_kernel, initrd: new_initrd, cmdline: new_cmdline },
    ) = (&old.boot, &new.boot)
    {
        differ("kernel", path(Some(kernel)), path(Some(new_kernel)), next);
        differ("initrd", path(initrd.as_deref()), path(new_initrd.as_deref()), next);
        differ("cmdline", text(Some(cmdline)), text(Some(new_cmdline)), next);
    }
    let disks = &new.disks;
    for (name, old, new) in paired(&old.disks, &new.disks, |disk| &disk.name) {
        let nth = disks.iter().position(|disk| disk.name == name);
        let limits = |(old, new): (&Disk, &Disk)| Disk { limits: new.limits, ..old.clone() } == *new;
        let live = nth.filter(|_| old.zip(new).is_some_and(limits)).map(Live::Limits);
        differ(&format!("disk {name}"), told(old, disk), told(new, disk), live.map_or(next, Effective::Live));
    }
    nics(&old.nics, &new.nics, &mut differ);
    // The order of those that stay is the order in which they are tried and numbered.
    let (was, is) = orders(&old.disks, &new.disks, |disk| &disk.name);
    differ("order of the disks", was, is, next);
    let (was, is) = orders(&old.nics, &new.nics, |nic| &nic.name);
    differ("order of the NICs", was, is, next);
    differ("firewall", rules(&old.firewall), rules(&new.firewall), Effective::Now);
    differ("graphics", on(old.graphics), on(new.graphics), next);
    differ("guest agent", on(old.guest_agent), on(new.guest_agent), next);
    differ("TPM", on(old.tpm), on(new.tpm), next);
    for (name, old, new) in paired(&old.shares, &new.shares, |share| &share.name) {
        differ(&format!("share {name}"), told(old, share), told(new, share), next);
    }
    let (was, is) = orders(&old.shares, &new.shares, |share| &share.name);
    differ("order of the shares", was, is, next);
    differ("devices", given(&old.devices), given(&new.devices), Effective::Live(Live::Devices));
    differ("watchdog", watchdog(old.watchdog), watchdog(new.watchdog), next);
    let (was, is) = (told(old.cloud_init.as_ref(), parts), told(new.cloud_init.as_ref(), parts));
    // Texts are not shown: that they changed is.
    let changed = was == is && old.cloud_init != new.cloud_init;
    differ("cloud-init", was, if changed { format!("{is} (changed)") } else { is }, next);
    // The agent's own business, which the guest has nothing to do with.
    differ("restart", old.restart.word().into(), new.restart.word().into(), Effective::Now);
    let (was, is) = (turn(old.startup), turn(new.startup));
    differ("turn when the host starts", was, is, Effective::Now);
    differ("kept", kept(&old.kept), kept(&new.kept), next);
    differ("note", text(old.note.as_ref()), text(new.note.as_ref()), Effective::Now);
    found
}

/// What differs between NICs of the same name.
fn nics(old: &[Nic], new: &[Nic], differ: &mut impl FnMut(&str, String, String, Effective)) {
    let all = new;
    for (name, old, new) in paired(old, all, |nic| &nic.name) {
        let nth = all.iter().position(|nic| nic.name == name);
        let live = nth.filter(|_| old.zip(new).is_some_and(forwards_alone)).map(Live::Forwards);
        differ(
            &format!("NIC {name}"),
            told(old, nic),
            told(new, nic),
            live.map_or(Effective::NextStart, Effective::Live),
        );
        if let (Some(old), Some(new)) = (old, new) {
            let live = Live::Link(nth.unwrap_or_default());
            let (was, is) = (old.link.word().into(), new.link.word().into());
            differ(&format!("link of NIC {name}"), was, is, Effective::Live(live));
        }
        // These are between the NIC and its network, not in the guest's device.
        let (was, is) = (told(old, passing), told(new, passing));
        if old.is_some() && new.is_some() {
            differ(&format!("NIC {name} carries"), was, is, Effective::Now);
        }
    }
}

/// Words of QEMU's that are not modelled.
fn kept(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(" ") }
}

fn given(devices: &[Device]) -> String {
    let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// How much memory it may have at most, or at least.
fn bound(mib: Option<u64>) -> String {
    most(mib.map(size))
}

fn size(mib: u64) -> String {
    Size::from_mib(mib).map_or_else(|_| format!("{mib} MiB"), |size| size.to_string())
}

fn from(boot: &Boot) -> &'static str {
    match boot {
        Boot::Kernel { .. } => "kernel",
        Boot::Disk => "disk",
    }
}

fn path(path: Option<&Path>) -> String {
    path.map_or_else(|| "none".into(), |path| path.display().to_string())
}

fn text(text: Option<&String>) -> String {
    text.filter(|text| !text.is_empty()).map_or_else(|| "none".into(), |text| format!("{text:?}"))
}

fn cpu(cpu: &Cpu) -> String {
    let Cpu { model, sockets, cores, threads, pin } = cpu;
    let mut words: Vec<String> = model.iter().cloned().collect();
    for (count, what) in [(sockets, "sockets"), (cores, "cores"), (threads, "threads")] {
        words.extend(count.map(|count| format!("{count} {what}")));
    }
    if !pin.is_empty() {
        let pin: Vec<String> = pin.iter().map(ToString::to_string).collect();
        words.push(format!("on the host's {}", pin.join(" ")));
    }
    if words.is_empty() { "as it is".into() } else { words.join(", ") }
}

fn turn(startup: Startup) -> String {
    let order = startup.order.map_or_else(|| "last".to_owned(), |order| order.to_string());
    match startup.delay_seconds {
        0 => order,
        seconds => format!("{order}, then {seconds} s"),
    }
}

fn watchdog(watchdog: Option<Watchdog>) -> String {
    watchdog.map_or("none", Watchdog::word).into()
}

/// Which parts of it there are.
fn parts(cloud_init: &CloudInit) -> String {
    let CloudInit { ssh_keys, user_data, network } = cloud_init;
    let mut words = Vec::new();
    words.extend((!ssh_keys.is_empty()).then(|| format!("{} keys", ssh_keys.len())));
    words.extend(user_data.as_ref().map(|_| "user data".to_owned()));
    words.extend(network.as_ref().map(|_| "network".to_owned()));
    if words.is_empty() { "the names alone".into() } else { words.join(", ") }
}

/// Whether the devices of two NICs differ in the ports that are forwarded to them, and in nothing else.
fn forwards_alone((old, new): (&Nic, &Nic)) -> bool {
    let both = matches!((&old.network, &new.network), (Network::User { .. }, Network::User { .. }));
    let Nic { network, rate, guard, link, .. } = new.clone();
    both && Nic { network, rate, guard, link, ..old.clone() } == *new
}

fn most(most: Option<impl ToString>) -> String {
    most.map_or_else(|| "as it is".into(), |most| most.to_string())
}

fn on(on: bool) -> String {
    if on { "on" } else { "off" }.into()
}

type Pair<'a, T> = (&'a str, Option<&'a T>, Option<&'a T>);

/// What both have, the one or the other, by name; the old ones first.
fn paired<'a, T>(old: &'a [T], new: &'a [T], name: fn(&T) -> &String) -> Vec<Pair<'a, T>> {
    let find = |all: &'a [T], wanted: &str| all.iter().find(|one| name(one) == wanted);
    let was = old.iter().map(|one| (name(one).as_str(), Some(one), find(new, name(one))));
    let came = new.iter().filter(|one| find(old, name(one)).is_none());
    was.chain(came.map(|one| (name(one).as_str(), None, Some(one)))).collect()
}

/// The order of those that both have, in both.
fn orders<T>(old: &[T], new: &[T], name: fn(&T) -> &String) -> (String, String) {
    let shared = |all: &[T], other: &[T]| {
        let names = all.iter().map(name).filter(|wanted| other.iter().any(|one| name(one) == *wanted));
        names.map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    (shared(old, new), shared(new, old))
}

fn told<T>(one: Option<&T>, words: fn(&T) -> String) -> String {
    one.map_or_else(|| "none".into(), words)
}

fn share(share: &Share) -> String {
    let Share { name: _, path, read_only, via } = share;
    let way = if *via == Via::default() { String::new() } else { format!("{}, ", via.word()) };
    format!("{} ({way}{})", path.display(), if *read_only { "read-only" } else { "written to" })
}

fn disk(disk: &Disk) -> String {
    let Disk { name: _, path, format, media, read_only, bus, cache, discard, limits, boot_order } = disk;
    let mut words = vec![format.word().to_owned(), bus.word().to_owned()];
    let mut also = |is: bool, word: &str| words.extend(is.then(|| word.to_owned()));
    also(*media == Media::Cd, "CD");
    also(*read_only && *media == Media::Disk, "read-only");
    also(!*read_only && *media == Media::Cd, "written to");
    also(!*discard, "no discard");
    also(*cache != Default::default(), &format!("cache {}", cache.word()));
    let Limits { iops, bytes_per_second } = limits.unwrap_or_default();
    words.extend(limits.filter(|limits| *limits == Limits::default()).map(|_| "no limits".into()));
    words.extend(iops.map(|iops| format!("at most {iops} operations a second")));
    words.extend(bytes_per_second.map(|bytes| format!("at most {bytes} bytes a second")));
    words.extend(boot_order.map(|order| format!("boot order {order}")));
    format!("{} ({})", path.display(), words.join(", "))
}

fn nic(nic: &Nic) -> String {
    let Nic { name: _, mac, model, network, boot_order, rate: _, guard: _, link: _ } = nic;
    let mut words = vec![model.word().to_owned()];
    words.extend(mac.map(|mac| mac.to_string()));
    words.extend(boot_order.map(|order| format!("boot order {order}")));
    let network = match network {
        Network::Bridge { name } => format!("bridge {name}"),
        Network::Named { name, address: None } => format!("network {name}"),
        Network::Named { name, address: Some(address) } => format!("network {name} at {address}"),
        Network::User { forwards } if forwards.is_empty() => "user".into(),
        Network::User { forwards } => {
            let forwards: Vec<String> = forwards.iter().map(ToString::to_string).collect();
            format!("user, forwards {}", forwards.join(" "))
        }
    };
    format!("{network} ({})", words.join(", "))
}

fn passing(nic: &Nic) -> String {
    let rate = nic.rate.map_or_else(|| "all it can".into(), |rate| format!("{rate} at most"));
    format!("{rate}, {}", if nic.guard { "its own addresses only" } else { "any address" })
}

fn rules(rules: &[Rule]) -> String {
    let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
    if rules.is_empty() { "none".into() } else { rules.join("; ") }
}
