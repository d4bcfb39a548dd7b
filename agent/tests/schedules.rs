//! Snapshots that are taken by themselves.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::path::PathBuf;

use serde_json::Value;
use skerry_stanzas::refusal::Reason;
use stage::{ANN, OTTO, Stage, VERA, done, stage};

async fn with_disk() -> Stage {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    stage.done(ANN, "web1: disk create data 1G").await;
    stage
}

fn file(stage: &Stage) -> PathBuf {
    stage.folder.path().join(format!("state/machines/{}/schedules.json", stage.id("web1").0))
}

/// Lets time go by, as far as a schedule is concerned: its next one was due then.
fn due(stage: &Stage, name: &str, at: &str) {
    let mut schedules: Value = serde_json::from_slice(&std::fs::read(file(stage)).unwrap()).unwrap();
    schedules[name]["due"] = at.into();
    std::fs::write(file(stage), schedules.to_string()).unwrap();
}

async fn names(stage: &Stage) -> Vec<String> {
    let list = stage.done(VERA, "web1: snapshot list").await;
    let names = list.lines().skip(1).filter_map(|line| line.strip_prefix("- ")?.split(':').next());
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn they_are_taken_when_due_and_the_newest_are_kept() {
    let stage = with_disk().await;
    let said = stage.done(OTTO, "web1: snapshot schedule daily every=1d keep=2 at=03:00").await;
    assert!(said.contains("03:00 UTC, and 2 are kept"), "{said}");
    stage.agent.carry_out_schedules().await;
    assert!(names(&stage).await.is_empty(), "not yet");
    stage.done(OTTO, "web1: snapshot take mine").await;
    for day in 1..=4 {
        due(&stage, "daily", &format!("2026-11-0{day}T03:00:00Z"));
        for _ in 0..2 {
            stage.agent.carry_out_schedules().await;
        }
    }
    assert_eq!(names(&stage).await, ["mine", "daily-20261103-0300", "daily-20261104-0300"]);
    let log = stage.done(ANN, "web1: log").await;
    assert!(log.contains("otto@example.org"), "in the name of who made it: {log}");
    // It was due long ago, and is due again in the future: once, however many were missed.
    let list = stage.done(VERA, "web1: snapshot schedules").await;
    assert!(list.contains("- daily: every 1day at 03:00, 2 kept, the next 2"), "{list}");

    done(stage.yes(OTTO, "web1: snapshot delete daily-20261103-0300").await);
    due(&stage, "daily", "2026-11-05T03:00:00Z");
    let stage = stage.restart().await;
    stage.agent.carry_out_schedules().await;
    assert_eq!(names(&stage).await, ["mine", "daily-20261104-0300", "daily-20261105-0300"]);
    let said = stage.done(OTTO, "web1: snapshot unschedule daily").await;
    assert!(said.ends_with("What it took stays."), "{said}");
    assert_eq!(stage.refused(OTTO, "web1: snapshot unschedule daily").await.reason, Reason::NotFound);
    stage.agent.carry_out_schedules().await;
    assert_eq!(names(&stage).await.len(), 3);
}

#[tokio::test]
async fn what_cannot_be_now_is_tried_again_and_given_up_after_an_hour() {
    let stage = with_disk().await;
    stage.done(OTTO, "web1: snapshot schedule hourly every=1h keep=3").await;
    // A disk that keeps no snapshots, and is gone again.
    let now = chrono::Utc::now();
    let recent = (now - chrono::TimeDelta::minutes(5)).to_rfc3339();
    stage.done(ANN, "web1: disk detach data").await;
    due(&stage, "hourly", &recent);
    stage.agent.carry_out_schedules().await;
    assert!(names(&stage).await.is_empty());
    let before = std::fs::read_to_string(file(&stage)).unwrap();
    assert!(before.contains(&recent[..16]), "still due: {before}");
    due(&stage, "hourly", &(now - chrono::TimeDelta::hours(5)).to_rfc3339());
    stage.agent.carry_out_schedules().await;
    stage.done(ANN, "web1: disk attach data").await;
    stage.agent.carry_out_schedules().await;
    assert!(names(&stage).await.is_empty(), "what is too long ago is given up");
    due(&stage, "hourly", &(now - chrono::TimeDelta::minutes(4)).to_rfc3339());
    stage.agent.carry_out_schedules().await;
    assert_eq!(names(&stage).await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_a_schedule_is_refused() {
    let stage = with_disk().await;
    for (line, why) in [
        ("web1: snapshot schedule x every=1m", "five minutes"),
        ("web1: snapshot schedule x every=6h at=03:00", "whole days"),
        ("web1: snapshot schedule x every=1d at=3am", "no time of the day"),
        ("web1: snapshot schedule 1x every=1d", "cannot be the name"),
        ("web1: snapshot schedule x every=1d keep=0", "One to 31"),
        ("web1: snapshot schedule x every=1d keep=32", "One to 31"),
    ] {
        let refusal = stage.refused(OTTO, line).await;
        assert!(refusal.text.contains(why), "{line}: {refusal:?}");
    }
    assert_eq!(stage.refused(VERA, "web1: snapshot schedule x every=1d").await.reason, Reason::NotAllowed);
    stage.done(OTTO, "web1: snapshot schedule a every=1d keep=30").await;
    let refusal = stage.refused(OTTO, "web1: snapshot schedule b every=1d keep=2").await;
    assert!(refusal.text.contains("One to 1 "), "{refusal:?}");
}
