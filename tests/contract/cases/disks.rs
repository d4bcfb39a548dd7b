//! Disks.

use std::{fs, sync::Mutex};

use hypervisor_core::{
    definition::{Disk, DiskFormat},
    driver::{Disks, DriverError, Launch},
};

use crate::story::{Story, not_running};

const MIB: u64 = 1 << 20;

/// A machine with this many empty disks of its own, `disk1` and so on.
pub async fn with_disks(story: &Story, count: usize) -> Launch {
    let mut launch = story.bench.launch();
    let driver = story.driver();
    for number in 1..=count {
        let path = launch.folder.join(format!("disk{number}.qcow2"));
        let created = driver.disks().unwrap().create(&path, DiskFormat::Qcow2, 8 * MIB);
        story.goes_well("create", created).await;
        launch.definition.disks.push(Disk::new(path, DiskFormat::Qcow2));
    }
    launch.definition.name_all();
    launch
}

pub async fn size(can: &dyn Disks, launch: &Launch, name: &str) -> u64 {
    let seen = can.list(launch).await.unwrap();
    let file = seen.into_iter().find(|seen| seen.name == name).and_then(|seen| seen.file);
    file.unwrap().size_bytes
}

async fn plugged(can: &dyn Disks, launch: &Launch) -> Vec<String> {
    let seen = can.list(launch).await.unwrap();
    seen.into_iter().filter(|seen| seen.plugged).map(|seen| seen.name).collect()
}

pub async fn are_listed_with_what_they_are(story: &mut Story) {
    let mut launch = with_disks(story, 1).await;
    let missing = launch.folder.join("no-such.qcow2");
    launch.definition.disks.push(Disk { name: "gone".into(), ..Disk::new(missing, DiskFormat::Qcow2) });
    let driver = story.driver();
    let seen = story.goes_well("list", driver.disks().unwrap().list(&launch)).await;
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].file.as_ref().unwrap().size_bytes, 8 * MIB);
    assert!(seen[1].file.is_none(), "one that cannot be read is listed all the same");
    assert!(seen.iter().all(|seen| !seen.plugged), "it does not run");
}

pub async fn none_is_made_over_another_file(story: &mut Story) {
    let launch = with_disks(story, 1).await;
    let path = &launch.definition.disks[0].path;
    let before = fs::read(path).unwrap();
    let driver = story.driver();
    let can = driver.disks().unwrap();
    let again = can.create(path, DiskFormat::Qcow2, MIB).await;
    assert!(matches!(again, Err(DriverError::Unfit(_))), "{again:?}");
    let over = can.overlay(path, path).await;
    assert!(matches!(over, Err(DriverError::Unfit(_))), "{over:?}");
    let copy = can.copy(&launch.definition.disks[0], path, &|_| {}).await;
    assert!(matches!(copy, Err(DriverError::Unfit(_))), "{copy:?}");
    assert_eq!(fs::read(path).unwrap(), before);
}

pub async fn one_at_rest_grows_and_never_shrinks(story: &mut Story) {
    let launch = with_disks(story, 1).await;
    let driver = story.driver();
    let can = driver.disks().unwrap();
    story.goes_well("resize", can.resize(&launch, "disk1", 16 * MIB)).await;
    assert_eq!(size(can, &launch, "disk1").await, 16 * MIB);
    let smaller = can.resize(&launch, "disk1", 8 * MIB).await;
    assert!(matches!(smaller, Err(DriverError::Unfit(_))), "{smaller:?}");
    assert_eq!(size(can, &launch, "disk1").await, 16 * MIB);
    let unknown = can.resize(&launch, "disk9", 16 * MIB).await;
    assert!(matches!(unknown, Err(DriverError::Unfit(_))), "{unknown:?}");
}

pub async fn one_is_attached_grown_and_detached_while_it_runs(story: &mut Story) {
    let mut launch = with_disks(story, 2).await;
    let data = launch.definition.disks.pop().unwrap();
    let driver = story.driver();
    let can = driver.disks().unwrap();
    not_running("attach", can.attach(&launch, &data).await);
    not_running("detach", can.detach(&launch, "disk2").await);
    story.boot(&launch).await;
    assert_eq!(plugged(can, &launch).await, ["disk1"]);
    for _ in 0..2 {
        story.goes_well("attach", can.attach(&launch, &data)).await;
    }
    launch.definition.disks.push(data.clone());
    assert_eq!(plugged(can, &launch).await, ["disk1", "disk2"]);
    story.goes_well("resize", can.resize(&launch, "disk2", 32 * MIB)).await;
    assert_eq!(size(can, &launch, "disk2").await, 32 * MIB);
    let smaller = can.resize(&launch, "disk2", MIB).await;
    assert!(matches!(smaller, Err(DriverError::Unfit(_))), "{smaller:?}");
    for _ in 0..2 {
        story.goes_well("detach", can.detach(&launch, "disk2")).await;
    }
    assert_eq!(plugged(can, &launch).await, ["disk1"]);
    assert!(data.path.exists(), "its file stays");
    // As if it had never been there.
    story.goes_well("attach", can.attach(&launch, &data)).await;
    assert_eq!(plugged(can, &launch).await, ["disk1", "disk2"]);
}

pub async fn what_is_plugged_is_found_again(story: &mut Story) {
    let mut launch = with_disks(story, 2).await;
    let data = launch.definition.disks.pop().unwrap();
    story.boot(&launch).await;
    story.goes_well("attach", story.driver().disks().unwrap().attach(&launch, &data)).await;
    launch.definition.disks.push(data);
    story.restart().await;
    story.observe(&launch).await;
    let driver = story.driver();
    assert_eq!(plugged(driver.disks().unwrap(), &launch).await, ["disk1", "disk2"]);
    story.goes_well("detach", driver.disks().unwrap().detach(&launch, "disk2")).await;
    assert_eq!(plugged(driver.disks().unwrap(), &launch).await, ["disk1"]);
}

pub async fn copies_are_thin_or_whole(story: &mut Story) {
    let launch = with_disks(story, 1).await;
    let base = &launch.definition.disks[0];
    let driver = story.driver();
    let can = driver.disks().unwrap();
    let (thin, whole) = (launch.folder.join("thin.qcow2"), launch.folder.join("whole.qcow2"));
    story.goes_well("overlay", can.overlay(&base.path, &thin)).await;
    assert_eq!(can.backing(&thin).unwrap().as_deref(), Some(base.path.as_path()));
    assert!(can.stands_alone(&thin, DiskFormat::Qcow2).is_err(), "a stranger's would lead to another");
    let heard = Mutex::new(Vec::new());
    let disk = Disk::new(&thin, DiskFormat::Qcow2);
    story.goes_well("copy", can.copy(&disk, &whole, &|percent| heard.lock().unwrap().push(percent))).await;
    assert_eq!(heard.lock().unwrap().last(), Some(&100));
    assert_eq!(can.backing(&whole).unwrap(), None);
    assert!(can.backing(&whole.with_extension("not-there")).is_err(), "not known is not none");
    story.goes_well("stands alone", async { can.stands_alone(&whole, DiskFormat::Qcow2) }).await;
    let file = story.goes_well("file", can.file(&whole, DiskFormat::Qcow2)).await;
    assert_eq!((file.size_bytes, file.backing), (8 * MIB, None));
}
