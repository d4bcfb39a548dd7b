//! What the name of a device means on a host.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Id, Lent, Pci, PciAddress, Seen, Usb, UsbPort};

/// What a name means: where the device is, and what it was when it was given the name, so that nothing
/// else that comes to be there is taken for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "bus", rename_all = "lowercase", deny_unknown_fields)]
pub enum Mapping {
    /// A function on PCI.
    Pci {
        /// Where it is.
        address: PciAddress,
        /// What is there.
        id: Id,
    },
    /// Something plugged in by USB.
    Usb {
        /// What it is.
        id: Id,
        /// Which of its kind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        serial: Option<String>,
        /// Where it is plugged in; wherever it is, where that is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<UsbPort>,
    },
}

/// Why a device that a name means cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Nothing is there.
    #[error("{0} is not there")]
    Gone(Mapping),
    /// Something else is there.
    #[error("at {at} there is {found} now, not {wanted}: map it again if that is meant")]
    Another {
        /// Where.
        at: String,
        /// What is there.
        found: String,
        /// What was.
        wanted: String,
    },
    /// Several are.
    #[error("{wanted} is there more than once ({at}): map it by its port, or with its serial")]
    Several {
        /// What is meant.
        wanted: Mapping,
        /// Where they are.
        at: String,
    },
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mapping::Pci { address, id } => write!(f, "pci {address} ({id})"),
            Mapping::Usb { id, serial, port } => {
                match port {
                    Some(port) => write!(f, "usb {port} ({id})")?,
                    None => write!(f, "usb {id}")?,
                }
                serial.as_ref().map_or(Ok(()), |serial| write!(f, ", serial {serial}"))
            }
        }
    }
}

impl Mapping {
    /// The function it means.
    ///
    /// # Errors
    /// When that is not there, or is another one.
    pub fn function<'a>(&self, address: PciAddress, id: Id, seen: &'a Seen) -> Result<&'a Pci, Missing> {
        match seen.at(address) {
            None => Err(Missing::Gone(self.clone())),
            Some(found) if found.id != id => Err(Missing::Another {
                at: address.to_string(),
                found: found.id.to_string(),
                wanted: id.to_string(),
            }),
            Some(found) => Ok(found),
        }
    }

    /// What it means of what is plugged in.
    ///
    /// # Errors
    /// When that is not there, is another one, or is not the only one.
    pub fn plugged<'a>(&self, seen: &'a Seen) -> Result<&'a Usb, Missing> {
        let Mapping::Usb { id, serial, port } = self else { return Err(Missing::Gone(self.clone())) };
        let is = |usb: &Usb| {
            usb.id == *id && serial.as_ref().is_none_or(|serial| usb.serial.as_ref() == Some(serial))
        };
        if let Some(port) = port {
            let said = |id: &Id, serial: Option<&String>| match serial {
                Some(serial) => format!("{id}, serial {serial}"),
                None => id.to_string(),
            };
            return match seen.plugged(port) {
                None => Err(Missing::Gone(self.clone())),
                Some(found) if !is(found) => Err(Missing::Another {
                    at: port.to_string(),
                    found: said(&found.id, found.serial.as_ref()),
                    wanted: said(id, serial.as_ref()),
                }),
                Some(found) => Ok(found),
            };
        }
        let found: Vec<&Usb> = seen.usb.iter().filter(|usb| is(usb)).collect();
        match found.as_slice() {
            [] => Err(Missing::Gone(self.clone())),
            [one] => Ok(one),
            several => {
                let at: Vec<String> = several.iter().map(|usb| usb.port.to_string()).collect();
                Err(Missing::Several { wanted: self.clone(), at: at.join(", ") })
            }
        }
    }

    /// What would be handed over now, if it is there.
    pub fn lent(&self, seen: &Seen) -> Option<Lent> {
        match self {
            Mapping::Pci { address, id } => {
                self.function(*address, *id, seen).ok().map(|_| Lent::Pci { address: *address })
            }
            Mapping::Usb { id, .. } => {
                self.plugged(seen).ok().map(|usb| Lent::Usb { port: usb.port.clone(), id: *id })
            }
        }
    }

    /// Whether this is what a person calls the device by: its address, its port, or what it is.
    pub fn is_by(&self, text: &str) -> bool {
        match self {
            Mapping::Pci { address, .. } => text.parse() == Ok(*address),
            Mapping::Usb { port: Some(port), .. } => text.parse().as_ref() == Ok(port),
            Mapping::Usb { id, port: None, .. } => text.parse() == Ok(*id),
        }
    }

    /// Whether it means this function.
    pub fn is_at(&self, pci: &Pci) -> bool {
        matches!(self, Mapping::Pci { address, .. } if *address == pci.address)
    }

    /// Whether it means this one.
    pub fn is_plugged(&self, usb: &Usb, seen: &Seen) -> bool {
        self.plugged(seen).is_ok_and(|found| found.port == usb.port)
    }
}
