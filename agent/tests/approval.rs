//! What needs the consent of others: asked for, given, refused, outwaited, and carried out once.

#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::sync::Arc;

use skerry_agent::{agent::Agent, asked::Answer, config::Config};
use skerry_stanzas::{refusal::Reason, reply::UNDER_WAY};
use stage::{ANN, EVE, OTTO, Stage, VERA, asked, code, ear::Ear, event, refused, stage};

const MIA: &str = "mia@example.org/tab";
const TOM: &str = "tom@example.org/desk";

/// db1 runs, and is not to be killed by one alone; mia is a second admin.
async fn furnished() -> (Stage, Arc<Ear>) {
    let stage = stage().await;
    let ear = Ear::of(&stage.agent);
    stage.done(ANN, "create db1 linux").await;
    stage.done(ANN, "db1: start").await;
    stage.done(ANN, "grant admin to mia@example.org").await;
    stage.done(ANN, "policy add careful kill, delete on db1").await;
    (stage, ear)
}

/// The code of the request that a command becomes.
async fn requested(stage: &Stage, who: &str, line: &str) -> String {
    code(&stage.ask(who, line).await)
}

#[tokio::test]
async fn what_a_policy_names_is_done_when_another_agrees() {
    let (stage, ear) = furnished().await;
    let mut heard = stage.agent.announcements();
    let asked = stage.done(OTTO, "db1: kill").await;
    assert!(asked.contains("needs the consent of 1 with the role admin"), "{asked}");
    assert!(asked.contains("I asked ann@example.org, mia@example.org"), "{asked}");
    assert_eq!(stage.state("db1"), "running");
    let asks = ear.told("mia@example.org", "otto@example.org wants: kill db1").await;
    let code = requested(&stage, OTTO, "db1: kill").await;
    assert_eq!(asks.buttons, [format!("approve {code}"), format!("reject {code}")]);
    let list = stage.done(MIA, "request list").await;
    assert!(list.contains(&code) && list.contains("kill db1"), "{list}");
    assert_eq!(stage.refused(OTTO, &format!("approve {code}")).await.reason, Reason::NotAllowed, "their own");
    assert_eq!(stage.refused(VERA, &format!("approve {code}")).await.reason, Reason::NotFound);
    assert_eq!(stage.state("db1"), "running");

    let said = stage.done(MIA, &format!("approve {code}")).await;
    assert_eq!(said, "You agreed: kill db1 is carried out.");
    event(&mut heard, "host.approval-ended").await;
    assert_eq!(stage.state("db1"), "stopped");
    // The messages that asked are changed to the result, and who asked is told.
    for person in ["ann@example.org", "mia@example.org"] {
        let end = ear.told(person, "Agreed: mia@example.org").await;
        assert!(end.instead.is_some() && end.text.contains("otto@example.org wanted: kill db1"), "{end:?}");
    }
    // What the command answered is for who asked alone.
    assert!(ear.told("ann@example.org", "Agreed").await.text.ends_with("\nIt is done."));
    let end = ear.told("otto@example.org", "Agreed: mia@example.org").await;
    assert!(end.instead.is_none() && end.text.ends_with("\ndb1 is stopped: its power was cut."), "{end:?}");
    assert_eq!(stage.refused(ANN, &format!("approve {code}")).await.reason, Reason::NotFound, "only once");
    let log = stage.done(ANN, "db1: log").await;
    assert_eq!(log.matches("kill").count(), 1, "{log}");
}

#[tokio::test]
async fn two_are_two_people_and_never_who_asks() {
    let (stage, _ear) = furnished().await;
    stage.done(ANN, "policy add two reboot on db1 need 2").await;
    stage.done(ANN, "grant admin to tom@example.org").await;
    let mut heard = stage.agent.announcements();
    let code = requested(&stage, ANN, "db1: reboot").await;
    assert_eq!(stage.refused(ANN, &format!("approve {code}")).await.reason, Reason::NotAllowed);
    let said = stage.done(MIA, &format!("approve {code}")).await;
    assert_eq!(said, "You agreed. reboot db1 still needs 1 with the role admin.");
    // The same person at another client is the same person.
    let again = stage.done("mia@example.org/phone", &format!("approve {code}")).await;
    assert_eq!(again, "You agreed to that before.");
    // A consent counts as long as who gave it has the role.
    stage.done(ANN, "revoke 1").await;
    stage.done(TOM, &format!("approve {code}")).await;
    let list = stage.done(TOM, "request list").await;
    assert!(list.contains("needs 1 with the role admin"), "{list}");
    // With the role back, it counts again.
    stage.done(ANN, "grant admin to mia@example.org").await;
    let end = event(&mut heard, "host.approval-ended").await;
    assert!(end.sentence.contains("db1"), "{end:?}");
}

#[tokio::test]
async fn one_no_is_enough_and_who_asked_can_take_it_back() {
    let (stage, ear) = furnished().await;
    let first = requested(&stage, OTTO, "db1: kill").await;
    assert_eq!(stage.refused(VERA, &format!("reject {first}")).await.reason, Reason::NotFound);
    let said = stage.done(ANN, &format!("reject {first}")).await;
    assert!(said == "Rejected by ann@example.org: nothing was done.", "{said}");
    assert_eq!(ear.told("otto@example.org", "Rejected by ann").await.instead, None);
    let second = requested(&stage, OTTO, "db1: kill").await;
    assert_eq!(stage.refused(ANN, &format!("withdraw {second}")).await.reason, Reason::NotFound);
    stage.done(OTTO, &format!("withdraw {second}")).await;
    assert_eq!(stage.state("db1"), "running");
    assert_eq!(stage.done(ANN, "request list").await, "Nothing waits for approval.");
    let log = stage.done(ANN, "db1: log").await;
    assert!(log.contains("Rejected by ann") && log.contains("Taken back by otto"), "{log}");
}

#[tokio::test]
async fn a_request_outlives_its_agent_and_is_done_once() {
    let (stage, ear) = furnished().await;
    let code = requested(&stage, OTTO, "db1: kill because it hangs").await;
    ear.told("ann@example.org", "wants: kill db1 because \"it hangs\"").await;
    let stage = stage.restart().await;
    let ear = Ear::of(&stage.agent);
    let mut heard = stage.agent.announcements();
    stage.done(ANN, &format!("approve {code}")).await;
    event(&mut heard, "host.approval-ended").await;
    assert_eq!(stage.state("db1"), "stopped");
    // The message of before is the one that changes.
    assert!(ear.told("ann@example.org", "Agreed").await.instead.is_some());
    let stage = stage.restart().await;
    assert_eq!(stage.done(ANN, "request list").await, "Nothing waits for approval.");
    assert_eq!(stage.done(ANN, "db1: log").await.matches("kill").count(), 1);
    // One entry says who asked, why, and who agreed.
    stage.agent.close().await;
    let store = rusqlite::Connection::open(stage.folder.path().join("state/state.db")).unwrap();
    let sql = "SELECT body FROM journal WHERE kind = 'accepted' AND json_extract(body, '$.permission') = 'machine.kill'";
    let body: String = store.query_row(sql, [], |row| row.get(0)).unwrap();
    let entry: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((entry["caller"].as_str(), entry["because"].as_str()), (Some(OTTO), Some("it hangs")));
    assert_eq!(entry["hops"][0]["agreed"], serde_json::json!(["ann@example.org"]), "{body}");
}

#[tokio::test]
async fn what_could_not_be_told_is_told_when_the_link_is_up_again() {
    let (stage, ear) = furnished().await;
    let code = requested(&stage, OTTO, "db1: kill").await;
    let asks = ear.told("ann@example.org", "wants: kill db1").await;
    ear.told("mia@example.org", "wants: kill db1").await;
    *ear.deaf.lock().unwrap() = true;
    stage.done(ANN, &format!("reject {code}")).await;
    // Neither the link nor the agent is there for a while.
    let stage = stage.restart().await;
    let ear = Ear::of(&stage.agent);
    stage.agent.linked(true);
    let end = ear.told("ann@example.org", "Rejected by ann@example.org").await;
    assert_eq!(end.instead, Some(asks.id), "the message that asked is the one that changes");
    ear.told("otto@example.org", "Rejected by ann@example.org").await;
}

#[tokio::test]
async fn who_may_not_any_more_does_not_get_it_done() {
    let (stage, ear) = furnished().await;
    let code = requested(&stage, OTTO, "db1: kill").await;
    stage.done(ANN, "deny kill to otto@example.org").await;
    stage.done(ANN, &format!("approve {code}")).await;
    let end = ear.told("ann@example.org", "otto@example.org may not do that any more").await;
    assert_eq!(stage.state("db1"), "running", "{end:?}");
}

#[tokio::test]
async fn what_is_asked_about_a_hidden_machine_is_hidden() {
    let (stage, _ear) = furnished().await;
    stage.done(ANN, "create web1 linux").await;
    stage.done(ANN, "grant power to eve@elsewhere.org on web1").await;
    let code = requested(&stage, OTTO, "db1: kill").await;
    assert_eq!(stage.done(EVE, "request list").await, "Nothing waits for approval.");
    for verb in ["approve", "reject", "withdraw", "break-glass"] {
        let because = if verb == "break-glass" { " because I want to" } else { "" };
        let hidden = stage.refused(EVE, &format!("{verb} {code}{because}")).await.sentence();
        let nowhere = stage.refused(EVE, &format!("{verb} zzzz{because}")).await.sentence();
        assert_eq!(hidden.replace(&code, "X"), nowhere.replace("zzzz", "X"));
    }
}

#[tokio::test]
async fn in_an_emergency_one_does_without_and_everybody_hears_of_it() {
    let (stage, ear) = furnished().await;
    stage.done(ANN, "policy add never reboot on db1 emergency=nobody").await;
    let kept = requested(&stage, ANN, "db1: reboot").await;
    let no = stage.refused(ANN, &format!("break-glass {kept} because it hangs")).await;
    assert_eq!(no.reason, Reason::NotAllowed);
    let code = requested(&stage, ANN, "db1: kill").await;
    let no = stage.refused(OTTO, &format!("break-glass {code} because I say so")).await;
    assert_eq!(no.reason, Reason::NotFound, "it is none of his");
    stage.done(ANN, &format!("break-glass {code} because the disk melts")).await;
    let alarm = ear.told("mia@example.org", "Emergency: ann@example.org does without approval").await;
    assert!(alarm.text.contains("the disk melts"), "{alarm:?}");
    ear.told("mia@example.org", "Done without approval by ann@example.org").await;
    assert_eq!(stage.state("db1"), "stopped");
}

#[tokio::test]
async fn a_policy_guards_itself() {
    let (stage, _ear) = furnished().await;
    stage.done(ANN, "db1: label prod").await;
    stage.done(ANN, "policy add labelled kill on label:prod").await;
    let mut heard = stage.agent.announcements();
    for line in ["policy remove careful", "policy add careful start", "db1: label remove=prod"] {
        let code = requested(&stage, ANN, line).await;
        stage.done(MIA, &format!("reject {code}")).await;
    }
    assert_eq!(stage.done(ANN, "policy list").await.lines().count(), 2);
    let code = requested(&stage, ANN, "policy remove careful").await;
    stage.done(MIA, &format!("approve {code}")).await;
    event(&mut heard, "host.policy-removed").await;
    assert_eq!(stage.done(ANN, "policy list").await.lines().count(), 1);
}

#[tokio::test]
async fn policies_of_the_configuration_are_changed_there() {
    let stage = stage().await;
    stage.done(ANN, "create db1 linux").await;
    let text = "name = 'kvm1'\n[approval.fixed]\nwhat = ['kill']\non = ['db1']\nemergency = 'nobody'\n";
    let mut config = stage::config(stage.folder.path());
    config.approval = Config::parse(&format!("{text}{}", link(&stage)), "x".as_ref()).unwrap().approval;
    stage.agent.reload(config).unwrap();
    let list = stage.done(VERA, "policy list").await;
    assert!(list.contains("machine.kill on db1 needs 1 with the role admin"), "{list}");
    assert_eq!(stage.refused(ANN, "policy remove fixed").await.reason, Reason::Conflict);
    // There is one admin only, who cannot ask themselves.
    stage.done(ANN, "db1: start").await;
    let nobody = stage.refused(ANN, "db1: kill").await;
    assert!(nobody.text.contains("there are not so many besides you"), "{nobody:?}");
    // Nor can they give it a name that the policy does not know.
    assert!(stage.refused(ANN, "db1: rename other").await.text.contains("not so many"));
    assert_eq!(stage.state("db1"), "running");
}

fn link(stage: &Stage) -> String {
    let secret = stage.folder.path().join("secret");
    format!("[link]\nkind = 'component'\njid = 'x'\nserver = '127.0.0.1:1'\nsecret_file = {:?}\n", secret)
}

#[tokio::test]
async fn the_same_words_are_one_request_and_its_key_waits_for_the_end() {
    let (stage, _ear) = furnished().await;
    let mut ask = asked(OTTO, "db1: kill");
    ask.key = Some("one".into());
    let first = code(&stage.agent.ask(ask.clone(), None).await);
    assert_eq!(requested(&stage, OTTO, "db1: kill").await, first);
    let agent: &Agent = &stage.agent;
    let approve = format!("approve {first}");
    let (end, _) = tokio::join!(agent.ask(ask.clone(), None), stage.done(ANN, &approve));
    let Answer::Done { text, json } = end else { panic!("{end:?}") };
    assert!(json.get(UNDER_WAY).is_none() && text.contains("db1"), "{text}");
    // And afterwards it gets the same answer, and nothing is done.
    stage.done(ANN, "db1: start").await;
    let Answer::Done { text: again, .. } = agent.ask(ask, None).await else { panic!() };
    assert_eq!((again, stage.state("db1").as_str()), (text, "running"));
}

#[tokio::test]
async fn who_is_excepted_and_what_takes_nothing_away_need_nobody() {
    let (stage, _ear) = furnished().await;
    stage.done(ANN, "policy add ops shutdown on db1 from operator except admin").await;
    stage.done(ANN, "db1: shutdown").await;
    // It is off already.
    stage.done(OTTO, "db1: kill").await;
    let no = refused(stage.ask(OTTO, "policy add x list").await);
    assert_eq!(no.reason, Reason::NotAllowed);
}

/// Changes what is written of the requests, while no agent runs.
fn rewrite(stage: &Stage, set: &str, value: &str) {
    let store = rusqlite::Connection::open(stage.folder.path().join("state/state.db")).unwrap();
    store.execute(&format!("UPDATE requests SET body = json_set(body, '{set}', ?1)"), [value]).unwrap();
}

#[tokio::test]
async fn what_waits_too_long_is_over_and_nothing_was_done() {
    let (stage, _ear) = furnished().await;
    let code = requested(&stage, OTTO, "db1: kill").await;
    stage.agent.close().await;
    let past = chrono::Utc::now() - chrono::TimeDelta::seconds(1);
    rewrite(&stage, "$.until", &past.to_rfc3339());
    let stage = stage.restart().await;
    let ear = Ear::of(&stage.agent);
    stage.agent.linked(true);
    let end = ear.told("otto@example.org", "is over and not enough agreed").await;
    assert!(end.text.contains(&code), "{end:?}");
    assert_eq!(stage.refused(ANN, &format!("approve {code}")).await.reason, Reason::NotFound);
    assert_eq!(stage.state("db1"), "running");
}

#[tokio::test]
async fn what_is_not_what_was_agreed_to_is_not_done() {
    let (stage, _ear) = furnished().await;
    stage.done(ANN, "policy add rights grant").await;
    let code = requested(&stage, ANN, "grant viewer to eve@elsewhere.org").await;
    stage.agent.close().await;
    rewrite(&stage, "$.words[0]", "--what=admin");
    let stage = stage.restart().await;
    let ear = Ear::of(&stage.agent);
    stage.done(MIA, &format!("approve {code}")).await;
    ear.told("ann@example.org", "is another one by now: nothing was done").await;
    assert_eq!(stage.refused(EVE, "list").await.reason, Reason::NotAllowed);
}

#[tokio::test]
async fn what_is_approved_waits_for_its_hours() {
    let (stage, _ear) = furnished().await;
    // A window that is shut now, and opens within the week that a request can wait.
    let day = (chrono::Local::now() + chrono::TimeDelta::days(2)).format("%a");
    stage.done(ANN, &format!("policy add window reboot on db1 within 7d during {day} 02:00-05:00")).await;
    let code = requested(&stage, ANN, "db1: reboot").await;
    let said = stage.done(MIA, &format!("approve {code}")).await;
    assert!(said.starts_with("You agreed: reboot db1 is carried out at 20"), "{said}");
    let list = stage.done(ANN, "request list").await;
    assert!(list.contains("approved, and done at 20"), "{list}");
    // One that cannot come in time is not asked for.
    stage.done(ANN, &format!("policy add soon pause on db1 within 1h during {day} emergency=nobody")).await;
    let no = stage.refused(ANN, "db1: pause").await;
    assert!(no.text.contains("waits no longer than 1 h"), "{no:?}");
    // In an emergency nobody waits for hours.
    let mut heard = stage.agent.announcements();
    stage.done(ANN, &format!("break-glass {code} because it burns")).await;
    event(&mut heard, "host.approval-ended").await;
    assert_eq!(stage.done(ANN, "request list").await, "Nothing waits for approval.");
}

#[tokio::test]
async fn a_secret_waits_in_no_file() {
    const CANARY: &str = "canary-in-the-coal-mine";
    let (stage, ear) = furnished().await;
    stage.done(ANN, "policy add secrets password on db1").await;
    let mut ask = asked(ANN, "db1: password root");
    // In a form: words are not for secrets.
    ask.argv.push(format!("--password={CANARY}"));
    let code = code(&stage.agent.ask(ask, None).await);
    let asks = ear.told("mia@example.org", "wants: password db1").await;
    assert!(asks.text.contains("root") && !asks.text.contains(CANARY), "{asks:?}");
    stage.agent.close().await;
    for file in std::fs::read_dir(stage.folder.path().join("state")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{path:?}");
        }
    }
    // And so it does not outlive its agent, and says so.
    let stage = stage.restart().await;
    let ear = Ear::of(&stage.agent);
    stage.done(MIA, &format!("approve {code}")).await;
    ear.told("ann@example.org", "keeps no secret for so long").await;
}

#[tokio::test]
async fn agreeing_takes_nobodys_consent() {
    let (stage, _ear) = furnished().await;
    stage.done(ANN, "create web1 linux").await;
    stage.done(ANN, "policy add all changes on all").await;
    let mut heard = stage.agent.announcements();
    let code = requested(&stage, ANN, "web1: start").await;
    let withdrawn = requested(&stage, ANN, "db1: pause").await;
    stage.done(ANN, &format!("withdraw {withdrawn}")).await;
    let said = stage.done(MIA, &format!("approve {code}")).await;
    assert_eq!(said, "You agreed: start web1 is carried out.");
    while event(&mut heard, "host.approval-ended").await.machine.as_deref() != Some("web1") {}
    assert_eq!(stage.state("web1"), "running");
}
