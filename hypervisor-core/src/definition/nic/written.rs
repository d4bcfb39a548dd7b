//! A NIC as it is written: flat, what it is connected to being one of several keys.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{Forward, Link, Mac, Network, Nic, NicModel};
use crate::{definition::Rate, network::NetworkName};

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "Nic")]
pub(super) struct Written {
    #[serde(default)]
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<Mac>,
    #[serde(default)]
    model: NicModel,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bridge: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<NetworkName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<Ipv4Addr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    forwards: Vec<Forward>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot_order: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    guard: bool,
    #[serde(default, skip_serializing_if = "Link::is_up")]
    link: Link,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_yes(guard: &bool) -> bool {
    *guard
}

impl TryFrom<Written> for Nic {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { name, mac, model, bridge, network, address, forwards, boot_order, rate, guard, link } =
            written;
        let network = match (bridge, network) {
            (Some(_), Some(_)) => return Err("a NIC is on a network, or on a bridge, not both"),
            (None, Some(name)) => Network::Named { name, address },
            _ if address.is_some() => return Err("a NIC has an address on a network only"),
            (Some(name), None) => Network::Bridge { name },
            (None, None) => Network::User { forwards: forwards.clone() },
        };
        if !forwards.is_empty() && !matches!(network, Network::User { .. }) {
            return Err("a NIC on a bridge or a network forwards no ports: its guest has an address there");
        }
        Ok(Self { name, mac, model, network, boot_order, rate, guard, link })
    }
}

impl From<Nic> for Written {
    fn from(nic: Nic) -> Self {
        let Nic { name, mac, model, network, boot_order, rate, guard, link } = nic;
        let mut written = Self {
            name,
            mac,
            model,
            bridge: None,
            network: None,
            address: None,
            forwards: Vec::new(),
            boot_order,
            rate,
            guard,
            link,
        };
        match network {
            Network::User { forwards } => written.forwards = forwards,
            Network::Bridge { name } => written.bridge = Some(name),
            Network::Named { name, address } => {
                written.network = Some(name);
                written.address = address;
            }
        }
        written
    }
}
