//! Machines move between two agents, as people ask for it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod pair;
mod stage;

use std::{sync::atomic::Ordering, time::Duration};

use pair::{Host, until};
use skerry_agent::{
    agent::Agent,
    asked::{Answer, Asked, Door},
};
use stage::{ANN, VERA, asked, done, jid, name, refused};

async fn ask(agent: &Agent, who: &str, line: &str) -> Answer {
    let (hears, _) = tokio::sync::mpsc::channel(1);
    let asked = asked(who, line);
    let target = asked.target.clone();
    match agent.ask(asked, Some(hears)).await {
        Answer::Confirm(question) => {
            agent.confirm(&jid(who), &target, Some(&question.code), Door::Chat, None, None).await
        }
        answer => answer,
    }
}

async fn say(host: &Host, line: &str) -> String {
    done(ask(&host.agent, ANN, line).await)
}

async fn two() -> (tempfile::TempDir, Host, Host) {
    let place = tempfile::tempdir().unwrap();
    let (one, two) = (Host::open(place.path(), "kvm1").await, Host::open(place.path(), "kvm2").await);
    (place, one, two)
}

async fn with_machine(more: &[&str]) -> (tempfile::TempDir, Host, Host) {
    let (place, one, two) = two().await;
    say(&one, "create web1 linux").await;
    for line in more {
        say(&one, line).await;
    }
    (place, one, two)
}

/// The machine is on this host alone, and so are its files.
fn on(here: &Host, gone: &Host, state: &str) {
    assert_eq!(here.state("web1").as_deref(), Some(state));
    assert_eq!(gone.state("web1"), None);
    assert_eq!(gone.lives(), Vec::<String>::new());
    assert_eq!((here.folders(), gone.folders()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_the_host_stay_there_and_others_of_their_names_take_their_place() {
    let lines = ["device map key 1050:0407", "web1: device attach key", "web1: start"];
    let (_place, one, two) = with_machine(&lines).await;
    for line in ["web1: migrate kvm2 --dry-run", "web1: migrate kvm2"] {
        let refused = refused(ask(&one.agent, ANN, line).await);
        assert!(
            refused.text.contains("has the device key of its host: it can move when it is off"),
            "{refused:?}"
        );
    }
    say(&one, "web1: shutdown").await;
    let missing = refused(ask(&one.agent, ANN, "web1: migrate kvm2").await);
    assert!(missing.text.contains("it calls no device key"), "{missing:?}");
    say(&two, "device map key 0403:6001").await;
    say(&one, "web1: migrate kvm2").await;
    on(&two, &one, "stopped");
    say(&two, "web1: start").await;
    assert!(
        say(&two, "device list")
            .await
            .contains("- key: usb 1-3, FTDI FT232R USB UART (0403:6001); for web1; web1 has it")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_machine_moves_with_all_that_is_its_own() {
    let lines = ["web1: disk create data 16M", "web1: label --add blue", "web1: autostart on", "web1: start"];
    let (_place, one, two) = with_machine(&lines).await;
    let planned = say(&one, "web1: migrate kvm2 --dry-run").await;
    assert!(planned.contains("can move to kvm2.example.org: its disk data is copied"), "{planned}");
    assert!(planned.contains("web1@kvm2.example.org"), "{planned}");
    on(&one, &two, "running");

    let id = one.agent.machine(&name("web1")).unwrap().id;
    let moved = say(&one, "web1: migrate kvm2").await;
    assert!(moved.starts_with("web1 is on kvm2.example.org now, and stood still for"), "{moved}");
    on(&two, &one, "running");
    assert_eq!(two.lives(), ["\"running\""]);
    let seen = two.agent.machine(&name("web1")).unwrap();
    assert_eq!((seen.id, seen.labels), (id, vec!["blue".to_owned()]));
    let history = say(&two, "web1: definition list").await;
    assert!(history.contains("created"), "{history}");
    let disks = say(&two, "web1: disk list").await;
    assert!(disks.contains("data"), "{disks}");
    // Where it was it says where it is; in the trash there is nothing of it.
    let address = one.agent.moved_away(&name("web1")).unwrap();
    assert_eq!(address.as_str(), "web1@kvm2.example.org");
    assert!(say(&one, "trash").await.contains("empty"));
    let told = one.agent.events_after(0, 100).await;
    assert!(told.iter().any(|event| event.what == "machine.moved"), "{told:?}");
    let told = two.agent.events_after(0, 100).await;
    assert!(told.iter().any(|event| event.what == "machine.arrived"), "{told:?}");

    // And back again: what was said of it is said no more.
    say(&two, "web1: migrate kvm1").await;
    on(&one, &two, "running");
    assert_eq!(one.agent.moved_away(&name("web1")), None);
    say(&one, "web1: shutdown").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_off_or_paused_stays_so() {
    let (_place, one, two) = with_machine(&["web1: disk create data 16M"]).await;
    say(&one, "web1: migrate kvm2").await;
    on(&two, &one, "stopped");
    say(&two, "web1: start").await;
    say(&two, "web1: pause").await;
    say(&two, "web1: migrate kvm1").await;
    on(&one, &two, "paused");
    say(&one, "web1: resume").await;
    on(&one, &two, "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_against_it_is_said_and_nothing_happens() {
    let (_place, one, two) = with_machine(&["web1: start"]).await;
    let stranger = refused(ask(&one.agent, ANN, "web1: migrate kvm9").await);
    assert!(stranger.text.contains("is no host that machines move to"), "{stranger:?}");
    refused(ask(&one.agent, VERA, "web1: migrate kvm2").await);
    say(&two, "create web1 linux").await;
    let taken = refused(ask(&one.agent, ANN, "web1: migrate kvm2").await);
    assert!(taken.text.contains("There is a machine web1 already"), "{taken:?}");
    say(&two, "web1: rename web2").await;
    say(&one, "web1: disk create data 16M").await;
    say(&one, "web1: snapshot take before").await;
    let kept = refused(ask(&one.agent, ANN, "web1: migrate kvm2").await);
    assert!(kept.text.contains("snapshots, which would not go along"), "{kept:?}");
    say(&one, "web1: snapshot delete before").await;
    say(&one, "web1: snapshot take before --external").await;
    let kept = refused(ask(&one.agent, ANN, "web1: migrate kvm2").await);
    assert!(kept.text.contains("external snapshots, which would not go along"), "{kept:?}");
    say(&one, "web1: snapshot delete before").await;
    let insists = refused(ask(&one.agent, ANN, "web1: migrate kvm2 storage=shared").await);
    assert!(insists.text.contains("is not shared"), "{insists:?}");
    two.link.store(false, Ordering::SeqCst);
    let silent = refused(ask(&one.agent, ANN, "web1: migrate kvm2").await);
    assert!(silent.text.contains("does not answer"), "{silent:?}");
    assert_eq!((one.state("web1").as_deref(), one.lives().len()), (Some("running"), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_has_to_be_there_and_an_address_goes_along_where_it_can() {
    let lines = ["network create lan", "web1: define nic=network=lan", "web1: start"];
    let (_place, one, two) = with_machine(&lines).await;
    for line in ["web1: migrate kvm2 --dry-run", "web1: migrate kvm2"] {
        let missing = refused(ask(&one.agent, ANN, line).await);
        assert!(
            missing.text.contains("it has no network lan (\"network create lan\" there makes one)"),
            "{missing:?}"
        );
    }
    on(&one, &two, "running");
    let addresses = async |host: &Host| say(host, "network info lan").await;
    // Somebody is on it, who has the address.
    say(&two, "network create lan").await;
    say(&two, "create other linux").await;
    say(&two, "other: define nic=network=lan,address=10.20.0.2").await;
    // Networks are made in their own time: only what was made is had.
    let is_made = async {
        let taken = "Its address 10.20.0.2 on the network lan is another's there";
        while !say(&one, "web1: migrate kvm2 --dry-run").await.contains(taken) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_made)
        .await
        .expect("its address is seen to be another's");
    say(&two, "other: define nic=network=lan,address=10.20.0.9").await;
    // The first that is free is not what it had.
    say(&one, "web1: define nic=network=lan,address=10.20.0.5").await;
    let is_made = async {
        while !addresses(&one).await.contains("10.20.0.5") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_made).await.expect("it gets the address");
    say(&one, "web1: define nic=network=lan").await;
    let had = addresses(&one).await;
    let is_free = async {
        while say(&one, "web1: migrate kvm2 --dry-run").await.contains("another's") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_free).await.expect("its address is nobody's there");
    say(&one, "web1: migrate kvm2").await;
    assert_eq!(two.state("web1").as_deref(), Some("running"));
    let here = addresses(&two).await;
    let of_web1 = |said: &str| said.lines().find(|line| line.contains("web1")).unwrap().to_owned();
    assert_eq!(of_web1(&had), of_web1(&here), "its guest goes on with the address it had");
    assert!(!addresses(&one).await.contains("web1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_a_folder_of_its_host_moves_when_it_is_off_to_where_that_is() {
    let (place, one, two) = with_machine(&[]).await;
    let folder = place.path().join("shared/src");
    std::fs::create_dir(&folder).unwrap();
    let shown = say(&one, "web1: define").await;
    let shown = shown.split("```").nth(1).unwrap().trim().to_owned();
    let share = format!("{shown}\n[[shares]]\nname = \"src\"\npath = {:?}\n", folder.display().to_string());
    let define =
        Asked { argv: vec![format!("--toml={share}")], door: Door::Adhoc, ..asked(ANN, "web1: define") };
    done(one.agent.ask(define, None).await);
    say(&one, "web1: start").await;
    let open = refused(ask(&one.agent, ANN, "web1: migrate kvm2 --dry-run").await);
    assert!(
        open.text.contains("has the folder src of its host open: it can move when it is off"),
        "{open:?}"
    );
    say(&one, "web1: shutdown").await;
    std::fs::remove_dir(&folder).unwrap();
    let missing = refused(ask(&one.agent, ANN, "web1: migrate kvm2").await);
    assert!(missing.text.contains("which the machine shares as src"), "{missing:?}");
    std::fs::create_dir(&folder).unwrap();
    say(&one, "web1: migrate kvm2").await;
    on(&two, &one, "stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_both_hosts_have_is_not_copied() {
    let (place, one, two) = with_machine(&["web1: disk create data 16M", "web1: disk detach data"]).await;
    let id = one.agent.machine(&name("web1")).unwrap().id;
    let shared = place.path().join("shared/data.qcow2");
    std::fs::rename(one.folder.join(format!("state/machines/{id}/disks/data.qcow2")), &shared).unwrap();
    say(&one, &format!("web1: disk attach {} --name data", shared.display())).await;
    say(&one, "web1: start").await;
    let moved = say(&one, "web1: migrate kvm2").await;
    on(&two, &one, "running");
    assert!(shared.exists(), "{moved}");
    assert!(say(&two, "web1: disk list").await.contains("data"));
    let signs = std::fs::read_dir(place.path().join("shared")).unwrap().count();
    assert_eq!(signs, 1, "what was put beside it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_breaks_off_or_is_called_off_runs_on_and_leaves_nothing() {
    let lines = ["web1: define cmdline=fake.move=breaks", "web1: start"];
    let (_place, one, two) = with_machine(&lines).await;
    let broke = refused(ask(&one.agent, ANN, "web1: migrate kvm2").await);
    assert!(broke.text.contains("was not moved: its command line says so"), "{broke:?}");
    until("the other host has let go of it", || two.folders() == 0).await;
    on(&one, &two, "running");
    assert_eq!(one.lives(), ["\"running\""]);

    say(&one, "web1: shutdown").await;
    say(&one, "web1: define cmdline=fake.move=1h").await;
    say(&one, "web1: start").await;
    let agent = one.agent.clone();
    let moving = tokio::spawn(async move { ask(&agent, ANN, "web1: migrate kvm2").await });
    until("it moves", || one.state("web1").as_deref() == Some("migrating")).await;
    // It is in nobody's way, and nobody in its.
    refused(ask(&one.agent, ANN, "web1: shutdown").await);
    refused(ask(&one.agent, ANN, "web1: rename web2").await);
    let Answer::Done { json, .. } = ask(&one.agent, ANN, "job list").await else { panic!("no list") };
    let job = json["jobs"][0]["id"].as_str().unwrap().to_owned();
    until("it can be called off", || two.folders() == 1).await;
    let off = ask(&one.agent, ANN, &format!("job cancel {job}")).await;
    assert!(matches!(off, Answer::Done { .. }), "{off:?}");
    let called_off = refused(moving.await.unwrap());
    assert!(called_off.text.contains("was cancelled"), "{called_off:?}");
    until("the other host has let go of it", || two.folders() == 0).await;
    on(&one, &two, "running");
    assert_eq!(one.lives(), ["\"running\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_evacuated_by_a_plan_that_is_shown_first() {
    let (_place, one, two) = with_machine(&["web1: start", "create web2 linux", "create web3 linux"]).await;
    say(&two, "create web3 linux").await;
    let question = stage::question(one.agent.ask(asked(ANN, "evacuate"), None).await);
    for part in ["web1 to kvm2.example.org.", "web2 to kvm2.example.org.", "web3 stays: "] {
        assert!(question.sentence.contains(part), "{}", question.sentence);
    }
    // As each move would need the consent of others, so does it.
    say(&one, "policy add careful migrate on web1").await;
    let alone = refused(ask(&one.agent, ANN, "evacuate").await);
    assert!(alone.text.contains("there are not so many besides you"), "{alone:?}");
    say(&one, "grant admin to mia@example.org").await;
    let asked_of_her = say(&one, "policy remove careful").await;
    let code = asked_of_her.split('(').nth(1).unwrap().split(')').next().unwrap();
    let mut heard = one.agent.announcements();
    done(ask(&one.agent, "mia@example.org/tab", &format!("approve {code}")).await);
    stage::event(&mut heard, "host.policy-removed").await;
    let said = say(&one, "evacuate").await;
    for part in ["web1 is on kvm2.example.org now.", "web2 is on kvm2.example.org now.", "web3 stayed: "] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!((one.folders(), two.folders()), (1, 3));
    assert_eq!(two.state("web1").as_deref(), Some("running"));
}

/// What is granted on a host, a sentence each, without who made it when.
async fn granted(host: &Host) -> Vec<String> {
    let list = say(host, "grant list").await;
    let lines = list.lines().filter(|line| line.starts_with("- ")).filter_map(|line| line.split_once(": "));
    lines.map(|(_, line)| line.split(" (by ").next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_on_it_go_along_and_no_others() {
    const EVE: &str = "eve@elsewhere.org/x";
    let lines = [
        "create db1 linux",
        "web1: label lab",
        "role define night start shutdown",
        "grant night to eve@elsewhere.org on web1, db1 until 2099-01-01 12:00 because she moves it",
        "grant power to mia@elsewhere.org on label:lab",
        "grant viewer to elsewhere.org on all",
        "deny start to nobody@elsewhere.org on web1",
        // Nothing can be forbidden to an admin of the other host, whoever may be forbidden things here.
        "deny log to vera@example.org on web1",
    ];
    let (_place, one, two) = with_machine(&lines).await;
    // The other host has another role of that name, and something of its own.
    say(&two, "role define night kill").await;
    say(&two, "grant snapshot to otto@example.org on all").await;
    say(&one, "web1: migrate kvm2").await;
    let here = granted(&two).await;
    assert_eq!(
        here,
        [
            "otto@example.org has snapshot on all",
            "eve@elsewhere.org has machine.shutdown, machine.start on web1 until 2099-01-01 12:00 UTC \
             because \"she moves it\"",
            "nobody@elsewhere.org is denied machine.start on web1",
            "vera@example.org is denied machine.log on web1",
        ]
    );
    assert_eq!(
        granted(&one).await,
        [
            "eve@elsewhere.org has night on db1 until 2099-01-01 12:00 UTC because \"she moves it\"",
            "mia@elsewhere.org has power on label:lab",
            "elsewhere.org has viewer on all",
        ]
    );
    let verdict = say(&two, "may eve@elsewhere.org start web1").await;
    assert!(verdict.contains("grant 2 by ann@example.org (from kvm1.example.org) gives"), "{verdict}");
    done(ask(&two.agent, EVE, "web1: start").await);
    refused(ask(&two.agent, EVE, "web1: kill").await);
    // A viewer of this host's configuration stays one, whatever was forbidden elsewhere.
    done(ask(&two.agent, VERA, "web1: log").await);
    // Who had a right on it hears where it went, and nobody else.
    let went = refused(ask(&one.agent, EVE, "web1: start").await);
    assert!(went.text.contains("web1@kvm2.example.org"), "{went:?}");
    let stranger = refused(ask(&one.agent, "sam@nowhere.org/x", "web1: start").await);
    assert!(!stranger.text.contains("kvm2"), "{stranger:?}");
    // Back again, they are what they were, once.
    say(&two, "web1: migrate kvm1").await;
    assert_eq!(granted(&two).await, ["otto@example.org has snapshot on all"]);
    let back = granted(&one).await;
    assert_eq!(back.iter().filter(|line| line.contains("on web1")).count(), 3, "{back:?}");
    done(ask(&one.agent, EVE, "web1: shutdown").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_while_it_moves_does_not_come_along() {
    let lines = [
        "web1: start",
        "grant power to eve@elsewhere.org on web1",
        "grant power to mia@elsewhere.org on web1",
    ];
    let (_place, one, two) = with_machine(&lines).await;
    // It has all of it, and cannot say so.
    two.loses(Some("ready"));
    let agent = one.agent.clone();
    let moving = tokio::spawn(async move { ask(&agent, ANN, "web1: migrate kvm2").await });
    until("the other host has all of it", || two.state("web1").is_some()).await;
    refused(ask(&two.agent, "mia@elsewhere.org/x", "web1: status").await);
    let early = refused(ask(&two.agent, ANN, "grant power to sam@elsewhere.org on web1").await);
    assert!(early.text.contains("it is being moved"), "{early:?}");
    say(&one, "revoke 1").await;
    say(&one, "grant viewer to sam@elsewhere.org on web1").await;
    two.loses(None);
    done(moving.await.unwrap());
    assert_eq!(
        granted(&two).await,
        ["mia@elsewhere.org has power on web1", "sam@elsewhere.org has viewer on web1"]
    );
    assert!(granted(&one).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_made_it_may_have_it_there_as_well() {
    let (_place, one, two) = with_machine(&[]).await;
    say(&two, "create db1 linux").await;
    say(&two, "quota set ann@example.org machines=1").await;
    let no = refused(ask(&one.agent, ANN, "web1: migrate kvm2").await);
    assert!(no.text.contains("1 of 1 machine, none left"), "{no:?}");
    say(&two, "quota set ann@example.org machines=2").await;
    say(&one, "web1: migrate kvm2").await;
    let list = say(&two, "quota list").await;
    assert!(list.contains("ann@example.org has 2 of 2 machines"), "{list}");
}
