//! What devices a host has, as its kernel says in sysfs. What a device says of itself there (its serial, its
//! names) is hostile: bounded, and a line.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Id, PciAddress, UsbPort, pretended};

/// The longest text that is read of a device.
const TEXT_BYTES_MAX: usize = 256;

/// Where a host's `/sys` and `/dev` are.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(super) root: PathBuf,
    /// No kernel is behind it: what one would do is done here.
    pub(super) is_pretended: bool,
}

/// What a host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// On PCI, by address, bridges left out.
    pub pci: Vec<Pci>,
    /// By USB, by port, hubs left out.
    pub usb: Vec<Usb>,
}

/// A function on PCI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pci {
    /// Where.
    pub address: PciAddress,
    /// What.
    pub id: Id,
    /// The host's driver that has it.
    pub driver: Option<String>,
    /// Which it cannot be told apart from by the IOMMU; none where there is no IOMMU.
    pub group: Option<u32>,
}

/// Something plugged in by USB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usb {
    /// Where.
    pub port: UsbPort,
    /// What.
    pub id: Id,
    /// Which of its kind, if it says so.
    pub serial: Option<String>,
    /// What it calls itself.
    pub name: Option<String>,
    /// Its file is `/dev/bus/usb/BUS/NUMBER`; another one each time it is plugged in.
    pub number: u8,
}

impl Seen {
    /// What is at this address.
    pub fn at(&self, address: PciAddress) -> Option<&Pci> {
        self.pci.iter().find(|pci| pci.address == address)
    }

    /// What is plugged in at this port.
    pub fn plugged(&self, port: &UsbPort) -> Option<&Usb> {
        self.usb.iter().find(|usb| usb.port == *port)
    }

    /// What the IOMMU cannot tell from this one.
    pub fn group_of<'a>(&'a self, pci: &'a Pci) -> impl Iterator<Item = &'a Pci> {
        let others = self.pci.iter().filter(|other| other.address != pci.address);
        others.filter(|other| other.group.is_some() && other.group == pci.group)
    }
}

impl Tree {
    /// This host's own.
    pub fn of_host() -> Self {
        Self { root: "/".into(), is_pretended: false }
    }

    /// Below another folder; no kernel is behind what is changed there.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), is_pretended: true }
    }

    /// A host that is made up, for those that run no guest: made in this folder, unless it is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn pretended(root: impl Into<PathBuf>) -> io::Result<Self> {
        let tree = Self::below(root);
        pretended::furnish(&tree.root)?;
        Ok(tree)
    }

    pub(super) fn pci(&self, address: PciAddress) -> PathBuf {
        self.root.join("sys/bus/pci/devices").join(address.to_string())
    }

    pub(super) fn pci_driver(&self, name: &str) -> PathBuf {
        self.root.join("sys/bus/pci/drivers").join(name)
    }

    pub(super) fn usb(&self) -> PathBuf {
        self.root.join("sys/bus/usb/devices")
    }

    /// The file by which QEMU reaches a group.
    pub(super) fn vfio(&self, group: u32) -> PathBuf {
        self.root.join("dev/vfio").join(group.to_string())
    }

    /// The file by which QEMU reaches what is plugged in.
    pub fn usb_file(&self, usb: &Usb) -> PathBuf {
        self.root.join(format!("dev/bus/usb/{:03}/{:03}", usb.port.bus, usb.number))
    }

    /// What the host has. A host without PCI or USB has nothing there.
    ///
    /// # Errors
    /// When sysfs cannot be read.
    pub fn look(&self) -> io::Result<Seen> {
        let mut seen = Seen::default();
        for path in entries(&self.root.join("sys/bus/pci/devices"))? {
            seen.pci.extend(pci(&path));
        }
        for path in entries(&self.usb())? {
            seen.usb.extend(usb(&path));
        }
        seen.pci.sort_by_key(|pci| pci.address);
        seen.usb.sort_by(|one, other| one.port.cmp(&other.port));
        Ok(seen)
    }
}

pub(super) fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What an attribute says, in one line. It may go away while it is read.
pub(super) fn said(path: &Path, attribute: &str) -> Option<String> {
    let bytes = fs::read(path.join(attribute)).ok()?;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_BYTES_MAX)]);
    let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    Some(text).filter(|text| !text.is_empty())
}

fn number(path: &Path, attribute: &str, digits: usize) -> Option<u32> {
    let text = said(path, attribute)?;
    let text = text.strip_prefix("0x").filter(|text| text.len() == digits)?;
    u32::from_str_radix(text, 16).ok()
}

/// The last part of where a link leads.
pub(super) fn led_to(link: &Path) -> Option<String> {
    let target = fs::read_link(link).ok()?;
    target.file_name()?.to_str().map(str::to_owned)
}

/// A function, unless it is a bridge: no guest can have one.
fn pci(path: &Path) -> Option<Pci> {
    let address = path.file_name()?.to_str()?.parse().ok()?;
    if number(path, "class", 6)? >> 16 == 0x06 {
        return None;
    }
    let half = |attribute| number(path, attribute, 4).and_then(|half| u16::try_from(half).ok());
    Some(Pci {
        address,
        id: Id { vendor: half("vendor")?, product: half("device")? },
        driver: led_to(&path.join("driver")),
        group: led_to(&path.join("iommu_group")).and_then(|group| group.parse().ok()),
    })
}

/// Something plugged in, unless it is a hub. Its interfaces have names that are no port's.
fn usb(path: &Path) -> Option<Usb> {
    let port = path.file_name()?.to_str()?.parse().ok()?;
    if said(path, "bDeviceClass")? == "09" {
        return None;
    }
    let words: Vec<String> =
        ["manufacturer", "product"].into_iter().filter_map(|word| said(path, word)).collect();
    Some(Usb {
        port,
        id: Id::of(&said(path, "idVendor")?, &said(path, "idProduct")?)?,
        serial: said(path, "serial"),
        name: Some(words.join(" ")).filter(|name| !name.is_empty()),
        number: said(path, "devnum")?.parse().ok()?,
    })
}
