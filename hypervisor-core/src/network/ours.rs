//! Which interfaces of the host are ours. Names alone do not say it: anybody may call something `sk-lan` or
//! `sv-lan`. What we make has besides a MAC made of its name, from its first moment on, and so also when
//! whoever made it was killed right after.

use std::collections::BTreeSet;

use super::{Network, Wanted, ip::Link};
use crate::definition::Mac;

/// The MAC of a VLAN device of ours.
pub(super) fn mac_of_vlan(device: &str) -> Mac {
    Mac::of_network(device)
}

/// A bridge that we made.
pub(super) fn is_our_bridge(link: &Link) -> bool {
    let mac = link.name.strip_prefix("sk-").map(|name| Mac::of_network(name).to_string());
    link.is("bridge") && mac.is_some() && link.address == mac
}

/// A VLAN device that we made.
pub(super) fn is_our_vlan(link: &Link) -> bool {
    let mac = link.name.starts_with("sv-").then(|| mac_of_vlan(&link.name).to_string());
    link.is("vlan") && mac.is_some() && link.address == mac
}

/// Interfaces of ours that nobody wants any more.
pub(super) fn unwanted<'a>(wanted: &Wanted, links: &'a [Link]) -> impl Iterator<Item = &'a str> {
    let bridges: BTreeSet<String> = wanted.networks.iter().map(Network::bridge).collect();
    let vlans: BTreeSet<String> =
        wanted.networks.iter().filter_map(|network| Some(network.vlan_device()?.0)).collect();
    let found = links.iter().filter(move |link| {
        is_our_bridge(link) && !bridges.contains(&link.name)
            || is_our_vlan(link) && !vlans.contains(&link.name)
    });
    found.map(|link| link.name.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::network::{Mode, NetworkDefinition};

    /// An interface as `ip -json -details` shows it.
    fn link(name: &str, kind: &str, address: &str) -> Link {
        serde_json::from_value(serde_json::json!({
            "ifname": name,
            "link": "eth0",
            "flags": ["BROADCAST", "MULTICAST", "UP"],
            "address": address,
            "linkinfo": {"info_kind": kind, "info_data": {"protocol": "802.1Q", "id": 20, "flags": []}},
        }))
        .unwrap()
    }

    fn named(name: &str, definition: NetworkDefinition) -> Network {
        Network { name: name.parse().unwrap(), definition }
    }

    #[test]
    fn what_only_has_a_name_such_as_ours_is_the_hosts_own() {
        let uplinks = "52:54:00:00:00:01";
        let ours = mac_of_vlan("sv-lan").to_string();
        assert!(is_our_vlan(&link("sv-lan", "vlan", &ours)));
        // A VLAN of the host's has the MAC of what it stands on.
        assert!(!is_our_vlan(&link("sv-lan", "vlan", uplinks)));
        assert!(!is_our_vlan(&link("sv-dmz", "vlan", &ours)), "the MAC is another's");
        assert!(!is_our_vlan(&link("sv-lan", "dummy", &ours)));
        assert!(!is_our_vlan(&link("eth0.20", "vlan", &mac_of_vlan("eth0.20").to_string())));
        let lan = Mac::of_network("lan").to_string();
        assert!(is_our_bridge(&link("sk-lan", "bridge", &lan)));
        assert!(!is_our_bridge(&link("sk-lan", "bridge", uplinks)));
    }

    #[test]
    fn only_what_is_ours_and_nobody_wants_goes() {
        let office = NetworkDefinition {
            uplink: Some("eth0".into()),
            vlan: Some(20),
            ..NetworkDefinition::new(Mode::Bridge)
        };
        let wanted = Wanted { networks: vec![named("office", office)], plugs: vec![] };
        let mac = |name: &str| mac_of_vlan(name).to_string();
        let links = [
            link("eth0", "", "52:54:00:00:00:01"),
            link("sv-office", "vlan", &mac("sv-office")),
            link("sv-gone", "vlan", &mac("sv-gone")),
            link("sv-theirs", "vlan", "52:54:00:00:00:01"),
            link("sk-gone", "bridge", &Mac::of_network("gone").to_string()),
            link("sk-theirs", "bridge", "52:54:00:00:00:02"),
        ];
        assert_eq!(unwanted(&wanted, &links).collect::<Vec<_>>(), ["sv-gone", "sk-gone"]);
    }
}
