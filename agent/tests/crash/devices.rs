//! The same for devices: whoever dies, each is its machine's or the host's, and never nobody's.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use skerry_agent::agent::Agent;

use super::{die_everywhere, dies_at, give, is, look, open};

/// The device of this name, in the list.
fn listed(agent: &Agent, name: &str) -> Option<serde_json::Value> {
    let list = look(agent, "device list");
    list["devices"].as_array().unwrap().iter().find(|device| device["name"] == name).cloned()
}

fn holder(agent: &Agent) -> Option<String> {
    listed(agent, "key").unwrap()["used_by"].as_str().map(str::to_owned)
}

fn early(step: &str) -> bool {
    ["before-accepted", "accepted"].contains(&step)
}

/// The driver of the one NIC, and what stands in its driver_override.
fn driver(folder: &Path) -> (String, String) {
    let device = folder.join("state/pretended/sys/bus/pci/devices/0000:02:00.0");
    let link = std::fs::read_link(device.join("driver")).unwrap();
    let wish = std::fs::read_to_string(device.join("driver_override")).unwrap();
    (
        link.file_name().unwrap().to_str().unwrap().into(),
        wish.trim().trim_matches(['(', ')']).replace("null", ""),
    )
}

fn lent() -> (String, String) {
    ("vfio-pci".into(), "vfio-pci".into())
}

fn returned() -> (String, String) {
    ("igb".into(), String::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn device_map() {
    let died = die_everywhere(&[], "device map nic 0000:02:00.0", |agent, _, step| {
        assert_eq!(listed(agent, "nic").is_some(), !early(step), "at {step}");
    })
    .await;
    assert_eq!(died, ["before-accepted", "accepted", "device-mapped", "before-close", "closed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn device_unmap() {
    let died = die_everywhere(&["device map nic 02:00.0"], "device unmap nic", |agent, _, step| {
        assert_eq!(listed(agent, "nic").is_some(), early(step), "at {step}");
    })
    .await;
    assert_eq!(died, ["before-accepted", "accepted", "device-row-gone", "before-close", "closed"]);
}

const GIVEN: [&str; 3] = ["device map nic 02:00.0", "create web1 linux", "web1: device attach nic"];

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_device() {
    let died = die_everywhere(&GIVEN, "web1: start", |agent: &Agent, folder, step| {
        let runs = is(agent, "running");
        assert_eq!(driver(folder), if runs { lent() } else { returned() }, "at {step}");
    })
    .await;
    assert!(died.contains(&"device-noted") && died.contains(&"device-taken"), "{died:?}");
}

/// What it had is given back beside the command, which may be over before: so whether an agent dies of
/// that step is not asked, but what the next one finds.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_with_a_device() {
    for step in ["before-driver", "after-driver", "before-close", "device-returned"] {
        let folder = tempfile::tempdir().unwrap();
        let agent = open(folder.path()).await;
        for line in [&GIVEN[..], &["web1: start"]].concat() {
            give(&agent, line, line).await;
        }
        assert_eq!(driver(folder.path()), lent());
        agent.close().await;
        drop(agent);
        let died = dies_at(folder.path(), "web1: shutdown", step);
        assert!(died || step == "device-returned", "{step}");
        let agent = open(folder.path()).await;
        let runs = is(&agent, "running");
        assert_eq!(runs, step == "before-driver", "at {step}");
        assert_eq!(driver(folder.path()), if runs { lent() } else { returned() }, "at {step}");
        agent.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_plugged_in_and_out_while_it_runs() {
    let given = ["device map key 1050:0407", "create web1 linux", "web1: start"];
    let died = die_everywhere(&given, "web1: device attach key", |agent, _, step| {
        assert_eq!(holder(agent).is_some(), !early(step), "at {step}");
    })
    .await;
    for step in ["definition-stored", "device-noted", "device-taken"] {
        assert!(died.contains(&step), "{step}: {died:?}");
    }
    let given = [&given[..], &["web1: device attach key"]].concat();
    let died = die_everywhere(&given, "web1: device detach key", |agent, _, step| {
        assert_eq!(holder(agent).is_some(), early(step), "at {step}");
    })
    .await;
    assert!(died.contains(&"definition-stored") && died.contains(&"device-returned"), "{died:?}");
}
