//! Long work on disks, while the machine runs and while it does not.

use std::{path::PathBuf, sync::Mutex};

use hypervisor_core::{
    definition::DiskFormat,
    driver::{DriverError, Launch},
};

use super::disks::{size, with_disks};
use crate::story::{Story, not_running};

const MIB: u64 = 1 << 20;

fn beside(launch: &Launch, name: &str) -> PathBuf {
    launch.folder.join(name)
}

/// The caller's part of a move.
fn written_down(launch: &mut Launch, at: usize, to: &std::path::Path) {
    launch.definition.disks[at].path = to.into();
}

pub async fn a_disk_moves_under_its_guest_and_moves_on(story: &mut Story) {
    let mut launch = with_disks(story, 2).await;
    let driver = story.driver();
    let can = driver.disks().unwrap();
    story.boot(&launch).await;
    for name in ["second.qcow2", "third.qcow2"] {
        let to = beside(&launch, name);
        let heard = Mutex::new(Vec::new());
        let progress = |percent| heard.lock().unwrap().push(percent);
        story.goes_well("mirror", can.mirror(&launch, "disk2", &to, &progress)).await;
        assert_eq!(heard.lock().unwrap().last(), Some(&100));
        assert_eq!(can.is_in(&launch, "disk2", &to).await.unwrap(), Some(false), "not yet");
        story.goes_well("switch", can.switch(&launch, "disk2", &to)).await;
        assert_eq!(can.is_in(&launch, "disk2", &to).await.unwrap(), Some(true));
        written_down(&mut launch, 1, &to);
        assert_eq!(size(can, &launch, "disk2").await, 8 * MIB);
    }
    std::fs::remove_file(beside(&launch, "second.qcow2")).unwrap();
    story.goes_well("resize", can.resize(&launch, "disk2", 16 * MIB)).await;
    assert_eq!(size(can, &launch, "disk2").await, 16 * MIB);
    let snapshots = driver.snapshots().unwrap();
    story.goes_well("take", snapshots.take(&launch, "a", false)).await;
    assert_eq!(snapshots.list(&launch).await.unwrap()[0].disks, ["disk1", "disk2"]);
    // QEMU takes one client at a time.
    drop(driver);
    story.restart().await;
    story.observe(&launch).await;
    let driver = story.driver();
    let can = driver.disks().unwrap();
    let at = &launch.definition.disks[1].path;
    assert_eq!(can.is_in(&launch, "disk2", at).await.unwrap(), Some(true), "the next one finds it there");
}

pub async fn a_disk_at_rest_is_copied_and_nothing_more(story: &mut Story) {
    let launch = with_disks(story, 1).await;
    let driver = story.driver();
    let can = driver.disks().unwrap();
    let to = beside(&launch, "other.qcow2");
    story.goes_well("mirror", can.mirror(&launch, "disk1", &to, &|_| {})).await;
    story.goes_well("switch", can.switch(&launch, "disk1", &to)).await;
    assert_eq!(can.is_in(&launch, "disk1", &to).await.unwrap(), None, "it does not run");
    assert_eq!(can.file(&to, DiskFormat::Qcow2).await.unwrap().size_bytes, 8 * MIB);
    let again = can.mirror(&launch, "disk1", &to, &|_| {}).await;
    assert!(matches!(again, Err(DriverError::Unfit(_))), "there is a file: {again:?}");
    let copies = [("disk1".to_owned(), beside(&launch, "x.qcow2"))];
    not_running("copies", can.begin_copies(&launch, &copies).await);
    story.goes_well("abandon", can.abandon(&launch)).await;
}

pub async fn copies_of_one_moment_stand_alone(story: &mut Story) {
    let launch = with_disks(story, 2).await;
    let driver = story.driver();
    let can = driver.disks().unwrap();
    story.boot(&launch).await;
    let copies = [
        ("disk1".to_owned(), beside(&launch, "one.qcow2")),
        ("disk2".to_owned(), beside(&launch, "two.qcow2")),
    ];
    story.goes_well("begin", can.begin_copies(&launch, &copies)).await;
    story.goes_well("follow", can.follow_copies(&launch, &|_| {})).await;
    for (_, path) in &copies {
        let file = story.goes_well("file", can.file(path, DiskFormat::Qcow2)).await;
        assert_eq!((file.size_bytes, file.backing), (8 * MIB, None));
    }
    let over = can.begin_copies(&launch, &copies).await;
    assert!(matches!(over, Err(DriverError::Unfit(_))), "nothing is written over: {over:?}");
    let more = [("disk1".to_owned(), beside(&launch, "more.qcow2"))];
    story.goes_well("begin again", can.begin_copies(&launch, &more)).await;
    story.goes_well("follow", can.follow_copies(&launch, &|_| {})).await;
}

pub async fn what_was_given_up_is_ended_also_by_the_next_driver(story: &mut Story) {
    let launch = with_disks(story, 1).await;
    story.boot(&launch).await;
    for name in ["given-up.qcow2", "of-one-that-ended.qcow2"] {
        let to = beside(&launch, name);
        let driver = story.driver();
        let can = driver.disks().unwrap();
        story.goes_well("mirror", can.mirror(&launch, "disk1", &to, &|_| {})).await;
        drop(driver);
        if name.starts_with("of-one") {
            story.restart().await;
            story.observe(&launch).await;
        }
        let driver = story.driver();
        let can = driver.disks().unwrap();
        for _ in 0..2 {
            story.goes_well("abandon", can.abandon(&launch)).await;
        }
        assert_eq!(can.is_in(&launch, "disk1", &to).await.unwrap(), Some(false));
        std::fs::remove_file(&to).unwrap();
    }
    assert_eq!(size(story.driver().disks().unwrap(), &launch, "disk1").await, 8 * MIB);
}
