//! The agent dies at each step of a command about witnesses.

use super::*;

const STEPS: [&str; 5] = ["before-accepted", "accepted", "witness-stored", "before-close", "closed"];

fn witnesses(agent: &Agent) -> usize {
    look(agent, "witness list")["witnesses"].as_array().unwrap().len()
}

fn late(step: &str) -> bool {
    ["witness-stored", "before-close", "closed"].contains(&step)
}

#[tokio::test(flavor = "multi_thread")]
async fn witness_add() {
    let died = die_everywhere(&[], "witness add audit@other.example", |agent, _, step| {
        assert_eq!(witnesses(agent), usize::from(late(step)), "at {step}");
    })
    .await;
    assert_eq!(died, STEPS);
}

#[tokio::test(flavor = "multi_thread")]
async fn witness_remove() {
    let before = ["witness add audit@other.example"];
    let died = die_everywhere(&before, "witness remove audit@other.example", |agent, _, step| {
        assert_eq!(witnesses(agent), usize::from(!late(step)), "at {step}");
    })
    .await;
    assert_eq!(died, STEPS);
}
