//! Start, shutdown, reboot, kill, forget: what every driver does.

use hypervisor_core::driver::{Capability, DriverError, GuestEvent, Power};

use crate::story::{Story, not_running};

pub async fn capabilities_are_what_can_be_reached(story: &mut Story) {
    let driver = story.driver();
    let probe = driver.probe();
    assert!(probe.usable, "it cannot run machines here: {}", probe.why);
    let reached = [
        (Capability::Reset, driver.reset().is_some()),
        (Capability::Pause, driver.pause().is_some()),
        (Capability::Alter, driver.alter().is_some()),
        (Capability::Console, driver.console().is_some()),
        (Capability::Adopt, driver.adopt().is_some()),
        (Capability::Screen, driver.screen().is_some()),
        (Capability::GuestAgent, driver.guest_agent().is_some()),
    ];
    for (capability, can) in reached {
        assert_eq!(probe.capabilities.contains(&capability), can, "{}", capability.word());
    }
}

pub async fn one_that_never_ran_is_off(story: &mut Story) {
    let launch = story.bench.launch();
    story.is_gone(&launch).await;
}

pub async fn started_it_runs(story: &mut Story) {
    let launch = story.running().await;
    let first = story.observe(&launch).await;
    assert_eq!(first.power, Power::Running);
    let later = story.observe(&launch).await;
    assert!(first.running_for.is_some() && later.running_for >= first.running_for, "{first:?} {later:?}");
}

pub async fn a_second_start_changes_nothing(story: &mut Story) {
    let launch = story.running().await;
    let before = story.observe(&launch).await;
    let second = story.driver().start(&launch).await;
    assert!(matches!(second, Err(DriverError::AlreadyRunning)), "{second:?}");
    let after = story.observe(&launch).await;
    assert_eq!(after.power, Power::Running);
    assert!(after.running_for >= before.running_for, "it is another run: {before:?} {after:?}");
}

pub async fn shutdown_ends_in_one_halt(story: &mut Story) {
    let launch = story.listening().await;
    story.shutdown(launch.id).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Halted);
    story.is_gone(&launch).await;
    // Were the halt told twice, the second would come before that of the next run is over.
    story.boot(&launch).await;
    story.goes_well("reboot", story.driver().reboot(launch.id)).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Rebooted);
}

pub async fn reboot_is_told(story: &mut Story) {
    let launch = story.listening().await;
    let before = story.observe(&launch).await;
    story.goes_well("reboot", story.driver().reboot(launch.id)).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Rebooted);
    let after = story.observe(&launch).await;
    assert_eq!(after.power, Power::Running);
    assert!(after.running_for >= before.running_for, "a reboot ends no run: {before:?} {after:?}");
}

pub async fn killed_it_is_off_and_nothing_is_told(story: &mut Story) {
    let launch = story.running().await;
    story.kill(launch.id).await;
    story.is_gone(&launch).await;
    story.told_nothing(&launch).await;
}

pub async fn killing_what_does_not_run_is_fine(story: &mut Story) {
    let launch = story.bench.launch();
    story.kill(launch.id).await;
    story.observe(&launch).await;
    story.kill(launch.id).await;
    story.is_gone(&launch).await;
    story.told_nothing(&launch).await;
    story.kill(launch.id).await;
    story.is_gone(&launch).await;
}

pub async fn nothing_else_can_be_asked_of_one_that_is_off(story: &mut Story) {
    let launch = story.running().await;
    story.kill(launch.id).await;
    let driver = story.driver();
    not_running("shutdown", driver.shutdown(launch.id).await);
    not_running("reboot", driver.reboot(launch.id).await);
    if let Some(can) = driver.reset() {
        not_running("reset", can.reset(launch.id).await);
    }
    if let Some(can) = driver.pause() {
        not_running("pause", can.pause(launch.id).await);
        not_running("resume", can.resume(launch.id).await);
    }
    if let Some(can) = driver.console() {
        not_running("send", can.send(launch.id, b"hello\n").await);
        not_running("follow", can.follow(launch.id).await);
    }
    story.is_gone(&launch).await;
}

pub async fn forgotten_it_can_be_started_as_if_new(story: &mut Story) {
    let launch = story.running().await;
    story.kill(launch.id).await;
    for _ in 0..2 {
        story.goes_well("forget", story.driver().forget(launch.id)).await;
    }
    story.is_gone(&launch).await;
    story.told_nothing(&launch).await;
}

pub async fn one_that_runs_is_not_forgotten(story: &mut Story) {
    let launch = story.listening().await;
    let answer = story.driver().forget(launch.id).await;
    assert!(matches!(answer, Err(DriverError::AlreadyRunning)), "{answer:?}");
    story.shutdown(launch.id).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Halted, "its events are told still");
}
