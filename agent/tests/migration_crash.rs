//! Either of two agents is killed at each step of a move; the next one and the other settle it: the machine is
//! on one host, runs there, and nothing of it is left on the other. It never runs on both.
//!
//! The dying agent is this test's own binary, run again as [`the_one_that_dies`].
#![allow(clippy::unwrap_used, clippy::panic)]

mod pair;
mod stage;

use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use pair::{Host, lives, until};
use skerry_agent::{
    agent::Agent,
    asked::{Answer, Door},
    crash,
};
use stage::{ANN, asked, done, jid, refused};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

const PLACE: &str = "SKERRY_TEST_PLACE";
const NAME: &str = "SKERRY_TEST_NAME";
const LINE: &str = "SKERRY_TEST_LINE";
/// What the one that dies prints when it can be reached.
const LISTENS: &str = "it listens";
/// How long one that says its last word may take to die after it.
const LAST_WORD: Duration = Duration::from_millis(300);
const MOVE: &str = "web1: migrate kvm2";

async fn ask(agent: &Agent, line: &str) -> Answer {
    let (hears, _) = tokio::sync::mpsc::channel(1);
    agent.ask(asked(ANN, line), Some(hears)).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the others, to die"]
async fn the_one_that_dies() {
    let (Ok(place), Ok(name)) = (std::env::var(PLACE), std::env::var(NAME)) else { return };
    let host = Host::open(Path::new(&place), &name).await;
    println!("{LISTENS}");
    match std::env::var(LINE) {
        Ok(line) if !line.is_empty() => drop(ask(&host.agent, &line).await),
        _ => std::future::pending().await,
    }
    host.close().await;
}

fn dying(place: &Path, name: &str, line: &str, step: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_one_that_dies", "--ignored", "--nocapture"])
        .envs([(PLACE, place.as_os_str()), (NAME, name.as_ref()), (LINE, line.as_ref())])
        .env(crash::VARIABLE, step)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// How much is granted on a host.
async fn granted(agent: &Agent) -> usize {
    let Answer::Done { json, .. } = ask(agent, "grant list").await else { panic!("no list") };
    json["grants"].as_array().unwrap().len()
}

/// Waits until it can be reached.
async fn listens(child: &mut Child) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = async {
        // The harness has not ended its own line.
        while !lines.next_line().await.unwrap().expect("it lives").ends_with(LISTENS) {}
        // What it prints from now on is read, and let be.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    };
    tokio::time::timeout(Duration::from_secs(60), said).await.expect("it listens");
}

/// Looks all the time whether both run it.
fn watched(place: &Path) -> (Arc<AtomicBool>, tokio::task::JoinHandle<()>) {
    let (place, on) = (place.to_owned(), Arc::new(AtomicBool::new(true)));
    let look = Arc::clone(&on);
    let watch = tokio::spawn(async move {
        while look.load(Ordering::SeqCst) {
            // Of the two the source is looked at last: what has begun to run there meanwhile is seen.
            let runs = |name: &str| lives(&place.join(name)).iter().any(|life| life == "\"running\"");
            let (two, one) = (runs("kvm2"), runs("kvm1"));
            assert!(!(one && two), "both run it");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    (on, watch)
}

async fn prepared(place: &Path, started: bool) {
    let (one, two) = (Host::open(place, "kvm1").await, Host::open(place, "kvm2").await);
    for line in
        ["create web1 linux", "web1: disk create data 16M", "grant power to eve@elsewhere.org on web1"]
    {
        done(ask(&one.agent, line).await);
    }
    if started {
        done(ask(&one.agent, "web1: start").await);
    }
    one.close().await;
    two.close().await;
}

/// One of them dies at this step; true if it passed it.
async fn dies(dying_one: &str, step: &str, started: bool) -> bool {
    let place = tempfile::tempdir().unwrap();
    prepared(place.path(), started).await;
    let (on, watch) = watched(place.path());
    let (source_dies, other) = (dying_one == "kvm1", if dying_one == "kvm1" { "kvm2" } else { "kvm1" });
    let alive = Host::open(place.path(), other).await;
    let mut child = dying(place.path(), dying_one, if source_dies { MOVE } else { "" }, step);
    let mut asked = None;
    if !source_dies {
        listens(&mut child).await;
        let agent = alive.agent.clone();
        asked = Some(tokio::spawn(async move { ask(&agent, MOVE).await }));
    }
    let ends = async {
        tokio::select! {
            status = child.wait() => Some(!status.unwrap().success()),
            _ = async { asked.as_mut().unwrap().await }, if asked.is_some() => None,
        }
    };
    let died = tokio::time::timeout(Duration::from_secs(60), ends).await.expect("it dies, or the move ends");
    // One that was only asked to listen goes on doing so; or its last word ended the move before its death
    // was seen.
    let died = match died {
        Some(died) => died,
        None => {
            let _ = tokio::time::timeout(LAST_WORD, child.wait()).await;
            child.kill().await.unwrap();
            child.wait().await.unwrap().signal() == Some(Signal::SIGABRT as i32)
        }
    };
    let back = Host::open(place.path(), dying_one).await;
    let (one, two) = if source_dies { (&back, &alive) } else { (&alive, &back) };
    let state = if started { "running" } else { "stopped" };
    until(&format!("{dying_one} at {step}: one has it, and the other has not"), || {
        let (one_has, two_has) = (one.state("web1"), two.state("web1"));
        let settled = |has: &Option<String>| has.as_deref() == Some(state);
        (settled(&one_has) && two_has.is_none() && two.folders() == 0)
            || (settled(&two_has) && one_has.is_none() && one.folders() == 0)
    })
    .await;
    let running = usize::from(started);
    assert_eq!([one.lives(), two.lives()].concat().len(), running, "{dying_one} at {step}");
    let (here, there) = if one.state("web1").is_some() { (one, two) } else { (two, one) };
    assert_eq!(here.lives().len(), running, "{dying_one} at {step}");
    let disks = done(ask(&here.agent, "web1: disk list").await);
    assert!(disks.contains("data"), "{dying_one} at {step}: {disks}");
    // What is granted on it is so where it is, once.
    assert_eq!((granted(&here.agent).await, granted(&there.agent).await), (1, 0), "{dying_one} at {step}");
    // And it can be moved again, whichever way.
    let line = format!("web1: migrate {}", there.name);
    done(ask(&here.agent, &line).await);
    assert_eq!(there.state("web1").as_deref(), Some(state), "{dying_one} at {step}, moved again");
    assert_eq!((here.folders(), here.lives().len()), (0, 0), "{dying_one} at {step}, moved again");
    assert_eq!((granted(&here.agent).await, granted(&there.agent).await), (0, 1), "{dying_one} at {step}");
    on.store(false, Ordering::SeqCst);
    watch.await.unwrap();
    for host in [alive, back] {
        host.close().await;
    }
    died
}

/// Dies at each step; answers those it passed.
async fn dies_everywhere(who: &str, started: bool) -> Vec<&'static str> {
    let mut died = Vec::new();
    for step in crash::STEPS.iter().filter(|step| step.starts_with("move-") || **step == "accepted") {
        if dies(who, step, started).await {
            died.push(*step);
        }
    }
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source() {
    let died = dies_everywhere("kvm1", true).await;
    let all = [
        "accepted",
        "move-offered",
        "move-offer-said",
        "move-send-begun",
        "move-sent",
        "move-held",
        "move-handed-over",
        "move-commit-said",
        "move-cleared",
        "move-away",
    ];
    assert_eq!(died, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_destination() {
    let died = dies_everywhere("kvm2", true).await;
    let all = [
        "move-room-noted",
        "move-room-made",
        "move-accept-said",
        "move-all-here",
        "move-received",
        "move-ready-said",
        "move-taken",
        "move-continued",
        "move-taken-said",
        "move-owned",
    ];
    assert_eq!(died, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn either_of_one_that_is_off() {
    for (who, step) in [
        ("kvm1", "move-sent"),
        ("kvm1", "move-handed-over"),
        ("kvm2", "move-room-made"),
        ("kvm2", "move-all-here"),
        ("kvm2", "move-received"),
        ("kvm2", "move-taken"),
    ] {
        assert!(dies(who, step, false).await, "{who} does not pass {step}");
    }
}

/// A move after which neither host knows how the other took it: handed over by the source, received by the
/// destination, which died before it was told. Both are down.
async fn in_doubt() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    prepared(place.path(), true).await;
    let source = Host::open(place.path(), "kvm1").await;
    let mut child = dying(place.path(), "kvm2", "", "move-ready-said");
    listens(&mut child).await;
    let agent = source.agent.clone();
    let asked = tokio::spawn(async move { ask(&agent, MOVE).await });
    tokio::time::timeout(Duration::from_secs(60), child.wait()).await.expect("it dies").unwrap();
    until_handed_over(&source).await;
    asked.abort();
    source.close().await;
    place
}

/// Asks until the host is in doubt: what a person can do about it is asked back then.
async fn until_handed_over(host: &Host) {
    let keep = || host.agent.ask(asked(ANN, "web1: migrate resolve keep"), None);
    let in_doubt = async { while !matches!(keep().await, Answer::Confirm(_)) {} };
    tokio::time::timeout(Duration::from_secs(60), in_doubt).await.expect("it is handed over");
}

/// A person says what became of it, and is asked back first.
async fn resolve(host: &Host, outcome: &str) -> String {
    let line = format!("web1: migrate resolve {outcome}");
    let asked = asked(ANN, &line);
    let target = asked.target.clone();
    let Answer::Confirm(question) = host.agent.ask(asked, None).await else { panic!("not asked back") };
    done(host.agent.confirm(&jid(ANN), &target, Some(&question.code), Door::Chat, None, None).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_host_will_never_answer_a_person_settles() {
    for (who, outcome, runs) in [
        ("kvm1", "keep", true),
        ("kvm1", "give-up", false),
        ("kvm2", "keep", true),
        ("kvm2", "give-up", false),
    ] {
        let place = in_doubt().await;
        let host = Host::open(place.path(), who).await;
        let lives = host.lives();
        assert!(lives.len() == 1 && lives[0] != "\"running\"", "{who} holds it still: {lives:?}");
        resolve(&host, outcome).await;
        let state = runs.then_some("running");
        until(&format!("{who}, {outcome}"), || host.state("web1").as_deref() == state).await;
        assert_eq!(host.lives().len(), usize::from(runs), "{who}, {outcome}");
        assert_eq!(host.folders(), usize::from(runs), "{who}, {outcome}");
        assert_eq!(granted(&host.agent).await, usize::from(runs), "{who}, {outcome}");
        host.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_settles_what_the_other_host_can() {
    let place = in_doubt().await;
    let (one, two) = (Host::open(place.path(), "kvm1").await, Host::open(place.path(), "kvm2").await);
    until("they settle it", || two.state("web1").as_deref() == Some("running")).await;
    let refusal = refused(two.agent.ask(asked(ANN, "web1: migrate resolve give-up"), None).await);
    assert_eq!(refusal.text, "Nothing about web1 is in doubt.");
    one.close().await;
    two.close().await;
}
