//! Holding a guest still.

use hypervisor_core::driver::{DriverError, GuestEvent, Power};

use crate::story::Story;

pub async fn holds_and_resumes_silently(story: &mut Story) {
    let launch = story.listening().await;
    let driver = story.driver();
    let can = driver.pause().unwrap();
    story.goes_well("pause", can.pause(launch.id)).await;
    let paused = story.observe(&launch).await;
    assert_eq!(paused.power, Power::Paused);
    assert!(paused.running_for.is_some(), "its process lives on");
    let start = driver.start(&launch).await;
    assert!(matches!(start, Err(DriverError::AlreadyRunning)), "start wakes nothing: {start:?}");
    story.goes_well("resume", can.resume(launch.id)).await;
    assert_eq!(story.power(&launch).await, Power::Running);
    // The halt is the first that is told: of our own doings nothing was.
    story.shutdown(launch.id).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Halted);
}

pub async fn twice_is_fine(story: &mut Story) {
    let launch = story.running().await;
    let driver = story.driver();
    let can = driver.pause().unwrap();
    story.goes_well("resume of one that runs", can.resume(launch.id)).await;
    assert_eq!(story.power(&launch).await, Power::Running);
    for _ in 0..2 {
        story.goes_well("pause", can.pause(launch.id)).await;
        assert_eq!(story.power(&launch).await, Power::Paused);
    }
    for _ in 0..2 {
        story.goes_well("resume", can.resume(launch.id)).await;
        assert_eq!(story.power(&launch).await, Power::Running);
    }
}

pub async fn a_paused_guest_can_be_killed(story: &mut Story) {
    let launch = story.running().await;
    story.goes_well("pause", story.driver().pause().unwrap().pause(launch.id)).await;
    story.kill(launch.id).await;
    story.is_gone(&launch).await;
    story.told_nothing(&launch).await;
}
