//! The agent dies at each step of a command about rights.

use super::*;

fn granted(agent: &Agent) -> usize {
    look(agent, "grant list")["grants"].as_array().unwrap().len()
}

fn has_role(agent: &Agent) -> bool {
    look(agent, "role list")["roles"].as_array().unwrap().iter().any(|role| role["name"] == "night")
}

fn late(step: &str) -> bool {
    ["grant-stored", "role-stored", "before-close", "closed"].contains(&step)
}

const OF_GRANTS: [&str; 5] = ["before-accepted", "accepted", "grant-stored", "before-close", "closed"];
const OF_ROLES: [&str; 5] = ["before-accepted", "accepted", "role-stored", "before-close", "closed"];

#[tokio::test(flavor = "multi_thread")]
async fn grant() {
    let before = ["create web1 linux"];
    let line = "grant power to eve@elsewhere.org on web1 until 3d";
    let died = die_everywhere(&before, line, |agent, _, step| {
        assert_eq!(granted(agent), usize::from(late(step)), "at {step}");
    })
    .await;
    assert_eq!(died, OF_GRANTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke() {
    let died = die_everywhere(&["grant power to eve@elsewhere.org"], "revoke 1", |agent, _, step| {
        assert_eq!(granted(agent), usize::from(!late(step)), "at {step}");
    })
    .await;
    assert_eq!(died, OF_GRANTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn role_define() {
    let died = die_everywhere(&[], "role define night start", |agent, _, step| {
        assert_eq!(has_role(agent), late(step), "at {step}");
    })
    .await;
    assert_eq!(died, OF_ROLES);
}

/// Whether the next agent said that nothing was done.
fn undone(agent: &Agent) -> bool {
    let events = agent.events_after(0, 1000);
    let events = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(events));
    events.iter().any(|event| event.what == "command.undone")
}

fn holds_two(agent: &Agent) -> bool {
    let roles = look(agent, "role list");
    let night =
        roles["roles"].as_array().unwrap().iter().find(|role| role["name"] == "night").unwrap().clone();
    night["permissions"].as_array().unwrap().len() == 2
}

#[tokio::test(flavor = "multi_thread")]
async fn role_define_anew() {
    let before = ["role define night start"];
    let died = die_everywhere(&before, "role define night start shutdown", |agent, _, step| {
        assert_eq!(holds_two(agent), late(step), "at {step}");
        // That there is a role of that name does not mean that it is the one that was asked for.
        assert_eq!(undone(agent), step == "accepted", "at {step}");
    })
    .await;
    assert_eq!(died, OF_ROLES);
}

#[tokio::test(flavor = "multi_thread")]
async fn role_delete() {
    let died = die_everywhere(&["role define night start"], "role delete night", |agent, _, step| {
        assert_eq!(has_role(agent), !late(step), "at {step}");
    })
    .await;
    assert_eq!(died, OF_ROLES);
}

const FILE: &str =
    "apply 'grant = [{ to = \"eve@elsewhere.org\", what = \"night\" }]\nroles = { night = [\"start\"] }'";

#[tokio::test(flavor = "multi_thread")]
async fn apply() {
    let died = die_everywhere(&["role define old start"], FILE, |agent, _, step| {
        let late = late(step) || step == "apply-stored";
        assert_eq!((granted(agent), has_role(agent)), (usize::from(late), late), "at {step}");
    })
    .await;
    assert_eq!(died, ["before-accepted", "accepted", "apply-stored", "before-close", "closed"]);
}

fn limited(agent: &Agent) -> usize {
    look(agent, "quota list")["quotas"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas() {
    let steps = ["before-accepted", "accepted", "quota-stored", "before-close", "closed"];
    let died = die_everywhere(&[], "quota set everyone machines=5 memory=16G", |agent, _, step| {
        assert_eq!(limited(agent), usize::from(late(step) || step == "quota-stored"), "at {step}");
    })
    .await;
    assert_eq!(died, steps);
    let before = ["quota set everyone machines=5"];
    let died = die_everywhere(&before, "quota remove everyone", |agent, _, step| {
        assert_eq!(limited(agent), usize::from(!late(step) && step != "quota-stored"), "at {step}");
    })
    .await;
    assert_eq!(died, steps);
}
