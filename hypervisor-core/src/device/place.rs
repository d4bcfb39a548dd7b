//! What a device is, and where it is plugged in: as sysfs writes it, and nothing else.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Who made a device, and what it is to them: `10de:2204`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id {
    /// Who made it.
    pub vendor: u16,
    /// What it is.
    pub product: u16,
}

/// Where a function is on PCI: `0000:01:00.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciAddress {
    /// The domain; more than 16 bits where a host makes its own.
    pub domain: u32,
    /// The bus.
    pub bus: u8,
    /// The slot, below 32.
    pub slot: u8,
    /// The function, below 8.
    pub function: u8,
}

/// Where something is plugged in by USB: `1-2`, or `1-2.4` behind a hub.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UsbPort {
    /// The number of the bus.
    pub bus: u8,
    /// The port of the bus, and of each hub on the way.
    pub ports: Vec<u8>,
}

/// Why a text is none of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}, such as {example}")]
pub struct PlaceError {
    /// What was read, its beginning.
    pub text: String,
    /// What it should be.
    pub what: &'static str,
    /// One that is.
    pub example: &'static str,
}

impl PlaceError {
    fn new(text: &str, what: &'static str, example: &'static str) -> Self {
        Self { text: text.chars().take(40).collect(), what, example }
    }
}

/// Hexadecimal digits, so many and nothing else.
fn hex(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let fine = digits.contains(&text.len()) && text.bytes().all(|c| c.is_ascii_hexdigit());
    fine.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

impl Id {
    /// Of two texts of four hexadecimal digits, as sysfs has them of USB.
    pub(super) fn of(vendor: &str, product: &str) -> Option<Self> {
        let half = |text: &str| hex(text, 4..=4).and_then(|half| u16::try_from(half).ok());
        Some(Self { vendor: half(vendor)?, product: half(product)? })
    }
}

impl FromStr for Id {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let halves = text.split_once(':').and_then(|(vendor, product)| Self::of(vendor, product));
        halves.ok_or_else(|| PlaceError::new(text, "vendor and product", "1050:0407"))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.product)
    }
}

impl FromStr for PciAddress {
    type Err = PlaceError;

    /// The domain may be left out, as `lspci` does.
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let read = || {
            let (rest, function) = text.rsplit_once('.')?;
            let (rest, slot) = rest.rsplit_once(':')?;
            let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0000", rest));
            let (slot, function) = (hex(slot, 2..=2)?, hex(function, 1..=1)?);
            Some(Self {
                domain: hex(domain, 4..=8)?,
                bus: u8::try_from(hex(bus, 2..=2)?).ok()?,
                slot: u8::try_from(slot).ok().filter(|slot| *slot < 32)?,
                function: u8::try_from(function).ok().filter(|function| *function < 8)?,
            })
        };
        read().ok_or_else(|| PlaceError::new(text, "PCI address", "0000:01:00.0"))
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.slot, self.function)
    }
}

impl UsbPort {
    /// Hubs one behind the other that USB allows, and the port of the bus itself.
    const DEPTH_MAX: usize = 7;

    /// The way from its bus: `2.4`.
    pub fn path(&self) -> String {
        let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
        ports.join(".")
    }
}

impl FromStr for UsbPort {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        // As sysfs writes a number: no sign, no zero before it.
        let number = |text: &str| {
            let fine = !text.starts_with('0') && text.bytes().all(|c| c.is_ascii_digit());
            fine.then(|| text.parse::<u8>().ok()).flatten()
        };
        let read = || {
            let (bus, path) = text.split_once('-')?;
            let ports: Option<Vec<u8>> = path.split('.').map(number).collect();
            let ports = ports.filter(|ports| ports.len() <= Self::DEPTH_MAX)?;
            Some(Self { bus: number(bus)?, ports })
        };
        read().ok_or_else(|| PlaceError::new(text, "USB port", "1-2"))
    }
}

impl fmt::Display for UsbPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.bus, self.path())
    }
}

macro_rules! written {
    ($($name:ident),*) => { $(
        impl TryFrom<String> for $name {
            type Error = PlaceError;
            fn try_from(text: String) -> Result<Self, PlaceError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(it: $name) -> String {
                it.to_string()
            }
        }
    )* };
}
written!(Id, PciAddress, UsbPort);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_is_read_as_sysfs_writes_it_and_nothing_else_is() {
        for text in ["0000:01:00.0", "10000:e1:1f.7", "ffffffff:ff:00.1"] {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), text);
        }
        assert_eq!("01:00.0".parse::<PciAddress>().unwrap().to_string(), "0000:01:00.0");
        for text in [
            "",
            "1:00.0",
            "01:20.0",
            "01:00.8",
            "01:00",
            "../01:00.0",
            "0000:01:00.0\n",
            "+000:01:00.0",
            "01:+0.0",
        ] {
            assert!(text.parse::<PciAddress>().is_err(), "{text:?}");
        }
        for text in ["1-2", "12-1.4.3"] {
            assert_eq!(text.parse::<UsbPort>().unwrap().to_string(), text);
        }
        for text in
            ["", "1-", "-2", "1-0", "1-2.", "01-2", "1-2:1.0", "usb1", "1-+2", "256-1", "1-1.1.1.1.1.1.1.1"]
        {
            assert!(text.parse::<UsbPort>().is_err(), "{text:?}");
        }
        assert_eq!("1050:0407".parse::<Id>().unwrap().to_string(), "1050:0407");
        for text in ["1050", "1050:407", "0x1050:0407", "1050:0407:", "+050:0407"] {
            assert!(text.parse::<Id>().is_err(), "{text:?}");
        }
    }
}
