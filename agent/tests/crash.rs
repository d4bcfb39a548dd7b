//! The agent dies at each step of each kind of command; the next one finds everything settled.
//!
//! The dying agent is this test's own binary, run again as [`the_one_that_dies`]; its guests live in
//! a file, as real guests live in processes of their own.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::{path::Path, process::Command, sync::Arc};

use hypervisor_core::{
    definition::{Boot, Definition},
    driver::{Driver, fake::Fake},
};
use skerry_agent::{
    agent::Agent,
    asked::{Answer, Door},
    crash,
};
use stage::{ANN, asked, jid, name};

const FOLDER: &str = "SKERRY_TEST_FOLDER";
const LINE: &str = "SKERRY_TEST_LINE";
const KEY: &str = "the-one";

async fn open(folder: &Path) -> Agent {
    let world = folder.join("world");
    let is_new = !world.exists();
    let fake = Fake::persistent(&world).unwrap();
    if is_new {
        let boot = Boot::Kernel { kernel: "/boot/vmlinuz".into(), initrd: None, cmdline: String::new() };
        let theirs = Definition::new(1, 128, boot);
        fake.faults().foreign("theirs", theirs);
    }
    let drivers: Vec<Arc<dyn Driver>> = vec![Arc::new(fake)];
    Agent::open(stage::config(folder), drivers).await.unwrap()
}

/// Gives a command; what takes something away is confirmed.
async fn give(agent: &Agent, line: &str, key: &str) -> Answer {
    let mut ask = asked(ANN, line);
    ask.key = Some(key.into());
    let target = ask.target.clone();
    match agent.ask(ask, None).await {
        Answer::Confirm(question) => {
            let key = Some(key.to_owned());
            agent.confirm(&jid(ANN), &target, Some(&question.code), Door::Chat, key, None).await
        }
        answer => answer,
    }
}

#[tokio::test]
#[ignore = "run by the others, to die"]
async fn the_one_that_dies() {
    let (Ok(folder), Ok(line)) = (std::env::var(FOLDER), std::env::var(LINE)) else { return };
    let agent = open(Path::new(&folder)).await;
    give(&agent, &line, KEY).await;
    agent.close().await;
}

/// True when it died at the step; false when the command does not pass it.
fn dies_at(folder: &Path, line: &str, step: &str) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_one_that_dies", "--ignored", "--nocapture"])
        .envs([(FOLDER, folder.as_os_str()), (LINE, line.as_ref()), (crash::VARIABLE, step.as_ref())])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    !status.success()
}

/// `before` makes the scene; then `line` is given to an agent that dies at each step in turn.
/// Answers the steps it died at.
async fn die_everywhere(before: &[&str], line: &str, holds: fn(&Agent, &Path, &str)) -> Vec<&'static str> {
    let mut died = Vec::new();
    for step in crash::STEPS {
        let folder = tempfile::tempdir().unwrap();
        let agent = open(folder.path()).await;
        for (n, line) in before.iter().enumerate() {
            let answer = give(&agent, line, &format!("before-{n}")).await;
            assert!(matches!(answer, Answer::Done { .. }), "{line}: {answer:?}");
        }
        agent.close().await;
        drop(agent);
        if !dies_at(folder.path(), line, step) {
            continue;
        }
        died.push(*step);
        let agent = open(folder.path()).await;
        settled(&agent, line, step).await;
        holds(&agent, folder.path(), step);
        agent.close().await;
        drop(agent);
        // Nothing is left for yet another one to settle.
        let again = open(folder.path()).await;
        assert_eq!(commands_settled(&again).await, expected(step), "{line} at {step}, again");
        again.close().await;
    }
    died
}

fn expected(step: &str) -> usize {
    usize::from(!matches!(step, "before-accepted" | "closed"))
}

async fn commands_settled(agent: &Agent) -> usize {
    let events = agent.events_after(0, 1000).await;
    events.iter().filter(|event| event.what.starts_with("command.")).count()
}

/// The entry has an end, told once; and the same request again gets that end and runs nothing.
async fn settled(agent: &Agent, line: &str, step: &str) {
    assert_eq!(commands_settled(agent).await, expected(step), "{line} at {step}");
    if step == "before-accepted" {
        return;
    }
    let before = agent.events_after(0, 1000).await.len();
    let again = give(agent, line, KEY).await;
    assert_eq!(agent.events_after(0, 1000).await.len(), before, "{line} at {step} ran again");
    // Its own end, not a new refusal because of what it did the first time.
    let own = match &again {
        Answer::Done { .. } => true,
        Answer::Refused(refusal) => refusal.text.contains("restarted meanwhile"),
        Answer::Confirm(_) => false,
    };
    assert!(own, "{line} at {step}: {again:?}");
}

fn folders(folder: &Path, of: &str) -> usize {
    std::fs::read_dir(folder.join("state").join(of)).unwrap().count()
}

fn is(agent: &Agent, state: &str) -> bool {
    agent.machine(&name("web1")).is_some_and(|seen| seen.state.word() == state)
}

#[tokio::test]
async fn create() {
    let died = die_everywhere(&[], "create web1 linux", |agent, folder, step| {
        let there = agent.machine(&name("web1")).is_some();
        assert_eq!(folders(folder, "machines"), usize::from(there), "at {step}");
        let late = ["machine-stored", "before-close", "closed"].contains(&step);
        assert_eq!(there, late, "at {step}");
    })
    .await;
    let steps = [
        "before-accepted",
        "accepted",
        "folder-made",
        "disk-made",
        "machine-stored",
        "before-close",
        "closed",
    ];
    assert_eq!(died, steps);
}

#[tokio::test]
async fn start() {
    let died = die_everywhere(&["create web1 linux"], "web1: start", |agent, _, step| {
        let late = ["after-driver", "state-stored", "before-close", "closed"].contains(&step);
        assert!(is(agent, if late { "running" } else { "stopped" }), "at {step}");
    })
    .await;
    let steps = [
        "before-accepted",
        "accepted",
        "intent-stored",
        "before-driver",
        "after-driver",
        "state-stored",
        "before-close",
        "closed",
    ];
    assert_eq!(died, steps);
}

#[tokio::test]
async fn kill() {
    let died = die_everywhere(&["create web1 linux --start"], "web1: kill", |agent, _, step| {
        let late = ["after-driver", "state-stored", "before-close", "closed"].contains(&step);
        assert!(is(agent, if late { "stopped" } else { "running" }), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 8, "{died:?}");
}

#[tokio::test]
async fn shutdown() {
    let died = die_everywhere(&["create web1 linux --start"], "web1: shutdown", |agent, _, step| {
        assert!(is(agent, "stopped") || is(agent, "running"), "at {step}");
    })
    .await;
    assert!(died.contains(&"after-driver") && died.contains(&"before-close"), "{died:?}");
}

#[tokio::test]
async fn delete() {
    let died = die_everywhere(&["create web1 linux"], "web1: delete", |agent, folder, step| {
        let there = agent.machine(&name("web1")).is_some();
        assert_eq!(there, ["before-accepted", "accepted"].contains(&step), "at {step}");
        assert_eq!(folders(folder, "machines"), usize::from(there), "at {step}");
        assert_eq!(folders(folder, "trash"), usize::from(!there), "at {step}");
    })
    .await;
    assert_eq!(died, ["before-accepted", "accepted", "row-trashed", "before-close", "closed"]);
}

#[tokio::test]
async fn undelete() {
    let died =
        die_everywhere(&["create web1 linux", "web1: delete"], "undelete web1", |agent, folder, step| {
            let there = agent.machine(&name("web1")).is_some();
            assert_eq!(there, !["before-accepted", "accepted"].contains(&step), "at {step}");
            assert_eq!(folders(folder, "machines"), usize::from(there), "at {step}");
        })
        .await;
    assert_eq!(died, ["before-accepted", "accepted", "row-restored", "before-close", "closed"]);
}

#[tokio::test]
async fn rename() {
    let died = die_everywhere(&["create web1 linux"], "web1: rename web2", |agent, _, step| {
        let old = agent.machine(&name("web1")).is_some();
        assert_ne!(old, agent.machine(&name("web2")).is_some(), "at {step}");
    })
    .await;
    assert_eq!(died, ["before-accepted", "accepted", "before-close", "closed"]);
}

#[tokio::test]
async fn adopt() {
    let died = die_everywhere(&[], "adopt theirs", |agent, folder, step| {
        let ours = agent.machine(&name("theirs")).is_some();
        let late = ["machine-stored", "before-close", "closed"].contains(&step);
        assert_eq!(ours, late, "at {step}");
        assert_eq!(folders(folder, "machines"), usize::from(ours), "at {step}");
        let world = std::fs::read_to_string(folder.join("world")).unwrap();
        let last = world.lines().rfind(|line| line.contains("\"theirs\"")).unwrap();
        assert_eq!(last.contains("\"adopted\""), ours, "at {step}: it is whose the store says: {world}");
    })
    .await;
    assert!(died.contains(&"adopted") && died.contains(&"before-close"), "{died:?}");
}
