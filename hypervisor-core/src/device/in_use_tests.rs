//! A host made up of files: what it does with what is plugged into it.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;

use super::*;

const DISK: &str = "0000:03:00.0";
const NIC: &str = "0000:02:00.0";

struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap() };
        host.disk(DISK, "ata1/host0/block/sda", "8:0");
        host.disk(DISK, "ata1/host0/block/sda/sda1", "8:1");
        host.disk(DISK, "ata1/host0/block/sda/sda2", "8:2");
        host.link("sys/class/net/eno1", NIC, "net/eno1");
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    /// A thing of a class, below a device.
    fn link(&self, class: &str, device: &str, below: &str) -> PathBuf {
        let place = self.path("sys/bus/pci/devices").join(device).join(below);
        fs::create_dir_all(&place).unwrap();
        fs::create_dir_all(self.path(class).parent().unwrap()).unwrap();
        symlink(&place, self.path(class)).unwrap();
        place
    }

    fn disk(&self, device: &str, below: &str, number: &str) {
        let name = below.rsplit('/').next().unwrap();
        let place = self.link(&format!("sys/class/block/{name}"), device, below);
        fs::write(place.join("dev"), format!("{number}\n")).unwrap();
        self.write(&format!("dev/{name}"), "");
    }

    fn says(&self, address: &str) -> Vec<String> {
        let lent = Lent::Pci { address: address.parse().unwrap() };
        let uses = Tree::below(self.folder.path()).host_uses(&lent).unwrap();
        uses.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn what_nobody_uses_is_in_no_use() {
    let host = Host::new();
    assert_eq!((host.says(DISK), host.says(NIC)), (vec![], vec![]));
    assert_eq!(host.says("0000:09:00.0"), Vec::<String>::new());
    host.write("proc/self/mountinfo", "22 1 8:16 / / rw shared:1 - ext4 /dev/sdb rw\nodd\n");
    host.write("proc/swaps", "Filename Type Size Used Priority\n/dev/sdb2 partition 1 0 -2\n");
    host.write("proc/net/route", "Iface Destination Gateway\neth7 00000000 0101A8C0 0003\n");
    let near = "fe800000000000000000000000000000 40 00 00 00 00000100 00000001 00000000 00000001 eno1\n\
                ff000000000000000000000000000000 08 00 00 00 00000100 00000001 00000000 00000001 eno1\n";
    host.write("proc/net/ipv6_route", near);
    assert_eq!((host.says(DISK), host.says(NIC)), (vec![], vec![]));
}

#[test]
fn a_disk_is_used_by_what_is_mounted_from_it_swaps_to_it_or_holds_it() {
    let host = Host::new();
    let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                  23 22 8:1 /srv /srv/with\\040blank rw - ext4 /dev/sda1 rw\n";
    host.write("proc/self/mountinfo", mounts);
    assert_eq!(host.says(DISK), ["/, /srv/with blank are mounted from it (sda1)"]);
    host.write("proc/self/mountinfo", "22 1 0:31 /@ / rw - btrfs /dev/sda2 rw\n");
    assert_eq!(host.says(DISK), ["/ is mounted from it (sda2)"]);
    host.write("proc/self/mountinfo", "");
    host.write("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n");
    assert_eq!(host.says(DISK), ["it swaps to it (sda2)"]);
    host.write("proc/swaps", "");
    // A volume on it, and a mount from that.
    host.write("sys/class/block/sda2/holders/dm-0", "");
    host.write("sys/class/block/dm-0/dev", "253:0\n");
    assert_eq!(host.says(DISK), ["something of it holds the disk (sda)"]);
    host.write("proc/self/mountinfo", "22 1 253:0 / /home rw - ext4 /dev/mapper/vg-home rw\n");
    assert_eq!(host.says(DISK), ["/home is mounted from it (dm-0)"]);
    assert_eq!(host.says(NIC), Vec::<String>::new());
}

#[test]
fn a_disk_of_several_ways_is_one() {
    let host = Host::new();
    let nvme = "0000:04:00.0";
    host.disk(nvme, "nvme/nvme0/nvme0c0n1", "0:0");
    let head = host.path("sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1");
    fs::create_dir_all(&head).unwrap();
    fs::write(head.join("dev"), "259:0\n").unwrap();
    symlink(&head, host.path("sys/class/block/nvme0n1")).unwrap();
    host.write("proc/self/mountinfo", "22 1 259:0 / / rw - ext4 /dev/nvme0n1 rw\n");
    assert_eq!(host.says(nvme), ["/ is mounted from it (nvme0n1)"]);
    assert_eq!(several_ways("nvme0n1p2"), None);
}

#[test]
fn an_interface_is_used_by_routes_and_by_what_stands_on_it() {
    let host = Host::new();
    host.write("proc/net/route", "Iface Destination Gateway\neno1 00000000 0101A8C0 0003\n");
    assert_eq!(host.says(NIC), ["its routes go over it (eno1)"]);
    host.write("proc/net/route", "Iface Destination Gateway\n");
    let far = "20010db8000000000000000000000000 40 00 00 00 00000100 00000001 00000000 00000001 eno1\n";
    host.write("proc/net/ipv6_route", far);
    assert_eq!(host.says(NIC), ["its routes go over it (eno1)"]);
    host.write("proc/net/ipv6_route", "");
    host.write("sys/class/net/eno1/upper_br0/mtu", "");
    assert_eq!(host.says(NIC), ["br0 stands on it (eno1)"]);
    host.write("proc/net/route", "Iface Destination Gateway\nbr0 00000000 0101A8C0 0003\n");
    assert_eq!(host.says(NIC), ["its routes go over it (eno1)"], "the bridge has the route");
}
