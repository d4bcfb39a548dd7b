//! The same for external snapshots: whatever died, the disk is in a file that holds all there is.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use skerry_agent::{agent::Agent, asked::Answer};

use super::{RUNNING, die_everywhere, disks, files, give, is, look, snapshots};

const TAKE: &str = "web1: snapshot take a --external";

/// Gives a command in a test that is not async itself.
fn give_now(agent: &Agent, line: &str) -> Answer {
    let giving = give(agent, line, "afterwards");
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(giving))
}

/// Nothing is left of a: it can be deleted to its end, also when that was interrupted, and what was written
/// since then is there.
fn ends_in_one_file(agent: &Agent, folder: &Path, step: &str, mib: u64) {
    if files(agent, folder, "web1") != ["data.qcow2"] {
        let answer = give_now(agent, "web1: snapshot delete a");
        assert!(matches!(answer, Answer::Done { .. }), "at {step}: {answer:?}");
    }
    assert_eq!(files(agent, folder, "web1"), ["data.qcow2"], "at {step}");
    assert_eq!(disks(agent), [format!("data attached {mib}")], "at {step}");
    assert_eq!(snapshots(agent).0, Vec::<String>::new(), "at {step}");
}

fn is_taken(agent: &Agent, folder: &Path, step: &str, early: &[&str]) {
    let taken = !early.contains(&step);
    assert_eq!(snapshots(agent).0.len(), usize::from(taken), "at {step}");
    let there: &[&str] = if taken { &["data.1.qcow2", "data.qcow2"] } else { &["data.qcow2"] };
    assert_eq!(files(agent, folder, "web1"), there, "at {step}");
    assert_eq!(disks(agent), ["data attached 1024"], "at {step}");
    let kept = look(agent, "web1: snapshot list")["snapshots"][0]["kept"].clone();
    assert!(!taken || kept == "external", "at {step}: {kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn external_take_of_one_that_runs() {
    let died = die_everywhere(&RUNNING, TAKE, |agent, folder, step| {
        let asked_for = ["before-accepted", "accepted", "guest-quieting", "guest-quieted"];
        let early = [&asked_for[..], &["folder-made", "disk-made", "before-driver"]].concat();
        is_taken(agent, folder, step, &early);
        assert!(is(agent, "running"), "at {step}");
        ends_in_one_file(agent, folder, step, 1024);
        assert!(is(agent, "running"), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 13, "{died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn external_take_at_rest() {
    let died = die_everywhere(&RUNNING[..2], TAKE, |agent, folder, step| {
        is_taken(agent, folder, step, &["before-accepted", "accepted", "folder-made"]);
        ends_in_one_file(agent, folder, step, 1024);
    })
    .await;
    assert_eq!(died.len(), 11, "{died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn external_revert() {
    let before = [RUNNING[0], RUNNING[1], TAKE, "web1: disk resize data 2G"];
    let died = die_everywhere(&before, "web1: snapshot revert a", |agent, folder, step| {
        let early = ["before-accepted", "accepted", "folder-made", "disk-made"].contains(&step);
        let (top, mib) = if early { ("data.1.qcow2", 2048) } else { ("data.2.qcow2", 1024) };
        assert_eq!(files(agent, folder, "web1"), [top, "data.qcow2"], "at {step}");
        assert_eq!(disks(agent), [format!("data attached {mib}")], "at {step}");
        assert_eq!(snapshots(agent), (vec!["a".into()], Some("a".into())), "at {step}");
        ends_in_one_file(agent, folder, step, mib);
    })
    .await;
    assert_eq!(died.len(), 9, "{died:?}");
}

/// Whether it is deleted, before what was begun is ended.
fn is_deleted(agent: &Agent, step: &str) {
    let list = look(agent, "web1: snapshot list");
    let a = list["snapshots"].as_array().unwrap().iter().find(|one| one["name"] == "a");
    let early = ["before-accepted", "accepted"].contains(&step);
    assert_eq!(a.is_some_and(|a| a["kept"] == "external"), early, "at {step}");
}

#[tokio::test(flavor = "multi_thread")]
async fn external_delete_of_one_that_runs() {
    let before = [RUNNING[0], RUNNING[1], RUNNING[2], TAKE, "web1: disk resize data 2G"];
    let died = die_everywhere(&before, "web1: snapshot delete a", |agent, folder, step| {
        // One that was held still goes on before the agent is there for anybody.
        assert!(is(agent, "running"), "at {step}");
        is_deleted(agent, step);
        assert_eq!(disks(agent), ["data attached 2048"], "at {step}");
        ends_in_one_file(agent, folder, step, 2048);
        assert!(is(agent, "running"), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 11, "{died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn external_delete_at_rest() {
    let before = [RUNNING[0], RUNNING[1], TAKE, "web1: disk resize data 2G"];
    let died = die_everywhere(&before, "web1: snapshot delete a", |agent, folder, step| {
        is_deleted(agent, step);
        assert_eq!(disks(agent), ["data attached 2048"], "at {step}");
        ends_in_one_file(agent, folder, step, 2048);
    })
    .await;
    assert_eq!(died.len(), 11, "{died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn external_delete_of_one_in_the_middle() {
    let before = [RUNNING[0], RUNNING[1], TAKE, "web1: snapshot take b --external", RUNNING[2]];
    let died = die_everywhere(&before, "web1: snapshot delete a", |agent, folder, step| {
        is_deleted(agent, step);
        if files(agent, folder, "web1") != ["data.2.qcow2", "data.qcow2"] {
            let answer = give_now(agent, "web1: snapshot delete a");
            assert!(matches!(answer, Answer::Done { .. }), "at {step}: {answer:?}");
        }
        assert_eq!(files(agent, folder, "web1"), ["data.2.qcow2", "data.qcow2"], "at {step}");
        assert_eq!(snapshots(agent), (vec!["b".into()], Some("b".into())), "at {step}");
        assert!(is(agent, "running"), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 11, "{died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn external_delete_of_one_that_nothing_stands_on() {
    let before =
        [RUNNING[0], RUNNING[1], "web1: snapshot take b --external", TAKE, "web1: snapshot revert b"];
    let died = die_everywhere(&before, "web1: snapshot delete a", |agent, folder, step| {
        is_deleted(agent, step);
        if files(agent, folder, "web1").len() != 2 {
            let answer = give_now(agent, "web1: snapshot delete a");
            assert!(matches!(answer, Answer::Done { .. }), "at {step}: {answer:?}");
        }
        assert_eq!(files(agent, folder, "web1"), ["data.3.qcow2", "data.qcow2"], "at {step}");
        assert_eq!(snapshots(agent), (vec!["b".into()], Some("b".into())), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 8, "{died:?}");
}
