//! Machines that are started again by their policy, and those that start with their host.

use super::*;

#[tokio::test]
async fn one_that_was_killed_is_not_started_again() {
    let before = ["create web1 linux", "web1: define restart=always", "web1: start"];
    for line in ["web1: kill", "web1: shutdown"] {
        let died = die_everywhere(&before, line, |agent, _, step| {
            let web1 = agent.machine(&name("web1")).unwrap();
            let early = ["before-accepted", "accepted", "intent-stored", "before-driver"].contains(&step);
            assert_eq!(web1.state.word(), if early { "running" } else { "stopped" }, "at {step}");
            assert!(!web1.sentence.contains("started again"), "at {step}: {}", web1.sentence);
        })
        .await;
        assert!(died.contains(&"after-driver"), "{died:?}");
    }
}

#[tokio::test]
async fn an_agent_that_dies_between_two_turns_leaves_the_rest_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let agent = open(folder.path()).await;
    for machine in ["web1", "web2"] {
        give(&agent, &format!("create {machine} linux"), machine).await;
        give(&agent, &format!("{machine}: autostart on"), &format!("{machine} on")).await;
    }
    give(&agent, "web1: define order=1", "order").await;
    agent.close().await;
    drop(agent);
    let connection = rusqlite::Connection::open(folder.path().join("state/state.db")).unwrap();
    connection.execute("UPDATE facts SET value = 'another' WHERE name = 'boot'", []).unwrap();
    drop(connection);
    assert!(dies_at(folder.path(), "", "turn-taken"));
    let agent = open(folder.path()).await;
    let mut told = agent.announcements();
    // The first turn is taken again, since nobody could note its end: it runs already.
    while agent.machine(&name("web2")).is_none_or(|seen| seen.state.word() != "running") {
        told.recv().await.unwrap();
    }
    assert!(is(&agent, "running"));
    agent.close().await;
}
