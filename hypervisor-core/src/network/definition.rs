//! What a network is.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::NetworkName;
use crate::definition::{Mac, is_interface};

/// The longest domain, in bytes.
const DOMAIN_BYTES_MAX: usize = 63;
/// The smallest network: the host, a guest, and the two addresses that are nobody's.
const PREFIX_MAX: u8 = 30;
/// The largest: 65,534 guests.
const PREFIX_MIN: u8 = 16;

/// What a network does with the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Its guests reach out with the host's address; nobody reaches in.
    Nat,
    /// Its guests reach out and are reached with their own addresses; others have to know the way.
    Routed,
    /// Its guests reach each other, and of the host only addresses and names.
    Isolated,
    /// Its guests are on a bridge of the host, and what else is there is not ours.
    Bridge,
}

impl Mode {
    /// Every one.
    pub const ALL: [Mode; 4] = [Mode::Nat, Mode::Routed, Mode::Isolated, Mode::Bridge];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Nat => "nat",
            Mode::Routed => "routed",
            Mode::Isolated => "isolated",
            Mode::Bridge => "bridge",
        }
    }
}

/// What a network is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkDefinition {
    /// What it does with the world.
    pub mode: Mode,
    /// Its addresses; the first is the host's. All but a bridge of the host's have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<Ipv4Net>,
    /// Its IPv6 addresses, where it has any: 64 bits of prefix. The first is the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet6: Option<Ipv6Net>,
    /// The bridge of the host it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The interface of the host that leads to its VLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<String>,
    /// Its VLAN: on the uplink, or on the bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Whether guests are told their addresses (DHCP, and for IPv6 router advertisements).
    pub dhcp: bool,
    /// Whether guests are told names: each other's, and unless it is isolated the world's.
    pub dns: bool,
    /// The domain of its guests' names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
}

/// Why something cannot be a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkDefinitionError {
    /// It has no addresses.
    #[error("a network of mode {0} has a subnet, such as 10.20.0.0/24")]
    NoSubnet(&'static str),
    /// Its addresses are not what a network can have.
    #[error("{0} cannot be a subnet here: {1}")]
    Subnet(String, &'static str),
    /// It has no bridge.
    #[error("a network of mode bridge names a bridge of the host (bridge=br0), or an uplink and its VLAN")]
    NoBridge,
    /// What only another mode has.
    #[error("a network of mode {0} has no {1}")]
    Foreign(&'static str, &'static str),
    /// No interface's name.
    #[error("{0:?} cannot be the name of an interface: it has 1 to 15 of a-z, A-Z, 0-9, - _ and .")]
    Interface(String),
    /// No VLAN's number.
    #[error("a VLAN has a number from 1 to 4094, not {0}")]
    Vlan(u16),
    /// A VLAN without anything it could be on, or the reverse.
    #[error("an uplink is joined by its VLAN: give both, or name a bridge")]
    VlanAlone,
    /// No domain.
    #[error("{0:?} cannot be a domain: write one such as lan.internal")]
    Domain(String),
    /// A text that is too long, or has line ends in it.
    #[error("what it is, for people, is one line of at most 200 characters")]
    About,
}

impl NetworkDefinition {
    /// One of this mode with nothing said of it yet.
    pub fn new(mode: Mode) -> Self {
        let ours = mode != Mode::Bridge;
        Self {
            mode,
            subnet: None,
            subnet6: None,
            bridge: None,
            uplink: None,
            vlan: None,
            dhcp: ours,
            dns: ours,
            domain: None,
            about: String::new(),
        }
    }

    /// Checks it. Looks at nothing of the host.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), NetworkDefinitionError> {
        use NetworkDefinitionError as Wrong;
        let Self { mode, subnet, subnet6, bridge, uplink, vlan, dhcp, dns, domain, about } = self;
        let word = mode.word();
        if *mode == Mode::Bridge {
            let odd = [
                (subnet.is_some() || subnet6.is_some(), "subnet: whoever is there gives out addresses"),
                (*dhcp, "DHCP of ours: whoever is there gives out addresses"),
                (*dns || domain.is_some(), "names of ours"),
            ];
            if let Some((_, what)) = odd.iter().find(|(has, _)| *has) {
                return Err(Wrong::Foreign(word, what));
            }
            match (bridge, uplink, vlan) {
                (Some(_), None, _) | (None, Some(_), Some(_)) => {}
                (None, None, _) => return Err(Wrong::NoBridge),
                (None, Some(_), None) | (Some(_), Some(_), _) => return Err(Wrong::VlanAlone),
            }
        } else {
            let odd = [(bridge.is_some(), "bridge of the host's"), (uplink.is_some(), "uplink")];
            if let Some((_, what)) = odd.iter().find(|(has, _)| *has) {
                return Err(Wrong::Foreign(word, what));
            }
            if vlan.is_some() {
                return Err(Wrong::Foreign(word, "VLAN"));
            }
            check_subnet(subnet.ok_or(Wrong::NoSubnet(word))?)?;
            subnet6.map_or(Ok(()), check_subnet6)?;
        }
        for name in [bridge, uplink].into_iter().flatten() {
            if !is_interface(name) || is_ours(name) {
                return Err(Wrong::Interface(name.chars().take(40).collect()));
            }
        }
        if let Some(vlan) = vlan.filter(|vlan| !(1..=4094).contains(vlan)) {
            return Err(Wrong::Vlan(vlan));
        }
        if let Some(domain) = domain.as_ref().filter(|domain| !is_domain(domain)) {
            return Err(Wrong::Domain(domain.chars().take(80).collect()));
        }
        let odd = about.chars().count() > 200 || about.chars().any(char::is_control);
        if odd { Err(Wrong::About) } else { Ok(()) }
    }

    /// The host's address in it.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.subnet.and_then(|subnet| subnet.hosts().next())
    }

    /// The host's IPv6 address in it.
    pub fn gateway6(&self) -> Option<Ipv6Addr> {
        self.subnet6.map(|subnet| Ipv6Addr::from(u128::from(subnet.network()) + 1))
    }

    /// The addresses its guests can have, in their order.
    pub fn guests(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.subnet.into_iter().flat_map(|subnet| subnet.hosts().skip(1))
    }

    /// The IPv6 address of a NIC: the prefix, and what RFC 4291, appendix A, makes of its MAC.
    pub fn address6(&self, mac: Mac) -> Option<Ipv6Addr> {
        let [a, b, c, d, e, f] = mac.bytes();
        let host = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        self.subnet6.map(|subnet| Ipv6Addr::from(u128::from(subnet.network()) | u128::from(host)))
    }

    /// The interface that its guests are joined by.
    pub fn bridge(&self, name: &NetworkName) -> String {
        self.bridge.clone().unwrap_or_else(|| format!("sk-{name}"))
    }

    /// The domain of its guests' names.
    pub fn domain(&self, name: &NetworkName) -> String {
        self.domain.clone().unwrap_or_else(|| format!("{name}.internal"))
    }
}

/// Whether it is the kind of name we give: a network never stands on another of ours.
fn is_ours(interface: &str) -> bool {
    interface.starts_with("sk-") || interface.starts_with("sv-")
}

fn check_subnet(subnet: Ipv4Net) -> Result<(), NetworkDefinitionError> {
    let wrong = |why| Err(NetworkDefinitionError::Subnet(subnet.to_string(), why));
    let first = subnet.network();
    if subnet != subnet.trunc() {
        return wrong("write the first address of it, such as 10.20.0.0/24");
    }
    if !(PREFIX_MIN..=PREFIX_MAX).contains(&subnet.prefix_len()) {
        return wrong("it has a prefix of 16 to 30");
    }
    if first.is_loopback() || first.is_multicast() || first.is_link_local() || first.octets()[0] == 0 {
        return wrong("these addresses have a meaning of their own");
    }
    if first.octets()[0] >= 240 { wrong("these addresses are nobody's") } else { Ok(()) }
}

fn check_subnet6(subnet: Ipv6Net) -> Result<(), NetworkDefinitionError> {
    let wrong = |why| Err(NetworkDefinitionError::Subnet(subnet.to_string(), why));
    let first = subnet.network();
    if subnet != subnet.trunc() {
        return wrong("write the first address of it, such as fd00:20::/64");
    }
    if subnet.prefix_len() != 64 {
        return wrong("it has a prefix of 64");
    }
    let special = first.is_multicast() || first.is_unicast_link_local() || first.segments()[0] == 0;
    if special { wrong("these addresses have a meaning of their own") } else { Ok(()) }
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    };
    text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn nat(subnet: &str) -> NetworkDefinition {
        NetworkDefinition { subnet: subnet.parse().ok(), ..NetworkDefinition::new(Mode::Nat) }
    }

    #[test]
    fn the_first_address_is_the_hosts_and_the_others_are_the_guests() {
        let net = nat("10.20.0.0/29");
        net.check().unwrap();
        assert_eq!(net.gateway().unwrap().to_string(), "10.20.0.1");
        let guests: Vec<String> = net.guests().map(|address| address.to_string()).collect();
        assert_eq!(guests, ["10.20.0.2", "10.20.0.3", "10.20.0.4", "10.20.0.5", "10.20.0.6"]);
        let net = NetworkDefinition { subnet6: "fd00:20::/64".parse().ok(), ..net };
        net.check().unwrap();
        assert_eq!(net.gateway6().unwrap().to_string(), "fd00:20::1");
        let mac = "52:54:00:12:34:56".parse().unwrap();
        assert_eq!(net.address6(mac).unwrap().to_string(), "fd00:20::5054:ff:fe12:3456");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let wrong =
            ["10.20.0.1/24", "10.0.0.0/8", "10.20.0.0/31", "127.0.0.0/24", "224.0.0.0/24", "250.0.0.0/24"];
        for subnet in wrong {
            assert!(matches!(nat(subnet).check(), Err(NetworkDefinitionError::Subnet(..))), "{subnet}");
        }
        let alone = NetworkDefinition::new(Mode::Nat);
        assert_eq!(alone.check(), Err(NetworkDefinitionError::NoSubnet("nat")));
        let six = NetworkDefinition { subnet6: "fd00::/48".parse().ok(), ..nat("10.20.0.0/24") };
        assert!(six.check().is_err());
        let domain = NetworkDefinition { domain: Some("a..b".into()), ..nat("10.20.0.0/24") };
        assert_eq!(domain.check(), Err(NetworkDefinitionError::Domain("a..b".into())));
        let vlan = NetworkDefinition { vlan: Some(7), ..nat("10.20.0.0/24") };
        assert_eq!(vlan.check(), Err(NetworkDefinitionError::Foreign("nat", "VLAN")));
    }

    #[test]
    fn a_bridge_is_named_or_made_of_an_uplink_and_its_vlan() {
        let bridge = NetworkDefinition::new(Mode::Bridge);
        assert_eq!(bridge.check(), Err(NetworkDefinitionError::NoBridge));
        let named = NetworkDefinition { bridge: Some("br0".into()), ..bridge.clone() };
        named.check().unwrap();
        NetworkDefinition { vlan: Some(20), ..named.clone() }.check().unwrap();
        let uplink = NetworkDefinition { uplink: Some("eth0".into()), ..bridge };
        assert_eq!(uplink.check(), Err(NetworkDefinitionError::VlanAlone));
        NetworkDefinition { vlan: Some(20), ..uplink.clone() }.check().unwrap();
        assert_eq!(
            NetworkDefinition { vlan: Some(4095), ..uplink }.check(),
            Err(NetworkDefinitionError::Vlan(4095))
        );
        for odd in ["", "br 0", "../x", "-b", "sk-lan"] {
            let odd = NetworkDefinition { bridge: Some(odd.into()), ..named.clone() };
            assert!(matches!(odd.check(), Err(NetworkDefinitionError::Interface(_))), "{odd:?}");
        }
    }
}
