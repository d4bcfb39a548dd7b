//! The life of machines, from the outside: what is asked, answered, announced and remembered.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use skerry_agent::agent::Announcement;
use skerry_stanzas::refusal::Reason;
use stage::{ANN, OTTO, event, name, stage};

#[tokio::test]
async fn a_machine_is_created_started_shut_down_and_listed() {
    let stage = stage().await;
    let text = stage.done(ANN, "create web1 linux").await;
    assert!(text.contains("web1 was created"), "{text}");
    assert_eq!(stage.done(OTTO, "web1: start").await, "web1 is running.");
    assert_eq!(stage.done(OTTO, "web1: start").await, "web1 was already running.");
    assert!(stage.done(OTTO, "list").await.contains("web1"));
    assert!(stage.done(OTTO, "web1: status").await.contains("unning"));
    assert_eq!(stage.done(OTTO, "web1: shutdown").await, "web1 has shut down.");
    assert_eq!(stage.done(OTTO, "web1: shutdown").await, "web1 was already stopped.");
    assert_eq!(stage.done(ANN, "create web2 linux --start").await, "web2 was created, and is running.");
}

#[tokio::test]
async fn machines_are_listed_in_the_order_people_count() {
    let stage = stage().await;
    for name in ["web10", "web2", "db", "web1"] {
        stage.done(ANN, &format!("create {name} linux")).await;
    }
    let seen = stage.agent.machines().into_iter().map(|seen| seen.name.to_string());
    assert_eq!(seen.collect::<Vec<_>>(), ["db", "web1", "web2", "web10"]);
    stage.done(ANN, "web2: rename web02").await;
    let text = stage.done(ANN, "list").await;
    let at = |name: &str| text.find(name).unwrap();
    assert!(at("web1") < at("web02") && at("web02") < at("web10"), "{text}");
}

#[tokio::test]
async fn every_state_is_stored_before_it_is_told_and_generations_grow_by_one() {
    let stage = stage().await;
    let mut told = stage.agent.announcements();
    stage.done(ANN, "create web1 linux --start").await;
    stage.done(ANN, "web1: pause").await;
    stage.done(ANN, "web1: resume").await;
    let (mut generation, mut sequence, mut states) = (0, 0, Vec::new());
    while let Ok(one) = told.try_recv() {
        match one {
            Announcement::Machine { seen, new, .. } => {
                assert_eq!(seen.generation, generation + 1);
                assert_eq!(new, generation == 0);
                generation = seen.generation;
                states.push(seen.state.word());
            }
            Announcement::Event(event) => {
                assert_eq!(event.sequence, sequence + 1);
                sequence = event.sequence;
            }
            Announcement::Gone { .. } => panic!("nothing went"),
            Announcement::Rights => panic!("nobody's rights changed"),
        }
    }
    assert_eq!(states, ["stopped", "starting", "running", "paused", "running"]);
    let kept = stage.agent.events_after(0, 100).await;
    assert_eq!(kept.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(stage.agent.events_after(3, 1).await[0].what, "machine.paused");
}

#[tokio::test]
async fn a_deaf_guest_runs_on_after_the_wait_and_the_hint_is_kill() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux --start").await;
    stage.faults().deaf(stage.id("web1"), true);
    let refusal = stage.refused(OTTO, "web1: shutdown wait=20ms").await;
    assert_eq!(refusal.reason, Reason::Unavailable);
    assert!(
        refusal.sentence().contains("it runs on") && refusal.sentence().contains("kill web1"),
        "{refusal:?}"
    );
    assert_eq!(stage.state("web1"), "running");
}

#[tokio::test]
async fn a_crash_of_a_guest_is_told_and_another_start_works() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux --start").await;
    let mut told = stage.agent.announcements();
    assert!(stage.faults().crash(stage.id("web1"), "out of cheese"));
    let event = event(&mut told, "machine.crashed").await;
    assert!(event.sentence.contains("out of cheese"), "{event:?}");
    assert_eq!(stage.state("web1"), "failed");
    assert_eq!(stage.done(OTTO, "web1: start").await, "web1 is running.");
}

#[tokio::test]
async fn a_kill_gets_through_while_a_start_hangs() {
    use hypervisor_core::driver::fake::StartFault;
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    stage.faults().next_start(stage.id("web1"), StartFault::Hangs);
    let mut told = stage.agent.announcements();
    let agent = stage.agent.clone();
    let start = tokio::spawn(async move { agent.ask(stage::asked(OTTO, "web1: start"), None).await });
    event(&mut told, "machine.starting").await;
    stage::done(stage.yes(OTTO, "web1: kill").await);
    assert_eq!(stage::reason(start.await.unwrap()), Reason::Conflict);
    assert_eq!(stage.state("web1"), "stopped");
}

#[tokio::test]
async fn guests_outlive_the_agent_and_are_taken_as_they_are() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux --start").await;
    stage.done(ANN, "create web2 linux --start").await;
    stage.done(ANN, "create web3 linux").await;
    let (id, faults) = (stage.id("web2"), stage.faults());
    stage.agent.close().await;
    assert!(faults.halt(id), "it ran on without the agent");
    let stage = stage.restart().await;
    assert_eq!(["web1", "web2", "web3"].map(|name| stage.state(name)), ["running", "stopped", "stopped"]);
    assert_eq!(stage.done(ANN, "web1: start").await, "web1 was already running.");
    let mut told = stage.agent.announcements();
    stage.faults().crash(stage.id("web1"), "late");
    event(&mut told, "machine.crashed").await;
}

#[tokio::test]
async fn names_that_are_taken_or_look_alike_are_refused_and_rename_moves_the_address() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    assert_eq!(stage.refused(ANN, "create web1 linux").await.field.as_deref(), Some("name"));
    // A Cyrillic е.
    let alike = stage.refused(ANN, "create wеb1 linux").await;
    assert!(alike.text.contains("looks like web1"), "{alike:?}");
    let mut told = stage.agent.announcements();
    let text = stage.done(ANN, "web1: rename web2").await;
    assert!(text.contains("web2@kvm1.example.org"), "{text}");
    let Announcement::Machine { renamed_from, seen, .. } = told.recv().await.unwrap() else { panic!() };
    assert_eq!((renamed_from, seen.name), (Some(name("web1")), name("web2")));
    assert!(stage.agent.machine(&name("web1")).is_none());
    stage.done(ANN, "create web1 linux").await;
    assert_eq!(stage.refused(ANN, "web2: rename web1").await.reason, Reason::Conflict);
    let near = stage.refused(ANN, "web3: start").await;
    assert_eq!(near.reason, Reason::NotFound);
    assert!(near.hint.unwrap().contains("Did you mean web"));
}

#[tokio::test]
async fn names_that_an_address_writes_otherwise_are_refused_on_both_links() {
    use hypervisor_core::driver::fake::{Fake, FakeWorld};
    use skerry_agent::{agent::Agent, config::LinkKind};
    for kind in [LinkKind::Component, LinkKind::Single] {
        let (folder, world) = (tempfile::tempdir().unwrap(), FakeWorld::new());
        let mut config = stage::config(folder.path());
        if kind == LinkKind::Single {
            config.link.jid = stage::jid("kvm1@example.org").to_bare();
        }
        config.link.kind = kind;
        let agent = Agent::open(config, vec![std::sync::Arc::new(Fake::on(&world))]).await.unwrap();
        let stage = stage::Stage { agent, world, folder };
        stage.done(ANN, "create web1 linux").await;
        for (odd, taken) in [("größer", "grösser"), ("Web2", "web2"), ("Ⅷ", "viii"), ("ⅷ", "viii")] {
            for line in [format!("create {odd} linux"), format!("web1: rename {odd}")] {
                let refusal = stage.refused(ANN, &line).await;
                assert_eq!(refusal.reason, Reason::BadRequest, "{line}");
                assert!(refusal.hint.as_ref().unwrap().contains(taken), "{line}: {refusal:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_disk_image_that_is_gone_makes_no_machine_and_leaves_no_folder() {
    let stage = stage().await;
    let disk = stage.folder.path().join("gone.qcow2");
    std::fs::write(&disk, "").unwrap();
    let mut config = skerry_agent::config::Config::clone(&stage.agent.config());
    let image = skerry_agent::config::Image { disk: Some(disk.clone()), ..Default::default() };
    config.images.insert("gone".into(), image);
    assert!(stage.agent.reload(config).unwrap().is_empty());
    std::fs::remove_file(&disk).unwrap();
    let refusal = stage.refused(ANN, "create web1 gone").await;
    assert!(refusal.text.contains("web1 could not be created"), "{refusal:?}");
    assert!(stage.agent.machines().is_empty());
    assert_eq!(std::fs::read_dir(stage.folder.path().join("state/machines")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_guest_that_reboots_in_a_loop_does_not_flood_the_log() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux --start").await;
    let mut told = stage.agent.announcements();
    for _ in 0..1000 {
        assert!(stage.faults().reboot(stage.id("web1")));
        tokio::task::yield_now().await;
    }
    // What it is asked for is told, however often it rebooted by itself.
    stage.done(OTTO, "web1: reboot").await;
    stage.done(OTTO, "web1: pause").await;
    event(&mut told, "machine.paused").await;
    let events = stage.agent.events_after(0, 10_000).await;
    let unasked =
        |event: &&skerry_agent::agent::Event| event.what == "machine.rebooted" && event.by.is_none();
    let unasked = events.iter().filter(unasked).count();
    assert!((1..=5).contains(&unasked), "{unasked} of a thousand were told");
    let asked = |event: &skerry_agent::agent::Event| event.what == "machine.rebooted" && event.by.is_some();
    assert!(events.iter().any(asked), "{events:?}");
}
