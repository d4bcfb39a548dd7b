//! What may pass at one NIC: its own addresses, its rate, its rules.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Text;
use crate::{
    definition::{Carried, Rule, Way},
    network::{Interface, Mode, Network, Plug, Wanted},
};

/// Frames that come from guests.
pub(super) const FROM: &str = "from-guests";
/// Frames that go to guests.
pub(super) const TO: &str = "to-guests";
/// What is remembered: addresses with ports, and without.
const KINDS: [&str; 2] = ["flows", "pairs"];
/// How many connections of one NIC are known at once.
const FLOWS_MAX: usize = 65_536;
/// The least burst of a rate: one that were smaller than what a guest hands over at once (64 KiB, segmented
/// by us only later) would never pass it.
const BURST_BYTES_MIN: u64 = 256 * 1024;

/// A NIC for which there is something to say.
pub(super) struct Guest<'a> {
    plug: &'a Plug,
    network: &'a Network,
}

/// All of them.
pub(super) fn all(wanted: &Wanted) -> Vec<Guest<'_>> {
    let found = wanted.plugs.iter().filter_map(|plug| {
        let network = wanted.network(&plug.network)?;
        (plug.guard || plug.rate.is_some() || !plug.rules.is_empty()).then_some(Guest { plug, network })
    });
    found.collect()
}

impl Guest<'_> {
    fn has_rules(&self) -> bool {
        !self.plug.rules.is_empty()
    }

    /// Its chains.
    pub(super) fn chains(&self) -> Vec<String> {
        let of = |what: &str| format!("{what}-{}", self.plug.interface);
        let mut chains = vec![of("from"), of("to")];
        if self.has_rules() {
            chains.extend([of("sent"), of("got")]);
        }
        chains
    }

    /// Its sets: who was spoken with lately, and who began.
    pub(super) fn sets(&self) -> Vec<String> {
        let interface = &self.plug.interface;
        let ways = [Way::In, Way::Out].into_iter().filter(|_| self.has_rules());
        let of =
            |way| KINDS.into_iter().flat_map(move |what| ["4", "6"].map(|ip| set(what, way, ip, interface)));
        ways.flat_map(of).collect()
    }
}

/// The set of what was begun this way.
fn set(what: &str, begun: Way, ip: &str, interface: &Interface) -> String {
    let begun = if begun == Way::In { "in" } else { "out" };
    format!("{what}{ip}-{begun}-{interface}")
}

/// The whole table.
pub(super) fn say(text: &mut Text, guests: &[Guest<'_>]) {
    for guest in guests {
        sets(text, guest);
        let interface = &guest.plug.interface;
        // What a rule jumps to is there before it.
        if guest.has_rules() {
            text.block(&format!("chain sent-{interface}"), |text| remember(text, guest, Way::Out));
            text.block(&format!("chain got-{interface}"), |text| remember(text, guest, Way::In));
        }
        text.block(&format!("chain from-{interface}"), |text| from(text, guest));
        text.block(&format!("chain to-{interface}"), |text| to(text, guest));
    }
    let hooks = [(FROM, "prerouting", "iifname", "from"), (TO, "postrouting", "oifname", "to")];
    for (chain, hook, which, way) in hooks {
        text.block(&format!("chain {chain}"), |text| {
            text.line(&format!("type filter hook {hook} priority filter; policy accept;"));
            let jumps: Vec<String> = guests
                .iter()
                .map(|guest| format!("\"{0}\" : jump {way}-{0}", guest.plug.interface))
                .collect();
            text.line(&format!("{which} vmap {{ {} }}", jumps.join(", ")));
        });
    }
}

fn sets(text: &mut Text, guest: &Guest<'_>) {
    if !guest.has_rules() {
        return;
    }
    let interface = &guest.plug.interface;
    for (name, ip) in [("4", "ip"), ("6", "ip6")] {
        let pair = format!("{ip} saddr . {ip} daddr . meta l4proto");
        for (what, key) in [("flows", format!("{pair} . th sport . th dport")), ("pairs", pair.clone())] {
            for begun in [Way::In, Way::Out] {
                text.block(&format!("set {}", set(what, begun, name, interface)), |text| {
                    text.line(&format!("typeof {key}"));
                    text.line(&format!("size {FLOWS_MAX}"));
                    text.line("flags dynamic,timeout");
                    text.line("timeout 5m");
                });
            }
        }
    }
}

/// What comes from a guest.
fn from(text: &mut Text, guest: &Guest<'_>) {
    let plug = guest.plug;
    if plug.guard {
        own_addresses_only(text, guest);
    }
    rate(text, guest);
    if !guest.has_rules() {
        return;
    }
    let interface = &plug.interface;
    text.line("ether type != { ip, ip6 } accept");
    text.line("udp sport 68 udp dport 67 accept");
    text.line("ip6 saddr fe80::/10 udp sport 546 udp dport 547 accept");
    neighbourhood(text);
    answers(text, interface, Way::Out);
    rules(text, guest, Way::Out);
    text.line(&format!("goto sent-{interface}"));
}

/// What goes to a guest.
fn to(text: &mut Text, guest: &Guest<'_>) {
    rate(text, guest);
    if !guest.has_rules() {
        return;
    }
    let interface = &guest.plug.interface;
    text.line("ether type != { ip, ip6 } accept");
    text.line("udp sport 67 udp dport 68 accept");
    text.line("ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept");
    neighbourhood(text);
    // Without these a connection hangs where packets are too large for the way.
    text.line("icmp type { destination-unreachable, time-exceeded, parameter-problem } accept");
    let six = "destination-unreachable, packet-too-big, time-exceeded, parameter-problem";
    text.line(&format!("icmpv6 type {{ {six} }} accept"));
    answers(text, interface, Way::In);
    rules(text, guest, Way::In);
    text.line(&format!("goto got-{interface}"));
}

/// Without it IPv6 finds nobody at all.
fn neighbourhood(text: &mut Text) {
    let neighbours = "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert";
    let types = format!("{neighbours}, mld-listener-query, mld-listener-report, mld2-listener-report");
    text.line(&format!("icmpv6 type {{ {types} }} accept"));
}

fn own_addresses_only(text: &mut Text, guest: &Guest<'_>) {
    let Guest { plug, network } = guest;
    let mac = plug.mac;
    text.line(&format!("ether saddr != {mac} drop"));
    // Nothing with a VLAN's tag in it, nor anything else that speaks past the checks below.
    text.line("ether type != { arp, ip, ip6 } drop");
    text.line(&format!("arp saddr ether != {mac} drop"));
    let known = network.definition.mode != Mode::Bridge;
    if let Some(address) = plug.address {
        text.line(&format!("arp saddr ip != {{ 0.0.0.0, {address} }} drop"));
        text.line("ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept");
        text.line(&format!("ip saddr != {address} drop"));
    }
    // Guests give out no addresses, and are nobody's router.
    text.line("udp sport 67 drop");
    text.line("udp sport 547 drop");
    text.line("icmpv6 type { nd-router-advert, nd-redirect } drop");
    if known {
        let six = plug.addresses(&network.definition).into_iter().filter(IpAddr::is_ipv6);
        let six: Vec<IpAddr> = six.collect();
        let also: String = six.iter().map(|address| format!(", {address}")).collect();
        text.line(&format!("ip6 saddr != {{ ::, fe80::/10{also} }} drop"));
        text.line(&format!("ip6 saddr {} drop", network.link_local()));
        // Who it says it is: link-local (the first ten bits), or its address; the host it is not.
        let target = |address: u128| format!("@th,64,128 {address:#034x}");
        let mut not_its_own = "icmpv6 type nd-neighbor-advert @th,64,10 != 0x3fa".to_owned();
        for address in &six {
            if let IpAddr::V6(address) = address {
                not_its_own.push_str(&format!(" @th,64,128 != {:#034x}", u128::from(*address)));
            }
        }
        text.line(&format!("{not_its_own} drop"));
        let host = u128::from(network.link_local());
        text.line(&format!("icmpv6 type nd-neighbor-advert {} drop", target(host)));
    }
}

fn rate(text: &mut Text, guest: &Guest<'_>) {
    if let Some(rate) = guest.plug.rate {
        let bytes = rate.bytes_per_second();
        // A tenth of a second at once: TCP comes in bursts, and is slow where they are cut.
        let burst = (bytes / 10).max(BURST_BYTES_MIN);
        text.line(&format!("limit rate over {bytes} bytes/second burst {burst} bytes drop"));
    }
}

/// The key of a set, as a packet of this way has it: the other one's address comes first.
fn keys(ip: &str, way: Way) -> (String, String) {
    let (other, own) = match way {
        Way::In => ("s", "d"),
        Way::Out => ("d", "s"),
    };
    let pair = format!("{ip} {other}addr . {ip} {own}addr . meta l4proto");
    let flow = format!("{pair} . th {other}port . th {own}port");
    (pair, flow)
}

/// What answers to what was begun the other way. Who began is asked by the rules with each packet, so that
/// a rule counts at once, for what is open already too. Later parts of a packet in parts have no ports, and
/// what is neither TCP nor UDP never has: these go by the pair of addresses.
fn answers(text: &mut Text, interface: &Interface, way: Way) {
    let begun = if way == Way::In { Way::Out } else { Way::In };
    for (name, ip) in [("4", "ip"), ("6", "ip6")] {
        let (pair, flow) = keys(ip, way);
        let part = if ip == "ip" { "ip frag-off & 0x1fff != 0" } else { "frag frag-off != 0" };
        for known in [Way::In, Way::Out] {
            text.line(&format!("{part} {pair} @{} accept", set("pairs", known, name, interface)));
        }
        let (flows, pairs) = (set("flows", begun, name, interface), set("pairs", begun, name, interface));
        text.line(&format!("meta l4proto {{ tcp, udp }} {flow} @{flows} accept"));
        // That somebody was asked does not let them ask.
        let (icmp, also) = if ip == "ip" { ("icmp", "") } else { ("icmpv6", "packet-too-big, ") };
        let errors = "destination-unreachable, time-exceeded, parameter-problem";
        let kinds = format!("{icmp} type {{ echo-reply, {also}{errors} }}");
        text.line(&format!("{kinds} {pair} @{pairs} accept"));
        let others = "meta l4proto != { tcp, udp, icmp, ipv6-icmp }";
        text.line(&format!("{others} {pair} @{pairs} accept"));
    }
}

/// What was let through is answered from then on, for a while after its last packet: TCP may be silent for
/// long.
fn remember(text: &mut Text, guest: &Guest<'_>, way: Way) {
    let interface = &guest.plug.interface;
    for (name, ip) in [("4", "ip"), ("6", "ip6")] {
        let (pair, flow) = keys(ip, way);
        let (flows, pairs) = (set("flows", way, name, interface), set("pairs", way, name, interface));
        text.line(&format!("update @{pairs} {{ {pair} timeout 5m }}"));
        text.line(&format!("meta l4proto tcp update @{flows} {{ {flow} timeout 12h }}"));
        text.line(&format!("meta l4proto udp update @{flows} {{ {flow} timeout 5m }}"));
    }
    text.line("accept");
}

fn rules(text: &mut Text, guest: &Guest<'_>, way: Way) {
    let chain = if way == Way::In { "got" } else { "sent" };
    for rule in guest.plug.rules.iter().filter(|rule| rule.way == way) {
        let verdict = match rule.allows {
            true => format!("goto {chain}-{}", guest.plug.interface),
            false => "drop".into(),
        };
        text.line(&format!("{}{verdict}", fits(rule)));
    }
}

/// The words for what a rule is about.
fn fits(rule: &Rule) -> String {
    let Rule { allows: _, way, protocol, ports, other } = rule;
    let mut words = String::new();
    let which = if *way == Way::In { "saddr" } else { "daddr" };
    match other {
        Some(IpNet::V4(net)) => words.push_str(&format!("ip {which} {net} ")),
        Some(IpNet::V6(net)) => words.push_str(&format!("ip6 {which} {net} ")),
        None => {}
    }
    match protocol {
        None => {}
        Some(Carried::Icmp) => words.push_str("meta l4proto { icmp, ipv6-icmp } "),
        Some(protocol) if ports.is_empty() => words.push_str(&format!("meta l4proto {} ", protocol.word())),
        Some(protocol) => {
            let ports: Vec<String> = ports
                .iter()
                .map(
                    |(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") },
                )
                .collect();
            words.push_str(&format!("{} dport {{ {} }} ", protocol.word(), ports.join(", ")));
        }
    }
    words
}
