//! The network interfaces of a machine.

mod word;
mod written;

use std::{fmt, net::Ipv4Addr, num::NonZeroU16, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};

pub use self::word::{NicWordError, say as say_nic};
use self::written::Written;
use super::Rate;
use crate::{machine::MachineId, network::NetworkName};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Nic {
    /// What it is called in this machine: `[a-z][a-z0-9-]{0,15}`, unlike the others.
    pub name: String,
    /// Its address; left out, one is made from the machine and the name: see [`Nic::address`].
    pub mac: Option<Mac>,
    /// What the guest sees.
    pub model: NicModel,
    /// What it is connected to.
    pub network: Network,
    /// Which one the firmware tries first, lowest first, among disks and NICs.
    pub boot_order: Option<u32>,
    /// How much it carries in each direction, at most. Only on a network of the host's.
    pub rate: Option<Rate>,
    /// Whether frames with an address that is not this NIC's are dropped. Only on a network of the host's;
    /// off for guests that are routers, or run guests themselves.
    pub guard: bool,
    /// Whether its cable is in.
    pub link: Link,
}

/// What a NIC is connected to.
#[derive(Clone, Debug, PartialEq)]
pub enum Network {
    /// QEMU's own: the guest reaches out through the host's sockets, and is reached by forwarded ports
    /// only. Needs no rights. The guest also reaches what listens on the host's loopback (as 10.0.2.2).
    User {
        /// Ports of the host that lead to the guest.
        forwards: Vec<Forward>,
    },
    /// A bridge of the host, which is there.
    Bridge {
        /// Its name.
        name: String,
    },
    /// A network of this host (see: network list).
    Named {
        /// Its name.
        name: NetworkName,
        /// The address it has there; left out, one is found for it and kept.
        address: Option<Ipv4Addr>,
    },
}

impl Default for Network {
    fn default() -> Self {
        Network::User { forwards: Vec::new() }
    }
}

impl Nic {
    /// A virtio NIC. Its name is empty: see [`super::Definition::name_all`].
    pub fn new(network: Network) -> Self {
        Self {
            name: String::new(),
            mac: None,
            model: NicModel::Virtio,
            network,
            boot_order: None,
            rate: None,
            guard: true,
            link: Link::Up,
        }
    }

    /// Its address in this machine: as it is defined, or else one that is the same for the machine's
    /// life, and another in every other machine.
    pub fn address(&self, id: MachineId) -> Mac {
        self.mac.unwrap_or_else(|| Mac::made(id, &self.name))
    }

    /// What the host's end of it is called, where that is an interface of the host's.
    pub fn interface(&self, id: MachineId) -> String {
        let [_, _, a, b, c, d] = Mac::made(id, &self.name).bytes();
        format!("sk{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

/// Whether the cable of a NIC is in, as its guest sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    /// It is: the guest has a carrier.
    #[default]
    Up,
    /// It is not: nothing passes in either direction, and the guest knows.
    Down,
}

impl Link {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Link::Up => "up",
            Link::Down => "down",
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_up(&self) -> bool {
        *self == Link::Up
    }
}

/// What a guest sees of a NIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NicModel {
    /// virtio-net: the fastest.
    #[default]
    Virtio,
    /// Intel's 82574L, which any guest knows.
    E1000e,
    /// Realtek's 8139, which very old guests know.
    Rtl8139,
}

impl NicModel {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            NicModel::Virtio => "virtio",
            NicModel::E1000e => "e1000e",
            NicModel::Rtl8139 => "rtl8139",
        }
    }
}

/// The address of a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// One made from a machine and a name: locally administered, with QEMU's usual beginning.
    fn made(id: MachineId, name: &str) -> Self {
        let [a, b, c, d] = fnv(id.0.as_bytes().iter().copied().chain(name.bytes())).to_be_bytes();
        Self([0x52, 0x54, a, b, c, d])
    }

    /// One made from the name of a network, for the host's end of it.
    pub(crate) fn of_network(name: &str) -> Self {
        let [a, b, c, d] = fnv(b"network ".iter().copied().chain(name.bytes())).to_be_bytes();
        Self([0x52, 0x54, a, b, c, d])
    }

    /// Its bytes.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

/// FNV-1a, 64 bits folded to 32: spread well enough, and the same for ever, which the standard
/// library's hashes do not promise.
fn fnv(bytes: impl Iterator<Item = u8>) -> u32 {
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    u32::try_from((hash >> 32) ^ (hash & 0xffff_ffff)).expect("invariant: 32 bits")
}

/// Why a text is not the address of a NIC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// Not six numbers.
    #[error("{0:?} is not a MAC address: write one as 52:54:00:12:34:56")]
    Form(String),
    /// One of many at once.
    #[error("{0} is a multicast address: the first number of a NIC's is even")]
    Multicast(Mac),
    /// All zero.
    #[error("a NIC's address cannot be all zero")]
    Zero,
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let form = || MacError::Form(text.chars().take(40).collect());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| is_octet(part)).ok_or_else(form)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| form())?;
        }
        if parts.next().is_some() {
            return Err(form());
        }
        match Self(bytes) {
            mac if bytes[0] & 1 == 1 => Err(MacError::Multicast(mac)),
            _ if bytes == [0; 6] => Err(MacError::Zero),
            mac => Ok(mac),
        }
    }
}

fn is_octet(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;
    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

/// A port of the host that leads to the guest: `8080:80`, `127.0.0.1:8080:80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Forward {
    /// Of what.
    pub protocol: Protocol,
    /// At which of the host's addresses. Left out it is 127.0.0.1: nothing is open to the network
    /// that was not meant to be.
    pub address: Ipv4Addr,
    /// The host's port.
    pub host_port: NonZeroU16,
    /// The guest's port.
    pub guest_port: NonZeroU16,
}

/// What is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// Why a text is not a forwarded port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a forwarded port: write host:guest, such as 8080:80, 0.0.0.0:8080:80 or 5353:53/udp")]
pub struct ForwardError(String);

impl FromStr for Forward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, ForwardError> {
        let read = || {
            let (ports, protocol) = match text.rsplit_once('/') {
                None => (text, Protocol::Tcp),
                Some((ports, "tcp")) => (ports, Protocol::Tcp),
                Some((ports, "udp")) => (ports, Protocol::Udp),
                Some(_) => return None,
            };
            let (before, guest_port) = ports.rsplit_once(':')?;
            let (address, host_port) = match before.rsplit_once(':') {
                None => (Ipv4Addr::LOCALHOST, before),
                Some((address, port)) => (address.parse().ok()?, port),
            };
            let (host_port, guest_port) = (host_port.parse().ok()?, guest_port.parse().ok()?);
            Some(Self { protocol, address, host_port, guest_port })
        };
        read().ok_or_else(|| ForwardError(text.chars().take(60).collect()))
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address != Ipv4Addr::LOCALHOST {
            write!(f, "{}:", self.address)?;
        }
        write!(f, "{}:{}", self.host_port, self.guest_port)?;
        if self.protocol == Protocol::Tcp { Ok(()) } else { write!(f, "/{}", self.protocol.word()) }
    }
}

impl TryFrom<String> for Forward {
    type Error = ForwardError;
    fn try_from(text: String) -> Result<Self, ForwardError> {
        text.parse()
    }
}

impl From<Forward> for String {
    fn from(forward: Forward) -> String {
        forward.to_string()
    }
}

impl Forward {
    /// Whether both would take the same port of the host.
    pub fn collides(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.host_port == other.host_port
            && (self.address == other.address
                || self.address.is_unspecified()
                || other.address.is_unspecified())
    }
}

/// Reads NICs, and names those that have no name.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Nic>, D::Error> {
    let mut nics = Vec::deserialize(deserializer)?;
    name(&mut nics);
    Ok(nics)
}

/// Names those that have no name: `net1`, or the first such name that is free.
pub(super) fn name(nics: &mut [Nic]) {
    super::fill_names("net", nics, |nic| &mut nic.name);
}
