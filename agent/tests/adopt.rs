//! Machines that somebody else started: taken over, and given back.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use hypervisor_core::definition::{Boot, Definition};
use stage::*;

#[tokio::test]
async fn a_machine_is_taken_over_and_given_back_as_it_was() {
    let stage = stage().await;
    let boot = Boot::Kernel { kernel: "/k".into(), initrd: None, cmdline: String::new() };
    stage.faults().foreign("oldbox", Definition::new(1, 64, boot));
    stage.done(ANN, "create web1 linux --start").await;
    stage.done(ANN, "adopt oldbox").await;
    let mut told = stage.agent.announcements();
    assert!(stage.done(ANN, "oldbox: release").await.contains("runs on as it is"));
    assert_eq!(
        event(&mut told, "machine.released").await.sentence,
        "oldbox was given back to who started it."
    );
    assert!(stage.agent.machine(&name("oldbox")).is_none());
    assert!(stage.done(ANN, "adopt").await.contains("oldbox"), "it is there to be taken over again");
    assert!(stage.done(ANN, "trash").await.to_lowercase().contains("empty"), "and not in the trash");
    stage.done(ANN, "adopt oldbox").await;
    // One of our own is not given away, nor one that has ended.
    let refusal = stage.refused(ANN, "web1: release").await;
    assert!(refusal.text.contains("was not taken over"), "{refusal:?}");
    done(stage.yes(ANN, "oldbox: kill").await);
    assert!(stage.refused(ANN, "oldbox: release").await.text.contains("does not run any more"));
}
