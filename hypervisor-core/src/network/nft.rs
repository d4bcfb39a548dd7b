//! What nftables is told: two tables, `inet skerry` and `bridge skerry`, made as a whole in one transaction.
//!
//! `inet` sees what goes from one network to another or to the world: forwarding and masquerade. What goes
//! from guest to guest on one bridge never gets there, and only before the bridge is it known from which NIC
//! a frame comes; so what concerns one NIC (its own addresses, its rate, its rules) is in a table of the
//! family `bridge`.
//!
//! Answers to what was let through are known by sets of our own, one for each NIC, and not by conntrack:
//! that is in bridges since Linux 5.3 and a module not every kernel has, and its table is one for all, which
//! one guest can fill. The sets stay when the rules change, and who began is in them: only answers pass by
//! them, the side that began is asked by the rules with each packet. A set that is full lets no more answers
//! in.

mod guest;

use std::fmt::Write as _;

use super::{Mode, Network, Wanted};

/// The name of our tables.
pub const TABLE: &str = "skerry";

/// Text in blocks, indented.
pub(super) struct Text {
    text: String,
    depth: usize,
}

impl Text {
    pub(super) fn line(&mut self, line: &str) {
        for _ in 0..self.depth {
            self.text.push('\t');
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(super) fn block(&mut self, head: &str, body: impl FnOnce(&mut Self)) {
        self.line(&format!("{head} {{"));
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line("}");
    }
}

/// What is there of ours in the family `bridge`: of what is no longer wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Chains.
    pub chains: Vec<String>,
    /// Sets.
    pub sets: Vec<String>,
}

/// One transaction that leads from whatever is there to what is wanted. `borrowed` are the interfaces that
/// forward because we made them: they are to do so for our networks alone.
pub fn transaction(wanted: &Wanted, borrowed: &[String], present: &Present) -> String {
    let mut text = Text { text: String::new(), depth: 0 };
    text.line("# Written by Skerry, and written anew with each change.");
    // Added first, so that there is something to delete.
    text.line(&format!("table inet {TABLE}"));
    text.line(&format!("delete table inet {TABLE}"));
    let ours: Vec<&Network> =
        wanted.networks.iter().filter(|network| network.definition.mode != Mode::Bridge).collect();
    if !ours.is_empty() || !borrowed.is_empty() {
        text.block(&format!("table inet {TABLE}"), |text| inet(text, &ours, borrowed));
    }
    text.line(&format!("table bridge {TABLE}"));
    let guests: Vec<guest::Guest<'_>> = guest::all(wanted);
    if guests.is_empty() {
        text.line(&format!("delete table bridge {TABLE}"));
        return text.text;
    }
    // Not deleted: the sets are to stay.
    text.line(&format!("flush table bridge {TABLE}"));
    let chains: Vec<String> = guests.iter().flat_map(guest::Guest::chains).collect();
    let hooks = [guest::FROM, guest::TO].map(String::from);
    for gone in present.chains.iter().filter(|chain| !chains.contains(chain) && !hooks.contains(chain)) {
        let _ = writeln!(text.text, "delete chain bridge {TABLE} {gone}");
    }
    let sets: Vec<String> = guests.iter().flat_map(guest::Guest::sets).collect();
    for gone in present.sets.iter().filter(|set| !sets.contains(set)) {
        let _ = writeln!(text.text, "delete set bridge {TABLE} {gone}");
    }
    text.block(&format!("table bridge {TABLE}"), |text| guest::say(text, &guests));
    text.text
}

fn inet(text: &mut Text, networks: &[&Network], borrowed: &[String]) {
    text.block("chain forward", |text| {
        text.line("type filter hook forward priority filter; policy accept;");
        let bridges = quoted(networks.iter().map(|network| network.bridge()));
        for interface in borrowed {
            // It did not forward before us, and is not to lead anywhere but to our networks.
            text.line(&format!("iifname \"{interface}\" oifname != {{ {bridges} }} drop"));
        }
        for network in networks {
            forward(text, network);
        }
    });
    let isolated: Vec<&&Network> =
        networks.iter().filter(|network| network.definition.mode == Mode::Isolated).collect();
    if !isolated.is_empty() {
        text.block("chain input", |text| {
            text.line("type filter hook input priority filter; policy accept;");
            for network in isolated {
                let bridge = network.bridge();
                text.line(&format!("iifname \"{bridge}\" udp dport {{ 53, 67, 547 }} accept"));
                text.line(&format!("iifname \"{bridge}\" tcp dport 53 accept"));
                text.line(&format!("iifname \"{bridge}\" meta l4proto {{ icmp, ipv6-icmp }} accept"));
                text.line(&format!("iifname \"{bridge}\" ct state established,related accept"));
                text.line(&format!("iifname \"{bridge}\" drop"));
            }
        });
    }
    let nat: Vec<&&Network> =
        networks.iter().filter(|network| network.definition.mode == Mode::Nat).collect();
    if !nat.is_empty() {
        text.block("chain leaving", |text| {
            text.line("type nat hook postrouting priority srcnat; policy accept;");
            for network in nat {
                let bridge = network.bridge();
                if let Some(net) = network.definition.subnet {
                    text.line(&format!(
                        "ip saddr {net} ip daddr != {{ {net}, 224.0.0.0/4 }} oifname != \"{bridge}\" masquerade"
                    ));
                }
                if let Some(net) = network.definition.subnet6 {
                    text.line(&format!(
                        "ip6 saddr {net} ip6 daddr != {{ {net}, ff00::/8 }} oifname != \"{bridge}\" masquerade"
                    ));
                }
            }
        });
    }
}

/// What may go out of a network and into it. That it may is for us to say; that it is not dropped by rules
/// of others is not.
fn forward(text: &mut Text, network: &Network) {
    let bridge = network.bridge();
    let definition = &network.definition;
    let inside = |text: &mut Text, which: &str, verdict: &str| {
        let interface = if which == "saddr" { "iifname" } else { "oifname" };
        if let Some(net) = definition.subnet {
            text.line(&format!("{interface} \"{bridge}\" ip {which} {net} {verdict}"));
        }
        if let Some(net) = definition.subnet6 {
            text.line(&format!("{interface} \"{bridge}\" ip6 {which} {net} {verdict}"));
        }
    };
    text.line(&format!("# {}: {}", network.name, definition.mode.word()));
    // br_netfilter shows here what only crosses the bridge.
    text.line(&format!("iifname \"{bridge}\" oifname \"{bridge}\" accept"));
    match definition.mode {
        Mode::Nat => {
            text.line(&format!("oifname \"{bridge}\" ct state established,related accept"));
            text.line(&format!("oifname \"{bridge}\" drop"));
            inside(text, "saddr", "accept");
        }
        Mode::Routed => {
            inside(text, "daddr", "accept");
            text.line(&format!("oifname \"{bridge}\" drop"));
            inside(text, "saddr", "accept");
        }
        Mode::Isolated => text.line(&format!("oifname \"{bridge}\" drop")),
        Mode::Bridge => return,
    }
    text.line(&format!("iifname \"{bridge}\" drop"));
}

/// Names in quotes, with commas between them.
fn quoted(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}
