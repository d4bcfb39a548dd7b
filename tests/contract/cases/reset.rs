//! The reset button.

use hypervisor_core::driver::{GuestEvent, Power};

use crate::story::Story;

pub async fn the_same_run_goes_on(story: &mut Story) {
    let launch = story.listening().await;
    let before = story.observe(&launch).await;
    story.goes_well("reset", story.driver().reset().unwrap().reset(launch.id)).await;
    let after = story.observe(&launch).await;
    assert_eq!(after.power, Power::Running);
    assert!(after.running_for >= before.running_for, "a reset ends no run: {before:?} {after:?}");
    story.kill(launch.id).await;
    story.boot(&launch).await;
    story.shutdown(launch.id).await;
    // Whether a reset is told is the driver's; nothing else may be.
    let mut told = vec![story.event(launch.id).await];
    if told[0] == GuestEvent::Rebooted {
        told.push(story.event(launch.id).await);
    }
    assert_eq!(told.last(), Some(&GuestEvent::Halted), "{told:?}");
}
