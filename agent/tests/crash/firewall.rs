//! The same for the rules of a machine.
#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::json;

use super::{die_everywhere, is, look};

const SCENE: [&str; 4] =
    ["network create lan", "create web1 linux", "web1: define nic=network=lan", "web1: start"];
const STEPS: [&str; 5] = ["before-accepted", "accepted", "definition-stored", "before-close", "closed"];

#[tokio::test(flavor = "multi_thread")]
async fn firewall_deny_of_one_that_runs() {
    let died = die_everywhere(&SCENE, "web1: firewall deny in tcp 25", |agent, _, step| {
        let list = look(agent, "web1: firewall list");
        let early = ["before-accepted", "accepted"].contains(&step);
        assert_eq!(list["rules"] == json!(["deny in tcp 25"]), !early, "at {step}: {list}");
        assert!(is(agent, "running"), "at {step}");
    })
    .await;
    assert_eq!(died, STEPS);
}

#[tokio::test(flavor = "multi_thread")]
async fn firewall_remove_of_one_that_runs() {
    let scene: Vec<&str> = SCENE.into_iter().chain(["web1: firewall allow udp 53 to 10.0.0.1"]).collect();
    let died =
        die_everywhere(&scene, "web1: firewall remove allow out udp 53 to 10.0.0.1", |agent, _, step| {
            let list = look(agent, "web1: firewall list");
            let early = ["before-accepted", "accepted"].contains(&step);
            assert_eq!(list["rules"] == json!([]), !early, "at {step}: {list}");
        })
        .await;
    assert_eq!(died, STEPS);
}
