//! The same for the cable of a NIC.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::{die_everywhere, is, look};

#[tokio::test(flavor = "multi_thread")]
async fn nic_down_of_one_that_runs() {
    let died = die_everywhere(&["create web1 linux", "web1: start"], "web1: nic down", |agent, _, step| {
        let list = look(agent, "web1: nic list");
        let early = ["before-accepted", "accepted"].contains(&step);
        assert_eq!(list["nics"][0]["link"] == "up", early, "at {step}");
        assert!(is(agent, "running"), "at {step}");
    })
    .await;
    assert_eq!(died, ["before-accepted", "accepted", "definition-stored", "before-close", "closed"]);
}
