//! Network interfaces. The NIC `lan` is the network end `net-lan` and the device `nic-lan`.

use std::os::fd::RawFd;

use crate::{
    definition::{Forward, Network, Nic, NicModel},
    driver::Launch,
};

/// Says all NICs of a machine.
pub(super) fn say(launch: &Launch, taps: &[(String, RawFd)], say: &mut impl FnMut([&str; 2])) {
    for nic in &launch.definition.nics {
        let Nic { name, model, boot_order, .. } = nic;
        say(["-netdev", &end(nic, launch, taps)]);
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
fn end(nic: &Nic, launch: &Launch, taps: &[(String, RawFd)]) -> String {
    let name = &nic.name;
    match &nic.network {
        Network::User { forwards } => {
            let forwards: String = forwards.iter().map(|one| format!(",hostfwd={}", forward(one))).collect();
            format!("user,id=net-{name}{forwards}")
        }
        // Which bridge it is put on is not QEMU's business: see bridges.rs.
        Network::Bridge { .. } | Network::Named { .. } => match taps.iter().find(|(of, _)| of == name) {
            Some((_, fd)) => format!("tap,id=net-{name},fd={fd}"),
            None => {
                let interface = nic.interface(launch.id);
                format!("tap,id=net-{name},ifname={interface},script=no,downscript=no")
            }
        },
    }
}

/// A port as QEMU's user network wants it, at the start and later.
pub(in super::super) fn forward(forward: &Forward) -> String {
    let Forward { protocol, address, host_port, guest_port } = forward;
    format!("{}:{address}:{host_port}-:{guest_port}", protocol.word())
}
