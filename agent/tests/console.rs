//! The console as a stream: who may, what goes through, how it ends, what the journal has of it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use skerry_agent::asked::Target;
use skerry_stanzas::refusal::Reason;
use stage::{ANN, EVE, OTTO, Stage, VERA, jid, name, stage};

async fn running() -> Stage {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux --start").await;
    stage
}

fn web1() -> Target {
    Target::Machine(name("web1"))
}

#[tokio::test]
async fn what_is_typed_arrives_and_what_the_guest_writes_comes_back() {
    let stage = running().await;
    let mut stream = stage.agent.console(&jid(OTTO), &web1()).await.unwrap();
    stream.keys().send(b"echo hello\n").await.unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("hello") {
        heard.extend(stream.next().await.unwrap());
    }
}

#[tokio::test]
async fn it_ends_with_the_machine() {
    let stage = running().await;
    let mut stream = stage.agent.console(&jid(OTTO), &web1()).await.unwrap();
    stage.yes(OTTO, "web1: kill").await;
    while stream.next().await.is_some() {}
    assert_eq!(stream.keys().send(b"x").await.unwrap_err().reason, Reason::Conflict);
    let Err(refusal) = stage.agent.console(&jid(OTTO), &web1()).await else { panic!("it is off") };
    assert_eq!(refusal.reason, Reason::Conflict);
}

#[tokio::test]
async fn it_takes_the_right_to_the_command() {
    let stage = running().await;
    for who in [VERA, EVE] {
        let Err(refusal) = stage.agent.console(&jid(who), &web1()).await else { panic!("{who}") };
        assert_eq!(refusal.reason, Reason::NotAllowed, "{who}");
    }
    let Err(refusal) = stage.agent.console(&jid(OTTO), &Target::Host).await else { panic!("a host") };
    assert_eq!(refusal.reason, Reason::BadRequest);
    let nobody = Target::Machine(name("nobody"));
    let Err(refusal) = stage.agent.console(&jid(OTTO), &nobody).await else { panic!("nobody") };
    assert_eq!(refusal.reason, Reason::NotFound);
}

#[tokio::test]
async fn the_journal_has_who_and_for_how_long_but_not_what_was_typed() {
    let stage = running().await;
    let stream = stage.agent.console(&jid(OTTO), &web1()).await.unwrap();
    stream.keys().send(b"secret\n").await.unwrap();
    drop(stream);
    let log = loop {
        let log = stage.done(ANN, "web1: log").await;
        if log.contains("The console was open for") {
            break log;
        }
        tokio::task::yield_now().await;
    };
    assert!(log.contains("otto@example.org") && log.contains("machine.console"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
