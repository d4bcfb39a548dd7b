//! Every command of the list: refused to a stranger, run by its own examples, answered once.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use hypervisor_core::definition::{Boot, Definition};
use skerry_agent::asked::{Answer, Door, Target};
use skerry_stanzas::{
    command::{COMMANDS, Declaration, Effect, Object, Role},
    refusal::Reason,
};
use stage::{ANN, EVE, OTTO, Stage, VERA, asked, done, jid, name, ovf, question, reason, stage};

/// The words of an example, asked of web1 or of the host.
fn line(object: Object, example: &str) -> String {
    if object == Object::Machine { format!("web1: {example}") } else { example.into() }
}

/// A host on which every example makes sense: web1 runs, oldbox is somebody else's.
async fn furnished() -> Stage {
    let stage = stage().await;
    let boot = Boot::Kernel { kernel: "/boot/vmlinuz".into(), initrd: None, cmdline: String::new() };
    let definition = Definition::new(1, 64, boot);
    stage.faults().foreign("oldbox", definition);
    stage.done(ANN, "create web1 linux --start").await;
    stage
}

#[tokio::test]
async fn a_stranger_is_refused_every_command_and_learns_nothing() {
    let stage = furnished().await;
    for declaration in COMMANDS {
        for (example, _) in declaration.examples {
            let here = stage.refused(EVE, &line(declaration.object, example)).await;
            assert_eq!(here.reason, Reason::NotAllowed, "{example}");
            if declaration.object == Object::Machine {
                let missing = stage.refused(EVE, &format!("nothere: {example}")).await;
                assert_eq!(missing, here, "{example}: the answer tells whether a machine exists");
            }
        }
    }
    let eve = jid(EVE).to_bare();
    assert!(!stage.agent.knows(&eve, &Target::Host));
    assert!(stage.agent.offered(&eve, &Target::Machine(name("web1"))).is_empty());
    assert_eq!(stage.agent.events_after(0, 100).await.len(), 3, "nothing happened");
}

#[tokio::test]
async fn a_refusal_comes_before_any_argument_is_read() {
    let stage = furnished().await;
    let mut nonsense = asked(VERA, "web1: start");
    nonsense.argv = vec!["--no-such-thing".into()];
    assert_eq!(reason(stage.agent.ask(nonsense.clone(), None).await), Reason::NotAllowed);
    nonsense.caller = jid(OTTO);
    assert_eq!(reason(stage.agent.ask(nonsense, None).await), Reason::BadRequest);
}

/// Puts web1 on a network, with a rule.
async fn ruled(stage: &Stage) {
    for line in ["network create lan", "web1: define nic=network=lan", "web1: firewall deny in"] {
        stage.done(ANN, line).await;
    }
}

/// Has devices called by names, for what is about them; web1 has one where it is to be taken from it.
async fn with_devices(stage: &Stage, verb: &str) {
    if !["device-unmap", "device-attach", "device-detach"].contains(&verb) {
        return;
    }
    for line in ["device map gpu 0000:01:00.0", "device map key 1050:0407"] {
        stage.done(ANN, line).await;
    }
    if verb == "device-detach" {
        stage.done(ANN, "web1: device attach key").await;
    }
}

/// Makes what an example speaks of. Says whether it can run on such a stage.
async fn prepared(stage: &Stage, declaration: &Declaration, example: &str) -> bool {
    match (declaration.verb, declaration.object) {
        // Nothing goes on for long enough here: agent/tests/images.rs calls something off.
        ("job-cancel", _) => return false,
        // Codes of requests are drawn: agent/tests/approval.rs has them.
        ("approve" | "reject" | "withdraw" | "break-glass", _) => return false,
        // Another host, or a catalogue: agent/tests/migration.rs, shares.rs and catalogue.rs have them.
        ("migrate" | "migrate-resolve" | "evacuate" | "image-pull" | "image-share", _) => return false,
        // A password is not said in a chat: agent/tests/guest.rs fills in its form.
        ("password", _) => {
            assert_eq!(reason(stage.ask(ANN, "web1: password root").await), Reason::BadRequest);
            return false;
        }
        ("alert-remove", object) => with_alerts(stage, object).await,
        ("network-info" | "network-define" | "network-delete", _) => {
            stage.done(ANN, "network create lan").await;
        }
        ("define", _) if example.contains("network=lan") => drop(stage.done(ANN, "network create lan").await),
        ("firewall-allow" | "firewall-deny" | "firewall-remove", _) => ruled(stage).await,
        ("file-read", _) => {
            stage.done(ANN, "web1: file write /etc/hostname web1").await;
            stage.done(ANN, "web1: file write /var/log/syslog quiet").await;
        }
        // What the fake driver writes is no disk that could be read: agent/tests/images.rs has real ones.
        ("export", _) => return false,
        // That folder is not on every host: agent/tests/storage.rs has one.
        ("disk-move", _) if example.contains("/srv/") => return false,
        ("disk-move", _) => drop(stage.done(ANN, "web1: disk create data 1G").await),
        ("snapshot-unschedule", _) => {
            stage.done(ANN, "web1: snapshot schedule nightly every=1d keep=7").await;
        }
        ("image-rename" | "image-delete" | "image-export", _) => {
            drop(stage.done(ANN, "image import debian.qcow2 debian-12").await);
        }
        ("image-publish", _) => {
            drop(stage.done(ANN, "image import debian.qcow2 debian-12").await);
            drop(stage.done(ANN, "create golden debian-12").await);
        }
        ("resume", _) => drop(stage.done(ANN, "web1: pause").await),
        ("delete" | "clone", _) => drop(stage.yes(ANN, "web1: kill").await),
        ("disk-attach" | "disk-delete", _) => {
            stage.done(ANN, "web1: disk create data 1G").await;
            stage.done(ANN, "web1: disk detach data").await;
        }
        ("disk-detach" | "disk-resize" | "disk-trim" | "snapshot-take", _) => {
            stage.done(ANN, "web1: disk create data 1G").await;
        }
        ("snapshot-revert" | "snapshot-delete", _) => {
            stage.done(ANN, "web1: disk create data 1G").await;
            stage.done(ANN, "web1: snapshot take before --memory").await;
        }
        ("release", _) => {
            stage.done(ANN, "web1: rename web9").await;
            let boot = Boot::Kernel { kernel: "/k".into(), initrd: None, cmdline: String::new() };
            stage.faults().foreign("web1", Definition::new(1, 64, boot));
            stage.done(ANN, "adopt web1").await;
        }
        ("create", _) => drop(stage.done(ANN, "web1: rename web9").await),
        ("undelete", _) => {
            done(stage.yes(ANN, "web1: kill").await);
            done(stage.yes(ANN, "web1: delete").await);
        }
        _ => {
            for_rights(stage, declaration, example).await;
            with_devices(stage, declaration.verb).await;
        }
    }
    true
}

/// Has three alerts.
async fn with_alerts(stage: &Stage, object: Object) {
    let of = if object == Object::Host { "" } else { "web1: " };
    for above in [70, 80, 90] {
        stage.done(ANN, &format!("{of}alert add cpu>{above}%")).await;
    }
}

/// The same for commands about rights.
async fn for_rights(stage: &Stage, declaration: &Declaration, example: &str) {
    match declaration.verb {
        "grant" if example.contains("web2") => drop(stage.done(ANN, "create web2 linux").await),
        "deny" => drop(stage.done(ANN, "create db1 linux").await),
        "revoke" => {
            for right in ["start", "shutdown", "kill"] {
                stage.done(ANN, &format!("grant {right} to otto@example.org")).await;
            }
        }
        "policy-add" => drop(stage.done(ANN, "create db1 linux").await),
        "policy-remove" => {
            stage.done(ANN, "policy add careful kill").await;
            stage.done(ANN, "grant admin to mia@example.org").await;
        }
        "quota-remove" => drop(stage.done(ANN, "quota set everyone machines=5").await),
        "role-delete" => drop(stage.done(ANN, "role define night start").await),
        "witness-remove" => drop(stage.done(ANN, "witness add audit@other.example").await),
        _ => {}
    }
}

#[tokio::test]
async fn every_example_runs() {
    for declaration in COMMANDS {
        for (example, _) in declaration.examples {
            let stage = furnished().await;
            stage.image("debian.qcow2");
            stage.put("web.ovf", ovf("debian.qcow2").as_bytes());
            if !prepared(&stage, declaration, example).await {
                continue;
            }
            let line = line(declaration.object, example);
            let answer = match declaration.effect {
                Effect::Destroy => stage.yes(ANN, &line).await,
                Effect::Read | Effect::Change => stage.ask(ANN, &line).await,
            };
            assert!(matches!(answer, Answer::Done { .. }), "{line}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn what_takes_something_away_is_asked_back_and_done_once() {
    let stage = furnished().await;
    let web1 = Target::Machine(name("web1"));
    let ask = stage.agent.ask(asked(OTTO, "web1: kill"), None).await;
    let code = question(ask).code;
    assert_eq!(stage.state("web1"), "running");
    let confirm = |who: &'static str, key: Option<&str>| {
        let (agent, target, code, key) =
            (stage.agent.clone(), web1.clone(), code.clone(), key.map(str::to_owned));
        async move { agent.confirm(&jid(who), &target, Some(&code), Door::Chat, key, None).await }
    };
    assert_eq!(reason(confirm(ANN, None).await), Reason::Lapsed, "somebody else's yes");
    assert!(done(confirm(OTTO, Some("k1")).await).contains("power was cut"));
    assert!(done(confirm(OTTO, Some("k1")).await).contains("power was cut"), "the first answer again");
    assert_eq!(reason(confirm(OTTO, Some("k2")).await), Reason::Lapsed);
    assert!(done(stage.ask(OTTO, "web1: kill").await).contains("already stopped"), "nothing to ask back");
    question(stage.ask(ANN, "web1: delete").await);
    assert!(stage.agent.decline(&jid(ANN), &web1, None));
    assert!(!stage.agent.decline(&jid(ANN), &web1, None));
}

#[tokio::test]
async fn a_protected_machine_is_spared() {
    let stage = furnished().await;
    stage.done(ANN, "web1: protect on").await;
    for verb in ["kill", "reset", "delete"] {
        let refusal = stage.refused(ANN, &format!("web1: {verb}")).await;
        assert!(refusal.text.contains("protected"), "{verb}: {refusal:?}");
    }
    let offered = stage.agent.offered(&jid(ANN).to_bare(), &Target::Machine(name("web1")));
    assert!(offered.iter().all(|declaration| declaration.verb != "kill"));
    stage.done(ANN, "web1: protect off").await;
    done(stage.yes(ANN, "web1: kill").await);
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_also_from_the_next_agent() {
    let stage = stage().await;
    let mut create = asked(ANN, "create web1 linux");
    create.key = Some("stanza-1".into());
    let first = stage.agent.ask(create.clone(), None);
    let second = stage.agent.ask(create.clone(), None);
    let (first, second) = futures::join!(first, second);
    assert_eq!(done(first), done(second), "the second waits for the first");
    let events = stage.agent.events_after(0, 10).await.len();
    let stage = stage.restart().await;
    assert!(done(stage.agent.ask(create.clone(), None).await).contains("web1 was created"));
    assert_eq!(stage.agent.events_after(0, 10).await.len(), events, "nothing ran twice");
    create.key = Some("stanza-2".into());
    assert_eq!(reason(stage.agent.ask(create, None).await), Reason::Conflict);
}

#[tokio::test]
async fn what_is_offered_fits_role_state_and_driver() {
    let stage = furnished().await;
    let verbs = |who: &str| -> Vec<&str> {
        let offered = stage.agent.offered(&jid(who).to_bare(), &Target::Machine(name("web1")));
        offered.iter().map(|declaration| declaration.verb).collect()
    };
    let looks = ["status", "stats", "graph", "alert-add", "alert-list", "alert-remove", "log", "console"];
    let screens = ["screenshot", "watch", "vnc"];
    let storage = ["disk-list", "snapshot-list", "snapshot-tree", "snapshot-schedules"];
    assert_eq!(verbs(VERA), [&looks[..], &screens, &storage, &["nic-list", "firewall-list"]].concat());
    let running = verbs(OTTO);
    assert!(running.contains(&"shutdown") && running.contains(&"pause") && !running.contains(&"start"));
    assert!(!running.contains(&"resume") && !running.contains(&"define"));
    stage.done(OTTO, "web1: shutdown").await;
    let stopped = verbs(ANN);
    assert!(stopped.contains(&"start") && stopped.contains(&"delete") && !stopped.contains(&"shutdown"));
    assert!(running.contains(&"type") && !stopped.contains(&"type") && !stopped.contains(&"screenshot"));
    for declaration in stage.agent.offered(&jid(OTTO).to_bare(), &Target::Host) {
        assert!(declaration.role <= Role::Operator && declaration.object == Object::Host);
    }
}

#[tokio::test]
async fn a_deleted_machine_comes_back_or_makes_room() {
    let stage = furnished().await;
    done(stage.yes(ANN, "web1: kill").await);
    done(stage.yes(ANN, "web1: delete").await);
    assert_eq!(stage.refused(ANN, "web1: start").await.reason, Reason::NotFound);
    assert!(stage.done(OTTO, "trash").await.contains("web1"));
    stage.done(ANN, "create web1 linux").await;
    let refusal = stage.refused(ANN, "undelete web1").await;
    assert!(refusal.sentence().contains("rename"), "{refusal:?}");
    stage.done(ANN, "web1: rename web2").await;
    stage.done(ANN, "undelete web1").await;
    assert_eq!(stage.done(OTTO, "web1: start").await, "web1 is running.");
    let log = stage.done(ANN, "web1: log").await;
    assert!(log.contains("create, ann") && log.contains("delete, ann"), "{log}");
}

#[tokio::test]
async fn the_console_answers_what_is_typed() {
    let stage = furnished().await;
    let text = stage.done(OTTO, "web1: send hello there").await;
    assert!(text.contains("hello there"), "{text}");
    assert!(stage.done(OTTO, "web1: console").await.contains("hello there"));
    stage.done(OTTO, "web1: shutdown").await;
    assert_eq!(stage.refused(OTTO, "web1: send hello").await.reason, Reason::Conflict);
}
