//! What a machine is made with, and what it cannot be made with.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use hypervisor_core::{
    definition::{Definition, Firmware, Network},
    driver::disk::describe,
};
use stage::{ANN, Stage, stage};

/// What a machine is made of, as the machine says it itself.
async fn definition(stage: &Stage, machine: &str) -> Definition {
    let shown = stage.done(ANN, &format!("{machine}: define")).await;
    let toml = shown.split("```").nth(1).unwrap();
    Definition::from_toml(toml).unwrap()
}

fn folders(stage: &Stage) -> usize {
    std::fs::read_dir(stage.folder.path().join("state/machines")).unwrap().count()
}

#[tokio::test]
async fn all_of_it_can_be_said_at_once() {
    let stage = stage().await;
    stage.done(ANN, "network create lan subnet=10.30.0.0/24").await;
    let words = "memory=512M vcpus=2 firmware=uefi disk=data,1G disk=2G network=lan nic=rate=10Mbit \
                 nic=out,forward=2222:22 note='the first'";
    stage.done(ANN, &format!("create web1 linux {words}")).await;
    let made = definition(&stage, "web1").await;
    assert_eq!((made.vcpus, made.memory_mib, made.firmware), (2, 512, Firmware::Uefi));
    assert_eq!(made.note.as_deref(), Some("the first"));
    let disks: Vec<&str> = made.disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(disks, ["data", "disk1"]);
    let shown = stage.done(ANN, "web1: disk list").await;
    assert!(shown.contains("data: 1 GiB") && shown.contains("disk1: 2 GiB"), "{shown}");
    assert!(matches!(&made.nics[0].network, Network::Named { name, .. } if name.as_str() == "lan"));
    assert!(made.nics[0].rate.is_some());
    assert_eq!(made.nics[1].name, "out");
    // They are its own: they go into the trash with it, and come back.
    stage.yes(ANN, "web1: delete").await;
    assert_eq!(folders(&stage), 0);
    stage.done(ANN, "undelete web1").await;
    stage.done(ANN, "web1: disk detach data").await;
    stage.yes(ANN, "web1: disk delete data").await;
}

#[tokio::test]
async fn a_disk_is_as_large_as_is_asked_and_never_smaller_than_its_image() {
    let stage = stage().await;
    stage::disk(stage.folder.path(), "debian.qcow2");
    stage.done(ANN, "image import debian.qcow2 name=debian").await;
    for (line, bytes) in [
        ("thin debian", 1 << 20),
        ("large debian size=64M", 64 << 20),
        ("whole debian size=2M --full", 2 << 20),
    ] {
        stage.done(ANN, &format!("create {line}")).await;
        let made = definition(&stage, line.split(' ').next().unwrap()).await;
        assert_eq!(describe(&made.disks[0].path).await.unwrap().size_bytes, bytes, "{line}");
    }
    let big = std::fs::File::create(stage.folder.path().join("state/import/big.raw")).unwrap();
    big.set_len(4 << 20).unwrap();
    stage.done(ANN, "image import big.raw format=raw").await;
    let before = folders(&stage);
    for (line, says, field) in [
        ("x big size=2M", "The image has 4 MiB, and a disk is never made smaller", "size"),
        ("x linux size=1G", "The image brings no disk that could have a size", "size"),
        ("x linux disk=1", "1 of what?", "disk"),
        ("x linux disk=Data,1G", "Data", "disk"),
        ("x linux disk=a,1G disk=a,2G", "\"a\"", "disk"),
        ("x linux network=lna", "There is no network \"lna\"", "network"),
        ("x linux network=Lan", "\"Lan\" cannot be the name of a network", "network"),
        ("x linux nic=colour=red", "\"colour=red\" means nothing for a NIC", "nic"),
        ("x linux memory=128M firmware=uefi", "256M", "memory"),
        ("x linux firmware=secure-boot memory=512M", "not checked for its signature", ""),
        ("x linux vcpus=0", "processors", "vcpus"),
    ] {
        let refusal = stage.refused(ANN, &format!("create {line}")).await;
        assert!(refusal.text.contains(says), "{line}: {refusal:?}");
        assert_eq!(refusal.field.as_deref().unwrap_or_default(), field, "{line}: {refusal:?}");
    }
    assert_eq!(folders(&stage), before, "nothing was begun");
}
