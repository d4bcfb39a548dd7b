//! What is seen of guests on our networks, and of others who rule the host's traffic.

use std::{collections::BTreeSet, fs, net::IpAddr, path::Path};

use serde::{Deserialize, Serialize};

use super::{Mode, NetworkError, Wanted, ip, nft};
use crate::definition::Mac;

/// The longest file of leases that is read, in bytes: far more than a network of 65,534 guests makes.
const LEASES_BYTES_MAX: u64 = 16 << 20;

/// What is seen on the networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Addresses that NICs use, the best known first.
    pub addresses: Vec<Address>,
}

/// An address that a NIC uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Whose.
    pub mac: Mac,
    /// Which.
    pub address: IpAddr,
    /// Who says so.
    pub from: From,
}

/// Who says that an address is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// It was lent.
    Lease,
    /// The host has heard of it.
    Neighbour,
}

impl From {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            From::Lease => "lease",
            From::Neighbour => "neighbour",
        }
    }
}

/// Looks at the leases and at who was heard of.
pub(super) async fn look(wanted: &Wanted, folder: &Path) -> Result<Host, NetworkError> {
    let mut found = Host::default();
    let mut known = BTreeSet::new();
    let mut add = |mac: Mac, address: IpAddr, from: From| {
        if known.insert((mac.bytes(), address)) {
            found.addresses.push(Address { mac, address, from });
        }
    };
    for network in &wanted.networks {
        let macs: BTreeSet<[u8; 6]> = wanted
            .plugs
            .iter()
            .filter(|plug| plug.network == network.name)
            .map(|plug| plug.mac.bytes())
            .collect();
        if macs.is_empty() {
            continue;
        }
        for (mac, address) in leases(&folder.join(network.name.as_str()).join("leases")) {
            if macs.contains(&mac.bytes()) {
                add(mac, address, From::Lease);
            }
        }
        for neighbour in ip::neighbours(&network.bridge()).await? {
            let gone = neighbour.state.iter().any(|state| state == "FAILED" || state == "INCOMPLETE");
            let mac = neighbour.lladdr.and_then(|mac| mac.parse::<Mac>().ok());
            let link_local = matches!(neighbour.dst, IpAddr::V6(six) if six.is_unicast_link_local());
            if let Some(mac) = mac.filter(|mac| macs.contains(&mac.bytes()) && !gone && !link_local) {
                add(mac, neighbour.dst, From::Neighbour);
            }
        }
    }
    Ok(found)
}

/// What dnsmasq has lent by IPv4: when it ends, MAC, address, name, client. (IPv6 leases name no MAC.)
fn leases(file: &Path) -> Vec<(Mac, IpAddr)> {
    let short = fs::metadata(file).is_ok_and(|file| file.len() <= LEASES_BYTES_MAX);
    let text = if short { fs::read_to_string(file).unwrap_or_default() } else { String::new() };
    let line = |line: &str| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// What others on this host have that drops what our networks carry: ours to say, not to change.
pub(super) async fn in_the_way(wanted: &Wanted) -> Vec<String> {
    let said = ip::run("nft", &["-j", "list", "chains"], "").await.unwrap_or_default();
    let Ok(all) = serde_json::from_str::<serde_json::Value>(&said) else { return Vec::new() };
    let chains = all["nftables"].as_array().into_iter().flatten().map(|one| &one["chain"]);
    let word = |chain: &serde_json::Value, key: &str| chain[key].as_str().unwrap_or_default().to_owned();
    let bridges: Vec<String> = wanted.networks.iter().map(super::Network::bridge).collect();
    let ours = bridges.first().cloned().unwrap_or_default();
    let reaches = |network: &&super::Network| matches!(network.definition.mode, Mode::Nat | Mode::Routed);
    let reaching = wanted.networks.iter().any(|network| reaches(&network));
    let serving = wanted.networks.iter().any(|network| network.definition.dhcp || network.definition.dns);
    let mut notes = Vec::new();
    let mut has_firewalld = false;
    for chain in chains.filter(|chain| chain.is_object() && word(chain, "table") != nft::TABLE) {
        let (family, table, name) = (word(chain, "family"), word(chain, "table"), word(chain, "name"));
        has_firewalld |= table == "firewalld";
        if word(chain, "policy") != "drop" || !matches!(family.as_str(), "inet" | "ip" | "ip6") {
            continue;
        }
        match word(chain, "hook").as_str() {
            "forward" if reaching => notes.push(format!(
                "the chain {name} of the table {family} {table} drops what is forwarded and not let through there: let \
                 it through (with Docker: iptables -I DOCKER-USER -i {ours} -j ACCEPT, and the same with -o)"
            )),
            "input" if serving => notes.push(format!(
                "the chain {name} of the table {family} {table} drops what is not let in there: let in UDP 53, 67 and \
                 547 and TCP 53 from {ours}"
            )),
            _ => {}
        }
    }
    if has_firewalld && (reaching || serving) {
        notes.push(format!(
            "firewalld rules this host: put the bridge into a zone that accepts (firewall-cmd --permanent \
             --zone=trusted --add-interface={ours}, and firewall-cmd --reload): what its guests may is still \
             ruled here"
        ));
    }
    notes
}
