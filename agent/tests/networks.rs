//! Networks as they are asked for: made, used, kept from going while used. Nothing of this host is touched:
//! where machines are pretended, so are networks.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use skerry_agent::asked::Answer;
use skerry_stanzas::refusal::Reason;
use stage::{ANN, VERA, reason, stage};

fn json(answer: Answer) -> serde_json::Value {
    match answer {
        Answer::Done { json, .. } => json,
        other => panic!("not done: {other:?}"),
    }
}

#[tokio::test]
async fn a_network_is_made_used_and_kept_until_nobody_is_on_it() {
    let stage = stage().await;
    let said = stage.done(ANN, "network create lan subnet=10.30.0.0/29").await;
    assert_eq!(said, "The network lan (nat, 10.30.0.0/29) is there.");
    assert_eq!(stage.done(VERA, "network list").await, "- lan: nat, 10.30.0.0/29, 0 NICs");
    stage.done(ANN, "create web1 linux").await;
    stage.done(ANN, "create web2 linux").await;
    let said = stage.done(ANN, "web1: define nic=network=lan").await;
    assert_eq!(said, "web1: NIC net1: user (virtio) → network lan (virtio). In effect now.");
    stage.done(ANN, "web2: define nic=network=lan,address=10.30.0.5").await;
    stage.done(ANN, "web1: start").await;
    let info = json(stage.ask(VERA, "network info lan").await);
    let guests: Vec<(&str, &str)> = info["guests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|guest| (guest["machine"].as_str().unwrap(), guest["addresses"][0].as_str().unwrap()))
        .collect();
    assert_eq!(guests, [("web1", "10.30.0.2"), ("web2", "10.30.0.5")]);
    let refusal = stage.refused(ANN, "network delete lan").await;
    assert_eq!(refusal.text, "The network lan is used by web1, web2.");
    // What is in the trash comes back to where it was.
    stage.done(ANN, "web2: define nic=user").await;
    stage.done(ANN, "web1: shutdown").await;
    stage.yes(ANN, "web1: delete").await;
    let refusal = stage.refused(ANN, "network delete lan").await;
    assert_eq!(refusal.text, "The network lan is used by web1 (in the trash).");
    stage.done(ANN, "undelete web1").await;
    stage.done(ANN, "web1: start").await;
    let info = json(stage.ask(VERA, "network info lan").await);
    assert_eq!(info["guests"][0]["addresses"][0], "10.30.0.2");
    stage.done(ANN, "web1: define nic=user").await;
    stage.yes(ANN, "network delete lan").await;
    assert_eq!(stage.done(VERA, "network list").await, "There are no networks. Make one: network create lan");
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_field_that_is_wrong() {
    let stage = stage().await;
    stage.done(ANN, "network create lan subnet=10.30.0.0/24").await;
    stage.done(ANN, "create web1 linux").await;
    stage.done(ANN, "create web2 linux").await;
    stage.done(ANN, "web2: define nic=network=lan,address=10.30.0.5").await;
    for (line, expected, field) in [
        ("network create lan", "There is a network lan already.", "name"),
        ("network create Lan", "\"Lan\" cannot be the name of a network", "name"),
        ("network create two subnet=10.30.0.128/25", "have a name, a bridge or addresses in common", ""),
        ("network create two subnet=10.31.0.1/24", "write the first address of it", "subnet"),
        ("network create two subnet=here", "\"here\" is not a subnet", "subnet"),
        ("network create two mode=bridge", "names a bridge of the host", "bridge"),
        ("network create two mode=bridge bridge=br0 dhcp=on", "whoever is there gives out addresses", "mode"),
        ("network create two vlan=7", "a network of mode nat has no VLAN", "mode"),
        ("network info lna", "There is no network \"lna\"", "name"),
        ("web1: define nic=network=lab", "There is no network \"lab\"", "nic"),
        ("web1: define nic=network=lan,address=10.30.0.5", "The address 10.30.0.5 is web2's.", "nic"),
        ("web1: define nic=network=lan,address=10.30.0.1", "it is the host's", "nic"),
        ("web1: define nic=network=lan,address=10.31.0.5", "it is not of that network", "nic"),
        ("web1: define nic=network=lan,bridge=br0", "one of them", "nic"),
        ("web1: define nic=rate=100Mbit", "not on a network of this host, which a rate needs", "nics"),
    ] {
        let refusal = stage.refused(ANN, line).await;
        assert!(refusal.text.contains(expected), "{line}: {refusal:?}");
        assert_eq!(refusal.field.as_deref().unwrap_or_default(), field, "{line}");
    }
    assert_eq!(reason(stage.ask(VERA, "network create two").await), Reason::NotAllowed);
}

#[tokio::test]
async fn a_subnet_does_not_change_under_those_who_use_it() {
    let stage = stage().await;
    stage.done(ANN, "network create lan subnet=10.30.0.0/24").await;
    stage.done(ANN, "create web1 linux").await;
    stage.done(ANN, "web1: define nic=network=lan,rate=100Mbit").await;
    stage.done(ANN, "web1: start").await;
    let refusal = stage.refused(ANN, "network define lan subnet=10.31.0.0/24").await;
    assert_eq!(refusal.text, "Machines with addresses of lan run: web1.");
    let said = stage.done(ANN, "network define lan mode=isolated").await;
    assert_eq!(said, "The network is lan (isolated, 10.30.0.0/24) now.");
    stage.done(ANN, "web1: shutdown").await;
    stage.done(ANN, "network define lan subnet=10.31.0.0/24").await;
    stage.done(ANN, "web1: start").await;
    let info = json(stage.ask(VERA, "network info lan").await);
    assert_eq!(info["guests"][0]["addresses"][0], "10.31.0.2");
    // A rate is between the NIC and its network: it holds at once.
    let said = stage.done(ANN, "web1: define nic=rate=10Mbit,guard=off").await;
    assert!(said.ends_with("10Mbit at most, any address. In effect now."), "{said}");
}
