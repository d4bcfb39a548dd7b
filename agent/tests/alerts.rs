//! People are told what they asked to be told, once, at their hours, as long as they may; and an agent that
//! dies in between forgets nothing.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use hypervisor_core::driver::{Driver, fake::Fake};
use skerry_agent::{agent::Agent, crash};
use stage::{ANN, EVE, OTTO, Stage, VERA, config, done, ear::Ear, stage};

/// A clock that goes only where a test says so: also while the store's thread is waited for.
struct Still {
    _until_dropped: std::sync::mpsc::Sender<()>,
}

impl Still {
    fn begin() -> Self {
        let (until_dropped, dropped) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || dropped.recv_timeout(Duration::from_secs(120)));
        tokio::time::pause();
        Self { _until_dropped: until_dropped }
    }
}

/// Lets time pass, look by look.
async fn pass(stage: &Stage, seconds: u64) {
    let mut looks = stage.agent.alert_looks();
    // An agent that has just begun sets its clock first.
    tokio::task::yield_now().await;
    for _ in 0..seconds.div_ceil(10) {
        let before = *looks.borrow_and_update();
        // A little more: timers are of whole milliseconds.
        tokio::time::advance(Duration::from_millis(10_002)).await;
        looks.wait_for(|looks| *looks > before).await.unwrap();
    }
}

async fn running() -> (Stage, Arc<Ear>, Still) {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux --start").await;
    let ear = Ear::of(&stage.agent);
    (stage, ear, Still::begin())
}

#[tokio::test]
async fn what_lasts_is_told_once_and_so_is_its_end() {
    let (stage, ear, _still) = running().await;
    let said = stage.done(VERA, "web1: alert add cpu>90%").await;
    assert_eq!(
        said,
        "You will be told when web1 cpu > 90 % for 5 min, and when it is back at 81 % (number 1)."
    );
    assert!(stage.done(VERA, "web1: alert add cpu>90%").await.starts_with("You are told of it already"));
    stage.faults().busy(stage.id("web1"), 97);
    pass(&stage, 240).await;
    assert_eq!(ear.texts(), Vec::<String>::new(), "it has not lasted yet");
    pass(&stage, 600).await;
    let began = ear.next(0).await;
    assert!(began.text.starts_with("web1: cpu > 90 % for 5 min: 97 % ("), "{began:?}");
    assert!(began.text.ends_with("To hear no more of it: alert remove 1"), "{began:?}");
    assert_eq!((began.to.as_str(), began.answers.as_deref()), ("vera@example.org", None));
    // It wavers about the limit, and is told no more.
    for percent in [85, 95, 83, 99] {
        stage.faults().busy(stage.id("web1"), percent);
        pass(&stage, 400).await;
    }
    stage.faults().busy(stage.id("web1"), 20);
    pass(&stage, 400).await;
    let ended = ear.next(1).await;
    assert_eq!(ended.text, "web1: cpu > 90 % is over: 20 %.");
    assert_eq!(ended.answers, Some(began.id));
    pass(&stage, 1000).await;
    assert_eq!(ear.texts().len(), 2);
}

#[tokio::test]
async fn a_machine_that_is_off_uses_nothing_too_much() {
    let (stage, ear, _still) = running().await;
    stage.done(ANN, "web1: alert add cpu>5% for=0s").await;
    pass(&stage, 30).await;
    assert!(ear.next(0).await.text.starts_with("web1: cpu > 5.0 %: 10 %"), "{:?}", ear.texts());
    done(stage.yes(ANN, "web1: kill").await);
    pass(&stage, 20).await;
    assert_eq!(ear.next(1).await.text, "web1: cpu > 5.0 % is over: it does not run any more.");
}

#[tokio::test]
async fn each_ones_alerts_are_their_own() {
    let (stage, ear, _still) = running().await;
    stage.done(VERA, "web1: alert add cpu>5% for=0s").await;
    stage.done(OTTO, "alert add memory>0% for=0s").await;
    assert!(stage.done(ANN, "alert list").await.starts_with("You are told of nothing here."));
    assert!(stage.done(OTTO, "alert list").await.contains("- 2: kvm1 memory > 0 % for 0 s"));
    let refusal = stage.refused(OTTO, "alert remove 1").await;
    assert_eq!(refusal.text, "You have no alert of the number 1 here.");
    assert!(stage.refused(EVE, "alert list").await.text.contains("role"));
    pass(&stage, 20).await;
    let mut to: Vec<String> = ear.heard.lock().unwrap().iter().map(|told| told.to.to_string()).collect();
    to.sort();
    assert_eq!(to, ["otto@example.org", "vera@example.org"]);
    assert_eq!(stage.done(VERA, "web1: alert remove 1").await, "You are not told of number 1 any more.");
    done(stage.yes(ANN, "web1: kill").await);
    pass(&stage, 60).await;
    assert_eq!(ear.texts().len(), 2, "{:?}", ear.texts());
}

#[tokio::test]
async fn who_may_not_look_any_more_is_told_nothing_and_forgotten() {
    let (stage, ear, _still) = running().await;
    stage.done(VERA, "web1: alert add cpu>50% for=10s").await;
    let mut config = config(stage.folder.path());
    config.roles.viewer.clear();
    stage.agent.reload(config).unwrap();
    stage.faults().busy(stage.id("web1"), 99);
    pass(&stage, 60).await;
    let mut config = stage::config(stage.folder.path());
    config.roles.viewer = vec!["vera@example.org".into()];
    stage.agent.reload(config).unwrap();
    pass(&stage, 60).await;
    assert_eq!(ear.texts(), Vec::<String>::new());
    assert!(stage.done(VERA, "alert list").await.starts_with("You are told of nothing here."));
}

#[tokio::test]
async fn at_quiet_hours_nothing_is_told_and_after_them_what_still_lasts() {
    let (stage, ear, _still) = running().await;
    // Whatever the clock says: all day but the minute that was half a day ago.
    let minute = |at: chrono::DateTime<chrono::Utc>| at.format("%H:%M").to_string();
    let away = chrono::Utc::now() + chrono::Duration::hours(12);
    let hours = format!("{}-{}", minute(away + chrono::Duration::minutes(1)), minute(away));
    let said = stage.done(VERA, &format!("quiet {hours}")).await;
    assert_eq!(
        said,
        format!("You are told nothing at {hours} +00:00; what lasts longer is told after that.")
    );
    stage.done(VERA, "web1: alert add cpu>50% for=10s").await;
    stage.faults().busy(stage.id("web1"), 99);
    pass(&stage, 60).await;
    assert_eq!(ear.texts(), Vec::<String>::new());
    assert!(stage.done(VERA, "alert list").await.contains("; so since "), "it is known all the same");
    // What came and went in those hours is never told.
    stage.faults().busy(stage.id("web1"), 1);
    pass(&stage, 60).await;
    stage.done(VERA, "quiet off").await;
    pass(&stage, 60).await;
    assert_eq!(ear.texts(), Vec::<String>::new());
    stage.done(VERA, &format!("quiet {hours}")).await;
    stage.faults().busy(stage.id("web1"), 99);
    pass(&stage, 60).await;
    stage.done(VERA, "quiet off").await;
    pass(&stage, 60).await;
    assert_eq!(ear.texts().len(), 1, "{:?}", ear.texts());
}

#[tokio::test]
async fn what_could_not_be_told_is_told_later_also_by_the_next_agent() {
    let (stage, ear, _still) = running().await;
    *ear.deaf.lock().unwrap() = true;
    stage.done(VERA, "web1: alert add cpu>5% for=10s").await;
    pass(&stage, 60).await;
    let stage = stage.restart().await;
    let ear = Ear::of(&stage.agent);
    pass(&stage, 30).await;
    assert!(ear.next(0).await.text.starts_with("web1: cpu > 5.0 % for 10 s"));
    let stage = stage.restart().await;
    let ear = Ear::of(&stage.agent);
    pass(&stage, 60).await;
    assert_eq!(ear.texts(), Vec::<String>::new(), "the next one knows what was told");
    stage.faults().busy(stage.id("web1"), 0);
    pass(&stage, 60).await;
    assert_eq!(ear.next(0).await.text, "web1: cpu > 5.0 % is over: 0 %.");
}

const FOLDER: &str = "SKERRY_TEST_ALERTS";

async fn open(folder: &Path) -> Agent {
    let drivers: Vec<Arc<dyn Driver>> = vec![Arc::new(Fake::persistent(&folder.join("world")).unwrap())];
    let mut config = config(folder);
    config.metrics.every = Duration::from_secs(1);
    Agent::open(config, drivers).await.unwrap()
}

#[tokio::test]
#[ignore = "run by another, to die"]
async fn the_one_that_dies() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let agent = open(Path::new(&folder)).await;
    let ear = Ear::of(&agent);
    // It dies on the way there.
    ear.next(0).await;
    std::future::pending::<()>().await;
}

/// An agent that dies between what is so and what was told tells it again, under the same id.
#[tokio::test]
async fn an_agent_that_dies_forgets_nothing_it_had_to_tell() {
    for step in ["alert-turned", "alert-told"] {
        let folder = tempfile::tempdir().unwrap();
        let agent = open(folder.path()).await;
        for line in ["create web1 linux --start", "web1: alert add cpu>5% for=0s"] {
            done(agent.ask(stage::asked(ANN, line), None).await);
        }
        agent.close().await;
        drop(agent);
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_one_that_dies", "--ignored", "--nocapture"])
            .envs([(FOLDER, folder.path().as_os_str()), (crash::VARIABLE, step.as_ref())])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success(), "it did not die at {step}");
        let agent = open(folder.path()).await;
        let ear = Ear::of(&agent);
        let told = ear.next(0).await;
        assert!(told.id.starts_with("alert-1-") && told.answers.is_none(), "{told:?} after {step}");
        agent.close().await;
    }
}
