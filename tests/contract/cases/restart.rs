//! The agent goes, the guests stay, and the next driver finds them.

use hypervisor_core::driver::{DriverError, GuestEvent, Power};

use crate::story::Story;

pub async fn a_running_guest_is_found_again(story: &mut Story) {
    let launch = story.listening().await;
    let before = story.observe(&launch).await;
    story.restart().await;
    let after = story.observe(&launch).await;
    assert_eq!(after.power, Power::Running);
    assert!(after.running_for >= before.running_for, "it is another run: {before:?} {after:?}");
    let again = story.driver().start(&launch).await;
    assert!(matches!(again, Err(DriverError::AlreadyRunning)), "{again:?}");
    // From the observation on its events are told, and it can be asked things.
    story.shutdown(launch.id).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Halted);
    story.is_gone(&launch).await;
}

pub async fn a_stopped_machine_is_found_stopped(story: &mut Story) {
    let launch = story.running().await;
    story.kill(launch.id).await;
    story.restart().await;
    story.is_gone(&launch).await;
    story.told_nothing(&launch).await;
}

pub async fn a_paused_guest_is_found_paused(story: &mut Story) {
    let launch = story.running().await;
    let driver = story.driver();
    story.goes_well("pause", driver.pause().unwrap().pause(launch.id)).await;
    drop(driver);
    story.restart().await;
    assert_eq!(story.power(&launch).await, Power::Paused);
    let driver = story.driver();
    story.goes_well("resume", driver.pause().unwrap().resume(launch.id)).await;
    assert_eq!(story.power(&launch).await, Power::Running);
}
