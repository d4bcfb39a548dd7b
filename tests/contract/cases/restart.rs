//! The agent goes, the guests stay, and the next driver finds them.

use hypervisor_core::driver::{DriverError, GuestEvent, Power};

use crate::{bench::Act, story::Story};

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

pub async fn one_that_crashed_meanwhile_is_not_taken_for_one_that_was_shut_down(story: &mut Story) {
    let launch = story.listening().await;
    story.restart_after(async |bench| bench.crash(&launch).await).await;
    let power = story.power(&launch).await;
    assert!(matches!(power, Power::Crashed(_)), "{power:?}");
    story.leaves_nothing(&launch).await;
    // Not "its second ready": QEMU logs a byte after those who follow have it, so that the crash may
    // have kept the end of the first from the log.
    story.boot(&launch).await;
    assert_eq!(story.power(&launch).await, Power::Running);
    if story.driver().console().is_none() {
        return;
    }
    let halt = story.bench.typed(Act::Halt);
    // It is off when nobody looks any more: what it does about being told to takes a moment.
    let driver = story.driver();
    let console = driver.console().unwrap();
    let mut output = story.goes_well("follow", console.follow(launch.id)).await;
    story.goes_well("send", console.send(launch.id, &halt)).await;
    while output.recv().await.is_ok() {}
    drop((output, driver));
    story.restart().await;
    let power = story.power(&launch).await;
    assert_eq!(power, Power::Off);
}
