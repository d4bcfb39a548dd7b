//! Machines of others.

use hypervisor_core::driver::{DriverError, GuestEvent, Power};

use crate::story::Story;

pub async fn a_machine_of_others_becomes_ours(story: &mut Story) {
    let name = story.bench.foreign().await;
    let driver = story.driver();
    let can = driver.adopt().unwrap();
    let foreign = story.goes_well("foreign", can.foreign()).await;
    let found = foreign.iter().find(|one| one.name == name).expect("it is among those found");
    let mut launch = story.bench.launch();
    launch.definition = found.definition.clone();
    story.goes_well("adopt", can.adopt(&name, &launch)).await;
    assert_eq!(story.power(&launch).await, Power::Running, "nothing about the guest changes");
    let left = story.goes_well("foreign", can.foreign()).await;
    assert!(left.iter().all(|one| one.name != name), "it is no longer another's");
    story.shutdown(launch.id).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Halted, "its events are told");
}

pub async fn a_name_unknown_is_unfit(story: &mut Story) {
    let launch = story.bench.launch();
    let answer = story.driver().adopt().unwrap().adopt("nobody's", &launch).await;
    assert!(matches!(answer, Err(DriverError::Unfit(_))), "{answer:?}");
    story.is_gone(&launch).await;
}

pub async fn one_that_runs_takes_nobodys_place(story: &mut Story) {
    let name = story.bench.foreign().await;
    let launch = story.running().await;
    let driver = story.driver();
    let can = driver.adopt().unwrap();
    let answer = can.adopt(&name, &launch).await;
    assert!(matches!(answer, Err(DriverError::AlreadyRunning)), "{answer:?}");
    let foreign = story.goes_well("foreign", can.foreign()).await;
    assert!(foreign.iter().any(|one| one.name == name), "it is another's still");
}

pub async fn what_is_released_is_anothers_again(story: &mut Story) {
    let name = story.bench.foreign().await;
    let driver = story.driver();
    let can = driver.adopt().unwrap();
    let launch = story.bench.launch();
    story.goes_well("adopt", can.adopt(&name, &launch)).await;
    assert!(can.is_adopted(&launch));
    story.goes_well("release", can.release(launch.id)).await;
    assert!(!can.is_adopted(&launch));
    let foreign = story.goes_well("foreign", can.foreign()).await;
    assert!(foreign.iter().any(|one| one.name == name), "it is found again, so it runs on");
    story.goes_well("release again", can.release(launch.id)).await;
    story.goes_well("adopt again", can.adopt(&name, &launch)).await;
    assert_eq!(story.power(&launch).await, Power::Running);
}

pub async fn what_was_never_anothers_is_not_released(story: &mut Story) {
    let launch = story.running().await;
    assert!(!story.driver().adopt().unwrap().is_adopted(&launch));
    story.goes_well("release", story.driver().adopt().unwrap().release(launch.id)).await;
    assert_eq!(story.power(&launch).await, Power::Running, "it is ours still");
}
