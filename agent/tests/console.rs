//! The console as a stream: who may, what goes through, how it ends, what the journal has of it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use skerry_agent::asked::{Answer, Door, Target};
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
    let mut stream = stage.agent.console(&jid(OTTO), &web1(), Door::Adhoc).await.unwrap();
    stream.keys().send(b"echo hello\n").await.unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("hello") {
        heard.extend(stream.next().await.unwrap());
    }
}

#[tokio::test]
async fn it_ends_with_the_machine() {
    let stage = running().await;
    let mut stream = stage.agent.console(&jid(OTTO), &web1(), Door::Adhoc).await.unwrap();
    stage.yes(OTTO, "web1: kill").await;
    while stream.next().await.is_some() {}
    assert_eq!(stream.keys().send(b"x").await.unwrap_err().reason, Reason::Conflict);
    let Err(refusal) = stage.agent.console(&jid(OTTO), &web1(), Door::Adhoc).await else {
        panic!("it is off")
    };
    assert_eq!(refusal.reason, Reason::Conflict);
}

#[tokio::test]
async fn it_takes_the_right_to_the_command() {
    let stage = running().await;
    let Err(refusal) = stage.agent.console(&jid(EVE), &web1(), Door::Adhoc).await else { panic!("eve") };
    assert_eq!(refusal.reason, Reason::NotAllowed);
    let Err(refusal) = stage.agent.console(&jid(OTTO), &Target::Host, Door::Adhoc).await else {
        panic!("a host")
    };
    assert_eq!(refusal.reason, Reason::BadRequest);
    let nobody = Target::Machine(name("nobody"));
    let Err(refusal) = stage.agent.console(&jid(OTTO), &nobody, Door::Adhoc).await else { panic!("nobody") };
    assert_eq!(refusal.reason, Reason::NotFound);
}

#[tokio::test]
async fn a_viewer_looks_on_and_is_told_so() {
    let stage = running().await;
    let mut stream = stage.agent.console(&jid(VERA), &web1(), Door::Adhoc).await.unwrap();
    let first = String::from_utf8(stream.next().await.unwrap()).unwrap();
    assert!(first.contains("welcome to look on") && first.contains("operator"), "{first}");
    assert_eq!(stream.keys().send(b"halt\n").await.unwrap_err().reason, Reason::NotAllowed);
    stage.faults().write(stage.id("web1"), b"news");
    assert_eq!(stream.next().await.unwrap(), b"news");
    assert!(stage.done(VERA, "web1: console").await.contains("news"));
    assert_eq!(stage.refused(VERA, "web1: send halt").await.reason, Reason::NotAllowed);
    assert_eq!(stage.state("web1"), "running");
    assert!(!stage.done(ANN, "web1: log").await.contains("vera"), "looking is not in the journal");
}

#[tokio::test]
async fn where_others_have_to_agree_to_what_is_typed_nobody_types_in_a_stream() {
    let stage = running().await;
    let before = stage.agent.console(&jid(OTTO), &web1(), Door::Adhoc).await.unwrap();
    before.keys().send(b"x").await.unwrap();
    stage.done(ANN, "policy add careful send, type on web1").await;
    assert_eq!(before.keys().send(b"x").await.unwrap_err().reason, Reason::NotAllowed, "also an open one");
    let mut stream = stage.agent.console(&jid(OTTO), &web1(), Door::Adhoc).await.unwrap();
    let first = String::from_utf8(stream.next().await.unwrap()).unwrap();
    assert!(first.contains("has to be agreed to"), "{first}");
    assert_eq!(stream.keys().send(b"halt\n").await.unwrap_err().reason, Reason::NotAllowed);
    let Answer::Done { json, .. } = stage.ask(OTTO, "web1: vnc").await else { panic!("no ticket") };
    assert_eq!(json["view_only"], true);
}

#[tokio::test]
async fn who_may_type_no_longer_does_not() {
    let stage = running().await;
    let stream = stage.agent.console(&jid(OTTO), &web1(), Door::Adhoc).await.unwrap();
    let keys = stream.keys();
    keys.send(b"x").await.unwrap();
    let mut config = skerry_agent::config::Config::clone(&stage.agent.config());
    config.roles.operator.clear();
    stage.agent.reload(config).unwrap();
    assert_eq!(keys.send(b"x").await.unwrap_err().reason, Reason::NotAllowed);
}

#[tokio::test]
async fn the_journal_has_who_and_for_how_long_but_not_what_was_typed() {
    let stage = running().await;
    let stream = stage.agent.console(&jid(OTTO), &web1(), Door::Adhoc).await.unwrap();
    stream.keys().send(b"secret\n").await.unwrap();
    drop(stream);
    let log = loop {
        let log = stage.done(ANN, "web1: log").await;
        if log.contains("The console was open for") {
            break log;
        }
        tokio::task::yield_now().await;
    };
    assert!(log.contains("send, otto@example.org"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[tokio::test]
async fn one_person_types_and_the_others_look_on() {
    let stage = running().await;
    let open = async |who: &str| stage.agent.console(&jid(who), &web1(), Door::Adhoc).await.unwrap();
    let first = open(OTTO).await;
    let mut second = open(ANN).await;
    first.keys().send(b"a").await.unwrap();
    let refusal = second.keys().send(b"b").await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotAllowed);
    assert!(refusal.sentence().starts_with("otto@example.org types there just now."), "{refusal:?}");
    assert_eq!(second.next().await.unwrap(), b"a", "looking on goes on");
    let mut third = open(ANN).await;
    assert!(String::from_utf8(third.next().await.unwrap()).unwrap().contains("otto@example.org types here"));
    drop(first);
    second.keys().send(b"b").await.unwrap();
    assert_eq!(second.next().await.unwrap(), b"b");
}
