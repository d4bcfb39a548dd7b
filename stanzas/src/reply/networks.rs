//! What the commands about networks answer.

use chrono::{DateTime, Utc};

use super::{Reply, measure};
use crate::safe::safe_line;

reply! {
    /// One network, in a list.
    NetworkLine {
        /// Its name.
        name: String,
        /// What it does with the world: nat, routed, isolated or bridge.
        mode: String,
        /// Its addresses.
        subnet: Option<String>,
        /// Its IPv6 addresses.
        subnet6: Option<String>,
        /// The interface its guests are joined by.
        bridge: String,
        /// Its VLAN.
        vlan: Option<u16>,
        /// How many NICs are on it.
        nics: u32,
        /// Why it could not be made; none when it is there.
        failed: Option<String>,
        /// What it is, for people.
        about: String,
    }
}
reply! {
    /// The networks of a host.
    NetworkList {
        /// One line a network, by name.
        networks: Vec<NetworkLine>,
    }
}
reply! {
    /// A NIC on a network.
    NetworkGuest {
        /// The machine.
        machine: String,
        /// Its NIC.
        nic: String,
        /// Its MAC.
        mac: String,
        /// The addresses it is given.
        addresses: Vec<String>,
        /// The addresses it was seen with, and by whom: lease or neighbour.
        seen: Vec<String>,
    }
}
reply! {
    /// One network.
    NetworkDetails {
        /// Its name.
        name: String,
        /// What it does with the world.
        mode: String,
        /// Its addresses.
        subnet: Option<String>,
        /// Its IPv6 addresses.
        subnet6: Option<String>,
        /// The host's addresses there.
        host: Vec<String>,
        /// The interface its guests are joined by.
        bridge: String,
        /// The interface that leads to its VLAN.
        uplink: Option<String>,
        /// Its VLAN.
        vlan: Option<u16>,
        /// Whether guests are given their addresses.
        dhcp: bool,
        /// Whether guests are told names.
        dns: bool,
        /// The domain of its guests' names.
        domain: Option<String>,
        /// Why it could not be made; none when it is there.
        failed: Option<String>,
        /// What a person should know: what is in its way, say.
        notes: Vec<String>,
        /// Who is on it.
        guests: Vec<NetworkGuest>,
        /// Since when it is here.
        made_at: DateTime<Utc>,
        /// Who made it.
        made_by: String,
        /// What it is, for people.
        about: String,
    }
}
reply! {
    /// A network after a command that changes it.
    NetworkChanged {
        /// Its name.
        name: String,
        /// What happened, in a sentence.
        sentence: String,
        /// What a person should know besides.
        notes: Vec<String>,
    }
}
impl Reply for NetworkList {
    fn text(&self) -> String {
        if self.networks.is_empty() {
            return "There are no networks. Make one: network create lan".into();
        }
        let lines = self.networks.iter().map(|network| {
            let NetworkLine { name, mode, subnet, bridge, vlan, nics, failed, about, .. } = network;
            let place = subnet.as_ref().unwrap_or(bridge);
            let vlan = vlan.map(|vlan| format!(", VLAN {vlan}")).unwrap_or_default();
            let mut line = format!("- {name}: {mode}, {place}{vlan}, {}", measure::count(*nics, "NIC"));
            if !about.is_empty() {
                line.push_str(&format!(" ({})", safe_line(about, 200)));
            }
            if let Some(failed) = failed {
                line.push_str(&format!("\n  It is not there: {failed}."));
            }
            line
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Reply for NetworkDetails {
    fn text(&self) -> String {
        let mut lines = vec![format!("{}: {}, on {}", self.name, self.mode, self.bridge)];
        if let Some(failed) = &self.failed {
            lines.push(format!("It is not there: {failed}."));
        }
        if !self.about.is_empty() {
            lines.push(safe_line(&self.about, 200));
        }
        if let Some((uplink, vlan)) = self.uplink.as_ref().zip(self.vlan) {
            lines.push(format!("VLAN {vlan} of {uplink}"));
        } else if let Some(vlan) = self.vlan {
            lines.push(format!("VLAN {vlan}"));
        }
        let subnets: Vec<&str> =
            [&self.subnet, &self.subnet6].into_iter().flatten().map(String::as_str).collect();
        if !subnets.is_empty() {
            lines.push(format!(
                "Addresses: {}; the host is {}",
                subnets.join(" and "),
                self.host.join(" and ")
            ));
            let (dhcp, dns) = (measure::yes_no(self.dhcp), measure::yes_no(self.dns));
            let domain = self.domain.as_ref().map(|domain| format!(" ({domain})")).unwrap_or_default();
            lines.push(format!("Given to guests: {dhcp}; names: {dns}{domain}"));
        }
        if self.guests.is_empty() {
            lines.push(
                "Nobody is on it. To put one there: define nic=network=NAME".replace("NAME", &self.name),
            );
        }
        for guest in &self.guests {
            let NetworkGuest { machine, nic, mac, addresses, seen } = guest;
            let seen = if seen.is_empty() { String::new() } else { format!("; seen: {}", seen.join(", ")) };
            let addresses =
                if addresses.is_empty() { "no address of ours".into() } else { addresses.join(", ") };
            lines.push(format!("- {machine} ({nic}, {mac}): {addresses}{seen}"));
        }
        lines.extend(self.notes.iter().map(|note| format!("Mind: {note}.")));
        lines.push(format!("Made by {}, {}", safe_line(&self.made_by, 200), measure::moment(self.made_at)));
        lines.join("\n")
    }
}

impl Reply for NetworkChanged {
    fn text(&self) -> String {
        let notes = self.notes.iter().map(|note| format!("Mind: {note}."));
        std::iter::once(self.sentence.clone()).chain(notes).collect::<Vec<_>>().join("\n")
    }
}
