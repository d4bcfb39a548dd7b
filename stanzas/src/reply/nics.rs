//! What the commands of network interfaces answer.

use super::{Reply, measure};

reply! {
    /// A network interface of a machine.
    NicLine {
        /// Its name in this machine.
        name: String,
        /// up or down: whether its cable is in.
        link: String,
        /// What it is connected to, as it is defined: user, network=lan, bridge=br0.
        network: String,
        /// What the guest sees: virtio, e1000e or rtl8139.
        model: String,
        /// Its hardware address.
        mac: String,
        /// How much it carries in each direction, at most.
        rate: Option<String>,
        /// The addresses its guest is seen with.
        addresses: Vec<String>,
    }
}
reply! {
    /// The network interfaces of a machine.
    NicList {
        /// The machine.
        name: String,
        /// In the order of the definition.
        nics: Vec<NicLine>,
    }
}

impl Reply for NicList {
    fn text(&self) -> String {
        if self.nics.is_empty() {
            return format!("{} has no NIC. Give it one: define nic=user", self.name);
        }
        let mut text = measure::count(self.nics.len() as u64, "NIC") + ":";
        for nic in &self.nics {
            let NicLine { name, link, network, model, mac, rate, addresses } = nic;
            text += &format!("\n- {name}: {link}, {network}, {model}, {mac}");
            if let Some(rate) = rate {
                text += &format!(", at most {rate}");
            }
            if !addresses.is_empty() {
                text += &format!("; {}", addresses.join(" "));
            }
        }
        text
    }
}
