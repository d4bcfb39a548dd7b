//! Rights, as they are given, used, taken back and forgotten.

#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use skerry_agent::asked::{Answer, Target};
use skerry_stanzas::refusal::Reason;
use stage::{ANN, EVE, OTTO, Stage, VERA, jid, name, question, stage};

const MIA: &str = "mia@elsewhere.org/tab";

/// With web1, web2 and db1.
async fn furnished() -> Stage {
    let stage = stage().await;
    for machine in ["web1", "web2", "db1"] {
        stage.done(ANN, &format!("create {machine} linux")).await;
    }
    stage
}

async fn json(stage: &Stage, who: &str, line: &str) -> serde_json::Value {
    match stage.ask(who, line).await {
        Answer::Done { json, .. } => json,
        other => panic!("{who}: {line}: {other:?}"),
    }
}

async fn listed(stage: &Stage, who: &str) -> Vec<String> {
    let list = json(stage, who, "list").await;
    list["machines"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_person_of_elsewhere_gets_two_machines_with_one_sentence() {
    let stage = furnished().await;
    stage.refused(EVE, "list").await;
    let said = stage
        .done(ANN, "grant power to eve@elsewhere.org on web1, web2 until 3d because she moves them")
        .await;
    assert!(said.starts_with("eve@elsewhere.org has power on web1, web2 until "), "{said}");
    assert!(said.contains("because \"she moves them\""), "{said}");
    assert_eq!(listed(&stage, EVE).await, ["web1", "web2"]);
    stage.done(EVE, "web1: start").await;
    stage.done(EVE, "web1: console").await;
    assert_eq!(stage.refused(EVE, "web1: kill").await.reason, Reason::NotAllowed);
    // What she may not see is not there: the same words, whether it is or not.
    let hidden = stage.refused(EVE, "db1: status").await.sentence();
    let nowhere = stage.refused(EVE, "nowhere: status").await.sentence();
    assert_eq!(hidden.replace("db1", "X"), nowhere.replace("nowhere", "X"));
    // And nothing of the host itself.
    for closed in
        ["status", "drivers", "top", "job list", "create web9 linux", "grant power to mia@elsewhere.org"]
    {
        assert_eq!(stage.refused(EVE, closed).await.reason, Reason::NotAllowed, "{closed}");
    }
    let agent = &stage.agent;
    let eve = jid(EVE).to_bare();
    assert!(
        agent.knows(&eve, &Target::Machine(name("web1")))
            && !agent.knows(&eve, &Target::Machine(name("db1")))
    );
    assert!(agent.knows(&eve, &Target::Host) && !agent.may_follow(&eve, &Target::Host));
    let names: Vec<String> = agent.machines_for(&eve).iter().map(|seen| seen.name.to_string()).collect();
    assert_eq!(names, ["web1", "web2"]);

    stage.done(ANN, "revoke 1").await;
    assert!(stage.refused(EVE, "web1: status").await.sentence().contains("no role"));
    assert!(!agent.knows(&eve, &Target::Host));
}

#[tokio::test]
async fn what_is_offered_follows_what_is_granted() {
    let stage = furnished().await;
    stage.done(ANN, "grant start to eve@elsewhere.org on web1").await;
    let verbs = |target: &Target| -> Vec<&str> {
        stage.agent.offered(&jid(EVE).to_bare(), target).iter().map(|it| it.verb).collect()
    };
    assert_eq!(verbs(&Target::Machine(name("web1"))), ["start", "status"]);
    assert!(verbs(&Target::Machine(name("web2"))).is_empty());
    let host = verbs(&Target::Host);
    let look = ["list", "whoami", "may", "grant-list", "role-list", "role-show", "quota-list"];
    let consent = ["request-list", "approve", "reject", "withdraw", "break-glass"];
    assert_eq!(host, [&look[..], &consent].concat());
    let any: Vec<&str> = stage.agent.offered_on_any(&jid(EVE).to_bare()).iter().map(|it| it.verb).collect();
    assert_eq!(any, ["start", "status"]);
    let may = stage_declaration("may");
    let machines = stage.agent.choices(&jid(EVE).to_bare(), may, "machine", &Target::Host).await;
    assert_eq!(machines, ["web1"]);
}

fn stage_declaration(verb: &str) -> &'static skerry_stanzas::command::Declaration {
    stage::declaration(skerry_stanzas::command::Object::Host, verb)
}

#[tokio::test]
async fn who_has_it_for_a_while_gives_it_no_longer_and_no_more_than_that() {
    let stage = furnished().await;
    stage.done(ANN, "grant owner to eve@elsewhere.org on web1 until 2d").await;
    let no = async |line: &'static str| {
        let refusal = stage.refused(EVE, line).await;
        assert_eq!(refusal.reason, Reason::NotAllowed, "{line}: {}", refusal.sentence());
        refusal.sentence()
    };
    assert!(no("grant power to mia@elsewhere.org on web1").await.contains("yourself until"));
    no("grant power to mia@elsewhere.org on web1 until 3d").await;
    no("grant power to mia@elsewhere.org on web2 until 1d").await;
    no("grant power to mia@elsewhere.org on all until 1d").await;
    no("grant power to mia@elsewhere.org on label:lab until 1d").await;
    no("grant define to mia@elsewhere.org on web1 until 1d").await;
    no("grant admin to mia@elsewhere.org on web1 until 1d").await;
    stage.done(EVE, "grant power to mia@elsewhere.org on web1 until 1d").await;
    stage.done(MIA, "web1: start").await;
    // Mia has no right to give any further, nor to take Eve's.
    assert_eq!(
        stage.refused(MIA, "grant start to vera@example.org on web1").await.reason,
        Reason::NotAllowed
    );
    stage.refused(MIA, "revoke 1").await;
    // Eve sees what is on her machine, and takes back what she gave; not what Ann did on others.
    stage.done(ANN, "grant power to vera@example.org on web2").await;
    let grants = json(&stage, EVE, "grant list").await;
    let numbers: Vec<u64> =
        grants["grants"].as_array().unwrap().iter().map(|it| it["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(stage.refused(EVE, "revoke 3").await.reason, Reason::NotFound);
    stage.done(EVE, "revoke 2").await;
    assert_eq!(stage.refused(MIA, "web1: status").await.reason, Reason::NotAllowed);
}

#[tokio::test]
async fn what_is_forbidden_stays_so_and_nothing_is_forbidden_to_an_admin() {
    let stage = furnished().await;
    stage.done(ANN, "deny kill to otto@example.org on db1 because it is slow to come back").await;
    stage.done(OTTO, "db1: start").await;
    stage.done(OTTO, "web1: start").await;
    let refusal = stage.refused(OTTO, "db1: kill").await;
    assert!(refusal.sentence().contains("forbidden to you here: grant 1 by ann@example.org"), "{refusal:?}");
    question(stage.ask(OTTO, "web1: kill").await);
    let verdict = json(&stage, OTTO, "may kill db1").await;
    assert_eq!((verdict["allowed"].as_bool(), verdict["grant"].is_null()), (Some(false), true), "{verdict}");
    for above in ["ann@example.org", "example.org"] {
        let line = format!("deny kill to {above}");
        assert_eq!(stage.refused(ANN, &line).await.reason, Reason::NotAllowed, "{line}");
    }
    stage.done(ANN, "revoke 1").await;
    question(stage.ask(OTTO, "db1: kill").await);
}

#[tokio::test]
async fn what_would_have_to_be_granted_is_said_and_works() {
    let stage = furnished().await;
    let verdict = json(&stage, ANN, "may vera@example.org start web1").await;
    assert_eq!(verdict["allowed"], false);
    let grant = verdict["grant"].as_str().unwrap().to_owned();
    assert_eq!(grant, "grant machine.start to vera@example.org on web1");
    stage.done(ANN, &grant).await;
    stage.done(VERA, "web1: start").await;
    let said = stage.done(ANN, "may vera@example.org start web1").await;
    assert!(said.contains("grant 1 by ann@example.org gives machine.start"), "{said}");
    let said = stage.done(ANN, "who can start web1").await;
    for who in
        ["ann@example.org: roles.admin", "otto@example.org: roles.operator", "vera@example.org: grant 1"]
    {
        assert!(said.contains(who), "{said}");
    }
    assert_eq!(stage.refused(VERA, "may otto@example.org start web1").await.reason, Reason::NotAllowed);
}

#[tokio::test]
async fn a_role_of_ones_own_holds_what_it_was_made_of() {
    let stage = furnished().await;
    let said = stage.done(ANN, "role define night start shutdown snapshot").await;
    assert!(said.contains("machine.snapshot-revert") && said.contains("machine.start"), "{said}");
    stage.done(ANN, "grant night to vera@example.org on web1").await;
    stage.done(VERA, "web1: start").await;
    assert_eq!(stage.refused(VERA, "web1: pause").await.reason, Reason::NotAllowed);
    stage.done(ANN, "role define night start pause").await;
    stage.done(VERA, "web1: pause").await;
    assert_eq!(stage.refused(VERA, "web1: snapshot take x").await.reason, Reason::NotAllowed);
    let refusal = stage.refused(ANN, "role delete night").await;
    assert_eq!(refusal.reason, Reason::Conflict, "{refusal:?}");
    stage.done(ANN, "revoke 1").await;
    stage.done(ANN, "role delete night").await;
    assert_eq!(stage.refused(ANN, "role show night").await.reason, Reason::NotFound);
    for taken in ["power", "start", "Night"] {
        stage.refused(ANN, &format!("role define {taken} start")).await;
    }
    // Else whoever may define roles would have whatever they like.
    stage.done(ANN, "role define mine start").await;
    stage.done(ANN, "grant mine, role-define, role-delete to vera@example.org").await;
    for line in ["role define mine admin", "role delete mine"] {
        assert_eq!(stage.refused(VERA, line).await.reason, Reason::NotAllowed, "{line}");
    }
}

#[tokio::test]
async fn a_label_that_decides_is_for_an_admin() {
    let stage = furnished().await;
    stage.done(ANN, "grant operator to eve@elsewhere.org on label:lab").await;
    stage.done(OTTO, "web1: label web").await;
    let refusal = stage.refused(OTTO, "web1: label lab").await;
    assert!(refusal.sentence().contains("decides who may do what"), "{refusal:?}");
    assert!(listed(&stage, EVE).await.is_empty());
    stage.done(ANN, "web1: label lab").await;
    assert_eq!(listed(&stage, EVE).await, ["web1"]);
    assert_eq!(stage.refused(EVE, "web1: label remove=lab").await.reason, Reason::NotAllowed);
}

#[tokio::test]
async fn who_makes_a_machine_owns_it_and_its_grants_go_with_it() {
    let stage = furnished().await;
    stage.done(ANN, "grant create to eve@elsewhere.org on host").await;
    stage.done(EVE, "create mine linux").await;
    assert_eq!(listed(&stage, EVE).await, ["mine"]);
    stage.done(EVE, "mine: start").await;
    stage.yes(EVE, "mine: kill").await;
    assert_eq!(stage.refused(EVE, "mine: define memory=1G").await.reason, Reason::NotAllowed);
    stage.done(ANN, "grant power to mia@elsewhere.org on mine").await;
    stage.done(ANN, "mine: rename theirs").await;
    assert_eq!(listed(&stage, MIA).await, ["theirs"], "a grant is on the machine, not on its name");
    stage.yes(EVE, "theirs: delete").await;
    assert!(listed(&stage, MIA).await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_the_nearest() {
    let stage = furnished().await;
    for (line, field, says) in [
        ("grant powre to eve@elsewhere.org", "what", "Did you mean power?"),
        ("grant power to eve@elsewhere.org/phone", "to", "whole domain"),
        ("grant power to eve@elsewhere.org on web9", "on", "web"),
        ("grant power to eve@elsewhere.org until yesterday", "until", "friday 18:00"),
        ("grant power to eve@elsewhere.org until 2020-01-01", "until", "over already"),
        ("revoke 9", "number", "\"grants\" shows"),
        ("grant power to group:ops", "to", "has no contact list"),
        ("grant power to room:ops@rooms.example.org", "to", "room:ADDRESS/members"),
        ("deny kill to room:ops@rooms.example.org/members", "to", "not always known"),
    ] {
        let refusal = stage.refused(ANN, line).await;
        assert_eq!(refusal.field.as_deref(), Some(field), "{line}: {refusal:?}");
        assert!(refusal.sentence().contains(says), "{line}: {}", refusal.sentence());
    }
    let once = stage.done(ANN, "grant power to eve@elsewhere.org on web1").await;
    let twice = stage.done(ANN, "grant power to eve@elsewhere.org on web1").await;
    assert!(once.contains("(number 1)") && twice.starts_with("That is so already"), "{twice}");
}

#[tokio::test]
async fn rights_outlive_the_agent_and_end_when_they_end() {
    let stage = furnished().await;
    stage.done(ANN, "role define night start").await;
    stage.done(ANN, "grant night to eve@elsewhere.org on web1").await;
    stage.done(ANN, "grant start to mia@elsewhere.org on web1 until 1s").await;
    let mut told = stage.agent.announcements();
    assert_eq!(listed(&stage, MIA).await, ["web1"]);
    // It is told of when it ends, so that who may see nothing any more is.
    loop {
        if let skerry_agent::agent::Announcement::Event(event) = told.recv().await.unwrap()
            && event.what == "host.grant-ended"
        {
            break;
        }
    }
    assert_eq!(stage.refused(MIA, "list").await.reason, Reason::NotAllowed);
    stage.agent.close().await;
    let agent = stage::open(stage.folder.path(), &stage.world).await;
    let stage = Stage { agent, ..stage };
    assert_eq!(listed(&stage, EVE).await, ["web1"]);
    stage.done(EVE, "web1: start").await;
    assert_eq!(json(&stage, ANN, "grant list").await["grants"].as_array().unwrap().len(), 1);
}
