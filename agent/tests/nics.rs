//! The NICs of machines: listed, and their cables taken out and put in.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use skerry_stanzas::refusal::Reason;
use stage::*;

#[tokio::test]
async fn a_cable_goes_out_and_in_and_stays_so() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    let said = stage.done(VERA, "web1: nic list").await;
    assert!(said.starts_with("1 NIC:\n- net1: up, user, virtio, 52:54:"), "{said}");
    let said = stage.done(OTTO, "web1: nic down").await;
    assert_eq!(said, "web1: link of NIC net1: up → down. In effect now.");
    assert!(stage.done(VERA, "web1: nic list").await.contains("- net1: down, user"));
    assert!(stage.done(VERA, "web1: status").await.contains("\nCable out: net1"));
    assert!(stage.done(ANN, "web1: define").await.contains("link = \"down\""));
    stage.done(OTTO, "web1: start").await;
    let said = stage.done(OTTO, "web1: nic down net1").await;
    assert_eq!(said, "web1: link of NIC net1: down already. In effect now.");
    let said = stage.done(ANN, "web1: define nic=link=up,forward=8080:80").await;
    assert_eq!(
        said,
        "web1: NIC net1: user (virtio) → user, forwards 8080:80 (virtio), link of NIC net1: down → up. In effect \
         now."
    );
    assert!(!stage.done(VERA, "web1: status").await.contains("Cable"));
    let said = stage.done(ANN, "web1: definition revert 2").await;
    assert!(said.contains("link of NIC net1: up → down"), "{said}");
}

#[tokio::test]
async fn which_one_is_said_where_there_are_several_and_none_is_refused() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    stage.done(ANN, "web1: define nic=lan,user").await;
    let refusal = stage.refused(OTTO, "web1: nic down").await;
    assert_eq!(
        (refusal.reason, refusal.hint.as_deref()),
        (Reason::BadRequest, Some("Say which: net1, lan."))
    );
    let refusal = stage.refused(OTTO, "web1: nic down dmz").await;
    assert_eq!(refusal.text, "web1 has no NIC dmz.");
    stage.done(OTTO, "web1: nic down lan").await;
    let said = stage.done(VERA, "web1: nic list").await;
    assert!(said.contains("- net1: up,") && said.contains("- lan: down,"), "{said}");
    assert_eq!(stage.refused(VERA, "web1: nic up lan").await.reason, Reason::NotAllowed);
    stage.done(ANN, "web1: define nic=lan,off nic=net1,off").await;
    assert_eq!(stage.refused(OTTO, "web1: nic up").await.reason, Reason::NotFound);
    assert_eq!(stage.done(VERA, "web1: nic list").await, "web1 has no NIC. Give it one: define nic=user");
}
