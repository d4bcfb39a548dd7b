//! The agent dies at each step of a command about alerts.

use super::{die_everywhere, look};

/// What ann is told of, and when not.
fn told_of(agent: &skerry_agent::agent::Agent) -> (usize, bool) {
    let list = look(agent, "alert list");
    (list["alerts"].as_array().unwrap().len(), !list["quiet"].is_null())
}

fn late(step: &str) -> bool {
    ["alert-stored", "before-close", "closed"].contains(&step)
}

const STEPS: [&str; 5] = ["before-accepted", "accepted", "alert-stored", "before-close", "closed"];

#[tokio::test(flavor = "multi_thread")]
async fn alert_add() {
    let before = ["create web1 linux"];
    let died = die_everywhere(&before, "web1: alert add cpu>90%", |agent, _, step| {
        assert_eq!(told_of(agent).0, usize::from(late(step)), "at {step}");
    })
    .await;
    assert_eq!(died, STEPS);
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_remove() {
    let died = die_everywhere(&["alert add load>9"], "alert remove 1", |agent, _, step| {
        assert_eq!(told_of(agent).0, usize::from(!late(step)), "at {step}");
    })
    .await;
    assert_eq!(died, STEPS);
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet() {
    let died = die_everywhere(&[], "quiet 22:00-07:00 zone=+02:00", |agent, _, step| {
        assert_eq!(told_of(agent).1, late(step), "at {step}");
    })
    .await;
    assert_eq!(died, STEPS);
}
