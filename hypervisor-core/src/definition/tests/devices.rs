//! Disks and NICs as people write them.

use crate::{definition::*, machine::MachineId};

const DEVICES: &str = r#"
vcpus = 1
memory_mib = 512

[boot]
from = "disk"

[[disks]]
path = "/srv/web.qcow2"
format = "qcow2"

[[disks]]
name = "scratch"
path = "/srv/scratch.raw"
format = "raw"
bus = "scsi"
cache = "unsafe"
discard = false
limits = { iops = 100, bytes_per_second = 1048576 }

[[disks]]
path = "/srv/debian.iso"
format = "raw"
media = "cd"
boot_order = 1

[[nics]]
forwards = ["8080:80", "0.0.0.0:2222:22", "5353:53/udp"]

[[nics]]
name = "lan"
bridge = "br0"
mac = "52:54:00:12:34:56"
model = "e1000e"
"#;

fn devices() -> Definition {
    Definition::from_toml(DEVICES).unwrap()
}

fn wrong(line: &str, instead: &str) -> String {
    assert!(DEVICES.contains(line), "{line}");
    Definition::from_toml(&DEVICES.replacen(line, instead, 1)).unwrap_err().to_string()
}

#[test]
fn what_is_left_out_is_as_it_is_best() {
    let Definition { disks, nics, graphics, guest_agent, .. } = devices();
    assert!(graphics && guest_agent);
    let expected = Disk { name: "disk1".into(), ..Disk::new("/srv/web.qcow2", DiskFormat::Qcow2) };
    assert_eq!(disks[0], expected);
    assert_eq!((disks[1].name.as_str(), disks[1].bus, disks[1].discard), ("scratch", Bus::Scsi, false));
    let cd = Disk { name: "disk2".into(), boot_order: Some(1), ..Disk::cd("/srv/debian.iso") };
    assert_eq!((&disks[2], disks[2].bus, disks[2].read_only), (&cd, Bus::Sata, true));
    let Network::User { forwards } = &nics[0].network else { panic!("it is a user-mode NIC") };
    let spelled: Vec<_> = forwards.iter().map(ToString::to_string).collect();
    assert_eq!(spelled, ["8080:80", "0.0.0.0:2222:22", "5353:53/udp"]);
    assert_eq!(nics[1].network, Network::Bridge { name: "br0".into() });
    assert_eq!((nics[0].name.as_str(), nics[1].name.as_str()), ("net1", "lan"));
}

#[test]
fn a_definition_of_before_is_still_read() {
    let stored = r#"{"vcpus":1,"memory_mib":64,"boot":{"from":"disk"},
        "disks":[{"path":"/d.qcow2","format":"qcow2","read_only":false}]}"#;
    let read: Definition = serde_json::from_str(stored).unwrap();
    assert_eq!(read.check(), Ok(()));
    assert_eq!((read.disks[0].name.as_str(), read.nics.len()), ("disk1", 0));
}

#[test]
fn an_address_is_made_once_for_all() {
    let (one, other) = (MachineId(uuid::Uuid::from_u128(7)), MachineId(uuid::Uuid::from_u128(8)));
    let nics = devices().nics;
    // Never to change: a guest knows its network by it.
    assert_eq!(nics[0].address(one).to_string(), "52:54:2e:da:ef:29");
    assert_ne!(nics[0].address(one), nics[0].address(other));
    let second = Nic { name: "net2".into(), ..nics[0].clone() };
    assert_ne!(nics[0].address(one), second.address(one));
    assert_eq!(nics[1].address(one).to_string(), "52:54:00:12:34:56");
}

#[test]
fn what_cannot_be_together_is_refused_in_words() {
    let cases = [
        (r#"name = "scratch""#, r#"name = "../x""#, r#""../x" cannot be the name of a disk"#),
        (r#"name = "scratch""#, r#"name = "disk1""#, ""),
        (r#"name = "lan""#, r#"name = "Lan""#, r#""Lan" cannot be the name of a NIC"#),
        (r#"media = "cd""#, "media = \"cd\"\nbus = \"virtio\"", r#"the CD "disk2" can be on the bus"#),
        (r#"media = "cd""#, "media = \"cd\"\nread_only = false", r#"the CD "disk2" cannot be written to"#),
        ("iops = 100", "iops = 0", r#"the disk "scratch" has a limit that is no limit"#),
        (r#"bus = "scsi""#, r#"bus = "scasi""#, r#"is "scsi" meant?"#),
        (r#"cache = "unsafe""#, r#"cash = "unsafe""#, r#"is "cache" meant?"#),
        (r#""br0""#, r#""br0,ifname=x""#, r#""br0,ifname=x" cannot be the name of a bridge"#),
        (r#""br0""#, "\"br0\"\nforwards = [\"1:2\"]", "a NIC on a bridge or a network forwards no ports"),
        ("\"8080:80\"", "\"2222:80\"", "the port 0.0.0.0:2222:22 of the host is forwarded twice"),
        ("\"8080:80\"", "\"8080\"", r#""8080" is not a forwarded port"#),
        ("\"8080:80\"", "\"0:80\"", r#""0:80" is not a forwarded port"#),
        ("\"8080:80\"", "\"127.0.0.1,x:8080:80\"", "is not a forwarded port"),
        ("52:54:00:12:34:56", "53:54:00:12:34:56", "is a multicast address"),
        ("52:54:00:12:34:56", "52:54:00:12:34", "is not a MAC address"),
        ("52:54:00:12:34:56", "+2:54:00:12:34:56", "is not a MAC address"),
        (r#"bridge = "br0""#, r#"network = "Lan""#, r#""Lan" cannot be the name of a network"#),
        (
            r#"bridge = "br0""#,
            "bridge = \"br0\"\nnetwork = \"lan\"",
            "on a network, or on a bridge, not both",
        ),
        (r#"bridge = "br0""#, "bridge = \"br0\"\naddress = \"10.0.0.2\"", "has an address on a network only"),
        (
            r#"bridge = "br0""#,
            "bridge = \"br0\"\nrate = \"1Gbit\"",
            "is not on a network of this host, which a rate",
        ),
        (
            r#"bridge = "br0""#,
            "bridge = \"br0\"\nguard = false",
            "is not on a network of this host, which guard",
        ),
        (r#"model = "e1000e""#, "boot_order = 1", "two devices have the boot order 1"),
    ];
    for (line, instead, expected) in cases {
        if expected.is_empty() {
            // The first one, without a name, makes way.
            let read = Definition::from_toml(&DEVICES.replacen(line, instead, 1)).unwrap();
            assert_eq!(read.disks[0].name, "disk2");
            continue;
        }
        let error = wrong(line, instead);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_bus_has_so_many_places() {
    let disks = |bus: Bus, count: usize| {
        let disks = (0..count).map(|nth| Disk { bus, ..Disk::new(format!("/d{nth}"), DiskFormat::Raw) });
        let mut definition = Definition { disks: disks.collect(), ..Definition::new(1, 64, Boot::Disk) };
        definition.name_all();
        definition.check()
    };
    assert_eq!(disks(Bus::Virtio, 20), Ok(()));
    assert_eq!(disks(Bus::Virtio, 22), Err(DefinitionError::Room(2)));
    assert_eq!((disks(Bus::Scsi, 32), disks(Bus::Sata, 6)), (Ok(()), Ok(())));
    assert_eq!(disks(Bus::Sata, 7), Err(DefinitionError::Sata(7)));
}

#[test]
fn processors_keys_and_texts_are_checked() {
    let with = |more: &str| {
        Definition::from_toml(&format!("{}\n{DEVICES}", more)).map_err(|error| error.to_string())
    };
    let refused = |more: &str| with(more).unwrap_err();
    assert!(with("cpu = { threads = 1 }\nfirmware = \"secure-boot\"\nwatchdog = \"reset\"").is_ok());
    assert!(refused("cpu = { cores = 2 }").contains("1 sockets of 2 cores with 1 threads are not the 1"));
    assert!(refused("cpu = { model = \"max,+x\" }").contains("cannot be the name of a processor model"));
    assert!(refused("firmware = \"efi\"").contains("is \"uefi\" meant?"));
    assert!(refused("cloud_init = { ssh_keys = [\"a\\nb\"] }").contains("one line each"));
    assert!(refused("cloud_init = { userdata = \"x\" }").contains("is \"user_data\" meant?"));
    let long = format!("cloud_init = {{ user_data = {:?} }}", "x".repeat(40_000));
    assert!(refused(&long).contains("32 KiB"));
}
