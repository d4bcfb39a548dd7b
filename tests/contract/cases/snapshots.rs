//! Snapshots.

use hypervisor_core::driver::{DriverError, GuestEvent, Power, Snapshots};

use super::disks::{size, with_disks};
use crate::story::Story;

const MIB: u64 = 1 << 20;

async fn names(can: &dyn Snapshots, launch: &hypervisor_core::driver::Launch) -> Vec<String> {
    can.list(launch).await.unwrap().into_iter().map(|seen| seen.name).collect()
}

pub async fn a_machine_at_rest_goes_back_to_one(story: &mut Story) {
    let launch = with_disks(story, 2).await;
    let driver = story.driver();
    let (can, disks) = (driver.snapshots().unwrap(), driver.disks().unwrap());
    assert_eq!(names(can, &launch).await, Vec::<String>::new());
    assert_eq!(story.goes_well("take", can.take(&launch, "a", false)).await, None);
    let seen = can.list(&launch).await.unwrap();
    assert_eq!((seen[0].name.as_str(), seen[0].memory_bytes), ("a", None));
    assert_eq!(seen[0].disks, ["disk1", "disk2"]);
    story.goes_well("resize", disks.resize(&launch, "disk2", 16 * MIB)).await;
    story.goes_well("take", can.take(&launch, "b", false)).await;
    story.goes_well("revert", can.revert(&launch, "a", None)).await;
    assert_eq!(size(disks, &launch, "disk2").await, 8 * MIB, "as it was");
    assert_eq!(names(can, &launch).await, ["a", "b"], "both stay");
    story.goes_well("revert", can.revert(&launch, "b", None)).await;
    assert_eq!(size(disks, &launch, "disk2").await, 16 * MIB, "and forward again");
}

pub async fn a_name_is_taken_once_and_what_is_not_there_is_unfit(story: &mut Story) {
    let launch = with_disks(story, 1).await;
    let driver = story.driver();
    let can = driver.snapshots().unwrap();
    story.goes_well("take", can.take(&launch, "a", false)).await;
    let again = can.take(&launch, "a", false).await;
    assert!(matches!(again, Err(DriverError::Unfit(_))), "{again:?}");
    let unknown = can.revert(&launch, "b", None).await;
    assert!(matches!(unknown, Err(DriverError::Unfit(_))), "{unknown:?}");
    let memory = can.take(&launch, "b", true).await;
    assert!(matches!(memory, Err(DriverError::NotRunning)), "{memory:?}");
    let none = story.bench.launch();
    let diskless = can.take(&none, "a", false).await;
    assert!(matches!(diskless, Err(DriverError::Unfit(_))), "{diskless:?}");
}

pub async fn one_is_deleted_and_the_others_stay(story: &mut Story) {
    let launch = with_disks(story, 2).await;
    let driver = story.driver();
    let can = driver.snapshots().unwrap();
    for name in ["a", "b", "c"] {
        story.goes_well("take", can.take(&launch, name, false)).await;
    }
    for _ in 0..2 {
        story.goes_well("delete", can.delete(&launch, "b")).await;
    }
    assert_eq!(names(can, &launch).await, ["a", "c"]);
    story.goes_well("revert", can.revert(&launch, "c", None)).await;
}

pub async fn a_machine_that_runs_goes_back_to_its_memory_silently(story: &mut Story) {
    let launch = with_disks(story, 2).await;
    let driver = story.driver();
    let can = driver.snapshots().unwrap();
    story.boot(&launch).await;
    let layout = story.goes_well("take", can.take(&launch, "a", true)).await;
    assert!(layout.is_some());
    assert_eq!(story.power(&launch).await, Power::Running);
    let seen = can.list(&launch).await.unwrap();
    assert!(seen[0].memory_bytes.is_some());
    assert_eq!(seen[0].disks, ["disk1", "disk2"]);
    let strange = can.revert(&launch, "a", Some("made otherwise")).await;
    assert!(matches!(strange, Err(DriverError::Unfit(_))), "{strange:?}");
    assert_eq!(story.power(&launch).await, Power::Running, "nothing was changed");
    story.goes_well("revert", can.revert(&launch, "a", layout.as_deref())).await;
    assert_eq!(story.power(&launch).await, Power::Running);
    // The halt is the first that is told.
    story.shutdown(launch.id).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Halted);
    story.goes_well("revert at rest", can.revert(&launch, "a", layout.as_deref())).await;
}

pub async fn one_that_runs_has_its_disks_alone_taken(story: &mut Story) {
    let launch = with_disks(story, 1).await;
    let driver = story.driver();
    let can = driver.snapshots().unwrap();
    story.boot(&launch).await;
    assert_eq!(story.goes_well("take", can.take(&launch, "a", false)).await, None);
    assert_eq!(can.list(&launch).await.unwrap()[0].memory_bytes, None);
    let revert = can.revert(&launch, "a", None).await;
    assert!(matches!(revert, Err(DriverError::Unfit(_))), "its guest would not know: {revert:?}");
    story.goes_well("delete", can.delete(&launch, "a")).await;
    assert_eq!(names(can, &launch).await, Vec::<String>::new());
}

pub async fn one_that_is_paused_stays_so(story: &mut Story) {
    let launch = with_disks(story, 1).await;
    let driver = story.driver();
    let can = driver.snapshots().unwrap();
    story.boot(&launch).await;
    let Some(pause) = driver.pause() else { return };
    story.goes_well("pause", pause.pause(launch.id)).await;
    let layout = story.goes_well("take", can.take(&launch, "a", true)).await;
    assert_eq!(story.power(&launch).await, Power::Paused);
    story.goes_well("revert", can.revert(&launch, "a", layout.as_deref())).await;
    assert_eq!(story.power(&launch).await, Power::Paused);
}
