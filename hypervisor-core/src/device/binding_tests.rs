//! On a host that is made up, with a kernel that does what Linux' does.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{device::Seen, machine::MachineId};

const GPU: &str = "0000:01:00.0";

fn host() -> (tempfile::TempDir, Tree) {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::pretended(folder.path()).unwrap();
    (folder, tree)
}

fn gpu(driver: Option<&str>) -> Loan {
    let lent = Lent::Pci { address: GPU.parse().unwrap() };
    Loan { name: "gpu".into(), machine: MachineId::fresh(), lent, driver: driver.map(str::to_owned) }
}

fn driver(seen: &Seen) -> Option<&str> {
    seen.at(GPU.parse().unwrap()).unwrap().driver.as_deref()
}

fn override_of(tree: &Tree) -> String {
    fs::read_to_string(tree.pci(GPU.parse().unwrap()).join("driver_override")).unwrap().trim().to_owned()
}

#[test]
fn what_a_host_has_is_read_without_its_bridges_and_hubs() {
    let (_folder, tree) = host();
    let seen = tree.look().unwrap();
    let pci: Vec<_> = seen.pci.iter().map(|pci| (pci.address.to_string(), pci.group)).collect();
    assert_eq!(pci.len(), 3, "{pci:?}");
    assert_eq!(pci[0], (GPU.into(), Some(14)));
    let usb: Vec<_> = seen.usb.iter().map(|usb| (usb.port.to_string(), usb.serial.as_deref())).collect();
    assert_eq!(usb, [("1-2".into(), Some("0012345678")), ("1-3".into(), None)]);
    assert_eq!(seen.usb[0].name.as_deref(), Some("Yubico YubiKey OTP+FIDO+CCID"));
    assert_eq!(Tree::below("/nowhere").look().unwrap(), Seen::default(), "neither PCI nor USB");
}

#[test]
fn what_is_not_as_sysfs_writes_it_is_left_out() {
    let (_folder, tree) = host();
    let devices = tree.root.join("sys/bus/pci/devices");
    fs::write(devices.join(GPU).join("vendor"), "10de\n").unwrap();
    fs::write(devices.join("0000:02:00.0/device"), "0x1521 and more\n").unwrap();
    fs::create_dir(devices.join("0000:05:00.9")).unwrap();
    fs::write(tree.usb().join("1-2/serial"), "a\x1b[2Jb\n".repeat(200)).unwrap();
    let seen = tree.look().unwrap();
    assert_eq!(seen.pci.len(), 1, "{seen:?}");
    let serial = seen.usb[0].serial.as_deref().unwrap();
    assert!(serial.len() <= 256 && serial.starts_with("a[2Jb"), "{serial}");
}

#[test]
fn a_function_goes_to_vfio_and_back_to_its_driver() {
    let (_folder, tree) = host();
    let loan = gpu(driver(&tree.look().unwrap()));
    for _ in 0..2 {
        tree.take(&loan.lent).unwrap();
        assert_eq!(driver(&tree.look().unwrap()), Some("vfio-pci"));
    }
    for _ in 0..2 {
        tree.give_back(&loan).unwrap();
        assert_eq!((driver(&tree.look().unwrap()), override_of(&tree).as_str()), (Some("nouveau"), ""));
    }
}

#[test]
fn one_half_taken_is_given_back_whole() {
    let (_folder, tree) = host();
    let device = tree.pci(GPU.parse().unwrap());
    // As after a kill at either of the two.
    fs::write(device.join("driver_override"), "vfio-pci\n").unwrap();
    tree.give_back(&gpu(Some("nouveau"))).unwrap();
    assert_eq!((driver(&tree.look().unwrap()), override_of(&tree).as_str()), (Some("nouveau"), ""));
    fs::write(device.join("driver_override"), "vfio-pci\n").unwrap();
    fs::remove_file(device.join("driver")).unwrap();
    tree.give_back(&gpu(Some("nouveau"))).unwrap();
    assert_eq!((driver(&tree.look().unwrap()), override_of(&tree).as_str()), (Some("nouveau"), ""));
}

#[test]
fn who_had_none_gets_none_and_what_was_the_administrators_stays_so() {
    let (_folder, tree) = host();
    fs::remove_file(tree.pci(GPU.parse().unwrap()).join("driver")).unwrap();
    tree.take(&gpu(None).lent).unwrap();
    tree.give_back(&gpu(None)).unwrap();
    assert_eq!(driver(&tree.look().unwrap()), None);
    tree.take(&gpu(None).lent).unwrap();
    tree.give_back(&gpu(Some("vfio-pci"))).unwrap();
    assert_eq!(driver(&tree.look().unwrap()), Some("vfio-pci"));
    fs::remove_dir_all(tree.pci(GPU.parse().unwrap())).unwrap();
    tree.give_back(&gpu(Some("nouveau"))).unwrap();
}

#[test]
fn what_is_missing_is_said() {
    let (_folder, tree) = host();
    fs::remove_dir_all(tree.pci_driver("vfio-pci")).unwrap();
    assert!(tree.take(&gpu(None).lent).unwrap_err().to_string().contains("modprobe vfio-pci"));
    assert_eq!(driver(&tree.look().unwrap()), Some("nouveau"), "nothing was touched");
    let key = Lent::Usb { port: "1-2".parse().unwrap(), id: "1050:0407".parse().unwrap() };
    tree.take(&key).unwrap();
    fs::remove_file(tree.root.join("dev/bus/usb/001/003")).unwrap();
    let closed = tree.take(&key).unwrap_err().to_string();
    assert!(closed.contains("ATTR{idVendor}==\"1050\", ATTR{idProduct}==\"0407\""), "{closed}");
}

#[test]
fn an_interface_that_a_killed_qemu_left_is_looked_at_again() {
    let (_folder, tree) = host();
    let interface = tree.usb().join("1-2:1.0");
    fs::create_dir(&interface).unwrap();
    fs::create_dir(tree.usb().join("1-21:1.0")).unwrap();
    let lent = Lent::Usb { port: "1-2".parse().unwrap(), id: "1050:0407".parse().unwrap() };
    let loan = Loan { name: "key".into(), machine: MachineId::fresh(), lent, driver: None };
    let probed = || fs::read_to_string(tree.root.join("sys/bus/usb/drivers_probe")).unwrap();
    tree.give_back(&loan).unwrap();
    assert_eq!(probed(), "1-2:1.0");
}
