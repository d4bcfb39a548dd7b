//! External snapshots as people ask for them, on the fake driver: what is in a disk is told by its size.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use skerry_agent::asked::{Answer, Door};
use skerry_stanzas::refusal::{Reason, Refusal};
use stage::{ANN, OTTO, Stage, VERA, asked, done, stage};
use tokio::sync::mpsc;

async fn with_disk() -> Stage {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    stage.done(ANN, "web1: disk create data 1G").await;
    stage
}

fn own(stage: &Stage) -> PathBuf {
    stage.folder.path().join("state/machines").join(stage.id("web1").0.to_string())
}

/// What is in the folder of web1's disks, notes of what is under way included.
fn files(stage: &Stage) -> Vec<String> {
    let entries = fs::read_dir(own(stage).join("disks")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

async fn take(stage: &Stage, name: &str) {
    let said = stage.done(OTTO, &format!("web1: snapshot take {name} --external")).await;
    assert!(said.contains("its files stay as they are"), "{said}");
}

async fn delete(stage: &Stage, name: &str) -> String {
    done(stage.yes(OTTO, &format!("web1: snapshot delete {name}")).await)
}

async fn toml(stage: &Stage) -> String {
    let Answer::Done { json, .. } = stage.ask(ANN, "web1: define").await else { panic!() };
    json["toml"].as_str().unwrap().to_owned()
}

/// The names in the tree, indented.
async fn tree(stage: &Stage) -> Vec<String> {
    let tree = stage.done(VERA, "web1: snapshot tree").await;
    let lines = tree.lines().filter(|line| !line.starts_with("```"));
    lines.map(|line| line.split(" (2").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn one_is_taken_gone_back_to_and_merged() {
    let stage = with_disk().await;
    take(&stage, "a").await;
    let list = stage.done(VERA, "web1: snapshot list").await;
    let file = own(&stage).join("disks/data.qcow2");
    assert!(list.contains(", data, external (4 KiB taken); it stands on this one"), "{list}");
    assert!(list.ends_with(&format!("\n  {}", file.display())), "{list}");
    let disks = stage.done(VERA, "web1: disk list").await;
    assert!(
        disks.starts_with("1 disk:\n- data: 1 GiB"),
        "what is left as it was is no detached disk: {disks}"
    );
    assert!(disks.contains("a thin copy of"), "{disks}");
    assert!(stage.refused(ANN, "web1: disk attach data").await.text.contains("no detached disk"));
    stage.done(ANN, "web1: disk resize data 2G").await;
    done(stage.yes(OTTO, "web1: snapshot revert a").await);
    assert!(stage.done(VERA, "web1: disk list").await.contains("- data: 1 GiB"), "as it was");
    assert_eq!(files(&stage), ["data.2.qcow2", "data.qcow2"]);
    stage.done(ANN, "web1: disk resize data 3G").await;
    assert_eq!(delete(&stage, "a").await, "The snapshot a of web1 is deleted.");
    assert!(stage.done(VERA, "web1: disk list").await.contains("- data: 3 GiB"), "nothing is lost");
    assert_eq!(files(&stage), ["data.qcow2"]);
    stage.done(ANN, "web1: start").await;
}

#[tokio::test]
async fn they_are_merged_while_the_guest_runs_on() {
    let stage = with_disk().await;
    stage.done(ANN, "web1: start").await;
    for name in ["a", "b", "c"] {
        take(&stage, name).await;
    }
    stage.done(ANN, "web1: disk resize data 2G").await;
    for (name, left) in [
        ("b", &["data.1.qcow2", "data.3.qcow2", "data.qcow2"][..]),
        ("a", &["data.3.qcow2", "data.qcow2"]),
        ("c", &["data.qcow2"]),
    ] {
        assert_eq!(delete(&stage, name).await, format!("The snapshot {name} of web1 is deleted."));
        assert_eq!(files(&stage), left, "{name}");
        assert_eq!(stage.state("web1"), "running");
    }
    assert!(stage.done(VERA, "web1: disk list").await.contains("- data: 2 GiB"));
    let stage = stage.restart().await;
    done(stage.yes(ANN, "web1: kill").await);
    stage.done(ANN, "web1: start").await;
}

#[tokio::test]
async fn one_with_two_branches_stays_for_them() {
    let stage = with_disk().await;
    take(&stage, "a").await;
    take(&stage, "b").await;
    done(stage.yes(OTTO, "web1: snapshot revert a").await);
    take(&stage, "c").await;
    assert_eq!(tree(&stage).await, ["a", "  b", "  c", "    (now)"]);
    let said = delete(&stage, "a").await;
    assert!(said.ends_with("Its files stay for as long as more than one thing stands on them."), "{said}");
    let list = stage.done(VERA, "web1: snapshot list").await;
    assert!(list.contains("deleted, and there for others"), "{list}");
    assert_eq!(tree(&stage).await, ["b", "c", "  (now)"]);
    assert_eq!(stage.refused(OTTO, "web1: snapshot revert a").await.reason, Reason::NotFound);
    assert!(stage.refused(OTTO, "web1: snapshot take a").await.text.contains("already"));
    // The one that the disk does not stand on goes: then the one they had in common has one left.
    delete(&stage, "b").await;
    let list = stage.done(VERA, "web1: snapshot list").await;
    assert!(list.starts_with("1 snapshot:\n- c:"), "{list}");
    assert_eq!(files(&stage), ["data.2.qcow2", "data.qcow2"]);
    let stage = stage.restart().await;
    delete(&stage, "c").await;
    assert_eq!(files(&stage), ["data.qcow2"]);
}

#[tokio::test]
async fn what_would_break_the_chain_is_refused() {
    let stage = with_disk().await;
    stage.done(ANN, "web1: snapshot take inside").await;
    let refusal = stage.refused(OTTO, "web1: snapshot take a --external").await;
    assert!(refusal.text.contains("the snapshot inside in its disks, which would be out"), "{refusal:?}");
    assert_eq!(files(&stage), ["data.qcow2"]);
    done(stage.yes(ANN, "web1: snapshot delete inside").await);
    stage.done(ANN, "web1: start").await;
    let refusal = stage.refused(OTTO, "web1: snapshot take a --external --memory").await;
    assert_eq!(refusal.reason, Reason::BadRequest);
    done(stage.yes(ANN, "web1: kill").await);
    take(&stage, "a").await;
    let toml = toml(&stage).await;
    for (line, why) in [
        ("web1: disk detach data".to_owned(), "stays where it is"),
        ("web1: disk move data own".into(), "is there already"),
        ("web1: clone web2".into(), "--full"),
        ("web1: snapshot take a --external".into(), "already"),
        (format!("web1: disk attach {}", own(&stage).join("disks/data.qcow2").display()), "own files"),
        (format!("web1: define 'toml={}'", toml.replace("data.1.qcow2", "data.qcow2")), "stays where it is"),
    ] {
        match stage.ask(ANN, &line).await {
            Answer::Refused(refusal) => assert!(refusal.sentence().contains(why), "{line}: {refusal:?}"),
            Answer::Done { text, .. } => assert!(text.contains(why), "{line}: {text}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    stage.done(ANN, "web1: clone web2 --full").await;
    // What is kept in the file that would go is not lost, either.
    stage.done(ANN, "web1: snapshot take inside").await;
    for line in ["web1: snapshot revert a", "web1: snapshot delete a"] {
        let refusal = stage.refused(ANN, line).await;
        assert!(refusal.text.contains("has the snapshot inside in its disks"), "{line}: {refusal:?}");
    }
    assert!(stage.done(VERA, "web1: snapshot list").await.starts_with("2 snapshots:"));
    stage.done(ANN, "web1: start").await;
    let refusal = stage.refused(ANN, "web1: snapshot revert a").await;
    assert!(refusal.text.contains("runs, and the snapshot a has no memory"), "{refusal:?}");
}

/// A block device that is a file underneath, until it is dropped.
struct Looped(String);

impl Looped {
    /// Takes the place of the file. Not everybody may, nor everywhere.
    fn in_place_of(file: &Path) -> Option<Self> {
        let beneath = file.with_file_name("beneath");
        let mut held = fs::read(file).ok()?;
        held.resize(held.len().next_multiple_of(512), b' ');
        fs::write(&beneath, held).ok()?;
        let made = Command::new("losetup").args(["--find", "--show"]).arg(&beneath).output().ok()?;
        let device = String::from_utf8(made.stdout).ok().filter(|_| made.status.success())?;
        let looped = Self(device.trim().to_owned());
        fs::remove_file(file).ok()?;
        let copied = Command::new("cp").arg("-a").arg(&looped.0).arg(file).status().ok()?;
        copied.success().then_some(looped)
    }
}

impl Drop for Looped {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[tokio::test]
async fn a_block_device_is_no_file_that_could_stay_as_it_is() {
    let stage = with_disk().await;
    let device = own(&stage).join("disks/data.qcow2");
    let Some(_looped) = Looped::in_place_of(&device) else {
        eprintln!("skipped: there are no loop devices to be had");
        return;
    };
    let refusal = stage.refused(OTTO, "web1: snapshot take a --external").await;
    let what = format!("The disk data of web1 is the device {}, and not a file", device.display());
    assert!(refusal.text.starts_with(&what), "{refusal:?}");
    assert_eq!(files(&stage), ["beneath", "data.qcow2"]);
}

#[tokio::test]
async fn an_older_definition_finds_its_disks_where_they_are() {
    let stage = with_disk().await;
    stage.done(ANN, "web1: define note=old").await;
    let number = stage.done(ANN, "web1: definition list").await.lines().count();
    stage.done(ANN, "web1: define note=new").await;
    take(&stage, "a").await;
    stage.done(ANN, &format!("web1: definition revert {number}")).await;
    let toml = stage.done(ANN, "web1: define").await;
    assert!(toml.contains("old") && toml.contains("data.1.qcow2"), "{toml}");
    let number = stage.done(ANN, "web1: definition list").await.lines().count();
    delete(&stage, "a").await;
    stage.done(ANN, &format!("web1: definition revert {number}")).await;
    let toml = stage.done(ANN, "web1: define").await;
    assert!(!toml.contains("data.1.qcow2"), "that is gone: {toml}");
    stage.done(ANN, "web1: start").await;
}

#[tokio::test]
async fn a_file_that_is_not_what_the_definition_says_is_not_started_from() {
    let stage = with_disk().await;
    let toml = toml(&stage).await;
    let raw = toml.replace("format = \"qcow2\"", "format = \"raw\"");
    assert_ne!(raw, toml);
    stage.done(ANN, &format!("web1: define 'toml={raw}'")).await;
    let refusal = stage.refused(ANN, "web1: start").await;
    assert!(refusal.text.contains("is qcow2, and the definition has it as raw"), "{refusal:?}");
    stage.done(ANN, "web1: definition revert 2").await;
    stage.done(ANN, "web1: start").await;
}

#[tokio::test]
async fn one_whose_guest_did_not_stand_still_is_merged_away_where_it_must() {
    let stage = with_disk().await;
    stage.done(ANN, "web1: start").await;
    let said = stage.done(OTTO, "web1: snapshot take still --external quiesce=yes").await;
    assert!(said.contains("Its file systems stood still for "), "{said}");
    assert!(!stage.world.is_still(stage.id("web1")), "it goes on");
    delete(&stage, "still").await;
    stage.faults().restless(stage.id("web1"));
    let refusal = stage.refused(OTTO, "web1: snapshot take a --external quiesce=yes").await;
    assert!(refusal.text.contains("it went on before all was taken"), "{refusal:?}");
    assert!(stage.done(VERA, "web1: snapshot list").await.contains("has no snapshots"));
    assert_eq!(files(&stage), ["data.qcow2"]);
}

/// Deletes a, and calls that off while its files are merged; `None` if it was done before.
async fn deletes_and_calls_off(stage: &Stage) -> Option<Refusal> {
    let line = "web1: snapshot delete a";
    let target = asked(ANN, line).target;
    let question = stage::question(stage.agent.ask(asked(ANN, line), None).await);
    let (hears, _told) = mpsc::channel(16);
    let deleting = tokio::spawn({
        let agent = stage.agent.clone();
        async move {
            agent
                .confirm(&stage::jid(ANN), &target, Some(&question.code), Door::Chat, None, Some(hears))
                .await
        }
    });
    while !deleting.is_finished() {
        let list = stage.done(ANN, "job list").await;
        if let Some(job) = list.lines().last().unwrap().strip_prefix("To call one off: job cancel ") {
            // Refused for as long as there is nothing to be called off.
            drop(stage.ask(ANN, &format!("job cancel {job}")).await);
        }
        tokio::task::yield_now().await;
    }
    match deleting.await.unwrap() {
        Answer::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

#[tokio::test]
async fn a_merge_that_is_called_off_goes_on_when_it_is_asked_for_again() {
    let stage = with_disk().await;
    stage.done(ANN, "web1: start").await;
    let refusal = loop {
        take(&stage, "a").await;
        stage.done(ANN, "web1: disk resize data 2G").await;
        stage.faults().slow(Duration::from_millis(100));
        let refusal = deletes_and_calls_off(&stage).await;
        stage.faults().slow(Duration::ZERO);
        // A host so slow that it was over before: once more.
        if let Some(refusal) = refusal {
            break refusal;
        }
    };
    assert!(refusal.text.contains("is deleted, and its files are not merged yet"), "{refusal:?}");
    assert!(refusal.sentence().contains("goes on with it"), "{refusal:?}");
    assert_eq!(files(&stage), ["data.1.qcow2", "data.qcow2"]);
    assert!(stage.done(VERA, "web1: snapshot list").await.contains("deleted, and there for others"));
    assert_eq!(delete(&stage, "a").await, "The snapshot a of web1 is deleted.");
    assert_eq!(files(&stage), ["data.qcow2"]);
    assert!(stage.done(VERA, "web1: disk list").await.contains("- data: 2 GiB"));
}

#[tokio::test]
async fn all_its_files_go_into_the_trash_and_come_back() {
    let stage = with_disk().await;
    take(&stage, "a").await;
    stage.done(ANN, "web1: disk resize data 2G").await;
    let there = own(&stage).join("disks");
    done(stage.yes(ANN, "web1: delete").await);
    assert!(!there.exists());
    let stage = stage.restart().await;
    stage.done(ANN, "undelete web1").await;
    assert_eq!(files(&stage), ["data.1.qcow2", "data.qcow2"]);
    assert_eq!(tree(&stage).await, ["a", "  (now)"]);
    done(stage.yes(OTTO, "web1: snapshot revert a").await);
    assert!(stage.done(VERA, "web1: disk list").await.contains("- data: 1 GiB"));
    delete(&stage, "a").await;
    assert_eq!(files(&stage), ["data.qcow2"]);
}

/// A note as a command leaves it that was answered with a no, because the store was full.
fn left(stage: &Stage, name: &str, top: &str) {
    let disks = own(stage).join("disks");
    let note = serde_json::json!({
        "name": name, "tops": [["data", disks.join(top)]], "before": [], "merging": null,
    });
    fs::write(disks.join(format!("{}.layers", uuid::Uuid::now_v7())), note.to_string()).unwrap();
}

#[tokio::test]
async fn what_could_not_be_written_down_the_next_agent_settles() {
    let stage = with_disk().await;
    // Made whole, and so it goes forward.
    fs::copy(own(&stage).join("disks/data.qcow2"), own(&stage).join("disks/data.1.qcow2")).unwrap();
    left(&stage, "a", "data.1.qcow2");
    let refusal = stage.refused(ANN, "web1: start").await;
    assert!(refusal.text.contains("was not written down"), "{refusal:?}");
    let stage = stage.restart().await;
    assert_eq!(files(&stage), ["data.1.qcow2", "data.qcow2"]);
    assert_eq!(tree(&stage).await, ["a", "  (now)"]);
    // Not made, and so there is nothing of it.
    left(&stage, "b", "data.2.qcow2");
    let stage = stage.restart().await;
    assert_eq!(files(&stage), ["data.1.qcow2", "data.qcow2"]);
    assert_eq!(tree(&stage).await, ["a", "  (now)"]);
    stage.done(ANN, "web1: start").await;
}

#[tokio::test]
async fn what_is_changed_while_files_are_merged_stays_changed() {
    let stage = with_disk().await;
    stage.done(ANN, "web1: start").await;
    take(&stage, "a").await;
    stage.done(ANN, "web1: disk resize data 2G").await;
    stage.faults().slow(Duration::from_millis(200));
    let (deleted, _) = tokio::join!(delete(&stage, "a"), async {
        while !files(&stage).iter().any(|name| name.ends_with(".layers")) {
            tokio::task::yield_now().await;
        }
        stage.done(ANN, "web1: define note=meanwhile").await;
    });
    stage.faults().slow(Duration::ZERO);
    assert_eq!(deleted, "The snapshot a of web1 is deleted.");
    assert_eq!(files(&stage), ["data.qcow2"]);
    let toml = toml(&stage).await;
    assert!(toml.contains("meanwhile") && toml.contains("data.qcow2"), "{toml}");
}
