//! Several machines in one command: one question, one request, one answer; each done by itself.

#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::sync::Arc;

use skerry_agent::asked::{Answer, Asked, Door, Target};
use skerry_stanzas::{payload::Together, reply::REQUEST};
use stage::{ANN, EVE, OTTO, Stage, asked, done, ear::Ear, event, jid, question, stage};

const MIA: &str = "mia@example.org/tab";

/// web1 to web4 run; all but web4 are not to be killed by one alone.
async fn furnished() -> (Stage, Arc<Ear>) {
    let stage = stage().await;
    let ear = Ear::of(&stage.agent);
    for name in ["web1", "web2", "web3", "web4"] {
        stage.done(ANN, &format!("create {name} linux")).await;
        stage.done(ANN, &format!("{name}: start")).await;
    }
    stage.done(ANN, "grant admin to mia@example.org").await;
    stage.done(ANN, "policy add careful kill on web1, web2, web3").await;
    (stage, ear)
}

/// The same on each of these, as one who gives them together says it.
fn each(who: &str, verb: &str, names: &[&str], id: &str) -> Vec<Asked> {
    let together = Together { id: id.into(), of: names.len().try_into().unwrap() };
    let one =
        |name: &&str| Asked { together: Some(together.clone()), ..asked(who, &format!("{name}: {verb}")) };
    names.iter().map(one).collect()
}

async fn requested(stage: &Stage, who: &str, verb: &str, names: &[&str], id: &str) -> (String, String) {
    let answer = stage.agent.ask_each(each(who, verb, names, id), None).await;
    let code = stage::code(&answer);
    (stage::done(answer), code)
}

#[tokio::test]
async fn several_are_one_question_and_one_yes() {
    let stage = stage().await;
    let names = ["web1", "web2", "web4"];
    for name in ["web1", "web2", "web3", "web4"] {
        stage.done(ANN, &format!("create {name} linux")).await;
        stage.done(ANN, &format!("{name}: start")).await;
    }
    stage.yes(ANN, "web2: kill").await;
    let asked = question(stage.agent.ask_each(each(ANN, "kill", &names, "a"), None).await);
    for says in ["power of web1", "web2 was already stopped", "power of web4"] {
        assert!(asked.sentence.contains(says), "{asked:?}");
    }
    assert_eq!(stage.state("web1"), "running");
    let yes = stage.agent.confirm(&jid(ANN), &Target::Host, None, Door::Chat, None, None).await;
    let said = done(yes);
    assert_eq!(said, "web1 is stopped: its power was cut.\nweb4 is stopped: its power was cut.");
    assert_eq!(stage.state("web3"), "running");
}

#[tokio::test]
async fn several_are_one_request_and_one_consent() {
    let (stage, ear) = furnished().await;
    let mut heard = stage.agent.announcements();
    let names = ["web1", "web2", "web3"];
    let (text, code) = requested(&stage, OTTO, "kill", &names, "a").await;
    assert!(code.starts_with("otto-"), "{code}");
    assert!(
        text.starts_with("kill web1, web2 and web3 needs the consent of 1 with the role admin"),
        "{text}"
    );
    let asks = ear.told("mia@example.org", "otto@example.org wants: kill web1, web2 and web3.").await;
    assert!(asks.text.contains("- kill web2: This cuts the power of web2"), "{asks:?}");
    assert_eq!(asks.buttons, [format!("approve {code}"), format!("reject {code}")]);
    let list = stage.done(MIA, "request list").await;
    assert_eq!(list.lines().count(), 1, "{list}");
    assert!(list.contains(&code) && list.contains("kill web1, web2 and web3"), "{list}");

    let said = stage.done(MIA, &format!("approve {code}")).await;
    assert_eq!(said, "You agreed: kill web1, web2 and web3 is carried out.");
    for _ in names {
        event(&mut heard, "host.approval-ended").await;
    }
    assert!(names.iter().all(|name| stage.state(name) == "stopped"));
    assert_eq!(stage.state("web4"), "running");
    let end = ear.told("ann@example.org", "Agreed: mia@example.org").await;
    assert!(
        end.text.ends_with("\n- kill web1: It is done.\n- kill web2: It is done.\n- kill web3: It is done.")
    );
    let end = ear.told("otto@example.org", "Agreed: mia@example.org").await;
    assert!(end.text.contains("- kill web3: web3 is stopped: its power was cut."), "{end:?}");
    let sent = ear.texts().iter().filter(|text| text.starts_with("mia@example.org: ")).count();
    assert_eq!(sent, 2, "one that asks, one that says how it ended");
    let log = stage.done(ANN, "web2: log").await;
    assert_eq!(log.matches("kill").count(), 1, "{log}");
}

#[tokio::test]
async fn one_of_several_can_be_refused_by_itself() {
    let (stage, ear) = furnished().await;
    let mut heard = stage.agent.announcements();
    let (_, code) = requested(&stage, OTTO, "kill", &["web1", "web2", "web3"], "a").await;
    ear.told("mia@example.org", "wants: kill").await;
    stage.done(MIA, &format!("reject {code}.2")).await;
    event(&mut heard, "host.approval-ended").await;
    let list = stage.done(MIA, "request list").await;
    assert!(list.contains("kill web1 and web3"), "{list}");
    stage.done(ANN, &format!("approve {code}")).await;
    event(&mut heard, "host.approval-ended").await;
    event(&mut heard, "host.approval-ended").await;
    let states: Vec<String> = ["web1", "web2", "web3"].iter().map(|name| stage.state(name)).collect();
    assert_eq!(states, ["stopped", "running", "stopped"]);
    let end = ear.told("mia@example.org", "otto@example.org wanted").await;
    assert!(end.text.contains("- kill web2: Rejected by mia@example.org"), "{end:?}");
}

#[tokio::test]
async fn whoever_can_agree_to_some_hears_of_those_alone() {
    let (stage, ear) = furnished().await;
    let mut heard = stage.agent.announcements();
    stage.done(ANN, "grant admin to eve@elsewhere.org on web2").await;
    let (_, code) = requested(&stage, OTTO, "kill", &["web1", "web2", "web3"], "a").await;
    let asks = ear.told("eve@elsewhere.org", "wants: kill web2.").await;
    assert!(!asks.text.contains("web1") && !asks.text.contains("web3"), "{asks:?}");
    assert!(!stage.done(EVE, "request list").await.contains("web1"));
    let said = stage.done(EVE, &format!("approve {code}")).await;
    assert_eq!(said, "You agreed: kill web2 is carried out.");
    event(&mut heard, "host.approval-ended").await;
    assert_eq!((stage.state("web1"), stage.state("web2")), ("running".into(), "stopped".into()));
    stage.done(OTTO, &format!("withdraw {code}")).await;
    let end = ear.told("eve@elsewhere.org", "otto@example.org wanted").await;
    assert!(
        end.text.starts_with("otto@example.org wanted: kill web2 (") && !end.text.contains("web1"),
        "{end:?}"
    );
}

#[tokio::test]
async fn what_comes_later_is_not_agreed_to_before() {
    let (stage, ear) = furnished().await;
    let mut of_three = each(OTTO, "kill", &["web1", "web2", "web3"], "a");
    let late = of_three.pop().unwrap();
    let answer = stage.agent.ask_each(of_three, None).await;
    let Answer::Done { json, .. } = answer else { panic!("{answer:?}") };
    let code = json[REQUEST].as_str().unwrap().to_owned();
    let asks = ear.told("mia@example.org", "wants: kill web1 and web2.").await;
    assert!(!asks.text.contains("web3"));
    let answer = stage.agent.ask(late, None).await;
    let Answer::Done { json, .. } = answer else { panic!("{answer:?}") };
    assert_ne!(json[REQUEST].as_str(), Some(code.as_str()), "a code of its own");
    stage.done(MIA, &format!("approve {code}")).await;
    let mut heard = stage.agent.announcements();
    if stage.state("web2") == "running" || stage.state("web1") == "running" {
        event(&mut heard, "host.approval-ended").await;
    }
    assert_eq!(stage.state("web3"), "running");
}

#[tokio::test]
async fn several_outlive_their_agent() {
    let (stage, ear) = furnished().await;
    let (_, code) = requested(&stage, OTTO, "kill", &["web1", "web2"], "a").await;
    ear.told("mia@example.org", "wants: kill web1 and web2.").await;
    let stage = stage.restart().await;
    let ear = Ear::of(&stage.agent);
    let mut heard = stage.agent.announcements();
    stage.done(MIA, &format!("break-glass {code} --because=fire")).await;
    event(&mut heard, "host.approval-ended").await;
    event(&mut heard, "host.approval-ended").await;
    assert_eq!((stage.state("web1"), stage.state("web2")), ("stopped".into(), "stopped".into()));
    let alarm = ear.told("ann@example.org", "Emergency: mia@example.org").await;
    assert!(alarm.text.contains("kill web1 and web2") && alarm.text.contains(&code), "{alarm:?}");
}
