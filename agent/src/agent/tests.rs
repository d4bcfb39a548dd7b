#![allow(clippy::unwrap_used, clippy::panic)]
#[path = "../../tests/stage/mod.rs"]
mod stage;

use std::time::Duration;

use hypervisor_core::lifecycle::Request;
use skerry_stanzas::refusal::Reason;
use stage::{ANN, OTTO, event, reason, stage};

use crate::{
    agent::Agent,
    handler::{disks::files, empty_trash},
    machine::{Do, Order},
    numbers::history::{Quantity, Remembering, Sample},
    store::{
        StoreError,
        samples::{self, Ring, Samples},
        schema,
    },
};

/// Lets the store have so many more pages than it has.
async fn room(agent: &Agent, more: i64) {
    let limit = move |connection: &rusqlite::Connection| -> Result<i64, StoreError> {
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        Ok(connection
            .query_row(&format!("PRAGMA max_page_count = {}", pages + more), [], |row| row.get(0))?)
    };
    agent.inner.store.run(limit).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_clearly_and_leaves_nothing_half_done() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    room(&stage.agent, 0).await;
    let mut told = 0;
    for n in 0..200 {
        match stage.ask(ANN, &format!("create more{n} linux memory=256M")).await {
            crate::asked::Answer::Done { .. } => told += 1,
            full => {
                let refusal = stage::refused(full);
                assert_eq!(refusal.reason, Reason::Limit, "{refusal:?}");
                assert!(refusal.text.contains("full"), "{refusal:?}");
                break;
            }
        }
    }
    assert!(told < 200, "it was never full");
    let folders = std::fs::read_dir(stage.folder.path().join("state/machines")).unwrap().count();
    assert_eq!(folders, stage.agent.machines().len(), "a folder without a machine");
    assert_eq!(stage.agent.machines().len(), told + 1);
    stage.done(OTTO, "list").await;
    room(&stage.agent, 1000).await;
    stage.done(OTTO, "web1: start").await;
}

#[tokio::test]
async fn what_there_is_no_room_to_remember_holds_nothing_up() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux --start").await;
    let agent = &stage.agent;
    let mut remembering = Remembering::default();
    let (now, kept) = (chrono::Utc::now(), Sample::mean(&[Sample::default()]));
    // As of so many machines that it needs pages of its own.
    let samples: Samples = (0..2000).map(|n| (format!("machine {n}"), kept.clone())).collect();
    let remembered = async || {
        let look = move |connection: &rusqlite::Connection| {
            samples::of(connection, Ring::Minutes, "machine 7", &[Quantity::Cpu], now.timestamp())
        };
        agent.inner.store.run(look).await.unwrap().len()
    };
    room(agent, 0).await;
    for _ in 0..2 {
        remembering.write(agent, now, samples.clone()).await;
        assert!(remembering.complained, "it was written, though there is no room");
    }
    assert_eq!(remembered().await, 0, "nothing of it is there");
    // What needs no room goes on: looking at what is used, as people do and as the history itself does.
    for line in ["list", "web1: status", "stats", "web1: stats", "top"] {
        stage.done(OTTO, line).await;
    }
    remembering.minute(agent).await;
    assert_eq!(stage.state("web1"), "running");
    // And when there is room again, it is remembered again.
    room(agent, 1000).await;
    remembering.write(agent, now, samples).await;
    assert_eq!((remembering.complained, remembered().await), (false, 1));
}

#[tokio::test]
async fn two_who_look_at_once_see_what_was_used_since_the_look_before() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux --start").await;
    stage.faults().slow(Duration::from_millis(100));
    tokio::time::pause();
    let agent = &stage.agent;
    let machines = agent.measurable();
    agent.uses_lately(&machines, Duration::ZERO).await;
    tokio::time::advance(Duration::from_secs(10)).await;
    let look = || agent.uses_lately(&machines, Duration::from_secs(1));
    let ((host, one), (_, other)) = tokio::join!(look(), look());
    assert!(host.unwrap().rates.unwrap().over >= Duration::from_secs(10));
    for uses in [one, other] {
        assert!(uses[0].rates.as_ref().unwrap().over >= Duration::from_secs(10), "{uses:?}");
    }
}

#[tokio::test]
async fn what_starts_with_its_host_does_so_once_a_boot() {
    let stage = stage().await;
    for line in ["create web1 linux", "create web2 linux", "web1: autostart on"] {
        stage.done(ANN, line).await;
    }
    let stage = stage.restart().await;
    assert_eq!(stage.state("web1"), "stopped", "the same boot");
    let store = &stage.agent.inner.store;
    store.run(|connection| schema::set_fact(connection, "boot", "another")).await.unwrap();
    let stage = stage.restart().await;
    let mut told = stage.agent.announcements();
    if stage.state("web1") != "running" {
        event(&mut told, "machine.started").await;
    }
    assert_eq!((stage.state("web1"), stage.state("web2")), ("running".into(), "stopped".into()));
}

#[tokio::test]
async fn ten_thousand_commands_at_once_are_all_answered_and_few_run() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    let ask = |n: usize| {
        let agent = stage.agent.clone();
        let verb = if n.is_multiple_of(2) { "list" } else { "web1: label web" };
        async move { agent.ask(stage::asked(ANN, verb), None).await }
    };
    let answers = futures::future::join_all((0..10_000).map(ask)).await;
    let refused: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            crate::asked::Answer::Refused(refusal) => Some(refusal),
            _ => None,
        })
        .collect();
    assert!(!refused.is_empty() && refused.len() < 10_000, "{}", refused.len());
    assert!(refused.iter().all(|refusal| refusal.reason == Reason::Limit), "{:?}", refused[0]);
    // Every place is free again.
    for _ in 0..super::opening::JOBS_PER_PERSON + 1 {
        stage.done(ANN, "web1: label web").await;
    }
}

#[tokio::test]
async fn a_reload_changes_roles_at_once_and_says_what_waits() {
    let stage = stage().await;
    assert_eq!(reason(stage.ask("new@example.org", "list").await), Reason::NotAllowed);
    let mut config = crate::config::Config::clone(&stage.agent.config());
    config.roles.viewer.push("new@example.org".into());
    config.name = "another".into();
    assert_eq!(stage.agent.reload(config).unwrap(), ["name"]);
    stage.done("new@example.org", "list").await;
    let mut wrong = crate::config::Config::clone(&stage.agent.config());
    wrong.roles.viewer = vec!["@@".into()];
    assert!(stage.agent.reload(wrong).is_err());
    stage.done("new@example.org", "list").await;
}

#[tokio::test]
async fn the_trash_is_emptied_of_what_was_kept_long_enough_and_of_nothing_else() {
    let stage = stage().await;
    for name in ["old", "new"] {
        stage.done(ANN, &format!("create {name} linux")).await;
        stage::done(stage.yes(ANN, &format!("{name}: delete")).await);
    }
    let trash = stage.folder.path().join("state/trash");
    let folders = || std::fs::read_dir(&trash).unwrap().count();
    let long_ago = |connection: &rusqlite::Connection| -> Result<usize, StoreError> {
        let day = serde_json::to_string(&(chrono::Utc::now() - chrono::Duration::days(8))).unwrap();
        Ok(connection.execute("UPDATE machines SET deleted_at = ?1 WHERE name = 'old'", [day])?)
    };
    assert_eq!(stage.agent.inner.store.run(long_ago).await.unwrap(), 1);
    crate::handler::empty_trash(&stage.agent.inner).await;
    assert_eq!(folders(), 1);
    let text = stage.done(ANN, "trash").await;
    assert!(text.contains("new") && !text.contains("old"), "{text}");
    assert_eq!(reason(stage.ask(ANN, "undelete old").await), Reason::NotFound);
    stage.done(ANN, "undelete new").await;
}

#[tokio::test]
async fn a_base_goes_with_the_last_disk_that_stands_on_it_and_no_sooner() {
    let stage = stage().await;
    let inner = &stage.agent.inner;
    for line in ["create web1 linux", "web1: disk create data 1G", "web1: clone web2"] {
        stage.done(ANN, line).await;
    }
    let bases = || inner.folders.bases().unwrap().len();
    let folders = inner.folders.every_machine().unwrap();
    let mut copies: Vec<std::path::PathBuf> =
        folders.iter().flat_map(|folder| files::all(folder).unwrap()).collect();
    copies.sort();
    copies.dedup();
    assert_eq!(copies.len(), 2, "a machine's each");
    assert_eq!(bases(), 1);
    empty_trash(inner).await;
    assert_eq!(bases(), 1, "it is in use");

    let kept = std::fs::read(&copies[0]).unwrap();
    for copy in &copies {
        std::fs::write(copy, "cannot be read").unwrap();
    }
    empty_trash(inner).await;
    assert_eq!(bases(), 1, "what stands on it is not known");

    for copy in &copies {
        std::fs::remove_file(copy).unwrap();
    }
    std::fs::write(&copies[0], kept).unwrap();
    empty_trash(inner).await;
    assert_eq!(bases(), 1, "one still stands on it");
    std::fs::remove_file(&copies[0]).unwrap();
    empty_trash(inner).await;
    assert_eq!(bases(), 0);
}

#[tokio::test]
async fn what_nobody_was_asked_about_takes_nothing_away() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    assert!(stage.done(OTTO, "web1: kill").await.starts_with("web1 was already stopped"));
    // It starts between the look and the deed: nobody said that its end is meant.
    stage.done(ANN, "web1: start").await;
    let machine = stage.agent.inner.machines.named(&stage::name("web1")).unwrap();
    let order = |unasked| {
        machine.order(move |reply| Order::Do(Do { unasked, ..Do::unwatched(Request::Kill, None, reply) }))
    };
    let refusal = order(true).await.unwrap_err();
    assert!(refusal.text.ends_with("That is new: nothing was done."), "{refusal:?}");
    assert_eq!(stage.state("web1"), "running");
    order(false).await.unwrap();
    assert_eq!(stage.state("web1"), "stopped");
}

#[tokio::test]
async fn what_a_full_disk_cannot_keep_is_not_agreed_to() {
    let stage = stage().await;
    stage.done(ANN, "create db1 linux --start").await;
    stage.done(ANN, "grant admin to mia@example.org").await;
    stage.done(ANN, "policy add careful kill on db1").await;
    let code = |answer| match answer {
        crate::asked::Answer::Done { json, .. } => json["request"].as_str().unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    let waits = code(stage.ask(OTTO, "db1: kill").await);
    room(&stage.agent, 0).await;
    // What was free in pages that are there already is used up first.
    let mia = "mia@example.org/tab";
    for n in 0.. {
        if let crate::asked::Answer::Refused(full) = stage.ask(ANN, &format!("create m{n} linux")).await {
            assert_eq!(full.reason, Reason::Limit, "{full:?}");
            break;
        }
    }
    let refusal = stage.refused(mia, &format!("approve {waits}")).await;
    assert_eq!(refusal.reason, Reason::Limit, "{refusal:?}");
    assert_eq!(stage.state("db1"), "running", "nobody has agreed");
    assert!(stage.done(mia, "request list").await.contains(&waits));
    room(&stage.agent, 1000).await;
    let mut heard = stage.agent.announcements();
    stage.done(mia, &format!("approve {waits}")).await;
    event(&mut heard, "host.approval-ended").await;
    assert_eq!(stage.state("db1"), "stopped");
}

/// Writes into a disk's file that it is a thin copy of another, as who broke out of its guest can.
fn forge(disk: &std::path::Path, backing: &std::path::Path) {
    let mut header: serde_json::Value = serde_json::from_slice(&std::fs::read(disk).unwrap()).unwrap();
    header["backing"] = backing.to_str().unwrap().into();
    std::fs::write(disk, header.to_string()).unwrap();
}

#[tokio::test]
async fn a_disk_that_says_it_stands_on_what_is_not_its_own_opens_nothing() {
    let stage = stage().await;
    for line in ["create web1 linux", "web1: disk create data 1G", "web1: clone web2", "create db1 linux"] {
        stage.done(ANN, line).await;
    }
    stage.done(ANN, "db1: disk create data 1G").await;
    let disk = |name: &str| {
        let name = hypervisor_core::machine::MachineName::new(name).unwrap();
        let machine = stage.agent.inner.machines.named(&name).unwrap();
        machine.record().definition.disks[0].path.clone()
    };
    let (web1, db1) = (disk("web1"), disk("db1"));
    // Each of the two that have it in common stands on the same base, and may.
    for line in ["web1: start", "web2: start"] {
        stage.done(ANN, line).await;
    }
    let base = stage.agent.inner.folders.bases().unwrap().remove(0);
    let elsewhere = stage.folder.path().join("secret");
    std::fs::write(&elsewhere, "secret").unwrap();
    let own = std::fs::read(&db1).unwrap();
    for backing in [&elsewhere, &web1, &base] {
        forge(&db1, backing);
        for line in ["db1: start", "db1: clone other --full", "db1: clone other"] {
            let refusal = stage::refused(stage.ask(ANN, line).await);
            assert_eq!(refusal.reason, Reason::Conflict, "{line}: {refusal:?}");
            let says = format!("The header of {} names {},", db1.display(), backing.display());
            assert!(refusal.text.starts_with(&says), "{line}: {refusal:?}");
        }
    }
    std::fs::write(&db1, own).unwrap();
    stage.done(ANN, "db1: start").await;
}
