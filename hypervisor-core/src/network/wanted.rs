//! All that is wanted of networks on this host, checked once more where it is carried out: whoever asks may
//! have been broken into.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{Mode, NetworkDefinition, NetworkDefinitionError, NetworkName};
use crate::definition::{Mac, Rate, Rule};

/// The most networks of a host.
const NETWORKS_MAX: usize = 256;
/// The most NICs on them.
const PLUGS_MAX: usize = 8192;
/// The most rules of one NIC.
const RULES_MAX: usize = 64;

/// The networks of a host and who is on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The networks.
    pub networks: Vec<Network>,
    /// The NICs on them, whether their machines run or not.
    pub plugs: Vec<Plug>,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Its name.
    pub name: NetworkName,
    /// What it is.
    pub definition: NetworkDefinition,
}

/// A NIC on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plug {
    /// The host's end of it.
    pub interface: Interface,
    /// The network.
    pub network: NetworkName,
    /// What its guest is called there: one label of a name, the same once per network; none for a machine
    /// whose name is no such label.
    pub label: Option<String>,
    /// Its MAC.
    pub mac: Mac,
    /// Its address; none where others give out addresses and none was fixed.
    pub address: Option<std::net::Ipv4Addr>,
    /// Whether frames with addresses that are not its own are dropped.
    pub guard: bool,
    /// How much it carries, at most.
    pub rate: Option<Rate>,
    /// What may pass.
    pub rules: Vec<Rule>,
}

/// The host's end of a NIC: `sk` and eight hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interface(String);

/// Why something cannot be wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WantedError {
    /// Not an interface of ours.
    #[error("{0:?} is not the name of an interface of ours")]
    Interface(String),
    /// Too much of it.
    #[error("that is more than {NETWORKS_MAX} networks, {PLUGS_MAX} NICs or {RULES_MAX} rules of one")]
    TooMuch,
    /// A network that cannot be.
    #[error("the network {0}: {1}")]
    Network(NetworkName, NetworkDefinitionError),
    /// Two of one name, one bridge, or with addresses in common.
    #[error("the networks {0} and {1} have a name, a bridge or addresses in common")]
    Overlap(NetworkName, NetworkName),
    /// A NIC that cannot be.
    #[error("the NIC {0} {1}")]
    Plug(Interface, &'static str),
}

impl Interface {
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Interface {
    type Err = WantedError;

    fn from_str(text: &str) -> Result<Self, WantedError> {
        let fine = text.strip_prefix("sk").is_some_and(|digits| {
            digits.len() == 8 && digits.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
        });
        if fine {
            Ok(Self(text.into()))
        } else {
            Err(WantedError::Interface(text.chars().take(40).collect()))
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Interface {
    type Error = WantedError;
    fn try_from(text: String) -> Result<Self, WantedError> {
        text.parse()
    }
}

impl From<Interface> for String {
    fn from(interface: Interface) -> String {
        interface.0
    }
}

impl Network {
    /// The interface that its guests are joined by.
    pub fn bridge(&self) -> String {
        self.definition.bridge(&self.name)
    }

    /// Whether the bridge is made by us.
    pub fn makes_bridge(&self) -> bool {
        self.definition.bridge.is_none()
    }

    /// The device of its VLAN on its uplink, where it has them.
    pub fn vlan_device(&self) -> Option<(String, &str, u16)> {
        let NetworkDefinition { uplink, vlan, .. } = &self.definition;
        uplink.as_deref().zip(*vlan).map(|(uplink, vlan)| (format!("sv-{}", self.name), uplink, vlan))
    }

    /// The MAC of the bridge: the same after every restart, so that guests need not learn it anew.
    pub fn mac(&self) -> Mac {
        Mac::of_network(self.name.as_str())
    }

    /// What the bridge is called in IPv6's neighbourhood, by its MAC (RFC 4291, appendix A).
    pub fn link_local(&self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.mac().bytes();
        let host = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        Ipv6Addr::from((0xfe80_u128 << 112) | u128::from(host))
    }
}

impl Plug {
    /// All its addresses on `network`.
    pub fn addresses(&self, network: &NetworkDefinition) -> Vec<IpAddr> {
        let six = network.address6(self.mac).map(IpAddr::from);
        self.address.map(IpAddr::from).into_iter().chain(six).collect()
    }
}

impl Wanted {
    /// The network of this name.
    pub fn network(&self, name: &NetworkName) -> Option<&Network> {
        self.networks.iter().find(|network| network.name == *name)
    }

    /// Checks what a type cannot.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), WantedError> {
        let too_many_rules = self.plugs.iter().any(|plug| plug.rules.len() > RULES_MAX);
        if self.networks.len() > NETWORKS_MAX || self.plugs.len() > PLUGS_MAX || too_many_rules {
            return Err(WantedError::TooMuch);
        }
        for (nth, network) in self.networks.iter().enumerate() {
            let wrong = |error| WantedError::Network(network.name.clone(), error);
            network.definition.check().map_err(wrong)?;
            if let Some(other) = self.networks[..nth].iter().find(|other| overlap(other, network)) {
                return Err(WantedError::Overlap(other.name.clone(), network.name.clone()));
            }
        }
        let (mut taken, mut interfaces) = (BTreeSet::new(), BTreeSet::new());
        for plug in &self.plugs {
            let wrong = |why| Err(WantedError::Plug(plug.interface.clone(), why));
            let Some(network) = self.network(&plug.network) else { return wrong("is on no network") };
            let here = |what: String| (plug.network.clone(), what);
            if !taken.insert((plug.network.clone(), plug.mac.to_string())) {
                return wrong("has the MAC of another");
            }
            if let Some(label) = &plug.label
                && (!is_label(label) || !taken.insert(here(label.clone())))
            {
                return wrong("has a name that cannot be, or another's");
            }
            if !interfaces.insert(&plug.interface) {
                return wrong("has the interface of another");
            }
            let subnet = network.definition.subnet;
            match plug.address {
                Some(address) if !taken.insert(here(address.to_string())) => {
                    return wrong("has another's address");
                }
                Some(address)
                    if subnet.is_some_and(|subnet| {
                        !subnet.contains(&address)
                            || Some(address) == network.definition.gateway()
                            || address == subnet.network()
                            || address == subnet.broadcast()
                    }) =>
                {
                    return wrong("has an address that no guest can have");
                }
                None if network.definition.mode != Mode::Bridge => return wrong("has no address"),
                _ => {}
            }
        }
        Ok(())
    }
}

fn overlap(one: &Network, other: &Network) -> bool {
    let (a, b) = (&one.definition, &other.definition);
    let four = a.subnet.zip(b.subnet).is_some_and(|(a, b)| a.contains(&b) || b.contains(&a));
    let six = a.subnet6.zip(b.subnet6).is_some_and(|(a, b)| a.contains(&b) || b.contains(&a));
    // A bridge that filters VLANs is as many networks.
    let bridge = a.bridge.is_some() && a.bridge == b.bridge && a.vlan == b.vlan;
    let vlan = a.uplink.is_some() && a.uplink == b.uplink && a.vlan == b.vlan;
    one.name == other.name || four || six || bridge || vlan
}

/// Whether it is one label of a name in the DNS.
pub(super) fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}
