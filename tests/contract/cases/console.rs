//! The serial console. All of it is the guest's word.

use hypervisor_core::driver::{GuestEvent, Power};
use tokio::sync::broadcast::error::RecvError;

use crate::{
    bench::Act,
    story::{Story, count},
};

pub async fn echoes_what_is_typed(story: &mut Story) {
    let launch = story.listening().await;
    story.types(launch.id, b"skerry was here\n").await;
    story.shows(&launch, b"skerry was here").await;
}

pub async fn is_kept_when_the_machine_is_off(story: &mut Story) {
    let launch = story.listening().await;
    story.kill(launch.id).await;
    let sign = story.bench.ready_sign().as_bytes().to_vec();
    assert!(count(&story.tail(&launch, 1 << 20).await, &sign) > 0, "the log went with the machine");
    let whole = story.tail(&launch, 1 << 20).await;
    let end = story.tail(&launch, 10).await;
    assert_eq!(end, whole[whole.len() - 10..], "the last ten bytes");
    assert_eq!(story.tail(&launch, 0).await, b"");
    story.restart().await;
    assert_eq!(story.tail(&launch, 1 << 20).await, whole, "a new driver has it too");
}

pub async fn ends_for_those_who_follow(story: &mut Story) {
    let launch = story.listening().await;
    let driver = story.driver();
    let mut output = story.goes_well("follow", driver.console().unwrap().follow(launch.id)).await;
    story.kill(launch.id).await;
    let end = async {
        loop {
            if let Err(RecvError::Closed) = output.recv().await {
                break;
            }
        }
    };
    story.happens("the end of the output", end).await;
}

pub async fn gives_hostile_bytes_as_they_are(story: &mut Story) {
    // A terminal's escapes, a NUL, what is no UTF-8, what looks like XML or like a command.
    let hostile = b"\x00\x1b[2J\x1b]0;gone\x07\xff\xfe\xc3\x28</body></message>%s%n";
    let launch = story.listening().await;
    story.types(launch.id, &story.bench.typed(Act::Write(hostile))).await;
    story.shows(&launch, hostile).await;
    assert_eq!(story.power(&launch).await, Power::Running);
}

pub async fn of_one_that_never_ran_is_empty(story: &mut Story) {
    let launch = story.bench.launch();
    assert_eq!(story.tail(&launch, 1000).await, b"");
}

pub async fn a_guest_that_halts_itself_is_told(story: &mut Story) {
    let launch = story.listening().await;
    story.types(launch.id, &story.bench.typed(Act::Halt)).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Halted);
    story.is_gone(&launch).await;
}

pub async fn a_guest_that_reboots_itself_is_told(story: &mut Story) {
    let launch = story.listening().await;
    story.types(launch.id, &story.bench.typed(Act::Reboot)).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Rebooted);
    assert_eq!(story.power(&launch).await, Power::Running);
}
