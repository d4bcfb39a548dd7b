//! Network interfaces. The NIC `lan` is the network end `net-lan` and the device `nic-lan`.

use crate::{
    definition::{Forward, Network, Nic, NicModel},
    driver::Launch,
};

/// Says all NICs of a machine.
pub(super) fn say(launch: &Launch, say: &mut impl FnMut([&str; 2])) {
    for nic in &launch.definition.nics {
        let Nic { name, model, network, boot_order, .. } = nic;
        say(["-netdev", &end(name, network)]);
        let model = match model {
            NicModel::Virtio => "virtio-net-pci",
            NicModel::E1000e => "e1000e",
            NicModel::Rtl8139 => "rtl8139",
        };
        // QEMU counts from one.
        let order = boot_order.map(|order| format!(",bootindex={}", u64::from(order) + 1));
        let mac = nic.address(launch.id);
        let order = order.unwrap_or_default();
        say(["-device", &format!("{model},netdev=net-{name},id=nic-{name},mac={mac}{order}")]);
    }
}

/// The host's end of it.
fn end(name: &str, network: &Network) -> String {
    match network {
        Network::User { forwards } => {
            let forwards: String = forwards.iter().map(forward).collect();
            format!("user,id=net-{name}{forwards}")
        }
        Network::Bridge { name: bridge } => format!("bridge,id=net-{name},br={bridge}"),
    }
}

fn forward(forward: &Forward) -> String {
    let Forward { protocol, address, host_port, guest_port } = forward;
    format!(",hostfwd={}:{address}:{host_port}-:{guest_port}", protocol.word())
}
