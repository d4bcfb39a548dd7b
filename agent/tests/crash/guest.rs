//! Commands inside guests, and keys, with the agent killed at each step.

use super::*;

const RUNNING: [&str; 1] = ["create web1 linux --start"];

/// The notes of interrupted commands in a machine's folder.
fn notes(agent: &Agent, folder: &Path) -> Vec<String> {
    files(agent, folder, "web1").into_iter().filter(|file| !file.ends_with(".qcow2")).collect()
}

/// How the interrupted command was closed, by the log of the machine.
fn closed(agent: &Agent, verb: &str) -> String {
    let log = look(agent, "web1: log");
    let entries = log["entries"].as_array().unwrap();
    let entry = entries.iter().rfind(|entry| entry["what"] == verb.replacen('-', " ", 1));
    entry.map_or_else(String::new, |entry| entry["outcome"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_asked_after_by_the_next_agent() {
    let died = die_everywhere(&RUNNING, "web1: exec echo hello", |agent, folder, step| {
        let said = closed(agent, "exec");
        match step {
            "before-accepted" => assert_eq!(said, ""),
            "accepted" => assert!(said.contains("nothing was done"), "{said}"),
            _ => assert_eq!(said, "It ended well:", "at {step}"),
        }
        assert_eq!(notes(agent, folder), Vec::<String>::new(), "at {step}");
    })
    .await;
    assert_eq!(died, ["before-accepted", "accepted", "program-begun", "before-close", "closed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_goes_on_is_said_to() {
    let folder = tempfile::tempdir().unwrap();
    let agent = open(folder.path()).await;
    give(&agent, RUNNING[0], "before").await;
    agent.close().await;
    drop(agent);
    assert!(dies_at(folder.path(), "web1: exec wait=1m hang", "program-begun"));
    let agent = open(folder.path()).await;
    let said = closed(&agent, "exec");
    assert!(said.contains("hang goes on in the guest, as its process 1"), "{said}");
    assert_eq!(notes(&agent, folder.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn how_many_keys_were_pressed_is_known() {
    let died = die_everywhere(&RUNNING, "web1: type hello", |agent, folder, step| {
        let said = closed(agent, "type");
        let shown = look(agent, "web1: console")["lines"].as_array().unwrap().last().cloned();
        match step {
            "before-accepted" | "accepted" => assert_ne!(shown.unwrap(), "hello"),
            "keys-pressed" => {
                assert!(said.contains("2 of 5 keys were pressed"), "{said}");
                assert_eq!(shown.unwrap(), "he");
            }
            _ => assert_eq!(said, "Typed on the keyboard of web1: 5 keys.", "at {step}"),
        }
        assert_eq!(notes(agent, folder), Vec::<String>::new(), "at {step}");
    })
    .await;
    assert_eq!(died, ["before-accepted", "accepted", "keys-pressed", "before-close", "closed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_never_hold_still_for_ever() {
    let died = die_everywhere(&RUNNING, "web1: fsfreeze 10m", |agent, folder, step| {
        let held = look(agent, "web1: status")["guest"]["frozen_until"].is_string();
        // What was answered is kept; what was interrupted is undone.
        assert_eq!(held, step == "closed", "at {step}");
        assert_eq!(notes(agent, folder).len(), usize::from(held), "at {step}");
    })
    .await;
    let steps = ["before-accepted", "accepted", "before-driver", "after-driver", "before-close", "closed"];
    assert_eq!(died, steps);
    let before = ["create web1 linux --start", "web1: fsfreeze 10m"];
    let died = die_everywhere(&before, "web1: fsthaw", |agent, folder, step| {
        let held = look(agent, "web1: status")["guest"]["frozen_until"].is_string();
        assert_eq!(held, step == "before-accepted", "at {step}");
        assert_eq!(notes(agent, folder).len(), usize::from(held), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 6, "{died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_a_file_is_said_not_to_be_known() {
    let died = die_everywhere(&RUNNING, "web1: file write /etc/motd hello", |agent, folder, step| {
        if ["accepted", "before-close"].contains(&step) {
            let said = closed(agent, "file-write");
            assert!(said.contains("is not known"), "at {step}: {said}");
        }
        assert_eq!(notes(agent, folder), Vec::<String>::new(), "at {step}");
    })
    .await;
    assert_eq!(died, ["before-accepted", "accepted", "before-close", "closed"]);
}
