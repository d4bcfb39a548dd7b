//! Layers of disks: external snapshots are made of them. What is in a disk is told by its size, which every
//! driver knows.

use std::path::{Path, PathBuf};

use hypervisor_core::{
    definition::{Disk, DiskFormat},
    driver::{Driver, DriverError, GuestEvent, Launch, Power, layers::Merge},
};

use super::disks::{size, with_disks};
use crate::story::Story;

const MIB: u64 = 1 << 20;

/// Has a disk go on in a new file over the one it is in; answers that one.
async fn layered(driver: &dyn Driver, launch: &mut Launch, disk: &str, file: &str) -> (PathBuf, DiskFormat) {
    let can = driver.snapshots().unwrap();
    let at = launch.definition.disks.iter().position(|one| one.name == disk).unwrap();
    let below = (launch.definition.disks[at].path.clone(), launch.definition.disks[at].format);
    let path = launch.folder.join(file);
    can.cover(launch, disk, (&below.0, below.1), &path).await.unwrap();
    can.layer(launch, &[(disk.to_owned(), path.clone())]).await.unwrap();
    launch.definition.disks[at].path = path;
    launch.definition.disks[at].format = DiskFormat::Qcow2;
    below
}

fn merge(launch: &Launch, from: &Path, into: &(PathBuf, DiskFormat), above: &[&str]) -> Merge {
    let above = above.iter().map(|file| launch.folder.join(file)).collect();
    Merge { disk: "disk1".into(), from: from.into(), into: into.0.clone(), format: into.1, above }
}

fn stands_on(driver: &dyn Driver, file: &Path) -> Option<PathBuf> {
    driver.disks().unwrap().backing(file).unwrap()
}

pub async fn what_is_at_rest_is_layered_and_merged(story: &mut Story) {
    let mut launch = with_disks(story, 1).await;
    let driver = story.driver();
    let (can, disks) = (driver.snapshots().unwrap(), driver.disks().unwrap());
    let first = layered(&*driver, &mut launch, "disk1", "two.qcow2").await;
    story.goes_well("resize", disks.resize(&launch, "disk1", 16 * MIB)).await;
    assert_eq!(disks.file(&first.0, first.1).await.unwrap().size_bytes, 8 * MIB, "it stays as it was");
    let second = layered(&*driver, &mut launch, "disk1", "three.qcow2").await;
    assert_eq!(size(disks, &launch, "disk1").await, 16 * MIB);
    let again = can.cover(&launch, "disk1", (&first.0, first.1), &second.0).await;
    assert!(matches!(again, Err(DriverError::Unfit(_))), "{again:?}");
    // From the middle: what stood on it stands on the first then.
    let middle = merge(&launch, &second.0, &first, &["three.qcow2"]);
    for _ in 0..2 {
        story.goes_well("merge", can.merge(&launch, &middle, &|_| {})).await;
    }
    assert_eq!(stands_on(&*driver, &launch.definition.disks[0].path), Some(first.0.clone()));
    assert_eq!(disks.file(&first.0, first.1).await.unwrap().size_bytes, 16 * MIB);
    let last = merge(&launch, &launch.definition.disks[0].path, &first, &[]);
    story.goes_well("merge", can.merge(&launch, &last, &|_| {})).await;
    story.goes_well("turn", can.turn(&launch, &last)).await;
    story.goes_well("go on", can.go_on(&launch)).await;
    assert_eq!(stands_on(&*driver, &first.0), None);
}

pub async fn a_guest_goes_on_in_the_upper_and_back_in_the_lower_file_silently(story: &mut Story) {
    let mut launch = with_disks(story, 1).await;
    let driver = story.driver();
    let (can, disks) = (driver.snapshots().unwrap(), driver.disks().unwrap());
    story.boot(&launch).await;
    let first = layered(&*driver, &mut launch, "disk1", "two.qcow2").await;
    let second = layered(&*driver, &mut launch, "disk1", "three.qcow2").await;
    let third = launch.definition.disks[0].path.clone();
    assert_eq!(disks.is_in(&launch, "disk1", &third).await.unwrap(), Some(true));
    story.goes_well("resize", disks.resize(&launch, "disk1", 16 * MIB)).await;
    let middle = merge(&launch, &second.0, &first, &["three.qcow2"]);
    story.goes_well("merge", can.merge(&launch, &middle, &|_| {})).await;
    story.goes_well("turn", can.turn(&launch, &middle)).await;
    assert_eq!(disks.is_in(&launch, "disk1", &third).await.unwrap(), Some(true), "nothing was to be turned");
    assert_eq!(stands_on(&*driver, &third), Some(first.0.clone()));
    let last = merge(&launch, &third, &first, &[]);
    story.goes_well("merge", can.merge(&launch, &last, &|_| {})).await;
    story.goes_well("abandon", disks.abandon(&launch)).await;
    assert_eq!(disks.is_in(&launch, "disk1", &third).await.unwrap(), Some(true), "given up");
    story.goes_well("merge", can.merge(&launch, &last, &|_| {})).await;
    story.goes_well("turn", can.turn(&launch, &last)).await;
    assert_eq!(story.power(&launch).await, Power::Paused, "nothing is written before it is written down");
    assert_eq!(disks.is_in(&launch, "disk1", &first.0).await.unwrap(), Some(true));
    story.goes_well("go on", can.go_on(&launch)).await;
    launch.definition.disks[0].path = first.0.clone();
    assert_eq!(story.power(&launch).await, Power::Running);
    assert_eq!(size(disks, &launch, "disk1").await, 16 * MIB);
    // And once more, from where it is now.
    layered(&*driver, &mut launch, "disk1", "four.qcow2").await;
    // The halt is the first that is told.
    story.shutdown(launch.id).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Halted);
    let last = merge(&launch, &launch.definition.disks[0].path, &first, &[]);
    story.goes_well("merge at rest", can.merge(&launch, &last, &|_| {})).await;
}

pub async fn one_that_is_paused_is_turned_and_stays_so(story: &mut Story) {
    let mut launch = with_disks(story, 1).await;
    let driver = story.driver();
    let can = driver.snapshots().unwrap();
    story.boot(&launch).await;
    let Some(pause) = driver.pause() else { return };
    story.goes_well("pause", pause.pause(launch.id)).await;
    let first = layered(&*driver, &mut launch, "disk1", "two.qcow2").await;
    let last = merge(&launch, &launch.definition.disks[0].path, &first, &[]);
    story.goes_well("merge", can.merge(&launch, &last, &|_| {})).await;
    story.goes_well("turn", can.turn(&launch, &last)).await;
    story.goes_well("go on", can.go_on(&launch)).await;
    assert_eq!(story.power(&launch).await, Power::Paused);
}

pub async fn a_raw_disk_is_layered_and_merged(story: &mut Story) {
    let mut launch = story.bench.launch();
    let driver = story.driver();
    let (can, disks) = (driver.snapshots().unwrap(), driver.disks().unwrap());
    let path = launch.folder.join("disk1.raw");
    story.goes_well("create", disks.create(&path, DiskFormat::Raw, 8 * MIB)).await;
    launch.definition.disks.push(Disk { name: "disk1".into(), ..Disk::new(path, DiskFormat::Raw) });
    for runs in [false, true] {
        if runs {
            story.boot(&launch).await;
        }
        let first = layered(&*driver, &mut launch, "disk1", "two.qcow2").await;
        let last = merge(&launch, &launch.definition.disks[0].path, &first, &[]);
        story.goes_well("merge", can.merge(&launch, &last, &|_| {})).await;
        story.goes_well("turn", can.turn(&launch, &last)).await;
        story.goes_well("go on", can.go_on(&launch)).await;
        std::fs::remove_file(&last.from).unwrap();
        (launch.definition.disks[0].path, launch.definition.disks[0].format) = first;
    }
    assert_eq!(size(disks, &launch, "disk1").await, 8 * MIB);
}

/// Whoever turned it died before it was let go on: the next one finds it held, and lets it.
pub async fn one_that_was_left_held_is_found_so_and_goes_on(story: &mut Story) {
    let mut launch = with_disks(story, 1).await;
    story.boot(&launch).await;
    let first = {
        let driver = story.driver();
        if driver.pause().is_none() {
            return;
        }
        let first = layered(&*driver, &mut launch, "disk1", "two.qcow2").await;
        let can = driver.snapshots().unwrap();
        let last = merge(&launch, &launch.definition.disks[0].path, &first, &[]);
        story.goes_well("merge", can.merge(&launch, &last, &|_| {})).await;
        story.goes_well("turn", can.turn(&launch, &last)).await;
        first
    };
    story.restart().await;
    let driver = story.driver();
    assert_eq!(story.power(&launch).await, Power::Paused);
    assert_eq!(driver.disks().unwrap().is_in(&launch, "disk1", &first.0).await.unwrap(), Some(true));
    story.goes_well("resume", driver.pause().unwrap().resume(launch.id)).await;
    assert_eq!(story.power(&launch).await, Power::Running);
}

pub async fn a_disk_it_does_not_have_yet_is_not_layered(story: &mut Story) {
    let mut launch = with_disks(story, 1).await;
    let driver = story.driver();
    let can = driver.snapshots().unwrap();
    story.boot(&launch).await;
    let more = launch.folder.join("more.qcow2");
    let created = driver.disks().unwrap().create(&more, DiskFormat::Qcow2, 8 * MIB);
    story.goes_well("create", created).await;
    launch.definition.disks.push(Disk { name: "more".into(), ..Disk::new(&more, DiskFormat::Qcow2) });
    let mut tops = Vec::new();
    for disk in &launch.definition.disks {
        let path = launch.folder.join(format!("{}.1.qcow2", disk.name));
        let covered = can.cover(&launch, &disk.name, (&disk.path, disk.format), &path);
        story.goes_well("cover", covered).await;
        tops.push((disk.name.clone(), path));
    }
    let refused = can.layer(&launch, &tops).await;
    assert!(matches!(&refused, Err(DriverError::Unfit(_))), "{refused:?}");
    let disks = driver.disks().unwrap();
    assert_eq!(disks.is_in(&launch, "disk1", &tops[0].1).await.unwrap(), Some(false), "none of them");
}
