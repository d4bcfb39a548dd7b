//! The same for networks, which are pretended here; that they are made again is for tests/networks.
#![allow(clippy::unwrap_used, clippy::panic)]

use skerry_agent::agent::Agent;

use super::{die_everywhere, look};

fn networks(agent: &Agent) -> Vec<String> {
    let list = look(agent, "network list");
    let line = |one: &serde_json::Value| {
        format!("{} {}", one["name"].as_str().unwrap(), one["mode"].as_str().unwrap())
    };
    list["networks"].as_array().unwrap().iter().map(line).collect()
}

fn early(step: &str) -> bool {
    ["before-accepted", "accepted"].contains(&step)
}

#[tokio::test(flavor = "multi_thread")]
async fn network_create() {
    let died = die_everywhere(&[], "network create lan", |agent, _, step| {
        let there = if early(step) { vec![] } else { vec!["lan nat".to_owned()] };
        assert_eq!(networks(agent), there, "at {step}");
    })
    .await;
    assert_eq!(died, ["before-accepted", "accepted", "network-stored", "before-close", "closed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn network_define() {
    let died =
        die_everywhere(&["network create lan"], "network define lan mode=isolated", |agent, _, step| {
            let mode = if early(step) { "lan nat" } else { "lan isolated" };
            assert_eq!(networks(agent), [mode], "at {step}");
        })
        .await;
    assert_eq!(died.len(), 5, "{died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn network_delete() {
    let died = die_everywhere(&["network create lan"], "network delete lan", |agent, _, step| {
        let there = if early(step) { vec!["lan nat".to_owned()] } else { vec![] };
        assert_eq!(networks(agent), there, "at {step}");
    })
    .await;
    assert_eq!(died, ["before-accepted", "accepted", "network-row-gone", "before-close", "closed"]);
}
