//! Any definition is read as it was written, and any change of it is told.

use std::net::Ipv4Addr;

use proptest::{option, prelude::*};

use crate::definition::*;

fn path() -> impl Strategy<Value = PathBuf> {
    "/[a-zA-Z0-9 ,_.\"'äß-]{1,30}".prop_map(PathBuf::from)
}

fn boot() -> impl Strategy<Value = Boot> {
    prop_oneof![
        Just(Boot::Disk),
        (path(), option::of(path()), "[ -~]{0,80}").prop_map(|(kernel, initrd, cmdline)| Boot::Kernel {
            kernel,
            initrd,
            cmdline
        }),
    ]
}

fn one_of<T: Clone + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn disk() -> impl Strategy<Value = Disk> {
    let format = one_of(&[DiskFormat::Raw, DiskFormat::Qcow2]);
    let bus = one_of(&[Bus::Virtio, Bus::Scsi, Bus::Sata]);
    let cache = one_of(&[Cache::Writeback, Cache::None, Cache::Writethrough, Cache::Unsafe]);
    let limit = || option::of(1u64..=1 << 40);
    let limits =
        option::of((limit(), limit()).prop_map(|(iops, bytes_per_second)| Limits { iops, bytes_per_second }));
    let whole = (any::<bool>(), any::<bool>(), any::<bool>(), option::of(0u32..99));
    let named = ("[a-z][a-z0-9-]{0,15}", path());
    (named, format, bus, cache, limits, whole).prop_map(
        |((name, path), format, bus, cache, limits, (cd, read_only, discard, boot_order))| {
            if cd {
                let bus = if bus == Bus::Virtio { Bus::Sata } else { bus };
                return Disk { name, bus, cache, limits, boot_order, ..Disk::cd(path) };
            }
            let media = Media::Disk;
            Disk { name, path, format, media, read_only, bus, cache, discard, limits, boot_order }
        },
    )
}

fn forward() -> impl Strategy<Value = Forward> {
    let port = || (1u16..).prop_map(|port| port.try_into().expect("not zero"));
    let address = prop_oneof![
        Just(Ipv4Addr::LOCALHOST),
        Just(Ipv4Addr::UNSPECIFIED),
        any::<u32>().prop_map(Ipv4Addr::from)
    ];
    (one_of(&[Protocol::Tcp, Protocol::Udp]), address, port(), port()).prop_map(
        |(protocol, address, host_port, guest_port)| Forward { protocol, address, host_port, guest_port },
    )
}

fn nic() -> impl Strategy<Value = Nic> {
    let network = prop_oneof![
        prop::collection::vec(forward(), 0..3).prop_map(|forwards| Network::User { forwards }),
        "[a-z][a-z0-9._-]{0,14}".prop_map(|name| Network::Bridge { name }),
        ("[a-z][a-z0-9]{0,11}", option::of(any::<u32>().prop_map(Into::into)))
            .prop_map(|(name, address)| Network::Named { name: name.parse().expect("a name"), address }),
    ];
    let mac = option::of(any::<[u8; 5]>().prop_map(|[a, b, c, d, e]| {
        format!("52:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}").parse().expect("a MAC address")
    }));
    let model = one_of(&[NicModel::Virtio, NicModel::E1000e, NicModel::Rtl8139]);
    let rate = option::of(one_of(&["64kbit", "100Mbit", "1Gbit"]));
    let link = one_of(&[Link::Up, Link::Down]);
    ("[a-z][a-z0-9-]{0,15}", mac, model, network, option::of(100u32..), rate, any::<bool>(), link).prop_map(
        |(name, mac, model, network, boot_order, rate, guard, link)| {
            let named = matches!(network, Network::Named { .. });
            let rate = rate.filter(|_| named).map(|rate| rate.parse().expect("a rate"));
            Nic { name, mac, model, network, boot_order, rate, guard: guard || !named, link }
        },
    )
}

fn hardware() -> impl Strategy<Value = (Cpu, Firmware, Option<Watchdog>, Option<CloudInit>)> {
    let cpu = prop_oneof![
        Just(Cpu::default()),
        "[A-Za-z0-9.-]{1,12}".prop_map(|model| Cpu {
            model: Some(model),
            sockets: Some(1),
            ..Cpu::default()
        }),
        prop::collection::vec(0u32..=1023, 1..3).prop_map(|pin| Cpu { pin, ..Cpu::default() }),
    ];
    let firmware = one_of(&[Firmware::Bios, Firmware::Uefi, Firmware::SecureBoot]);
    let watchdog = option::of(one_of(&[Watchdog::Reset, Watchdog::Poweroff, Watchdog::Pause]));
    let text = || option::of("[ -~äß\n\t]{0,80}");
    let cloud_init = (prop::collection::vec("ssh-[ -~]{1,20}", 0..3), text(), text())
        .prop_map(|(ssh_keys, user_data, network)| CloudInit { ssh_keys, user_data, network });
    (cpu, firmware, watchdog, option::of(cloud_init))
}

fn policy() -> impl Strategy<Value = (Restart, Startup)> {
    let startup = (option::of(any::<u32>()), 0..=Startup::DELAY_SECONDS_MAX)
        .prop_map(|(order, delay_seconds)| Startup { order, delay_seconds });
    (one_of(&[Restart::No, Restart::OnFailure, Restart::Always]), startup)
}

fn share() -> impl Strategy<Value = Share> {
    let via = one_of(&[Via::NineP, Via::Virtiofs]);
    ("[a-z][a-z0-9-]{0,15}", path(), any::<bool>(), via).prop_map(|(name, path, read_only, via)| Share {
        name,
        path,
        read_only,
        via,
    })
}

fn devices(names: std::collections::BTreeSet<String>) -> Vec<Device> {
    names.into_iter().map(Device::new).collect()
}

fn definitions() -> impl Strategy<Value = Definition> {
    let disks = prop::collection::vec(disk(), 1..5);
    let nics = prop::collection::vec(nic(), 0..4);
    let mib = || 16u64..=16 * 1024 * 1024;
    let size =
        (1u32..=255, mib(), option::of(1u32..=255), option::of(mib()), option::of(mib()), any::<bool>());
    let made = |(size, boot, disks, nics, sockets, hardware, note)| {
        let (vcpus, memory_mib, vcpus_max, memory_max_mib, memory_min_mib, hugepages) = size;
        let (graphics, guest_agent): (bool, bool) = sockets;
        let ((cpu, firmware, watchdog, cloud_init), (restart, startup), (tpm, shares, kept, given)) =
            hardware;
        let devices =
            Definition { disks, nics, graphics, guest_agent, ..Definition::new(vcpus, memory_mib, boot) };
        let room =
            Definition { vcpus_max, memory_max_mib, memory_min_mib, hugepages, tpm, shares, kept, ..devices };
        Definition { devices: given, cpu, firmware, watchdog, cloud_init, restart, startup, note, ..room }
    };
    (
        size,
        boot(),
        disks,
        nics,
        any::<(bool, bool)>(),
        (
            hardware(),
            policy(),
            (
                any::<bool>(),
                prop::collection::vec(share(), 0..3),
                prop::collection::vec("-[a-z]{1,9} [!-~]{1,20}", 0..3),
                prop::collection::btree_set("[a-z][a-z0-9-]{0,15}", 0..3).prop_map(devices),
            ),
        ),
        option::of("[ -~äß\n]{1,80}"),
    )
        .prop_map(made)
        .prop_filter("what cannot be", |definition| definition.check().is_ok())
}

proptest! {
    #[test]
    fn toml_and_the_store_say_all_of_it(definition in definitions()) {
        let text = definition.to_toml();
        prop_assert_eq!(Definition::from_toml(&text), Ok(definition.clone()), "{}", text);
        let stored = serde_json::to_string(&definition).expect("it can be stored");
        prop_assert_eq!(serde_json::from_str::<Definition>(&stored).ok(), Some(definition), "{}", stored);
    }

    #[test]
    fn each_change_alone_is_said(old in definitions(), other in definitions(), which in 0..22) {
        let mut new = old.clone();
        match which {
            0 => new.vcpus = other.vcpus,
            1 => new.memory_mib = other.memory_mib,
            2 => new.boot = other.boot,
            3 => new.disks = other.disks,
            4 => new.nics = other.nics,
            5 => new.graphics = other.graphics,
            6 => new.guest_agent = other.guest_agent,
            7 => new.cpu = other.cpu,
            8 => new.firmware = other.firmware,
            9 => new.watchdog = other.watchdog,
            10 => new.cloud_init = other.cloud_init,
            11 => new.restart = other.restart,
            12 => new.startup = other.startup,
            13 => new.vcpus_max = other.vcpus_max,
            14 => new.memory_max_mib = other.memory_max_mib,
            15 => new.memory_min_mib = other.memory_min_mib,
            16 => new.hugepages = other.hugepages,
            17 => new.tpm = other.tpm,
            18 => new.shares = other.shares,
            19 => new.kept = other.kept,
            20 => new.devices = other.devices,
            _ => new.note = other.note,
        }
        prop_assert_eq!(differences(&old, &new).is_empty(), old == new, "{:?} {:?}", old, new);
    }

    #[test]
    fn each_change_within_a_disk_or_a_nic_is_said(old in definitions(), disk in disk(), nic in nic()) {
        let mut new = old.clone();
        if let Some(first) = new.disks.first_mut() {
            *first = Disk { name: first.name.clone(), ..disk };
        }
        if let Some(first) = new.nics.first_mut() {
            *first = Nic { name: first.name.clone(), ..nic };
        }
        prop_assert_eq!(differences(&old, &new).is_empty(), old == new, "{:?} {:?}", old, new);
    }

    #[test]
    fn whatever_is_written_is_read_without_a_panic(text in "\\PC{0,200}") {
        let _ = Definition::from_toml(&text);
        let _ = text.parse::<Forward>();
        let _ = text.parse::<Mac>();
    }
}
