//! Networks: what nftables and dnsmasq are told, and what then is so, between namespaces that stand in for
//! guests. Everything is in a network namespace of the test's own: nothing of this machine's is touched.
#![allow(clippy::unwrap_used, clippy::panic)]

mod making;
mod rules;
mod space;
mod without_rights;
mod written;

use hypervisor_core::network::{Mode, Network, NetworkDefinition, Plug, Wanted};

/// A network of this mode with the addresses 10.20.N.0/24.
pub fn network(name: &str, mode: Mode, n: u8) -> Network {
    let mut definition = NetworkDefinition::new(mode);
    if mode != Mode::Bridge {
        definition.subnet = format!("10.20.{n}.0/24").parse().ok();
    }
    Network { name: name.parse().unwrap(), definition }
}

/// The NIC number `n` of a network with the addresses 10.20.NET.0/24: its address is 10.20.NET.N.
pub fn plug(network: &Network, n: u8) -> Plug {
    let net = network.definition.gateway().map(|gateway| gateway.octets());
    Plug {
        interface: format!("sk000000{n:02x}").parse().unwrap(),
        network: network.name.clone(),
        label: Some(format!("web{n}")),
        mac: format!("52:54:00:00:00:{n:02x}").parse().unwrap(),
        address: net.map(|[a, b, c, _]| [a, b, c, n].into()),
        guard: true,
        rate: None,
        rules: vec![],
    }
}

/// These networks with these NICs.
pub fn wanted(networks: &[&Network], plugs: &[&Plug]) -> Wanted {
    Wanted {
        networks: networks.iter().map(|network| (*network).clone()).collect(),
        plugs: plugs.iter().map(|plug| (*plug).clone()).collect(),
    }
}
