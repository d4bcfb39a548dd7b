//! The screen as a stream: tickets, who may what, how it ends, what the journal has of it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use skerry_agent::{
    asked::{Answer, Target},
    config::Config,
    viewer::ScreenStream,
};
use skerry_stanzas::refusal::{Reason, Refusal};
use stage::{ANN, EVE, OTTO, Stage, VERA, jid, name, stage};

/// A viewer's first words, up to where messages follow.
const HELLO: &[u8] = b"RFB 003.008\n\x01\x01";
/// The key `x`, pressed.
const KEY: &[u8] = &[4, 1, 0, 0, 0, 0, 0, b'x'];

async fn running() -> Stage {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux --start").await;
    stage
}

fn web1() -> Target {
    Target::Machine(name("web1"))
}

/// A ticket, as a stream shows it.
async fn ticket(stage: &Stage, who: &str, line: &str) -> String {
    let Answer::Done { json, .. } = stage.ask(who, line).await else { panic!("no ticket for {who}") };
    json["sid"].as_str().unwrap().strip_prefix("vnc:").unwrap().to_owned()
}

async fn view(stage: &Stage, who: &str, ticket: &str) -> Result<ScreenStream, Refusal> {
    stage.agent.view(&jid(who), &web1(), ticket).await
}

async fn opened(stage: &Stage, who: &str, line: &str) -> ScreenStream {
    let ticket = ticket(stage, who, line).await;
    let mut stream = view(stage, who, &ticket).await.unwrap();
    let mut greeted = Vec::new();
    while greeted.len() < 12 {
        greeted.extend(stream.next().await.unwrap());
    }
    assert_eq!(greeted, b"RFB 003.008\n");
    stream.looker().say(HELLO).await.unwrap();
    while !greeted.ends_with(b"fake") {
        greeted.extend(stream.next().await.unwrap());
    }
    stream
}

/// What the console shows once all that was said has arrived: a marker follows it.
async fn typed(stage: &Stage, stream: &mut ScreenStream) -> String {
    stream.looker().say(&[3, 0, 0, 0, 0, 0, 0, 160, 0, 100]).await.unwrap();
    let mut drawn = 0;
    while drawn < 16 + 160 * 100 * 4 {
        drawn += stream.next().await.unwrap().len();
    }
    stage.done(VERA, "web1: console").await
}

#[tokio::test]
async fn who_may_type_does_and_who_may_look_looks() {
    let stage = running().await;
    let mut typing = opened(&stage, OTTO, "web1: vnc").await;
    typing.looker().say(KEY).await.unwrap();
    assert!(typed(&stage, &mut typing).await.ends_with("x\n```"));
    for (who, line) in [(VERA, "web1: vnc"), (OTTO, "web1: vnc --view-only")] {
        let mut looking = opened(&stage, who, line).await;
        looking.looker().say(&KEY.repeat(5)).await.unwrap();
        let shown = typed(&stage, &mut looking).await;
        assert_eq!(shown.matches('x').count(), shown.matches("xt").count() + 1, "{who} typed: {shown}");
    }
}

#[tokio::test]
async fn a_ticket_is_for_once_for_its_owner_and_for_its_machine() {
    let stage = running().await;
    stage.done(ANN, "create web2 linux --start").await;
    let refused = async |who: &str, at: Target, ticket: &str| {
        stage.agent.view(&jid(who), &at, ticket).await.err().unwrap().reason
    };
    let ticket = ticket(&stage, OTTO, "web1: vnc").await;
    assert_eq!(refused(ANN, web1(), &ticket).await, Reason::NotFound, "another's");
    assert_eq!(refused(OTTO, web1(), "made up").await, Reason::NotFound);
    view(&stage, OTTO, &ticket).await.unwrap();
    assert_eq!(refused(OTTO, web1(), &ticket).await, Reason::NotFound, "a second time");
    let ticket = self::ticket(&stage, OTTO, "web1: vnc").await;
    assert_eq!(refused(OTTO, Target::Machine(name("web2")), &ticket).await, Reason::BadRequest);
    // At its host it may be shown as well: on an account that is where machines are.
    let ticket = self::ticket(&stage, OTTO, "web1: vnc").await;
    stage.agent.view(&jid(OTTO), &Target::Host, &ticket).await.unwrap();
    assert_eq!(stage.refused(EVE, "web1: vnc").await.reason, Reason::NotAllowed);
}

#[tokio::test]
async fn rights_that_are_lost_are_lost_in_an_open_stream() {
    let stage = running().await;
    let mut stream = opened(&stage, OTTO, "web1: vnc").await;
    let late = ticket(&stage, OTTO, "web1: vnc").await;
    let mut config = Config::clone(&stage.agent.config());
    config.roles.operator.clear();
    config.roles.viewer.push("otto@example.org".into());
    stage.agent.reload(config.clone()).unwrap();
    let before = stage.done(VERA, "web1: console").await;
    stream.looker().say(KEY).await.unwrap();
    assert_eq!(typed(&stage, &mut stream).await, before, "an operator no more: looks on");
    config.roles.viewer.retain(|who| who != "otto@example.org");
    stage.agent.reload(config).unwrap();
    assert_eq!(stream.looker().say(KEY).await.unwrap_err().reason, Reason::NotAllowed);
    stage.faults().write(stage.id("web1"), b"news");
    assert_eq!(view(&stage, OTTO, &late).await.err().unwrap().reason, Reason::NotAllowed);
}

#[tokio::test]
async fn it_ends_with_the_machine_and_with_who_speaks_otherwise() {
    let stage = running().await;
    let mut stream = opened(&stage, OTTO, "web1: vnc").await;
    stage.yes(ANN, "web1: kill").await;
    while stream.next().await.is_some() {}
    let refusal = stage.refused(OTTO, "web1: vnc").await;
    assert_eq!(refusal.sentence(), "web1 is not running: its screen is dark. Start it first.");
    stage.done(ANN, "web1: start").await;
    let stream = opened(&stage, OTTO, "web1: vnc").await;
    assert_eq!(stream.looker().say(b"GET / HTTP/1.1").await.unwrap_err().reason, Reason::BadRequest);
}

#[tokio::test]
async fn the_journal_has_who_and_for_how_long() {
    let stage = running().await;
    drop(opened(&stage, OTTO, "web1: vnc").await);
    let log = loop {
        let log = stage.done(ANN, "web1: log").await;
        if log.contains("The screen was open for") {
            break log;
        }
        tokio::task::yield_now().await;
    };
    assert!(log.contains("vnc, otto@example.org"), "{log}");
    assert!(!log.contains("vnc:"), "no ticket: {log}");
}

#[tokio::test]
async fn a_machine_without_graphics_says_so() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    let toml = "graphics = false\nboot = { from = \"disk\" }\n[[nics]]\nboot_order = 1";
    stage.done(ANN, &format!("web1: define toml='vcpus = 1\nmemory_mib = 64\n{toml}'")).await;
    stage.done(ANN, "web1: start").await;
    for line in ["web1: vnc", "web1: screenshot", "web1: type x", "web1: key enter"] {
        let refusal = stage.refused(ANN, line).await;
        assert!(
            refusal.sentence().starts_with("web1 has no screen: it is made without graphics."),
            "{refusal:?}"
        );
    }
}
