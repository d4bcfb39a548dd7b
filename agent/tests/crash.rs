//! The agent dies at each step of each kind of command; the next one finds everything settled.
//!
//! The dying agent is this test's own binary, run again as [`the_one_that_dies`]; its guests live in
//! a file, as real guests live in processes of their own.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "crash/alerts.rs"]
mod alerts;
#[path = "crash/approval.rs"]
mod approval;
#[path = "crash/audit.rs"]
mod audit;
#[path = "crash/devices.rs"]
mod devices;
#[path = "crash/dying.rs"]
mod dying;
#[path = "crash/firewall.rs"]
mod firewall;
#[path = "crash/guest.rs"]
mod guest;
#[path = "crash/images.rs"]
mod images;
#[path = "crash/layers.rs"]
mod layers;
#[path = "crash/live.rs"]
mod live;
#[path = "crash/networks.rs"]
mod networks;
#[path = "crash/nics.rs"]
mod nics;
#[path = "crash/restarts.rs"]
mod restarts;
#[path = "crash/rights.rs"]
mod rights;
#[path = "crash/signing.rs"]
mod signing;
mod stage;

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use dying::{dies_at, dies_in};
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
    stage::disk(folder, "debian.qcow2");
    let world = folder.join("world");
    let is_new = !world.exists();
    let fake = Fake::persistent(&world).unwrap();
    if is_new {
        let boot = Boot::Kernel { kernel: "/boot/vmlinuz".into(), initrd: None, cmdline: String::new() };
        let theirs = Definition::new(1, 128, boot);
        fake.faults().foreign("theirs", theirs);
    }
    let drivers: Vec<Arc<dyn Driver>> = vec![Arc::new(fake)];
    let mut config = stage::config(folder);
    let files = folder.join("files");
    std::fs::create_dir_all(&files).unwrap();
    config.files.allow = vec![files];
    Agent::open(config, drivers).await.unwrap()
}

/// Gives a command; what takes something away is confirmed.
async fn give(agent: &Agent, line: &str, key: &str) -> Answer {
    let mut ask = asked(ANN, line);
    ask.key = Some(key.into());
    let target = ask.target.clone();
    let (hears, _) = tokio::sync::mpsc::channel(1);
    match agent.ask(ask, Some(hears)).await {
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
    match line.is_empty() {
        // What it dies of it does by itself.
        true => drop(tokio::time::timeout(Duration::from_secs(60), std::future::pending::<()>()).await),
        false => drop(give(&agent, &line, KEY).await),
    }
    agent.close().await;
}

/// `before` makes the scene; then `line` is given to an agent that dies at each step in turn.
/// Answers the steps it died at.
async fn die_everywhere(before: &[&str], line: &str, holds: fn(&Agent, &Path, &str)) -> Vec<&'static str> {
    let mut died = Vec::new();
    for step in crash::STEPS {
        let folder = tempfile::tempdir().unwrap();
        let line = &line
            .replace("$FILES", &folder.path().canonicalize().unwrap().join("files").display().to_string());
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
        assert_eq!(commands_settled(&again).await, expected(line, step), "{line} at {step}, again");
        again.close().await;
    }
    died
}

/// How many ends the next agent has to find. What only does something to a machine ends in one transaction with
/// its new state.
fn expected(line: &str, step: &str) -> usize {
    let verb = line.rsplit(": ").next().unwrap_or_default();
    let with_it = ["start", "kill", "reset", "pause", "resume"].contains(&verb);
    let ended = with_it && matches!(step, "state-stored" | "before-close");
    usize::from(!ended && !matches!(step, "before-accepted" | "closed"))
}

async fn commands_settled(agent: &Agent) -> usize {
    let events = agent.events_after(0, 1000).await;
    events.iter().filter(|event| event.what.starts_with("command.")).count()
}

/// The entry has an end, told once; and the same request again gets that end and runs nothing.
async fn settled(agent: &Agent, line: &str, step: &str) {
    assert_eq!(commands_settled(agent).await, expected(line, step), "{line} at {step}");
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
    let died = die_everywhere(&[], "create web1 linux disk=1G disk=data,1G", |agent, folder, step| {
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

#[tokio::test]
async fn release() {
    let died = die_everywhere(&["adopt theirs"], "theirs: release", |agent, folder, step| {
        let ours = agent.machine(&name("theirs")).is_some();
        let early = ["before-accepted", "accepted"].contains(&step);
        assert_eq!(ours, early, "at {step}");
        assert_eq!(folders(folder, "machines"), usize::from(ours), "at {step}");
        let world = std::fs::read_to_string(folder.join("world")).unwrap();
        let last = world.lines().rfind(|line| line.contains("\"theirs\"")).unwrap();
        assert_eq!(last.contains("\"adopted\""), ours, "at {step}: it is whose the store says: {world}");
    })
    .await;
    assert!(died.contains(&"row-trashed") && died.contains(&"before-close"), "{died:?}");
}

/// The files in web1's own folder and below it, but for logs and notes of its snapshots.
fn files(agent: &Agent, folder: &Path, of: &str) -> Vec<String> {
    let Some(seen) = agent.machine(&name(of)) else { return vec![] };
    let own = folder.join("state/machines").join(seen.id.to_string());
    let mut found = Vec::new();
    for at in [own.join("disks"), own] {
        for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.retain(|file| file != "disks" && file != "snapshots.json" && file != "schedules.json");
    found.sort();
    found
}

/// The answer to something that only looks.
fn look(agent: &Agent, line: &str) -> serde_json::Value {
    let ask = agent.ask(asked(ANN, line), None);
    let answer = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(ask));
    let Answer::Done { json, .. } = answer else { panic!("{line}: {answer:?}") };
    json
}

/// The disks of web1, each with its state and its size in MiB.
fn disks(agent: &Agent) -> Vec<String> {
    let list = look(agent, "web1: disk list");
    let line = |disk: &serde_json::Value| {
        let mib = disk["size_bytes"].as_u64().unwrap() >> 20;
        format!("{} {} {mib}", disk["name"].as_str().unwrap(), disk["state"].as_str().unwrap())
    };
    list["disks"].as_array().unwrap().iter().map(line).collect()
}

const WITH_DISK: [&str; 2] = ["create web1 linux", "web1: disk create data 1G"];
const RUNNING: [&str; 3] = ["create web1 linux", "web1: disk create data 1G", "web1: start"];

#[tokio::test(flavor = "multi_thread")]
async fn disk_create() {
    let died = die_everywhere(&RUNNING, "web1: disk create more 2G", |agent, folder, step| {
        let there = ["definition-stored", "before-close", "closed"].contains(&step);
        let (disks, files) = (disks(agent), files(agent, folder, "web1"));
        if there {
            assert_eq!(disks, ["data attached 1024", "more attached 2048"], "at {step}");
            assert_eq!(files, ["data.qcow2", "more.qcow2"], "at {step}");
        } else {
            assert_eq!(disks, ["data attached 1024"], "at {step}");
            assert_eq!(files, ["data.qcow2"], "at {step}");
        }
        assert!(is(agent, "running"));
    })
    .await;
    let steps = [
        "before-accepted",
        "accepted",
        "folder-made",
        "disk-made",
        "before-driver",
        "after-driver",
        "definition-stored",
        "before-close",
        "closed",
    ];
    assert_eq!(died, steps);
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_detach_and_attach() {
    let died = die_everywhere(&RUNNING, "web1: disk detach data", |agent, folder, step| {
        let early = ["before-accepted", "accepted", "before-driver"].contains(&step);
        let state = if early { "attached" } else { "detached" };
        assert_eq!(disks(agent), [format!("data {state} 1024")], "at {step}");
        assert_eq!(files(agent, folder, "web1"), ["data.qcow2"], "its file stays, at {step}");
    })
    .await;
    assert_eq!(died.len(), 7, "{died:?}");
    let before = [RUNNING.as_slice(), &["web1: disk detach data"]].concat();
    let died = die_everywhere(&before, "web1: disk attach data", |agent, folder, step| {
        let late = ["definition-stored", "before-close", "closed"].contains(&step);
        let state = if late { "attached" } else { "detached" };
        assert_eq!(disks(agent), [format!("data {state} 1024")], "at {step}");
        assert_eq!(files(agent, folder, "web1"), ["data.qcow2"], "at {step}");
    })
    .await;
    assert_eq!(died.len(), 7, "{died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_delete_and_resize() {
    let before = [WITH_DISK.as_slice(), &["web1: disk detach data"]].concat();
    let died = die_everywhere(&before, "web1: disk delete data", |agent, folder, step| {
        let there = ["before-accepted", "accepted"].contains(&step);
        assert_eq!(files(agent, folder, "web1").len(), usize::from(there), "at {step}");
    })
    .await;
    assert_eq!(died, ["before-accepted", "accepted", "disk-removed", "before-close", "closed"]);
    let died = die_everywhere(&RUNNING, "web1: disk resize data 2G", |agent, _, step| {
        let early = ["before-accepted", "accepted", "before-driver"].contains(&step);
        assert_eq!(disks(agent), [format!("data attached {}", if early { 1024 } else { 2048 })], "at {step}");
    })
    .await;
    assert_eq!(died.len(), 6, "{died:?}");
}

/// The snapshots of web1, and where it stands.
fn snapshots(agent: &Agent) -> (Vec<String>, Option<String>) {
    let list = look(agent, "web1: snapshot list");
    let names = list["snapshots"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().into());
    (names.collect(), list["current"].as_str().map(Into::into))
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_take() {
    let before = [WITH_DISK.as_slice(), &["web1: disk create more 1G"]].concat();
    let died = die_everywhere(&before, "web1: snapshot take a", |agent, _, step| {
        let early = ["before-accepted", "accepted", "before-driver"].contains(&step);
        let a = (!early).then(|| "a".to_owned());
        assert_eq!(snapshots(agent), (a.clone().into_iter().collect(), a), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 7, "{died:?}");
    // How it was laid out is lost with the agent that took it: then there is none.
    let died = die_everywhere(&RUNNING, "web1: snapshot take a --memory", |agent, _, step| {
        let late = ["snapshot-noted", "before-close", "closed"].contains(&step);
        assert_eq!(snapshots(agent).0.len(), usize::from(late), "at {step}");
        assert!(is(agent, "running"), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 7, "{died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_revert_and_delete() {
    let before = [WITH_DISK.as_slice(), &["web1: snapshot take a", "web1: disk resize data 2G"]].concat();
    let died = die_everywhere(&before, "web1: snapshot revert a", |agent, _, step| {
        let early = ["before-accepted", "accepted"].contains(&step);
        // Once begun, it is done to its end.
        assert_eq!(disks(agent), [format!("data attached {}", if early { 2048 } else { 1024 })], "at {step}");
        assert_eq!(snapshots(agent), (vec!["a".into()], Some("a".into())), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 7, "{died:?}");
    let before = [WITH_DISK.as_slice(), &["web1: snapshot take a", "web1: snapshot take b"]].concat();
    let died = die_everywhere(&before, "web1: snapshot delete b", |agent, _, step| {
        let early = ["before-accepted", "accepted", "before-driver"].contains(&step);
        let (names, current) = snapshots(agent);
        assert_eq!(names.len(), if early { 2 } else { 1 }, "at {step}");
        assert_eq!(current.as_deref(), Some(if early { "b" } else { "a" }), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 7, "{died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clone_linked_and_full() {
    for (line, steps) in [("web1: clone web2", 9), ("web1: clone web2 --full", 7)] {
        let died = die_everywhere(&WITH_DISK, line, |agent, folder, step| {
            let there = agent.machine(&name("web2")).is_some();
            assert_eq!(there, ["machine-stored", "before-close", "closed"].contains(&step), "at {step}");
            assert_eq!(folders(folder, "machines"), 1 + usize::from(there), "at {step}");
            assert_eq!(files(agent, folder, "web1"), ["data.qcow2"], "at {step}");
            assert_eq!(disks(agent), ["data attached 1024"], "it holds what it held, at {step}");
            let linked = look(agent, "web1: disk list")["disks"][0]["backing"].is_string();
            assert_eq!(folders(folder, "bases"), usize::from(linked), "at {step}");
            assert!(there || !linked, "at {step}");
            assert_eq!(files(agent, folder, "web2").len(), usize::from(there), "at {step}");
        })
        .await;
        assert_eq!(died.len(), steps, "{line}: {died:?}");
    }
}

#[tokio::test]
async fn define_and_its_way_back() {
    let steps = ["before-accepted", "accepted", "definition-stored", "before-close", "closed"];
    let lines = [
        "web1: define vcpus=2 nic=lan,bridge=br0",
        "web1: define toml='vcpus = 2\nmemory_mib = 64\nboot = { from = \"disk\" }\n[[nics]]\nboot_order = 1'",
    ];
    for line in lines {
        let died = die_everywhere(&["create web1 linux"], line, |agent, _, step| {
            let late = ["definition-stored", "before-close", "closed"].contains(&step);
            assert_eq!(agent.machine(&name("web1")).unwrap().vcpus == 2, late, "at {step}");
        })
        .await;
        assert_eq!(died, steps, "{line}");
    }
    let before = ["create web1 linux", "web1: define vcpus=2"];
    let died = die_everywhere(&before, "web1: definition revert 1", |agent, _, step| {
        let late = ["definition-stored", "before-close", "closed"].contains(&step);
        assert_eq!(agent.machine(&name("web1")).unwrap().vcpus == 1, late, "at {step}");
    })
    .await;
    assert_eq!(died, steps);
}
