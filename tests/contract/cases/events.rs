//! What is told unasked.

use hypervisor_core::driver::GuestEvent;

use crate::story::Story;

pub async fn are_taken_once(story: &mut Story) {
    assert!(story.driver().events().is_none(), "the story has them already");
}

pub async fn say_whose_they_are(story: &mut Story) {
    let rebooted = story.listening().await;
    let halted = story.listening().await;
    let crashed = story.listening().await;
    story.bench.crash(&crashed).await;
    story.shutdown(halted.id).await;
    story.goes_well("reboot", story.driver().reboot(rebooted.id)).await;
    assert_eq!(story.event(rebooted.id).await, GuestEvent::Rebooted);
    assert_eq!(story.event(halted.id).await, GuestEvent::Halted);
    assert!(matches!(story.event(crashed.id).await, GuestEvent::Crashed(_)));
}
