//! What a real guest uses is counted where it happens: at its disks, its NICs, and by its own word.

use std::fs;

use hypervisor_core::{
    definition::{Disk, DiskFormat},
    driver::{Launch, numbers::Reading},
};

use crate::{qemu::QemuBench, story::Story};

async fn read(story: &Story, launch: &Launch) -> Reading {
    let driver = story.driver();
    story.goes_well("read", driver.numbers().unwrap().read(launch)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guests_disk_and_memory_are_counted() {
    let story = Story::open(Box::new(QemuBench::new())).await;
    let mut launch = story.bench.launch();
    let image = launch.folder.with_extension("img");
    fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    launch.definition.disks = vec![Disk::new(image, DiskFormat::Raw)];
    launch.definition.name_all();
    story.boot(&launch).await;
    let before = read(&story, &launch).await;
    story
        .types(launch.id, b"dd if=/dev/zero of=/dev/vda bs=1M count=16 conv=fsync && echo wri''tten\n")
        .await;
    story.shows(&launch, b"written").await;
    let after = read(&story, &launch).await;
    let written = after.disks[0].written_bytes - before.disks[0].written_bytes;
    assert_eq!((after.disks[0].name.as_str(), written), ("disk1", 16 << 20));
    assert!(after.nics.is_empty(), "of a NIC in user mode nothing is known");
    // It was first asked for its memory by the first reading, and is asked again every ten seconds.
    let said = async {
        loop {
            match read(&story, &launch).await.guest_memory {
                Some(said) => return said,
                None => tokio::task::yield_now().await,
            }
        }
    };
    let said = story.happens("the guest's word on its memory", said).await;
    let mib = said.total_bytes >> 20;
    assert!((64..=128).contains(&mib), "it has {mib} MiB of 128");
    assert!(said.available_bytes < said.total_bytes && said.available_bytes > 16 << 20, "{said:?}");
}
