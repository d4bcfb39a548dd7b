//! Machines that are started again by their policy, and those that start with their host.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::path::Path;

use hypervisor_core::driver::fake::StartFault;
use skerry_agent::agent::Announcement;
use stage::*;
use tokio::sync::broadcast::Receiver;

/// The names of the next events, until that of this name.
async fn events_until(told: &mut Receiver<Announcement>, last: &str) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        if let Announcement::Event(event) = told.recv().await.unwrap() {
            names.push(event.what.clone());
            if event.what == last {
                return names;
            }
        }
    }
}

/// As [`events_until`], with nothing else to be waited for: time jumps to the next try.
async fn started_again(told: &mut Receiver<Announcement>) -> Vec<String> {
    tokio::time::pause();
    let names = events_until(told, "machine.started").await;
    tokio::time::resume();
    names
}

async fn with_policy(policy: &str) -> Stage {
    let stage = stage().await;
    for line in ["create web1 linux", &format!("web1: define restart={policy}"), "web1: start"] {
        stage.done(ANN, line).await;
    }
    stage
}

#[tokio::test]
async fn one_that_crashes_is_started_again_until_it_was_in_vain_too_often() {
    let stage = with_policy("on-failure").await;
    let mut told = stage.agent.announcements();
    for attempt in 1..=5 {
        assert!(stage.faults().crash(stage.id("web1"), "out of cheese"));
        let crash = event(&mut told, "machine.crashed").await;
        let pause = 5 << (attempt - 1);
        assert_eq!(
            crash.sentence,
            format!("web1 crashed: out of cheese. It is started again in {pause} s (try {attempt} of 5).")
        );
        let status = stage.done(ANN, "web1: status").await;
        assert!(status.contains("out of cheese; started again at "), "{status}");
        assert_eq!(started_again(&mut told).await, ["machine.starting", "machine.started"]);
    }
    stage.faults().crash(stage.id("web1"), "out of cheese");
    let last = event(&mut told, "machine.crashed").await;
    assert!(last.sentence.ends_with("It was started again 5 times, and is left alone now."), "{last:?}");
    assert_eq!(stage.state("web1"), "failed");
    // Somebody who starts it begins anew.
    stage.done(ANN, "web1: start").await;
    stage.faults().crash(stage.id("web1"), "again");
    assert!(event(&mut told, "machine.crashed").await.sentence.contains("try 1 of 5"));
}

#[tokio::test]
async fn a_try_that_fails_is_one_of_the_tries() {
    let stage = with_policy("always").await;
    let mut told = stage.agent.announcements();
    stage.faults().next_start(stage.id("web1"), StartFault::Fails("no room".into()));
    stage.faults().crash(stage.id("web1"), "late");
    tokio::time::pause();
    let failed = event(&mut told, "machine.start-failed").await;
    assert!(failed.sentence.ends_with("It is started again in 10 s (try 2 of 5)."), "{failed:?}");
    event(&mut told, "machine.started").await;
    tokio::time::resume();
    // A person who hears why it does not start is not overtaken by the policy.
    done(stage.yes(ANN, "web1: kill").await);
    stage.faults().next_start(stage.id("web1"), StartFault::Fails("no room".into()));
    stage.refused(ANN, "web1: start").await;
    assert_eq!(stage.agent.machine(&name("web1")).unwrap().sentence, "Failed: no room");
}

#[tokio::test]
async fn what_somebody_asked_for_is_not_undone() {
    let stage = with_policy("always").await;
    let mut told = stage.agent.announcements();
    stage.done(ANN, "web1: shutdown").await;
    stage.done(ANN, "web1: start").await;
    done(stage.yes(ANN, "web1: kill").await);
    assert_eq!(stage.agent.machine(&name("web1")).unwrap().sentence, "Off: its power was cut");
    stage.done(ANN, "web1: start").await;
    // Its guest's own doing is another thing.
    while told.try_recv().is_ok() {}
    assert!(stage.faults().halt(stage.id("web1")));
    let names = started_again(&mut told).await;
    assert_eq!(names, ["machine.stopped", "machine.starting", "machine.started"]);
    stage.done(ANN, "web1: define restart=on-failure").await;
    assert!(stage.faults().halt(stage.id("web1")));
    event(&mut told, "machine.stopped").await;
    assert_eq!(stage.agent.machine(&name("web1")).unwrap().sentence, "Off: the guest shut itself down");
}

#[tokio::test]
async fn who_wants_it_off_calls_the_next_try_off() {
    let stage = stage().await;
    for line in ["create web1 linux", "web1: define restart=always", "web1: start"] {
        stage.done(ANN, line).await;
    }
    // The clock runs: the try is seconds away, and none of this takes so long.
    let mut told = stage.agent.announcements();
    stage.faults().halt(stage.id("web1"));
    event(&mut told, "machine.stopped").await;
    stage.done(ANN, "web1: shutdown").await;
    assert_eq!(event(&mut told, "machine.restart-called-off").await.sentence, "web1 is not started again.");
    stage.done(ANN, "web1: start").await;
    stage.faults().crash(stage.id("web1"), "late");
    event(&mut told, "machine.crashed").await;
    stage.done(ANN, "web1: define restart=no").await;
    assert_eq!(stage.agent.machine(&name("web1")).unwrap().sentence, "Failed: late");
    stage.done(ANN, "web1: define restart=always").await;
    assert_eq!(stage.agent.machine(&name("web1")).unwrap().sentence, "Failed: late");
}

#[tokio::test]
async fn a_policy_holds_over_a_restart_of_the_agent() {
    let stage = stage().await;
    for machine in ["web1", "web2", "web3"] {
        for line in [format!("create {machine} linux"), format!("{machine}: start")] {
            stage.done(ANN, &line).await;
        }
    }
    stage.done(ANN, "web1: define restart=on-failure").await;
    stage.done(ANN, "web2: define restart=on-failure").await;
    // One crashes before the agent ends, one meanwhile, and one that has no policy.
    let mut told = stage.agent.announcements();
    stage.faults().crash(stage.id("web1"), "early");
    event(&mut told, "machine.crashed").await;
    let (faults, web2, web3) = (stage.faults(), stage.id("web2"), stage.id("web3"));
    stage.agent.close().await;
    assert!(faults.crash(web2, "alone") && faults.crash(web3, "alone"));
    let stage = stage.restart().await;
    let mut told = stage.agent.announcements();
    tokio::time::pause();
    for _ in ["web1", "web2"] {
        event(&mut told, "machine.started").await;
    }
    assert_eq!(["web1", "web2", "web3"].map(|name| stage.state(name)), ["running", "running", "failed"]);
}

/// As if the host had been started since: another boot is remembered than there is.
fn another_boot(folder: &Path) {
    let connection = rusqlite::Connection::open(folder.join("state/state.db")).unwrap();
    connection.execute("UPDATE facts SET value = 'another' WHERE name = 'boot'", []).unwrap();
}

#[tokio::test]
async fn what_starts_with_its_host_does_so_turn_by_turn() {
    let stage = stage().await;
    for (machine, define) in
        [("web1", ""), ("web2", "order=2"), ("web3", "order=1 delay=30s"), ("web4", "order=1")]
    {
        stage.done(ANN, &format!("create {machine} linux")).await;
        stage.done(ANN, &format!("{machine}: autostart on")).await;
        if !define.is_empty() {
            stage.done(ANN, &format!("{machine}: define {define}")).await;
        }
    }
    stage.agent.close().await;
    let (folder, world) = (stage.folder, stage.world);
    drop(stage.agent);
    another_boot(folder.path());
    // The first turn hangs for a moment, so that nothing of it is missed.
    world.faults().slow(std::time::Duration::from_millis(200));
    let agent = open(folder.path(), &world).await;
    let mut told = agent.announcements();
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let mut started = Vec::new();
    while started.len() < 4 {
        started.push(event(&mut told, "machine.started").await.machine.unwrap());
        if started.len() == 3 {
            assert!(began.elapsed().as_secs() >= 30, "the second turn waits");
        }
    }
    started[..2].sort();
    assert_eq!(started, ["web3", "web4", "web2", "web1"]);
}

#[tokio::test]
async fn what_cannot_be_waited_or_ordered_is_refused() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    for (word, field) in [("order=first", "order"), ("delay=2h", "delay"), ("delay=soon", "delay")] {
        let refusal = stage.refused(ANN, &format!("web1: define {word}")).await;
        assert_eq!(refusal.field.as_deref(), Some(field), "{refusal:?}");
    }
    let said = stage.done(ANN, "web1: define order=3 delay=1m restart=always").await;
    assert!(said.contains("turn when the host starts: last → 3, then 60 s"), "{said}");
    assert!(said.contains("restart: no → always"), "{said}");
    let said = stage.done(ANN, "web1: define order=last").await;
    assert!(said.contains("3, then 60 s → last, then 60 s"), "{said}");
}
