//! The source of a machine that runs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{sync::broadcast, time::timeout};

use super::super::{arguments::disks::node, disks::unfit, qmp::Event, running::Running};
use super::{TLS, incoming::uri, keys, mirror};
use crate::driver::{
    DriverError,
    migrate::{Copied, Departure, Passed, Passing, Sent, TLS_NAME},
};

/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_millis(250);
/// How long a mirror may take to end while the guest stands still.
const MIRROR_END_MAX: Duration = Duration::from_secs(30);
/// How long QEMU may take to stop sending.
const CANCEL_MAX: Duration = Duration::from_secs(20);
/// How long the rest of a memory may take to be fetched once the guest runs at the destination.
const PULL_MAX: Duration = Duration::from_secs(3600);
/// For how long the guest may stand still, if it can be helped: a third of what QEMU takes by itself, since
/// the words of the hand-over come on top. One that writes too much for it is slowed down until it fits.
const DOWNTIME_MS: u64 = 100;

/// Sends all of it. The guest stands still when this has ended well.
pub(super) async fn send(
    running: &Running,
    departure: &Departure,
    passing: Passing<'_>,
) -> Result<(), DriverError> {
    // What QEMU does to the guest from here on is nobody's news.
    running.expected().snapped = true;
    keys::put(&running.folder, &departure.keys, false)?;
    running.take_keys(false).await?;
    let mut told = running.told.subscribe();
    mirror_disks(running, departure, passing, &mut told).await?;
    let copies = !departure.copied.is_empty();
    let postcopy = departure.postcopy;
    running
        .can(&[
            ("events", true),
            ("pause-before-switchover", copies),
            ("auto-converge", !postcopy),
            ("postcopy-ram", postcopy),
        ])
        .await?;
    let mut words = json!({"tls-creds": TLS, "tls-hostname": TLS_NAME, "downtime-limit": DOWNTIME_MS});
    // Without a limit of ours there is none: QEMU's own would be 128 MiB a second.
    words["max-bandwidth"] = departure.bytes_per_second.unwrap_or(0).into();
    running.qmp.ask("migrate-set-parameters", Some(words)).await.map_err(unfit)?;
    let port = departure.place.memory_port.ok_or_else(no_port)?;
    let words = json!({"uri": uri(departure.place.address, port)});
    running.qmp.ask("migrate", Some(words)).await.map_err(unfit)?;
    follow(running, departure, passing, &mut told).await
}

fn no_port() -> DriverError {
    DriverError::Unfit("the destination did not say where".into())
}

async fn mirror_disks(
    running: &Running,
    departure: &Departure,
    passing: Passing<'_>,
    told: &mut broadcast::Receiver<Event>,
) -> Result<(), DriverError> {
    for Copied { disk, .. } in &departure.copied {
        let port = departure.place.disks.iter().find(|(name, _)| *name == disk.name);
        let (_, port) = port.ok_or_else(no_port)?;
        let (there, here) = (mirror(&disk.name), node(&disk.name));
        let server =
            json!({"type": "inet", "host": departure.place.address.to_string(), "port": port.to_string()});
        let words = json!({
            "driver": "nbd", "node-name": there, "server": server, "export": here,
            "tls-creds": TLS, "tls-hostname": TLS_NAME,
        });
        running.qmp.ask("blockdev-add", Some(words)).await.map_err(unfit)?;
        let words = json!({
            "job-id": there, "device": here, "target": there, "sync": "full", "auto-dismiss": false,
            "speed": departure.bytes_per_second.unwrap_or(0),
        });
        running.qmp.ask("blockdev-mirror", Some(words)).await.map_err(unfit)?;
    }
    let mut before: Option<(Instant, u64)> = None;
    while !departure.copied.is_empty() {
        let jobs = mirrors(running).await?;
        let sum = |what: &str| jobs.iter().filter_map(|job| job[what].as_u64()).sum::<u64>();
        let (sent_bytes, total_bytes) = (sum("current-progress"), sum("total-progress"));
        let rate = before.map_or(0, |(at, sent)| {
            let seconds = at.elapsed().as_secs_f64().max(0.001);
            (sent_bytes.saturating_sub(sent) as f64 / seconds) as u64
        });
        before = Some((Instant::now(), sent_bytes));
        passing(Passed { sent_bytes, total_bytes, bytes_per_second: rate, slowed_percent: 0 });
        if let Some(broken) = jobs.iter().find_map(|job| job["error"].as_str()) {
            return Err(DriverError::Unfit(broken.to_owned()));
        }
        if jobs.len() == departure.copied.len() && jobs.iter().all(|job| job["status"] == "ready") {
            break;
        }
        let news = running.told_of(told, |event| event.name == "JOB_STATUS_CHANGE");
        if let Ok(gone) = timeout(LOOK, news).await {
            gone?;
        }
    }
    Ok(())
}

/// The mirrors under way.
async fn mirrors(running: &Running) -> Result<Vec<Value>, DriverError> {
    let jobs = running.qmp.ask("query-jobs", None).await?;
    let ours = |job: &&Value| job["id"].as_str().is_some_and(|id| id.starts_with("migration-"));
    Ok(jobs.as_array().into_iter().flatten().filter(ours).cloned().collect())
}

/// Goes along with it to its end.
async fn follow(
    running: &Running,
    departure: &Departure,
    passing: Passing<'_>,
    told: &mut broadcast::Receiver<Event>,
) -> Result<(), DriverError> {
    let mut switched = false;
    loop {
        let migration = running.migration().await?;
        let ram = &migration["ram"];
        let number = |what: &str| ram[what].as_u64().unwrap_or(0);
        if ram.is_object() {
            let mbps = ram["mbps"].as_f64().unwrap_or(0.0);
            passing(Passed {
                sent_bytes: number("total").saturating_sub(number("remaining")),
                total_bytes: number("total"),
                bytes_per_second: (mbps * 125_000.0) as u64,
                slowed_percent: slowed_percent(&migration),
            });
        }
        match migration["status"].as_str().unwrap_or_default() {
            "completed" => return Ok(()),
            "postcopy-active" => return Ok(()),
            "pre-switchover" => {
                end_mirrors(running, departure, told).await?;
                let words = json!({"state": "pre-switchover"});
                running.qmp.ask("migrate-continue", Some(words)).await.map_err(unfit)?;
            }
            "failed" | "cancelled" => {
                let why = migration["error-desc"].as_str().unwrap_or("it broke off");
                return Err(DriverError::Unfit(why.to_owned()));
            }
            // Once all of it was sent one time, what it wrote since can be fetched.
            "active" if departure.postcopy && !switched && number("dirty-sync-count") > 1 => {
                switched = true;
                running.qmp.ask("migrate-start-postcopy", None).await.map_err(unfit)?;
            }
            _ => {}
        }
        let news = running.told_of(told, |event| event.name == "MIGRATION");
        if let Ok(gone) = timeout(LOOK, news).await {
            gone?;
        }
    }
}

/// By how much QEMU slows the guest down (its auto-converge), where it does.
fn slowed_percent(migration: &Value) -> u8 {
    let percent = migration["cpu-throttle-percentage"].as_u64().unwrap_or(0);
    u8::try_from(percent.min(99)).unwrap_or(99)
}

/// The guest stands still: the last of its disks is sent, and the mirrors end. They are told to end, not
/// to be the disks from now on.
async fn end_mirrors(
    running: &Running,
    departure: &Departure,
    told: &mut broadcast::Receiver<Event>,
) -> Result<(), DriverError> {
    for Copied { disk, .. } in &departure.copied {
        let job = mirror(&disk.name);
        running.qmp.ask("block-job-cancel", Some(json!({"device": job}))).await.map_err(unfit)?;
        let ended = running
            .told_of(told, |event| event.about["id"] == job.as_str() && event.about["status"] == "concluded");
        let limit = MIRROR_END_MAX;
        timeout(limit, ended)
            .await
            .map_err(|_| DriverError::TimedOut { what: "the end of a copy", limit })??;
        if let Some(broken) = mirrors(running).await?.iter().find_map(|job| job["error"].as_str()) {
            return Err(DriverError::Unfit(broken.to_owned()));
        }
        clear_mirror(running, &job).await;
    }
    Ok(())
}

async fn clear_mirror(running: &Running, job: &str) {
    let _ = running.qmp.ask("job-dismiss", Some(json!({"id": job}))).await;
    let _ = running.qmp.ask("blockdev-del", Some(json!({"node-name": job}))).await;
}

/// Makes sure that all was sent, and that it stands still.
pub(super) async fn hold(running: &Running) -> Result<Sent, DriverError> {
    let migration = running.migration().await?;
    let all = matches!(migration["status"].as_str(), Some("completed" | "postcopy-active"));
    let still = matches!(running.status_word().await?.as_str(), "postmigrate" | "finish-migrate" | "paused");
    if !(all && still) {
        return Err(DriverError::Unfit("not all of it was sent".into()));
    }
    Ok(Sent {
        downtime: migration["downtime"].as_u64().map(Duration::from_millis),
        bytes: migration["ram"]["transferred"].as_u64().unwrap_or(0),
    })
}

/// Stops it all, and lets the guest run on if it ran.
pub(super) async fn call_off(running: &Running, runs: bool) -> Result<(), DriverError> {
    let under_way = |status: &str| !matches!(status, "" | "none" | "completed" | "failed" | "cancelled");
    let begun = Instant::now();
    let mut told = running.told.subscribe();
    loop {
        let migration = running.migration().await?;
        if !under_way(migration["status"].as_str().unwrap_or_default()) {
            break;
        }
        running.qmp.ask("migrate_cancel", None).await?;
        if begun.elapsed() > CANCEL_MAX {
            return Err(DriverError::TimedOut { what: "the end of the migration", limit: CANCEL_MAX });
        }
        let news = running.told_of(&mut told, |event| event.name == "MIGRATION");
        if let Ok(gone) = timeout(LOOK, news).await {
            gone?;
        }
    }
    for job in mirrors(running).await? {
        let id = job["id"].as_str().unwrap_or_default();
        if job["status"] != "concluded" {
            let words = json!({"device": id, "force": true});
            let _ = running.qmp.ask("block-job-cancel", Some(words)).await;
            let ended = running
                .told_of(&mut told, |event| event.about["id"] == id && event.about["status"] == "concluded");
            // It may have ended before it was asked to.
            let _ = timeout(LOOK, ended).await;
        }
        clear_mirror(running, id).await;
    }
    clear_nodes(running).await?;
    running
        .can(&[("pause-before-switchover", false), ("auto-converge", false), ("postcopy-ram", false)])
        .await?;
    running.drop_keys().await;
    if runs && running.status_word().await? != "running" {
        running.qmp.ask("cont", None).await.map_err(unfit)?;
    }
    let mut expected = running.expected();
    (expected.snapped, expected.paused) = (false, !runs);
    Ok(())
}

/// What disks were mirrored to, where the mirror did not begin.
async fn clear_nodes(running: &Running) -> Result<(), DriverError> {
    let nodes = running.qmp.ask("query-named-block-nodes", Some(json!({"flat": true}))).await?;
    let names = nodes.as_array().into_iter().flatten().filter_map(|node| node["node-name"].as_str());
    for name in names.filter(|name| name.starts_with("migration-")) {
        let _ = running.qmp.ask("blockdev-del", Some(json!({"node-name": name}))).await;
    }
    Ok(())
}

/// Waits while the destination still fetches memory from here.
pub(super) async fn wait_pulled(running: &Running) {
    let begun = Instant::now();
    let mut told = running.told.subscribe();
    while let Ok(migration) = running.migration().await {
        if migration["status"] != "postcopy-active" || begun.elapsed() > PULL_MAX {
            return;
        }
        let _ = timeout(LOOK, running.told_of(&mut told, |event| event.name == "MIGRATION")).await;
    }
}
