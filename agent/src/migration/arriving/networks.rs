//! Whether what a machine is connected to is on this host as well.

use std::{collections::BTreeSet, net::Ipv4Addr, path::Path};

use hypervisor_core::{
    definition::{Forward, Network, Nic, Protocol},
    network::NetworkName,
};
use skerry_stanzas::payload::migration::Offer;

use super::{Agent, Record, reasons::Reasons};
use crate::store::networks::Stored;

impl Agent {
    /// Whether its NICs would find here what they are on there.
    pub(super) async fn connected(
        &self,
        record: &Record,
        offer: &Offer,
        reasons: &mut Reasons,
        notes: &mut Vec<String>,
    ) {
        let pretends = offer.driver == "fake";
        let Ok(there) = self.inner.networks.all().await else {
            return reasons.add("its own networks cannot be read");
        };
        let mut complete = true;
        for nic in &record.definition.nics {
            match &nic.network {
                Network::Named { name, .. } => match there.iter().find(|network| network.name == *name) {
                    Some(network) => self.on(network, record, nic, offer, reasons, notes),
                    None => {
                        complete = false;
                        reasons.add(no_network(name, &there));
                    }
                },
                Network::Bridge { name } if !pretends && !is_bridge(name) => {
                    reasons.add(format!("it has no bridge {name}"));
                }
                Network::User { forwards } if offer.live && !pretends => {
                    let taken = forwards.iter().find(|forward| is_taken(forward));
                    reasons.0.extend(taken.map(|forward| {
                        format!("its port {}, which leads to the guest, is somebody's", forward.host_port)
                    }));
                }
                Network::Bridge { .. } | Network::User { .. } => {}
            }
        }
        // What is left to say is of addresses.
        if complete && let Err(refusal) = self.check_nics(record.id, &record.definition).await {
            reasons.add(refusal.text.trim_end_matches('.').to_owned());
        }
    }

    /// What is otherwise on the network of that name here.
    fn on(
        &self,
        network: &Stored,
        record: &Record,
        nic: &Nic,
        offer: &Offer,
        reasons: &mut Reasons,
        notes: &mut Vec<String>,
    ) {
        let (last, made) = self.inner.networks.last();
        if let Some((_, why)) = made.failed.iter().find(|(failed, _)| *failed == network.name) {
            return reasons.add(format!("its network {} is not there: {why}", network.name));
        }
        let is_fixed = matches!(&nic.network, Network::Named { address: Some(_), .. });
        let had =
            offer.addresses.iter().find(|had| had.nic == nic.name && network.name.as_str() == had.network);
        let Some(had) = had.filter(|_| offer.live && !is_fixed) else { return };
        let own = nic.interface(record.id);
        let mut others = last.plugs.iter().filter(|plug| plug.interface.as_str() != own);
        let taken = others.any(|plug| plug.network == network.name && plug.address == Some(had.address));
        let is_no_guests = self.inner.networks.usable(&network.definition, had.address).is_err();
        if taken || is_no_guests {
            let whose = if taken { "another's" } else { "no guest's" };
            notes.push(format!(
                "Its address {} on the network {} is {whose} there: the guest has to ask for one again.",
                had.address, network.name
            ));
        }
    }
}

fn no_network(name: &NetworkName, there: &[Stored]) -> String {
    let names: BTreeSet<&str> = there.iter().map(|network| network.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    match names.as_slice() {
        [] => format!("it has no network {name} (\"network create {name}\" there makes one)"),
        names => format!("it has no network {name} (it has {})", names.join(", ")),
    }
}

fn is_bridge(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).join("bridge").exists()
}

/// Whether somebody listens on a port already; not certain to be so when it is wanted.
fn is_taken(forward: &Forward) -> bool {
    let address: (Ipv4Addr, u16) = (forward.address, forward.host_port.get());
    let opened = match forward.protocol {
        Protocol::Tcp => std::net::TcpListener::bind(address).map(drop),
        Protocol::Udp => std::net::UdpSocket::bind(address).map(drop),
    };
    opened.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}
