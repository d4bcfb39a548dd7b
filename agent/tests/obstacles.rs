//! What takes something away and cannot be done at all is refused before anybody is asked whether it is meant.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use skerry_agent::asked::Answer;
use skerry_stanzas::{
    command::{COMMANDS, Declaration, Effect, Object},
    refusal::Reason::{self, BadRequest, Conflict, NotFound},
};
use stage::*;

/// Lines about what is not there, or is not so: web1 is off, web2 runs.
fn pointless(declaration: &Declaration) -> &'static [(&'static str, Reason)] {
    match declaration.verb {
        // That of one that is off is done already.
        "kill" => &[],
        "reset" => &[("web1: reset", Conflict)],
        "delete" => &[("web2: delete", Conflict)],
        "disk-delete" => &[("web1: disk delete data", NotFound), ("web1: disk delete disk1", NotFound)],
        "snapshot-revert" => {
            &[("web1: snapshot revert before", NotFound), ("web2: snapshot revert before", NotFound)]
        }
        "snapshot-delete" => &[("web1: snapshot delete before", NotFound)],
        "migrate-resolve" => &[("web1: migrate resolve give-up", Conflict)],
        "image-delete" => &[("image delete debian-99", NotFound), ("image delete linux", Conflict)],
        "network-delete" => &[("network delete lan", NotFound)],
        "evacuate" => &[("evacuate", Conflict)],
        "apply" => &[("apply --toml=x", BadRequest)],
        other => panic!("{other} takes something away: say of what it is refused at once"),
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_without_a_question() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    stage.done(ANN, "create web2 linux --start").await;
    for declaration in COMMANDS.iter().filter(|declaration| declaration.effect == Effect::Destroy) {
        for (line, reason) in pointless(declaration) {
            let answer = stage.ask(ANN, line).await;
            let Answer::Refused(refusal) = answer else { panic!("{line}: {answer:?}") };
            assert_eq!(refusal.reason, *reason, "{line}: {refusal:?}");
        }
        if declaration.object == Object::Machine {
            let line = format!("nothere: {}", declaration.examples[0].0);
            assert_eq!(stage.refused(ANN, &line).await.reason, NotFound, "{line}");
        }
    }
}

#[tokio::test]
async fn what_is_there_is_asked_about_as_ever() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    stage.done(ANN, "web1: disk create data 1G").await;
    let refusal = stage.refused(ANN, "web1: disk delete data").await;
    assert_eq!(refusal.text, "web1 has its disk data attached.");
    stage.done(ANN, "web1: snapshot take before").await;
    stage.done(ANN, "web1: start").await;
    let refusal = stage.refused(ANN, "web1: snapshot revert before").await;
    assert!(refusal.text.contains("has no memory to go on from"), "{refusal:?}");
    stage.done(ANN, "web1: shutdown").await;
    for line in ["web1: snapshot revert before", "web1: snapshot delete before"] {
        question(stage.ask(ANN, line).await);
    }
    stage.done(ANN, "web1: disk detach data").await;
    question(stage.ask(ANN, "web1: disk delete data").await);
}
