//! Devices of a host that is made up: two functions of one card, a NIC, and two things plugged in by USB.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::{path::PathBuf, time::Duration};

use hypervisor_core::driver::fake::StartFault;
use skerry_stanzas::refusal::Reason;
use stage::*;

const GPU: &str = "0000:01:00.0";
const SOUND: &str = "0000:01:00.1";

/// The driver that has a function.
fn driver(stage: &Stage, address: &str) -> String {
    let link = stage.folder.path().join("state/pretended/sys/bus/pci/devices").join(address).join("driver");
    let target: PathBuf = std::fs::read_link(link).unwrap_or_default();
    target.file_name().unwrap_or_default().to_str().unwrap().into()
}

async fn mapped() -> Stage {
    let stage = stage().await;
    for line in ["device map gpu 01:00.0", "device map sound 01:00.1", "device map key 1050:0407"] {
        stage.done(ANN, line).await;
    }
    for name in ["web1", "web2"] {
        stage.done(ANN, &format!("create {name} linux")).await;
    }
    stage
}

#[tokio::test]
async fn what_there_is_is_listed_with_its_names_and_who_has_it() {
    let stage = mapped().await;
    for name in ["gpu", "sound", "key"] {
        stage.done(ANN, &format!("web1: device attach {name}")).await;
    }
    stage.done(ANN, "web2: device attach gpu").await;
    stage.done(OTTO, "web1: start").await;
    assert_eq!(
        stage.done(VERA, "device list").await,
        "- gpu: pci 0000:01:00.0, 10de:2204, driver vfio-pci, group 14 with 0000:01:00.1; for web1, web2; web1 has it\n\
         - sound: pci 0000:01:00.1, 10de:1aef, driver vfio-pci, group 14 with 0000:01:00.0; for web1; web1 has it\n\
         - pci 0000:02:00.0, 8086:1521, driver igb, group 15\n\
         - key: usb 1-2, Yubico YubiKey OTP+FIDO+CCID (1050:0407), serial 0012345678; for web1; web1 has it\n\
         - usb 1-3, FTDI FT232R USB UART (0403:6001)"
    );
    std::fs::remove_dir_all(stage.folder.path().join("state/pretended/sys/bus/usb/devices/1-2")).unwrap();
    let said = stage.done(VERA, "device list").await;
    assert!(said.ends_with("- key: usb 1050:0407, serial 0012345678 is not there; for web1"), "{said}");
}

#[tokio::test]
async fn a_function_goes_with_its_machine_and_comes_back_however_that_ends() {
    let stage = mapped().await;
    let said = stage.done(ANN, "web1: device attach gpu").await;
    assert!(said.contains("- devices: none → gpu (in effect now)"), "{said}");
    assert!(said.contains("all of its memory is locked"), "{said}");
    // It cannot be had alone.
    let refusal = stage.refused(OTTO, "web1: start").await;
    assert!(refusal.text.contains("in one IOMMU group (14) with 0000:01:00.1"), "{refusal:?}");
    assert_eq!(driver(&stage, GPU), "nouveau");
    stage.done(ANN, "web1: device attach sound").await;
    for end in ["web1: shutdown", "web1: kill"] {
        stage.done(OTTO, "web1: start").await;
        assert_eq!((driver(&stage, GPU), driver(&stage, SOUND)), ("vfio-pci".into(), "vfio-pci".into()));
        match end {
            "web1: kill" => drop(done(stage.yes(OTTO, end).await)),
            end => drop(stage.done(OTTO, end).await),
        }
        stage.done(VERA, "device list").await;
        assert_eq!(
            (driver(&stage, GPU), driver(&stage, SOUND)),
            ("nouveau".into(), "snd_hda_intel".into()),
            "{end}"
        );
    }
    stage.faults().next_start(stage.id("web1"), StartFault::Fails("no".into()));
    stage.refused(OTTO, "web1: start").await;
    stage.done(VERA, "device list").await;
    assert_eq!(driver(&stage, GPU), "nouveau");
}

#[tokio::test]
async fn a_machine_keeps_its_devices_over_an_agents_end_and_the_next_one_takes_back_what_is_left() {
    let stage = mapped().await;
    for name in ["gpu", "sound"] {
        stage.done(ANN, &format!("web1: device attach {name}")).await;
    }
    stage.done(OTTO, "web1: start").await;
    let stage = stage.restart().await;
    assert_eq!(driver(&stage, GPU), "vfio-pci");
    let id = stage.id("web1");
    let (world, folder) = (stage.world.clone(), stage.folder);
    stage.agent.close().await;
    drop(stage.agent);
    // Its guest ends while no agent runs.
    assert!(world.faults().crash(id, "a cable was pulled"));
    let agent = open(folder.path(), &world).await;
    let stage = Stage { agent, world, folder };
    assert_eq!((driver(&stage, GPU), driver(&stage, SOUND)), ("nouveau".into(), "snd_hda_intel".into()));
}

#[tokio::test]
async fn a_device_is_one_machines_at_a_time() {
    let stage = mapped().await;
    for name in ["web1", "web2"] {
        stage.done(ANN, &format!("{name}: device attach key")).await;
    }
    stage.done(OTTO, "web1: start").await;
    let refusal = stage.refused(OTTO, "web2: start").await;
    assert!(refusal.text.contains("the device key is web1's while that runs"), "{refusal:?}");
    let refusal = stage.refused(ANN, "device map key 0403:6001").await;
    assert_eq!((refusal.reason, refusal.text.as_str()), (Reason::Conflict, "web1 has the device key now."));
    stage.done(OTTO, "web1: shutdown").await;
    assert_eq!(stage.done(OTTO, "web2: start").await, "web2 is running.");
    // By USB it goes from one to the other while both run.
    stage.done(ANN, "web1: device detach key").await;
    stage.done(OTTO, "web1: start").await;
    let said = stage.done(ANN, "web1: device attach key").await;
    assert!(
        said.contains("In effect at the next start: the device key") && said.contains("is web2's"),
        "{said}"
    );
    assert_eq!(stage.done(ANN, "web2: device detach key").await, "web2: devices: key → none. In effect now.");
    assert_eq!(
        stage.done(ANN, "web1: device attach key").await,
        "web1: it has the device key already. In effect now."
    );
    assert!(stage.done(VERA, "device list").await.contains("for web1; web1 has it"));
}

#[tokio::test]
async fn what_is_on_pci_comes_and_goes_with_a_start() {
    let stage = mapped().await;
    stage.done(ANN, "device map nic 0000:02:00.0").await;
    stage.done(OTTO, "web1: start").await;
    let said = stage.done(ANN, "web1: device attach nic").await;
    assert!(said.contains("at the next start: on PCI, it gets nic only then"), "{said}");
    assert_eq!(driver(&stage, "0000:02:00.0"), "igb");
    done(stage.yes(OTTO, "web1: kill").await);
    stage.done(OTTO, "web1: start").await;
    assert_eq!(driver(&stage, "0000:02:00.0"), "vfio-pci");
    let said = stage.done(ANN, "web1: device detach nic").await;
    assert!(said.contains("at the next start: on PCI, it has nic until it is off"), "{said}");
    assert_eq!(driver(&stage, "0000:02:00.0"), "vfio-pci");
    done(stage.yes(OTTO, "web1: kill").await);
    // Nobody has to ask for it.
    let returned = async {
        while driver(&stage, "0000:02:00.0") != "igb" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), returned).await.expect("the host has it again");
}

#[tokio::test]
async fn another_device_at_its_place_is_not_handed_over() {
    let stage = mapped().await;
    stage.done(ANN, "web1: device attach key").await;
    let devices = stage.folder.path().join("state/pretended/sys/bus/usb/devices");
    std::fs::write(devices.join("1-2/serial"), "0099\n").unwrap();
    let refusal = stage.refused(OTTO, "web1: start").await;
    assert!(refusal.text.contains("usb 1050:0407, serial 0012345678 is not there"), "{refusal:?}");
    std::fs::write(devices.join("1-3/serial"), "0012345678\n").unwrap();
    std::fs::write(devices.join("1-3/idVendor"), "1050\n").unwrap();
    std::fs::write(devices.join("1-3/idProduct"), "0407\n").unwrap();
    assert_eq!(stage.done(OTTO, "web1: start").await, "web1 is running.", "it was plugged in elsewhere");
}

#[tokio::test]
async fn a_name_is_one_devices_and_stays_while_it_is_used() {
    let stage = mapped().await;
    let again = stage.done(ANN, "device map gpu 0000:01:00.0").await;
    assert_eq!(again, "The device gpu is pci 0000:01:00.0 (10de:2204) already.");
    for (line, reason, text) in [
        ("device map card 01:00.0", Reason::Conflict, "That device is called gpu already."),
        ("device map stick 1-2", Reason::Conflict, "That device is called key already."),
        ("device map Gpu 02:00.0", Reason::BadRequest, "\"Gpu\" cannot be the name of a device."),
        ("device map nic 00:1c.0", Reason::NotFound, "There is no device 0000:00:1c.0 here."),
        ("device map nic 8086:1521", Reason::NotFound, "usb 8086:1521 is not there."),
        ("device map nic ../../etc", Reason::BadRequest, "\"../../etc\" is no device."),
        (
            "device map other 1-2 serial=77",
            Reason::NotFound,
            "There is no device of that serial at 1-2 here.",
        ),
        ("device unmap gpx", Reason::NotFound, "No device of this host is called \"gpx\"."),
        ("web1: device attach gpx", Reason::NotFound, "No device of this host is called \"gpx\"."),
        ("web1: device detach gpu", Reason::NotFound, "web1 has no device \"gpu\"."),
    ] {
        let refusal = stage.refused(ANN, line).await;
        assert_eq!((refusal.reason, refusal.text.as_str()), (reason, text), "{line}");
    }
    assert_eq!(stage.refused(OTTO, "device map nic 02:00.0").await.reason, Reason::NotAllowed);
    assert_eq!(stage.refused(OTTO, "web1: device attach gpu").await.reason, Reason::NotAllowed);
    stage.done(ANN, "web1: device attach gpu").await;
    assert!(stage.done(ANN, "web1: define").await.contains("[[devices]]\nname = \"gpu\""));
    // Two may be meant to have it: which of them does is seen when they start.
    stage.done(ANN, "web1: clone web3").await;
    let refusal = stage.refused(ANN, "device unmap gpu").await;
    assert_eq!(refusal.text, "The device gpu is to be had by web1, web3.");
    stage.done(ANN, "web1: device detach gpu").await;
    stage.done(ANN, "web3: device detach gpu").await;
    assert_eq!(stage.done(ANN, "device unmap gpu").await, "No device is called gpu any more.");
    // It cannot come back by an earlier definition either.
    let refusal = stage.refused(ANN, "web1: definition revert 2").await;
    assert_eq!(refusal.reason, Reason::NotFound, "{refusal:?}");
}

/// The pretended host is reached by the interface of its one NIC, and by nothing else.
fn routes_go_over_the_nic(stage: &Stage) {
    let host = stage.folder.path().join("state/pretended");
    let interface = host.join("sys/bus/pci/devices/0000:02:00.0/net/eno1");
    for folder in [&interface, &host.join("sys/class/net"), &host.join("proc/net")] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::os::unix::fs::symlink(interface, host.join("sys/class/net/eno1")).unwrap();
    std::fs::write(host.join("proc/net/route"), "Iface Destination Gateway\neno1 00000000 0101A8C0\n")
        .unwrap();
}

#[tokio::test]
async fn what_the_host_itself_uses_is_handed_over_on_an_explicit_word_alone() {
    let stage = mapped().await;
    stage.done(ANN, "device map nic 02:00.0").await;
    stage.done(ANN, "web1: device attach nic").await;
    routes_go_over_the_nic(&stage);
    // Since it was mapped.
    let refusal = stage.refused(OTTO, "web1: start").await;
    assert!(refusal.text.contains("the host itself uses the device nic (pci 0000:02:00.0)"), "{refusal:?}");
    assert_eq!(driver(&stage, "0000:02:00.0"), "igb");
    let refusal = stage.refused(ANN, "device map uplink 02:00.0").await;
    assert_eq!(
        (refusal.reason, refusal.text.as_str()),
        (Reason::Conflict, "That device is called nic already.")
    );
    stage.done(ANN, "web1: device detach nic").await;
    stage.done(ANN, "device unmap nic").await;
    let refusal = stage.refused(ANN, "device map nic 02:00.0").await;
    assert_eq!(
        refusal.sentence(),
        "The host itself uses pci 0000:02:00.0: its routes go over it (eno1). The host, and its machines, are \
         not reached over it any more, and by that perhaps not at all: then nobody can take it back from \
         afar. If that is meant: device map nic 02:00.0 --even-in-use"
    );
    let said = stage.done(ANN, "device map nic 02:00.0 --even-in-use").await;
    assert!(
        said.contains("Mind: the host itself uses it: its routes go over it (eno1). The host,"),
        "{said}"
    );
    stage.done(ANN, "web1: device attach nic").await;
    // The word is remembered, and taken back by saying it without.
    let stage = stage.restart().await;
    assert_eq!(stage.done(OTTO, "web1: start").await, "web1 is running.");
    assert_eq!(driver(&stage, "0000:02:00.0"), "vfio-pci");
    stage.done(OTTO, "web1: shutdown").await;
    assert_eq!(stage.refused(ANN, "device map nic 02:00.0").await.reason, Reason::Conflict);
    std::fs::remove_file(stage.folder.path().join("state/pretended/sys/class/net/eno1")).unwrap();
    assert_eq!(stage.done(OTTO, "web1: start").await, "web1 is running.");
}

#[tokio::test]
async fn a_memory_is_not_kept_while_it_has_devices() {
    let stage = mapped().await;
    stage.done(ANN, "web1: disk create data 1G").await;
    stage.done(ANN, "web1: device attach key").await;
    stage.done(OTTO, "web1: start").await;
    let refusal = stage.refused(ANN, "web1: snapshot take before --memory").await;
    assert!(refusal.sentence().contains("it has devices of its host"), "{refusal:?}");
    stage.done(ANN, "web1: snapshot take disks").await;
}
