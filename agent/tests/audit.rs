//! The audit trail: what is in it, what is never in it, and that it stays whole.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use hypervisor_core::driver::{
    Driver,
    fake::{Fake, FakeWorld},
};
use serde_json::Value;
use skerry_agent::{
    agent::Agent,
    asked::{Answer, Hop},
    crash,
};
use skerry_stanzas::{
    audit::{Check, Head, Heads, Row},
    command::{COMMANDS, argument::Takes},
    refusal::Reason,
};
use stage::{ANN, EVE, OTTO, Stage, VERA, asked, stage};

async fn json(agent: &Agent, line: &str) -> Value {
    match agent.ask(asked(ANN, line), None).await {
        Answer::Done { json, .. } => json,
        other => panic!("{line}: {other:?}"),
    }
}

async fn shown(agent: &Agent) -> Vec<Value> {
    json(agent, "audit show last=200").await["entries"].as_array().unwrap().clone()
}

/// All of it, page by page, as it is exported.
async fn exported(agent: &Agent) -> Vec<Row> {
    let (mut rows, mut after) = (Vec::new(), 0);
    loop {
        let page = json(agent, &format!("audit export after={after} limit=3")).await;
        let lines = page["rows"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        rows.extend(lines.map(|line| Row::parse(line).unwrap()));
        match page["after"].as_u64() {
            Some(next) => after = next,
            None => return rows,
        }
    }
}

#[track_caller]
fn whole(rows: &[Row]) -> u64 {
    let mut check = Check::default();
    rows.iter().for_each(|row| check.add(row).unwrap());
    let checked = check.finish().unwrap();
    assert_eq!(checked.first, 1);
    checked.last
}

#[tokio::test]
async fn an_entry_says_who_why_by_which_way_and_what_came_of_it() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    let mut start = asked(OTTO, "web1: start because the shop opens");
    start.hops = vec![Hop::Program {
        name: "shopbot".into(),
        version: Some("2".into()),
        on: None,
        behalf: Some("eve@other.example".into()),
    }];
    start.hops.push(Hop::Approval {
        code: "7f3a".into(),
        agreed: vec!["ann@example.org".into()],
        signatures: vec![],
    });
    stage::done(stage.agent.ask(start, None).await);
    let entries = shown(&stage.agent).await;
    let last = entries.last().unwrap();
    assert_eq!(last["what"], "machine.start");
    assert_eq!(last["because"], "the shop opens");
    assert_eq!(last["way"][0], "shopbot 2 for eve@other.example (says who asked)");
    assert_eq!(last["way"][1], "agreed to by ann@example.org (7f3a)");
    assert_eq!((last["result"].as_str(), last["outcome"].as_str()), (Some("done"), Some("web1 is running.")));
    let said = stage.done(ANN, &format!("audit show {}", last["number"])).await;
    for part in ["start web1 by otto@example.org/desk", "because: the shop opens", "allowed by: ", "hash: "] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // A reason of a command's own is the same to the reader.
    stage.done(ANN, "grant power to eve@other.example on web1 because she moves it").await;
    assert_eq!(shown(&stage.agent).await.last().unwrap()["because"], "she moves it");
    // What was given with the question is kept with the answer.
    stage::done(stage.yes(ANN, "web1: kill because the disk is full").await);
    assert_eq!(shown(&stage.agent).await.last().unwrap()["because"], "the disk is full");
    let found = json(&stage.agent, "audit search who=otto@example.org").await;
    assert_eq!(found["entries"].as_array().unwrap().len(), 1);
    let none = stage.done(ANN, "audit search \"no such words\"").await;
    assert_eq!(none, "There is nothing like that in the audit trail.");
    let one = json(&stage.agent, "audit search limit=1").await;
    let older = json(&stage.agent, &format!("audit search limit=1 before={}", one["before"])).await;
    assert_eq!(older["entries"][0]["what"], "host.grant");
    assert_eq!(whole(&exported(&stage.agent).await), 8);
    assert!(stage.done(ANN, "audit verify").await.starts_with("The audit trail is whole up to entry 8;"));
}

#[tokio::test]
async fn what_is_refused_is_in_it_and_who_asks_too_often_is_counted() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    let before = whole(&exported(&stage.agent).await);
    assert_eq!(stage.refused(VERA, "web1: start").await.reason, Reason::NotAllowed);
    assert_eq!(stage.refused(EVE, "web1: start").await.reason, Reason::NotAllowed);
    let mut nonsense = asked(OTTO, "web1: shutdown");
    nonsense.argv = vec!["--wait=hunter2".into()];
    stage::refused(stage.agent.ask(nonsense, None).await);
    let entries = shown(&stage.agent).await;
    let [.., vera, eve, otto] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((vera["who"].as_str(), vera["result"].as_str()), (Some(VERA), Some("refused")));
    assert_eq!((eve["who"].as_str(), eve["machine"].as_str()), (Some(EVE), Some("web1")));
    assert_eq!(otto["outcome"], "wait is wrong", "what was given is not kept");
    for _ in 0..3000 {
        stage.refused(EVE, "web1: kill").await;
    }
    let stage = stage.restart().await;
    let last = shown(&stage.agent).await.pop().unwrap();
    assert_eq!((last["who"].as_str(), last["times"].as_u64()), (Some("eve@elsewhere.org"), Some(3000)));
    assert_eq!(whole(&exported(&stage.agent).await), before + 4, "few rows, none lost");
    let refused = json(&stage.agent, "audit search --refused").await;
    assert_eq!(refused["entries"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn who_may_look_at_it_is_an_admin_or_an_auditor() {
    let stage = stage().await;
    for line in ["audit show", "audit search x", "audit export", "audit verify", "witness list"] {
        for other in [OTTO, VERA, EVE] {
            assert_eq!(stage.refused(other, line).await.reason, Reason::NotAllowed, "{line}");
        }
    }
    stage.done(ANN, "grant auditor to otto@example.org").await;
    for line in ["audit show", "audit verify", "audit export", "witness list"] {
        stage.done(OTTO, line).await;
    }
    assert_eq!(stage.refused(OTTO, "witness add x@other.example").await.reason, Reason::NotAllowed);
}

#[tokio::test]
async fn each_head_is_told_and_finds_a_trail_that_was_cut_off_or_written_anew() {
    let stage = stage().await;
    let mut heads = stage.agent.audit_heads();
    stage.done(ANN, "create web1 linux").await;
    let sure = |head: &Option<Head>| head.as_ref().is_some_and(|head| head.sequence == 2);
    let head = tokio::time::timeout(Duration::from_secs(60), heads.wait_for(sure))
        .await
        .unwrap()
        .unwrap()
        .clone()
        .unwrap();
    assert_eq!(head.host, "kvm1.example.org");
    let rows = exported(&stage.agent).await;
    let against = |rows: &[Row]| {
        let mut kept = Heads::default();
        kept.note(&head);
        let mut check = Check::against(kept);
        rows.iter()
            .try_for_each(|row| check.add(row))
            .and_then(|()| check.finish().map(|checked| checked.held))
    };
    assert_eq!(against(&rows), Ok(1));
    assert!(against(&rows[..1]).unwrap_err().to_string().contains("1 are missing at its end"));
    let verify = format!("audit verify sequence=2 hash={}", head.hash);
    assert!(stage.done(ANN, &verify).await.contains("it agrees with 1 head"));
    let wrong = format!("audit verify sequence=2 hash={}", "00".repeat(32));
    assert!(stage.refused(ANN, &wrong).await.text.contains("entry 2 is not the one a witness saw"));
    let later = format!("audit verify sequence=9 hash={}", head.hash);
    assert!(stage.refused(ANN, &later).await.text.contains("ends with entry 2"));
}

/// Everything the agent wrote into its folder.
fn written(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(written(&path)),
            false => all.extend(std::fs::read(path).unwrap()),
        }
    }
    all
}

#[tokio::test]
async fn no_secret_is_ever_in_it() {
    const CANARY: &str = "c4n4ry-that-nobody-keeps";
    let canary = |name: &str| format!("--{name}={CANARY}");
    let stage = stage().await;
    stage.done(ANN, "create web1 linux --start").await;
    let mut given = Vec::new();
    for (line, secret) in [
        ("web1: password root", "password"),
        ("web1: exec true", "input"),
        ("web1: file write /etc/key", "text"),
        ("web1: file write /etc/key", "base64"),
    ] {
        for caller in [ANN, OTTO, VERA, EVE] {
            let mut ask = asked(caller, line);
            ask.argv.push(canary(secret));
            drop(stage.agent.ask(ask.clone(), None).await);
            // Where it does not belong, and twice.
            ask.argv.push(canary(secret));
            drop(stage.agent.ask(ask.clone(), None).await);
            ask.argv.push(canary("no-such-thing"));
            drop(stage.agent.ask(ask.clone(), None).await);
            given.push((ask.declaration.permission(), secret));
        }
    }
    for declaration in COMMANDS {
        for argument in declaration.arguments().iter().filter(|argument| argument.takes == Takes::Secret) {
            let tested = given.iter().any(|(permission, secret)| {
                *permission == declaration.permission() && *secret == argument.name
            });
            assert!(tested, "{} {}: give it here as well", declaration.permission(), argument.name);
        }
    }
    let mut all: String = exported(&stage.agent).await.iter().map(Row::line).collect();
    all += &format!("{:?}", shown(&stage.agent).await);
    assert!(all.contains("machine.password") && all.contains("refused"), "{all}");
    assert!(!all.contains(CANARY), "{all}");
    stage.agent.close().await;
    let bytes = written(&stage.folder.path().join("state"));
    assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
}

const FOLDER: &str = "SKERRY_TEST_FOLDER";
const COMMANDS_GIVEN: usize = 120;

/// An agent that keeps little in its store.
async fn sparing(folder: &Path) -> Agent {
    let mut config = stage::config(folder);
    (config.audit.rows, config.audit.young) = (100, Some(Duration::ZERO));
    let drivers: Vec<Arc<dyn Driver>> = vec![Arc::new(Fake::on(&FakeWorld::new()))];
    Agent::open(config, drivers).await.unwrap()
}

#[tokio::test]
#[ignore = "run by the other, to die"]
async fn the_one_that_dies() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    sparing(Path::new(&folder)).await.close().await;
}

fn dies_at(folder: &Path, step: &str) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_one_that_dies", "--ignored", "--nocapture"])
        .envs([(FOLDER, folder.as_os_str()), (crash::VARIABLE, step.as_ref())])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    !status.success()
}

#[tokio::test]
async fn an_agent_that_dies_while_it_puts_rows_away_loses_none_and_has_none_twice() {
    for step in crash::AT_START {
        let stage = stage().await;
        stage.done(ANN, "create web1 linux").await;
        assert_eq!(json(&stage.agent, "web1: log").await["older"], false);
        for n in 0..COMMANDS_GIVEN {
            stage.done(ANN, &format!("witness add w{}@other.example", n % 3)).await;
        }
        let before = exported(&stage.agent).await;
        let Stage { agent, folder, .. } = stage;
        agent.close().await;
        drop(agent);
        assert!(dies_at(folder.path(), step), "{step}");
        let agent = sparing(folder.path()).await;
        let after = exported(&agent).await;
        assert_eq!(after, before, "{step}");
        assert_eq!(whole(&after), 2 * (COMMANDS_GIVEN as u64 + 1));
        assert!(json(&agent, "audit verify").await["first"] == 1, "{step}");
        // What was done to a machine is partly in files; whoever looks at its log is told where the rest is.
        let log = json(&agent, "web1: log").await;
        assert_eq!((log["entries"].as_array().map(Vec::len), &log["older"]), (Some(0), &Value::Bool(true)));
        let files = std::fs::read_dir(folder.path().join("state/audit")).unwrap();
        let names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.len() >= 4 && names.iter().all(|name| name.ends_with(".jsonl")), "{step}: {names:?}");
        agent.close().await;
    }
}
