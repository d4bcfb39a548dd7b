//! The words, whole.
#![allow(clippy::unwrap_used)]

use uuid::Uuid;

use super::*;
use crate::{
    definition::{
        Bus, Cache, CloudInit, Cpu, Disk, DiskFormat, Firmware, Limits, Network, Nic, NicModel, Watchdog,
    },
    machine::MachineId,
};

fn launch(definition: Definition) -> Launch {
    Launch {
        id: MachineId(Uuid::from_u128(7)),
        name: "web, 1".into(),
        definition,
        folder: "/var/lib/skerry/machines/7".into(),
        own: Vec::new(),
        networks: crate::driver::Networks::default(),
        devices: crate::driver::Devices::default(),
    }
}

fn kernel() -> Definition {
    let boot = Boot::Kernel {
        kernel: "/k,1/vmlinuz".into(),
        initrd: Some("/k/initrd.img".into()),
        cmdline: "console=ttyS0 a=\"b c\"".into(),
    };
    Definition { graphics: false, guest_agent: false, ..Definition::new(2, 256, boot) }
}

fn from_disk() -> Definition {
    let disks = vec![
        Disk::new("/d/a,b \"c\".qcow2", DiskFormat::Qcow2),
        Disk { read_only: true, ..Disk::new("/d/seed.img", DiskFormat::Raw) },
    ];
    named(Definition { disks, ..Definition::new(1, 1024, Boot::Disk) })
}

fn named(mut definition: Definition) -> Definition {
    definition.name_all();
    definition
}

#[test]
fn a_kernel_is_booted_directly() {
    let golden = "-no-user-config -nodefaults -S|-name guest=web,, 1,debug-threads=on|\
        -uuid 00000000-0000-0000-0000-000000000007|\
        -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny|\
        -machine q35|-accel tcg|-cpu max|-smp cpus=2|-m size=256M|-rtc base=utc|-display none|\
        -chardev socket,id=skerry-control,path=qmp.sock,server=on,wait=off|\
        -mon chardev=skerry-control,mode=control|\
        -chardev socket,id=skerry-console,path=console.sock,server=on,wait=off,\
        logfile=console.log,logappend=on|\
        -device isa-serial,chardev=skerry-console|-device pvpanic|\
        -object rng-random,id=entropy,filename=/dev/urandom|-device virtio-rng-pci,rng=entropy|\
        -device virtio-balloon-pci,id=balloon,addr=0x1b|PORTS|-kernel /k,1/vmlinuz|-initrd /k/initrd.img|-append console=ttyS0 a=\"b c\"";
    assert_eq!(
        spelled(&arguments(&launch(kernel()), Accel::Tcg, &Ready::default()).unwrap()),
        golden.replace("PORTS", &ports())
    );
}

/// The ports for hot-plug, as they are spelled.
fn ports() -> String {
    let port = |nth: usize| match nth {
        0 => "-device pcie-root-port,id=port0,chassis=1,addr=0x1c.0,multifunction=on".into(),
        nth => format!("-device pcie-root-port,id=port{nth},chassis={},addr=0x1c.{nth}", nth + 1),
    };
    (0..8).map(port).collect::<Vec<_>>().join("|")
}

/// What comes after the ports.
fn after_ports(definition: Definition) -> String {
    let spelled = spelled(&arguments(&launch(definition), Accel::Tcg, &Ready::default()).unwrap());
    spelled.split_once(&(ports() + "|")).map(|(_, after)| after.to_owned()).unwrap()
}

#[test]
fn a_screen_and_the_guest_agent_have_sockets_in_the_folder() {
    let both = Definition { graphics: true, guest_agent: true, ..kernel() };
    let golden = "-device VGA,id=screen|-vnc unix:vnc.sock|-device qemu-xhci,id=usb|\
        -device usb-tablet,id=pointer,bus=usb.0|-device virtio-serial-pci,id=serial|\
        -chardev socket,id=skerry-agent,path=agent.sock,server=on,wait=off|\
        -device virtserialport,id=agent,bus=serial.0,chardev=skerry-agent,name=org.qemu.guest_agent.0|\
        -kernel ";
    let after = after_ports(both);
    assert!(after.starts_with(golden), "{after}");
}

#[test]
fn room_for_more_is_spelled_and_huge_pages_are_a_backend() {
    let spelled = |definition: Definition| {
        spelled(&arguments(&launch(definition), Accel::Tcg, &Ready::default()).unwrap())
    };
    let roomy = Definition { vcpus_max: Some(8), memory_max_mib: Some(1024), ..kernel() };
    let said = spelled(roomy.clone());
    assert!(said.contains("|-smp cpus=2,maxcpus=8|-m size=1024M|-rtc"), "{said}");
    // As many queues, so that a QEMU that is started with more processors has the same disks.
    let disk = |bus, path: &str| Disk { bus, ..Disk::new(path, DiskFormat::Qcow2) };
    let disks = [disk(Bus::Virtio, "/d/x.qcow2"), disk(Bus::Scsi, "/d/y.qcow2")];
    let mut with_disks = Definition { disks: disks.into(), ..roomy.clone() };
    with_disks.name_all();
    let said = spelled(with_disks);
    for device in ["virtio-scsi-pci,id=scsi,num_queues=8", "id=dev-disk1,num-queues=8"] {
        assert!(said.contains(device), "{said}");
    }
    let cpu = Cpu { sockets: Some(2), cores: Some(4), ..Cpu::default() };
    let said = spelled(Definition { cpu, hugepages: true, ..roomy });
    let golden = "|-smp cpus=2,sockets=2,dies=1,cores=4,threads=1,maxcpus=8|-m size=1024M|\
        -object memory-backend-memfd,id=memory,size=1024M,hugetlb=on,prealloc=on|-machine memory-backend=memory|";
    assert!(said.contains(golden), "{said}");
}

#[test]
fn what_is_kept_of_somebody_elses_is_not_dropped_by_a_start() {
    let kept = vec!["-netdev tap,id=n".to_owned()];
    let error = arguments(&launch(Definition { kept, ..kernel() }), Accel::Tcg, &Ready::default());
    let said = error.unwrap_err().to_string();
    assert!(said.contains("(-netdev tap,id=n): start it there again"), "{said}");
}

#[test]
fn a_tpm_and_shared_folders_are_spelled() {
    let share = |name: &str, path: &str, read_only| Share {
        name: name.into(),
        path: path.into(),
        read_only,
        via: Via::NineP,
    };
    let shares = vec![share("src", "/srv/a,b", true), share("out", "/srv/out", false)];
    let golden = "-chardev socket,id=tpm,path=tpm.sock|-tpmdev emulator,id=tpm,chardev=tpm|-device tpm-crb,tpmdev=tpm|\
        -fsdev local,id=share-src,path=/srv/a,,b,security_model=mapped-xattr,multidevs=remap,readonly=on|\
        -device virtio-9p-pci,fsdev=share-src,mount_tag=src|\
        -fsdev local,id=share-out,path=/srv/out,security_model=mapped-xattr,multidevs=remap|\
        -device virtio-9p-pci,fsdev=share-out,mount_tag=out|-kernel ";
    let after = after_ports(Definition { tpm: true, shares, ..kernel() });
    assert!(after.starts_with(golden), "{after}");
}

#[test]
fn a_folder_by_virtiofs_is_a_socket_and_memory_that_its_process_reads() {
    let share = Share { name: "src".into(), path: "/srv/a".into(), read_only: true, via: Via::Virtiofs };
    let definition = Definition { shares: vec![share], ..kernel() };
    let words = arguments(&launch(definition), Accel::Tcg, &Ready::default()).unwrap().join("|");
    let memory = "-object|memory-backend-memfd,id=memory,size=256M,share=on|-machine|memory-backend=memory";
    assert!(words.contains(memory), "{words}");
    let device = "-chardev|socket,id=share-src,path=share-src.sock|-device|vhost-user-fs-pci,chardev=share-src,tag=src";
    assert!(words.contains(device), "{words}");
}

#[test]
fn nics_are_spelled_with_their_forwards() {
    let forwards = ["8080:80", "0.0.0.0:5353:53/udp"].map(|forward| forward.parse().unwrap()).to_vec();
    let lan = Network::Bridge { name: "br0".into() };
    let nics = vec![
        Nic { boot_order: Some(0), ..Nic::new(Network::User { forwards }) },
        Nic { model: NicModel::E1000e, mac: "52:54:00:12:34:56".parse().ok(), ..Nic::new(lan) },
    ];
    let golden = "-netdev user,id=net-net1,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:0.0.0.0:5353-:53|\
        -device virtio-net-pci,netdev=net-net1,id=nic-net1,mac=52:54:2e:da:ef:29,bootindex=1|\
        -netdev tap,id=net-net2,ifname=sk2ec512fc,script=no,downscript=no|\
        -device e1000e,netdev=net-net2,id=nic-net2,mac=52:54:00:12:34:56|-kernel ";
    let after = after_ports(named(Definition { nics, ..kernel() }));
    assert!(after.starts_with(golden), "{after}");
}

#[test]
fn a_nic_on_a_network_is_a_descriptor_or_an_interface_that_systemds_qemu_makes() {
    let lan = Network::Named { name: "lan".parse().unwrap(), address: None };
    let definition = named(Definition { nics: vec![Nic::new(lan)], ..kernel() });
    let device = "-device|virtio-net-pci,netdev=net-net1,id=nic-net1,mac=52:54:2e:da:ef:29|-kernel|";
    let spelled = |taps: &[(String, i32)]| {
        let ready = Ready { taps: taps.to_vec(), ..Ready::default() };
        let words = arguments(&launch(definition.clone()), Accel::Tcg, &ready).unwrap().join("|");
        words[words.find("-netdev").unwrap()..].to_owned()
    };
    let handed = spelled(&[("net1".into(), 17)]);
    assert!(handed.starts_with(&format!("-netdev|tap,id=net-net1,fd=17|{device}")), "{handed}");
    let made = spelled(&[]);
    let interface = "ifname=sk2edaef29,script=no,downscript=no";
    assert!(made.starts_with(&format!("-netdev|tap,id=net-net1,{interface}|{device}")), "{made}");
}

#[test]
fn disks_of_every_kind_are_spelled() {
    let raw = |path: &str| Disk::new(path, DiskFormat::Raw);
    let disks = vec![
        Disk { bus: Bus::Scsi, cache: Cache::None, discard: false, ..raw("/d/1") },
        Disk { bus: Bus::Sata, cache: Cache::Writethrough, ..raw("/d/2") },
        Disk { boot_order: Some(4), ..Disk::cd("/d/3.iso") },
        Disk { cache: Cache::Unsafe, ..raw("/d/4") },
    ];
    let node = |name: &str, read_only: bool, rest: &str, file: &str| {
        format!(
            "-blockdev {{\"driver\":\"raw\",\"node-name\":\"disk-{name}\",\"read-only\":{read_only},{rest},\
             \"file\":{{\"driver\":\"file\",\"filename\":\"/d/{file}\",{rest}}}}}"
        )
    };
    let unmap = "\"discard\":\"unmap\"";
    let none = "\"discard\":\"ignore\",\"cache\":{\"direct\":true,\"no-flush\":false}";
    let unsafely = "\"discard\":\"unmap\",\"cache\":{\"direct\":false,\"no-flush\":true}";
    let golden = [
        "-device virtio-scsi-pci,id=scsi".to_owned(),
        node("disk1", false, none, "1"),
        "-device scsi-hd,drive=disk-disk1,id=dev-disk1,bus=scsi.0".into(),
        node("disk2", false, unmap, "2"),
        "-device ide-hd,drive=disk-disk2,id=dev-disk2,bus=ide.0,write-cache=off".into(),
        node("disk3", true, unmap, "3.iso"),
        "-device ide-cd,drive=disk-disk3,id=dev-disk3,bus=ide.1,bootindex=5".into(),
        node("disk4", false, unsafely, "4"),
        "-device virtio-blk-pci,drive=disk-disk4,id=dev-disk4".into(),
        "-kernel ".into(),
    ]
    .join("|");
    let after = after_ports(named(Definition { disks, ..kernel() }));
    assert!(after.starts_with(&golden), "{after}\n{golden}");
}

#[test]
fn limits_are_said_as_qemu_counts_them() {
    let limits = Some(Limits { iops: Some(100), bytes_per_second: None });
    let disk = Disk { name: "a".into(), limits, ..Disk::new("/d/1", DiskFormat::Raw) };
    let golden = r#"{"id":"/machine/peripheral/dev-a/virtio-backend","bps":0,"bps_rd":0,"bps_wr":0,"iops":100,"iops_rd":0,"iops_wr":0}"#;
    assert_eq!(disks::throttle(&disk).to_string(), golden);
}

#[test]
fn disks_are_virtio_and_the_first_one_boots() {
    let words = arguments(&launch(from_disk()), Accel::Kvm, &Ready::default()).unwrap();
    let spelled = spelled(&words);
    assert!(spelled.contains("|-accel kvm|-cpu host|"));
    let (_, disks) = spelled.split_once("agent.0|").unwrap();
    let golden = r#"-blockdev {"driver":"qcow2","node-name":"disk-disk1","read-only":false,"discard":"unmap","file":{"driver":"file","filename":"/d/a,b \"c\".qcow2","discard":"unmap"}}|-device virtio-blk-pci,drive=disk-disk1,id=dev-disk1,bootindex=1|-blockdev {"driver":"raw","node-name":"disk-disk2","read-only":true,"discard":"unmap","file":{"driver":"file","filename":"/d/seed.img","discard":"unmap"}}|-device virtio-blk-pci,drive=disk-disk2,id=dev-disk2"#;
    assert_eq!(disks, golden);
}

/// Options with their values, between bars.
fn spelled(words: &[String]) -> String {
    words[..3].join(" ")
        + "|"
        + &words[3..].chunks(2).map(|pair| pair.join(" ")).collect::<Vec<_>>().join("|")
}

#[test]
fn what_cannot_run_is_refused_in_plain_words() {
    let refusal = |change: fn(&mut Definition)| {
        let mut definition = kernel();
        change(&mut definition);
        arguments(&launch(definition), Accel::Tcg, &Ready::default()).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(|d| d.boot = Boot::Disk),
        "it boots from its first disk, but has none: give it a disk, or a kernel"
    );
    assert_eq!(refusal(|d| d.vcpus = 0), "a machine has 1 to 255 virtual processors, not 0");
    let relative = Disk::new("disk.img", DiskFormat::Raw);
    let definition = named(Definition { disks: vec![relative], ..kernel() });
    let error = arguments(&launch(definition), Accel::Tcg, &Ready::default()).unwrap_err();
    assert_eq!(error.to_string(), "the disk \"disk.img\" must be a whole path, beginning with /");
    assert!(refusal(|d| d.memory_mib = 0).starts_with("a machine has 16M to 16T"));
}

#[test]
fn a_uefi_has_two_chips_and_one_that_checks_signatures_is_closed() {
    let files = Some(firmware::Files { code: "/o/CODE.fd".into(), variables: "/m/vars.fd".into() });
    let ready = Ready { firmware: files, ..Ready::default() };
    let words = |firmware: Firmware| {
        let definition = Definition { firmware, ..from_disk() };
        spelled(&arguments(&launch(definition), Accel::Tcg, &ready).unwrap())
    };
    let chips = r#"-blockdev {"driver":"raw","node-name":"uefi","read-only":true,"file":{"driver":"file","filename":"/o/CODE.fd"}}|-blockdev {"driver":"raw","node-name":"uefi-vars","read-only":false,"file":{"driver":"file","filename":"/m/vars.fd"}}|-machine q35,pflash0=uefi,pflash1=uefi-vars"#;
    assert!(words(Firmware::Uefi).contains(&format!("{chips}|-accel")));
    let closed =
        ",smm=on|-global driver=cfi.pflash01,property=secure,value=on|-global ICH9-LPC.disable_s3=1|";
    assert!(words(Firmware::SecureBoot).contains(&format!("{chips}{closed}")));
}

#[test]
fn processor_watchdog_and_cloud_init_are_spelled() {
    let cpu = Cpu { model: Some("Nehalem".into()), threads: Some(2), ..Cpu::default() };
    let definition = Definition {
        cpu,
        vcpus: 4,
        watchdog: Some(Watchdog::Poweroff),
        cloud_init: Some(CloudInit::default()),
        ..kernel()
    };
    let all = spelled(&arguments(&launch(definition), Accel::Kvm, &Ready::default()).unwrap());
    let parts = [
        "|-accel kvm|-cpu Nehalem|-smp cpus=4,sockets=1,dies=1,cores=2,threads=2,maxcpus=4|-m size=256M|",
        "|-device i6300esb,id=watchdog|-action watchdog=poweroff|",
        r#"|-blockdev {"driver":"raw","node-name":"cidata","read-only":true,"file":{"driver":"file","filename":"cidata.img"}}|-device virtio-blk-pci,drive=cidata,id=cidata|-kernel "#,
    ];
    for part in parts {
        assert!(all.contains(part), "{all}");
    }
}

#[test]
fn devices_of_the_host_are_behind_ports_of_their_own_or_on_the_usb_bus() {
    let (pci, port, id) = (
        |text: &str| text.parse().unwrap(),
        |text: &str| text.parse().unwrap(),
        "1050:0407".parse().unwrap(),
    );
    let lent = vec![
        ("gpu".to_owned(), Lent::Pci { address: pci("01:00.0") }),
        ("key".to_owned(), Lent::Usb { port: port("1-2.4"), id }),
        ("sound".to_owned(), Lent::Pci { address: pci("01:00.1") }),
    ];
    let ready = Ready { devices: lent, ..Ready::default() };
    let said = spelled(&arguments(&launch(kernel()), Accel::Tcg, &ready).unwrap());
    let after = said.split_once(&(ports() + "|")).unwrap().1;
    let golden = "-device pcie-root-port,id=for-gpu,chassis=32,addr=0x1a.0,multifunction=on|\
        -device pcie-root-port,id=for-sound,chassis=33,addr=0x1a.1|\
        -device qemu-xhci,id=usb|-device vfio-pci,host=0000:01:00.0,id=device-gpu,bus=for-gpu|\
        -device usb-host,id=device-key,bus=usb.0,hostbus=1,hostport=2.4,vendorid=0x1050,productid=0x0407|\
        -device vfio-pci,host=0000:01:00.1,id=device-sound,bus=for-sound|-kernel ";
    assert!(after.starts_with(golden), "{after}");
    let with_screen = Definition { graphics: true, ..kernel() };
    let said = spelled(&arguments(&launch(with_screen), Accel::Tcg, &ready).unwrap());
    assert_eq!(said.matches("qemu-xhci").count(), 1, "one controller is enough: {said}");
}
