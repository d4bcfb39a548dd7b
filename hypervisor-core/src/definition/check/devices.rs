//! Disks and NICs: their names, their room, and what of them excludes one another.

use super::whole;
use crate::definition::{
    Bus, Definition, DefinitionError, Device, Disk, Limits, Media, Network, Nic, Share,
    error::{DISKS_MAX, NICS_MAX, RULES_MAX, SATA_MAX},
};

/// Slots of a q35's first bus that are free for disks and NICs: 32, less the host bridge, the LPC
/// bridge, the ports for hot-plug, and what every machine may have besides (screen, USB, serial ports,
/// random numbers, SCSI, and a few kept back).
const SLOTS_MAX: usize = 20;
/// The largest limit: far more than any disk does, and far less than QEMU counts.
const LIMIT_MAX: u64 = 1_000_000_000_000_000;
/// The longest name of a network interface in Linux (IFNAMSIZ without its end).
const BRIDGE_BYTES_MAX: usize = 15;

pub(super) fn disks(disks: &[Disk]) -> Result<(), DefinitionError> {
    if disks.len() > DISKS_MAX {
        return Err(DefinitionError::Disks(disks.len()));
    }
    names("disk", disks.iter().map(|disk| disk.name.as_str()))?;
    for (nth, disk) in disks.iter().enumerate() {
        whole("disk", &disk.path)?;
        let twice = |other: &&Disk| other.path == disk.path && !(other.read_only && disk.read_only);
        if disks[..nth].iter().find(twice).is_some() {
            return Err(DefinitionError::DiskTwice(disk.path.clone()));
        }
        let cd = |why| Err(DefinitionError::Cd { name: disk.name.clone(), why });
        match disk.media {
            Media::Cd if disk.bus == Bus::Virtio => return cd("can be on the bus \"sata\" or \"scsi\" only"),
            Media::Cd if !disk.read_only => return cd("cannot be written to: leave read_only out"),
            Media::Cd | Media::Disk => {}
        }
        let Limits { iops, bytes_per_second } = disk.limits.unwrap_or_default();
        if [iops, bytes_per_second].into_iter().flatten().any(|limit| !(1..=LIMIT_MAX).contains(&limit)) {
            return Err(DefinitionError::Limit(disk.name.clone()));
        }
    }
    let sata = disks.iter().filter(|disk| disk.bus == Bus::Sata).count();
    if sata > SATA_MAX { Err(DefinitionError::Sata(sata)) } else { Ok(()) }
}

pub(super) fn nics(nics: &[Nic]) -> Result<(), DefinitionError> {
    if nics.len() > NICS_MAX {
        return Err(DefinitionError::Nics(nics.len()));
    }
    names("NIC", nics.iter().map(|nic| nic.name.as_str()))?;
    let mut forwards = Vec::new();
    let mut addresses = Vec::new();
    for nic in nics {
        match &nic.network {
            Network::Bridge { name } if !is_interface(name) => {
                return Err(DefinitionError::Bridge(name.chars().take(40).collect()));
            }
            Network::Bridge { .. } | Network::Named { .. } => {}
            Network::User { forwards: new } => {
                for forward in new {
                    if forwards.iter().any(|known| forward.collides(known)) {
                        return Err(DefinitionError::ForwardTwice(*forward));
                    }
                    forwards.push(*forward);
                }
            }
        }
        let named = matches!(nic.network, Network::Named { .. });
        if !named && (nic.rate.is_some() || !nic.guard) {
            return Err(DefinitionError::OnlyOnNetwork {
                name: nic.name.clone(),
                what: if nic.rate.is_some() { "a rate" } else { "guard" },
            });
        }
        if let Some(mac) = nic.mac {
            if addresses.contains(&mac) {
                return Err(DefinitionError::MacTwice(mac));
            }
            addresses.push(mac);
        }
    }
    Ok(())
}

/// Rules hold where we stand between a machine and the others: on our networks alone.
pub(super) fn firewall(definition: &Definition) -> Result<(), DefinitionError> {
    let Definition { nics, firewall, .. } = definition;
    if firewall.len() > RULES_MAX {
        return Err(DefinitionError::Rules(firewall.len()));
    }
    let on_network = |nic: &Nic| matches!(nic.network, Network::Named { .. });
    match nics.iter().find(|nic| !on_network(nic)) {
        Some(nic) if !firewall.is_empty() => {
            Err(DefinitionError::OnlyOnNetwork { name: nic.name.clone(), what: "a firewall" })
        }
        _ => Ok(()),
    }
}

/// The most folders that are shared.
const SHARES_MAX: usize = 8;

pub(super) fn shares(shares: &[Share]) -> Result<(), DefinitionError> {
    if shares.len() > SHARES_MAX {
        return Err(DefinitionError::Shares(shares.len()));
    }
    names("share", shares.iter().map(|share| share.name.as_str()))?;
    shares.iter().try_for_each(|share| whole("share", &share.path))
}

pub(super) fn given(devices: &[Device]) -> Result<(), DefinitionError> {
    if devices.len() > Device::MAX {
        return Err(DefinitionError::Devices(devices.len()));
    }
    names("device", devices.iter().map(|device| device.name.as_str()))
}

/// What disks and NICs share: PCI slots, and the boot order.
pub(super) fn together(definition: &Definition) -> Result<(), DefinitionError> {
    let Definition { disks, nics, shares, .. } = definition;
    let slots = disks.iter().filter(|disk| disk.bus == Bus::Virtio).count() + nics.len() + shares.len();
    if slots > SLOTS_MAX {
        return Err(DefinitionError::Room(slots - SLOTS_MAX));
    }
    let mut orders: Vec<u32> = disks.iter().filter_map(|disk| disk.boot_order).collect();
    orders.extend(nics.iter().filter_map(|nic| nic.boot_order));
    orders.sort_unstable();
    match orders.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(DefinitionError::BootOrder(pair[0])),
        None => Ok(()),
    }
}

/// Whether a device may be called so.
pub(crate) fn is_device_name(name: &str) -> bool {
    names("device", std::iter::once(name)).is_ok()
}

/// They are parts of names in QEMU and of files: narrow, and unlike each other.
fn names<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), DefinitionError> {
    let mut known = Vec::new();
    for name in names {
        let fine = name.len() <= Disk::NAME_BYTES_MAX
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        if !fine {
            return Err(DefinitionError::Name { what, name: name.chars().take(40).collect() });
        }
        if known.contains(&name) {
            return Err(DefinitionError::NameTwice { what, name: name.into() });
        }
        known.push(name);
    }
    Ok(())
}

/// Whether Linux may have a network interface of this name, and a command line nothing against it.
pub(crate) fn is_interface(name: &str) -> bool {
    (1..=BRIDGE_BYTES_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}
