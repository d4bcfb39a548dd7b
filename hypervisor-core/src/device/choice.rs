//! What a machine gets of a host, decided purely: what is there, what others have, and what cannot be told
//! from what the host itself uses.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Id, Mapping, Missing, Pci, PciAddress, Seen, UsbPort};
use crate::machine::MachineId;

/// The driver of the host that hands functions to guests.
pub(super) const VFIO: &str = "vfio-pci";
/// Drivers of the host that stand in nobody's way: they leave a device alone (Linux' own list, and vfio's).
const HARMLESS: [&str; 3] = [VFIO, "pci-stub", "pcieport"];

/// A device, where it is handed over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "bus", rename_all = "lowercase")]
pub enum Lent {
    /// A function on PCI.
    Pci {
        /// Where.
        address: PciAddress,
    },
    /// Something plugged in by USB.
    Usb {
        /// Where.
        port: UsbPort,
        /// What: nothing else that is plugged in there later is meant.
        id: Id,
    },
}

impl Lent {
    /// Whether it can come and go while a machine runs.
    pub fn is_usb(&self) -> bool {
        matches!(self, Lent::Usb { .. })
    }
}

impl fmt::Display for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lent::Pci { address } => write!(f, "pci {address}"),
            Lent::Usb { port, .. } => write!(f, "usb {port}"),
        }
    }
}

/// A device that a machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loan {
    /// What it is called.
    pub name: String,
    /// Which machine.
    pub machine: MachineId,
    /// Which device.
    pub lent: Lent,
    /// The host's driver that had it before, and has it again afterwards.
    pub driver: Option<String>,
}

/// Why a machine cannot have a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// It is not there.
    #[error("the device {name}: {why}")]
    Missing {
        /// Which.
        name: String,
        /// Why.
        why: Missing,
    },
    /// Another machine has it.
    #[error("the device {name} is another machine's while that runs")]
    Taken {
        /// Which.
        name: String,
        /// Who.
        by: MachineId,
    },
    /// Another machine has what it cannot be told apart from.
    #[error(
        "the device {name} is in one IOMMU group with {other}, which is another machine's while that runs"
    )]
    Beside {
        /// Which.
        name: String,
        /// What the other machine has.
        other: PciAddress,
        /// Who.
        by: MachineId,
    },
    /// Two names mean the same device.
    #[error("its devices {name} and {other} are the same")]
    Twice {
        /// One.
        name: String,
        /// The other.
        other: String,
    },
    /// The host does not keep guests' devices from its memory.
    #[error(
        "the device {name} is on PCI, and this host has no IOMMU switched on, without which a guest could \
         read all of its memory: switch on VT-d or AMD-Vi in its firmware, and start its kernel with \
         intel_iommu=on where that is Intel's"
    )]
    NoIommu {
        /// Which.
        name: String,
    },
    /// It cannot be told apart from what the host uses.
    #[error(
        "the device {name} ({address}) is in one IOMMU group ({group}) with {others}: map those and give them \
         to the machine as well, or take their drivers off them"
    )]
    Group {
        /// Which.
        name: String,
        /// Where it is.
        address: PciAddress,
        /// Its group.
        group: u32,
        /// The others, and who uses them.
        others: String,
    },
}

/// What a machine is to be lent, of which it may have some already: those that are new. While it runs
/// (`live`) that is only what can be plugged in then.
///
/// # Errors
/// The first thing that is in the way.
pub fn choose(
    wanted: &[(String, Mapping)],
    seen: &Seen,
    loans: &[Loan],
    machine: MachineId,
    live: bool,
) -> Result<Vec<Loan>, Obstacle> {
    let mut chosen: Vec<Loan> = Vec::new();
    let has = |name: &str| loans.iter().any(|loan| loan.machine == machine && loan.name == name);
    for (name, mapping) in wanted.iter().filter(|(name, _)| !(live && has(name))) {
        let missing = |why| Obstacle::Missing { name: name.clone(), why };
        let (lent, driver) = match mapping {
            Mapping::Pci { .. } if live => continue,
            Mapping::Pci { address, id } => {
                let pci = mapping.function(*address, *id, seen).map_err(missing)?;
                (Lent::Pci { address: *address }, pci.driver.clone())
            }
            Mapping::Usb { id, .. } => {
                let usb = mapping.plugged(seen).map_err(missing)?;
                (Lent::Usb { port: usb.port.clone(), id: *id }, None)
            }
        };
        if let Some(other) = chosen.iter().find(|other| other.lent == lent) {
            return Err(Obstacle::Twice { name: name.clone(), other: other.name.clone() });
        }
        let loan = Loan { name: name.clone(), machine, lent, driver };
        match loans.iter().find(|other| other.lent.to_string() == loan.lent.to_string()) {
            Some(other) if other.machine != machine => {
                return Err(Obstacle::Taken { name: name.clone(), by: other.machine });
            }
            // Of an earlier run, whose driver is remembered.
            Some(own) if own.lent == loan.lent => chosen.push(Loan { driver: own.driver.clone(), ..loan }),
            _ => chosen.push(loan),
        }
    }
    for loan in &chosen {
        if let Lent::Pci { address } = loan.lent
            && let Some(pci) = seen.at(address)
        {
            apart(loan, pci, seen, &chosen, loans)?;
        }
    }
    Ok(chosen)
}

/// The IOMMU keeps a group from the rest of the host, not its members from each other: a guest that has one
/// of them has them all.
fn apart(loan: &Loan, pci: &Pci, seen: &Seen, chosen: &[Loan], loans: &[Loan]) -> Result<(), Obstacle> {
    let name = loan.name.clone();
    let Some(group) = pci.group else { return Err(Obstacle::NoIommu { name }) };
    let is = |loan: &Loan, other: &Pci| loan.lent == Lent::Pci { address: other.address };
    let mut others = Vec::new();
    for other in seen.group_of(pci) {
        if let Some(another) = loans.iter().find(|one| is(one, other) && one.machine != loan.machine) {
            return Err(Obstacle::Beside { name, other: other.address, by: another.machine });
        }
        let comes_along = chosen.iter().any(|loan| is(loan, other));
        let driver = other.driver.as_deref().filter(|driver| !HARMLESS.contains(driver));
        if let Some(driver) = driver.filter(|_| !comes_along) {
            others.push(format!("{}, which the host uses by {driver}", other.address));
        }
    }
    if others.is_empty() {
        return Ok(());
    }
    Err(Obstacle::Group { name, address: pci.address, group, others: others.join(", and ") })
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
