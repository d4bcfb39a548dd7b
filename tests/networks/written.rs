//! What nftables and dnsmasq are told, whole, for each kind of network.

use std::path::Path;

use hypervisor_core::network::{
    Mode, Network, NetworkDefinition, Plug, Wanted, dnsmasq,
    nft::{self, Present},
};
use skerry_tests::golden::golden;

use super::{network, plug, wanted};

fn six(network: Network) -> Network {
    let definition = NetworkDefinition { subnet6: "fd00:20::/64".parse().ok(), ..network.definition };
    Network { definition, ..network }
}

/// Holds what is said of these to the file of this name.
fn says(name: &str, wanted: &Wanted, borrowed: &[&str]) {
    wanted.check().unwrap();
    let borrowed: Vec<String> = borrowed.iter().map(|name| (*name).to_owned()).collect();
    let text = nft::transaction(wanted, &borrowed, &Present::default());
    golden(&format!("tests/networks/golden/{name}.nft"), &text).unwrap();
    for network in &wanted.networks {
        let plugs: Vec<&Plug> = wanted.plugs.iter().filter(|plug| plug.network == network.name).collect();
        let folder = Path::new("/var/lib/skerry-net").join(network.name.as_str());
        let text = dnsmasq::configuration(network, &plugs, &folder).unwrap_or_default();
        golden(&format!("tests/networks/golden/{name}.dnsmasq"), &text).unwrap();
    }
}

#[test]
fn nat() {
    let lan = network("lan", Mode::Nat, 0);
    says("nat", &wanted(&[&lan], &[&plug(&lan, 2), &plug(&lan, 3)]), &["eth0"]);
}

#[test]
fn routed_with_ipv6() {
    let dmz = six(network("dmz", Mode::Routed, 1));
    says("routed", &wanted(&[&dmz], &[&plug(&dmz, 2)]), &[]);
}

#[test]
fn isolated() {
    let lab = network("lab", Mode::Isolated, 2);
    let unguarded = Plug { guard: false, ..plug(&lab, 2) };
    says("isolated", &wanted(&[&lab], &[&unguarded]), &[]);
}

#[test]
fn a_bridge_of_the_hosts() {
    let office = NetworkDefinition { bridge: Some("br0".into()), ..NetworkDefinition::new(Mode::Bridge) };
    let office = Network { name: "office".parse().unwrap(), definition: office };
    says("bridge", &wanted(&[&office], &[&plug(&office, 2)]), &[]);
}

#[test]
fn a_firewall_and_a_rate() {
    let lan = network("lan", Mode::Nat, 0);
    let rules =
        ["allow in tcp 22,8000-8100 from 10.0.0.0/8", "deny in", "allow out udp 53", "deny out to 10.20.0.3"];
    let plug = Plug {
        rules: rules.map(|rule| rule.parse().unwrap()).to_vec(),
        rate: "100Mbit".parse().ok(),
        ..plug(&lan, 2)
    };
    says("firewall", &wanted(&[&lan], &[&plug]), &[]);
}

#[test]
fn nothing() {
    says("nothing", &Wanted::default(), &[]);
}

#[test]
fn what_is_no_longer_wanted_is_named_to_be_taken_away_and_the_rest_stays() {
    let lan = network("lan", Mode::Nat, 0);
    let present = Present {
        chains: ["from-guests", "to-guests", "from-sk00000002", "to-sk00000002", "from-sk00000009"]
            .map(String::from)
            .to_vec(),
        sets: vec!["flows4-sk00000009".into()],
    };
    let text = nft::transaction(&wanted(&[&lan], &[&plug(&lan, 2)]), &[], &present);
    let deleted: Vec<&str> = text.lines().filter(|line| line.starts_with("delete")).collect();
    assert_eq!(
        deleted,
        [
            "delete table inet skerry",
            "delete chain bridge skerry from-sk00000009",
            "delete set bridge skerry flows4-sk00000009"
        ]
    );
}
