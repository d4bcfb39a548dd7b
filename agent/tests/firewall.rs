//! The rules of a machine, one at a time: said in words or one by one, put where they count, taken away.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use skerry_agent::asked::{Answer, Target};
use skerry_stanzas::{command::COMMANDS, refusal::Reason};
use stage::*;

/// A machine on a network.
async fn connected() -> Stage {
    let stage = stage().await;
    stage.done(ANN, "network create lan").await;
    stage.done(ANN, "create web1 linux").await;
    stage.done(ANN, "web1: define nic=network=lan").await;
    stage
}

#[tokio::test]
async fn rules_are_said_put_where_they_count_and_taken_away() {
    let stage = connected().await;
    let said = stage.done(VERA, "web1: firewall list").await;
    assert_eq!(said, "web1 has no rules: everything passes. Such as: firewall deny in");
    let said = stage.done(ANN, "web1: firewall deny in").await;
    assert_eq!(said, "web1: \"deny in\" is rule 1 of 1 now. In effect now.\n1. deny in");
    let said = stage.done(ANN, "web1: firewall allow tcp 443 from 10.0.0.0/8").await;
    assert!(
        said.starts_with("web1: \"allow in tcp 443 from 10.0.0.0/8\" is rule 1 of 2 now. In effect now."),
        "{said}"
    );
    // The same one by one, as a form says it.
    let said = stage.done(ANN, "web1: firewall allow way=in protocol=tcp ports=443 address=10.0.0.0/8").await;
    assert!(said.contains("is rule 1 of 2 already"), "{said}");
    stage.done(ANN, "web1: firewall deny tcp 25 to 192.0.2.0/24").await;
    let said = stage.done(ANN, "web1: firewall allow udp 53 at=9").await;
    assert!(said.contains("\nIt never counts: rule 2, \"deny in\", comes before it."), "{said}");
    let said = stage.done(ANN, "web1: firewall allow udp 53 at=1").await;
    assert!(said.contains("is rule 1 of 4 now") && !said.contains("never"), "{said}");
    assert_eq!(
        stage.done(VERA, "web1: firewall list").await,
        "The firewall of web1:\n1. allow in udp 53\n2. allow in tcp 443 from 10.0.0.0/8\n3. deny in\n\
         4. deny out tcp 25 to 192.0.2.0/24\nWhat none of them fits passes."
    );
    let said = stage.done(ANN, "web1: firewall remove deny in").await;
    assert!(said.starts_with("web1: the rule \"deny in\" is gone. In effect now.\n1. allow"), "{said}");
    let said = stage.done(ANN, "web1: firewall remove all").await;
    assert_eq!(said, "web1 has no rules any more: everything passes. In effect now.");
    // All of it is in the definition, and so in its history.
    let history = stage.done(ANN, "web1: definition list").await;
    assert!(history.contains("firewall: none → deny in"), "{history}");
    stage.done(ANN, "web1: definition revert 3").await;
    assert!(stage.done(VERA, "web1: firewall list").await.contains("\n1. deny in\n"));
}

#[tokio::test]
async fn what_becomes_of_what_is_open_is_said() {
    let stage = connected().await;
    stage.done(ANN, "web1: start").await;
    let said = stage.done(ANN, "web1: firewall deny in").await;
    assert!(said.contains("it is not known what is open now"), "{said}");
    assert!(said.contains("Its console, its screen and its guest agent do not go by its NICs"), "{said}");
    let said = stage.done(ANN, "web1: firewall deny out tcp 25").await;
    assert!(said.contains("what nobody may begin any more has ended"), "{said}");
    let said = stage.done(ANN, "web1: firewall allow tcp 22").await;
    assert!(!said.contains("has ended"), "{said}");
    let said = stage.done(ANN, "web1: firewall remove allow in tcp 22").await;
    assert!(said.contains("what nobody may begin any more has ended"), "{said}");
    let said = stage.done(ANN, "web1: firewall remove all").await;
    assert!(!said.contains("has ended"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_a_rule_is_refused_with_an_example() {
    let stage = connected().await;
    for (line, reason, expected) in [
        ("web1: firewall allow", Reason::BadRequest, "What is it to allow?"),
        ("web1: firewall deny tcp 0", Reason::BadRequest, "\"0\" are not ports"),
        ("web1: firewall deny tcp 22 from here", Reason::BadRequest, "\"here\" is not an address"),
        ("web1: firewall deny in tcp 22 to 10.0.0.1", Reason::BadRequest, "is not a rule"),
        ("web1: firewall deny ports=22", Reason::BadRequest, "is not a rule"),
        ("web1: firewall deny in way=out", Reason::BadRequest, "In, or out?"),
        ("web1: firewall deny tcp 22 protocol=tcp", Reason::BadRequest, "but not both"),
        ("web1: firewall deny in at=0", Reason::BadRequest, "The first rule is number 1."),
        ("web1: firewall remove 2", Reason::BadRequest, "is not a rule"),
        ("web1: firewall remove deny in", Reason::NotFound, "web1 has no rules."),
        ("web1: firewall remove all", Reason::NotFound, "web1 has no rules."),
    ] {
        let refusal = stage.refused(ANN, line).await;
        assert_eq!(refusal.reason, reason, "{line}: {refusal:?}");
        assert!(refusal.text.contains(expected), "{line}: {refusal:?}");
    }
    stage.done(ANN, "web1: firewall deny in").await;
    let refusal = stage.refused(ANN, "web1: firewall remove deny out").await;
    assert_eq!(refusal.hint.as_deref(), Some("There is: deny in."));
    for line in ["web1: firewall deny in", "web1: firewall remove all"] {
        assert_eq!(stage.refused(OTTO, line).await.reason, Reason::NotAllowed, "it may not define either");
    }
    // Rules are where we stand between it and others.
    stage.done(ANN, "web1: firewall remove all").await;
    stage.done(ANN, "web1: define nic=user").await;
    let refusal = stage.refused(ANN, "web1: firewall deny in").await;
    assert!(refusal.text.contains("\"net1\" is not on a network of this host"), "{refusal:?}");
    let said = stage.done(VERA, "web1: firewall list").await;
    assert!(said.contains("can have none as it is: net1 is not on a network"), "{said}");
}

#[tokio::test]
async fn a_form_offers_the_rules_there_are() {
    let stage = connected().await;
    stage.done(ANN, "web1: firewall deny in").await;
    stage.done(ANN, "web1: firewall allow tcp 80").await;
    let remove = COMMANDS.iter().find(|declaration| declaration.verb == "firewall-remove").unwrap();
    let web1 = Target::Machine(name("web1"));
    let choices = stage.agent.choices(&stage::jid(ANN).into_bare(), remove, "rule", &web1).await;
    assert_eq!(choices, ["allow in tcp 80", "deny in", "all"]);
    let deny = COMMANDS.iter().find(|declaration| declaration.verb == "firewall-deny").unwrap();
    assert_eq!(stage.agent.choices(&stage::jid(ANN).into_bare(), deny, "way", &web1).await, ["in", "out"]);
    assert_eq!(
        stage.agent.choices(&stage::jid(ANN).into_bare(), deny, "protocol", &web1).await,
        ["tcp", "udp", "icmp"]
    );
    let answer = stage.ask(ANN, "web1: firewall remove rule=\"allow in tcp 80\"").await;
    assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
}

#[tokio::test]
async fn rules_said_at_once_are_all_there_afterwards() {
    let stage = connected().await;
    let lines: Vec<String> = (1..=5).map(|port| format!("web1: firewall allow tcp {port}")).collect();
    let said = futures::future::join_all(lines.iter().map(|line| stage.done(ANN, line))).await;
    assert_eq!(said.len(), 5);
    let list = stage.done(VERA, "web1: firewall list").await;
    assert_eq!(list.matches("allow in tcp").count(), 5, "{list}");
}
