//! The same for long work on disks of a machine that runs.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::{RUNNING, die_everywhere, disks, files, folders, is, look, name};

/// Where the disk is, by the definition, and which files there are: in the machine's folder, elsewhere.
const EARLY: [&str; 4] = ["before-accepted", "accepted", "folder-made", "disk-made"];

#[tokio::test(flavor = "multi_thread")]
async fn disk_move() {
    // The fake tells of one that runs whether it was switched over; written down and not used is undone.
    let died = die_everywhere(&RUNNING, "web1: disk move data $FILES/data.qcow2", |agent, folder, step| {
        let early = EARLY.contains(&step) || ["definition-stored", "before-driver"].contains(&step);
        let there = folder.join("files/data.qcow2").exists();
        assert_eq!(there, !early, "at {step}");
        assert_eq!(files(agent, folder, "web1").len(), usize::from(early), "at {step}");
        assert_eq!(disks(agent), ["data attached 1024"], "at {step}");
        assert!(is(agent, "running"), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 10, "{died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_move_at_rest() {
    let before = &RUNNING[..2];
    let died = die_everywhere(before, "web1: disk move data $FILES/data.qcow2", |agent, folder, step| {
        let early = EARLY.contains(&step);
        assert_eq!(folder.join("files/data.qcow2").exists(), !early, "at {step}");
        assert_eq!(files(agent, folder, "web1").len(), usize::from(early), "at {step}");
        assert_eq!(disks(agent), ["data attached 1024"], "at {step}");
    })
    .await;
    assert_eq!(died.len(), 10, "{died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clone_of_one_that_runs() {
    let died = die_everywhere(&RUNNING, "web1: clone web2 --full", |agent, folder, step| {
        let there = agent.machine(&name("web2")).is_some();
        assert_eq!(there, ["machine-stored", "before-close", "closed"].contains(&step), "at {step}");
        assert_eq!(folders(folder, "machines"), 1 + usize::from(there), "at {step}");
        assert_eq!(files(agent, folder, "web1"), ["data.qcow2"], "at {step}");
        assert_eq!(files(agent, folder, "web2").len(), usize::from(there), "at {step}");
        assert!(is(agent, "running"), "at {step}");
        assert!(!is_still(agent, folder), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 10, "{died:?}");
}

/// Whether its guest holds still, by the world and by what its agent says.
fn is_still(agent: &skerry_agent::agent::Agent, folder: &std::path::Path) -> bool {
    let world = std::fs::read_to_string(folder.join("world")).unwrap();
    let id = agent.machine(&name("web1")).unwrap().id.to_string();
    let last = world.lines().rfind(|line| line.contains("\"guest\"") && line.contains(&id)).unwrap();
    let said = look(agent, "web1: status")["guest"]["frozen_until"].is_string();
    last.contains("\"frozen\":true") || said
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_take_of_one_that_runs() {
    let died = die_everywhere(&RUNNING, "web1: snapshot take a", |agent, folder, step| {
        let early = ["before-accepted", "accepted", "guest-quieting", "guest-quieted", "before-driver"];
        let list = look(agent, "web1: snapshot list");
        let there = list["snapshots"].as_array().unwrap();
        assert_eq!(there.len(), usize::from(!early.contains(&step)), "at {step}");
        // That it stood still is known once that is written down.
        let whole = there.first().map(|one| one["quiesced"].clone());
        let noted = ["snapshot-noted", "before-close", "closed"].contains(&step);
        assert!(whole.is_none_or(|whole| whole == noted || (!noted && whole.is_null())), "at {step}");
        assert!(!is_still(agent, folder), "at {step}");
        assert_eq!(files(agent, folder, "web1"), ["data.qcow2"], "at {step}");
    })
    .await;
    assert_eq!(died.len(), 9, "{died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_schedule_and_its_end() {
    let begin = "web1: snapshot schedule daily every=1d keep=3";
    for (before, line, there_at_first) in [
        (vec![RUNNING[0], RUNNING[1]], begin, false),
        (vec![RUNNING[0], RUNNING[1], begin], "web1: snapshot unschedule daily", true),
    ] {
        let died = match there_at_first {
            false => die_everywhere(&before, line, |_, folder, step| is_scheduled(folder, step, false)).await,
            true => die_everywhere(&before, line, |_, folder, step| is_scheduled(folder, step, true)).await,
        };
        assert_eq!(died, ["before-accepted", "accepted", "schedule-written", "before-close", "closed"]);
    }
}

fn is_scheduled(folder: &std::path::Path, step: &str, at_first: bool) {
    let machines = std::fs::read_dir(folder.join("state/machines")).unwrap().flatten();
    let texts = machines.filter_map(|at| std::fs::read_to_string(at.path().join("schedules.json")).ok());
    let there = texts.filter(|text| text.contains("daily")).count() == 1;
    let early = ["before-accepted", "accepted"].contains(&step);
    assert_eq!(there, early == at_first, "at {step}");
}
