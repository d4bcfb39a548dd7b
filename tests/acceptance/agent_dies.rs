//! kill -9 of the agent, at every step of a command that a person gave over a real server: the next
//! agent settles it, says so, and nothing is done twice.

use serde_json::Value;
use skerry_agent::crash;
use skerry_stanzas::adhoc::Status;
use skerry_tests::{
    client::Client,
    lab::{Lab, Wanted},
    requests::{outcome, refusal},
};

/// What is asked of which machine, and how it is prepared.
struct Story<'a> {
    before: &'static [&'static [&'static str]],
    permission: &'static str,
    /// After `machine/NAME/`, or a host's node.
    node: &'static str,
    argv: &'static [&'static str],
    steps: &'a [&'a str],
}

/// Gives the request, until it is answered or the agent died of it.
async fn give(lab: &Lab, ann: &Client, id: &str, node: &str, argv: &[&str]) -> Option<Result<Value, String>> {
    tokio::select! {
        answer = ann.command_as(id, &lab.host().jid, node, argv) => Some(match answer {
            Ok(answer) => {
                assert_ne!(answer.status, Some(Status::Executing), "{node} asks for something");
                outcome(answer)
            }
            Err(error) => Err(refusal(&error).unwrap_or_else(|| error.to_string())),
        }),
        ended = lab.host().ended() => {
            ended.unwrap();
            None
        }
    }
}

async fn numbered_without_gaps(ann: &Client, host: &str) -> Vec<(u64, String, String)> {
    let all = ann.happenings(host).await.unwrap();
    let numbers: Vec<u64> = all.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    all
}

/// Each step: prepare a machine, die there, come back, be asked the same once more.
async fn dies_at_each_step(story: &Story<'_>) {
    let mut lab = Wanted::new("prosody", "component").up().await.unwrap();
    let ann = lab.client("admin").await.unwrap();
    let host = lab.host().jid.clone();
    for (n, step) in story.steps.iter().enumerate() {
        let name = format!("web{n}");
        let node = story.node.replace("NAME", &name);
        let argv: Vec<String> = story.argv.iter().map(|word| word.replace("NAME", &name)).collect();
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        ann.reach(&host).await.unwrap();
        for line in story.before {
            let line: Vec<String> = line.iter().map(|word| word.replace("NAME", &name)).collect();
            let rest: Vec<&str> = line[1..].iter().map(String::as_str).collect();
            ann.done(&host, &line[0], &rest).await.unwrap();
        }
        lab.crash("kvm1").await.unwrap();
        let accepted_before = lab.host().accepted(story.permission).unwrap();
        lab.start_to_die("kvm1", step).await.unwrap();
        ann.reach(&host).await.unwrap();
        let id = format!("at-{step}");
        let answer = give(&lab, &ann, &id, &node, &argv).await;
        // At the last step the answer may have been on its way already.
        assert!(answer.is_none() || *step == "closed", "{step}: {answer:?}");
        lab.host().ended().await.unwrap();
        // A start ends in one transaction with the machine's new state.
        let with_it = story.permission == "machine.start" && matches!(*step, "state-stored" | "before-close");
        let open = u32::from(!with_it && !matches!(*step, "before-accepted" | "closed"));
        assert_eq!(lab.host().open_entries().unwrap(), open, "left open at {step}");

        lab.start("kvm1").await.unwrap();
        ann.reach(&host).await.unwrap();
        let again = give(&lab, &ann, &id, &node, &argv).await.unwrap();
        let told = match &again {
            Ok(_) => true,
            Err(words) => words.contains("restarted meanwhile"),
        };
        assert!(told, "{step}: {again:?}");
        // Another request goes through, unless the first did.
        let anew = give(&lab, &ann, &format!("{id}-anew"), &node, &argv).await.unwrap();
        assert!(again.is_ok() || anew.is_ok(), "{step}: {anew:?}");
        let events = numbered_without_gaps(&ann, &host).await;
        once(&events, story.permission, &name, step);

        lab.crash("kvm1").await.unwrap();
        assert_eq!(lab.host().open_entries().unwrap(), 0, "still open after {step}");
        let accepted = lab.host().accepted(story.permission).unwrap() - accepted_before;
        assert!(accepted <= 2, "{step}: the repetition was accepted as another request: {accepted}");
        lab.start("kvm1").await.unwrap();
    }
}

/// What was asked happened to the machine once.
fn once(events: &[(u64, String, String)], permission: &str, name: &str, step: &str) {
    let what = match permission {
        "machine.start" => "machine.started",
        "machine.kill" => "machine.killed",
        "machine.rename" => "machine.renamed",
        "host.create" => "machine.created",
        other => panic!("{other}: what happens then?"),
    };
    let times =
        events.iter().filter(|(_, event, machine)| event == what && machine.starts_with(name)).count();
    // What the dead agent did and could not tell any more, the next one observed.
    let seen = events.iter().any(|(_, event, machine)| event == "machine.observed" && machine == name);
    assert!(times == 1 || (times == 0 && seen), "{what} of {name} {times} times at {step}: {events:?}");
}

const ALWAYS: &[&str] = &["before-accepted", "accepted", "before-close", "closed"];

#[tokio::test]
async fn while_it_starts_a_machine() {
    let steps = [ALWAYS, &["intent-stored", "before-driver", "after-driver", "state-stored"]].concat();
    dies_at_each_step(&Story {
        before: &[&["create", "--name=NAME", "--image=linux"]],
        permission: "machine.start",
        node: "machine/NAME/start",
        argv: &[],
        steps: &steps,
    })
    .await;
}

#[tokio::test]
async fn while_it_makes_a_machine() {
    let steps = [ALWAYS, &["folder-made", "disk-made", "machine-stored"]].concat();
    dies_at_each_step(&Story {
        before: &[],
        permission: "host.create",
        node: "create",
        argv: &["--name=NAME", "--image=linux"],
        steps: &steps,
    })
    .await;
}

#[tokio::test]
async fn while_it_renames_a_machine() {
    dies_at_each_step(&Story {
        before: &[&["create", "--name=NAME", "--image=linux"]],
        permission: "machine.rename",
        node: "machine/NAME/rename",
        argv: &["--to=NAMEb"],
        steps: ALWAYS,
    })
    .await;
}

/// A destroying command: the question, the yes, the death, the yes again.
#[tokio::test]
async fn while_it_takes_a_machine_away() {
    let mut lab = Wanted::new("prosody", "component").up().await.unwrap();
    let host = lab.host().jid.clone();
    for step in ["accepted", "row-trashed", "before-close"] {
        assert!(crash::STEPS.contains(&step));
        let ann = lab.client("admin").await.unwrap();
        ann.reach(&host).await.unwrap();
        ann.done(&host, "create", &["--name=web1", "--image=linux"]).await.unwrap();
        lab.crash("kvm1").await.unwrap();
        lab.start_to_die("kvm1", step).await.unwrap();
        ann.reach(&host).await.unwrap();
        tokio::select! {
            answer = ann.done(&host, "machine/web1/delete", &[]) => panic!("{step}: {answer:?}"),
            ended = lab.host().ended() => ended.unwrap(),
        }
        lab.start("kvm1").await.unwrap();
        ann.reach(&host).await.unwrap();
        // Either it is there, whole, or it is in the trash, whole.
        let list = ann.done(&host, "list", &[]).await.unwrap().to_string();
        let trash = ann.done(&host, "trash", &[]).await.unwrap().to_string();
        assert_ne!(list.contains("web1"), trash.contains("web1"), "{step}: {list} {trash}");
        assert_eq!(list.contains("web1"), step == "accepted");
        if step == "accepted" {
            ann.done(&host, "machine/web1/delete", &[]).await.unwrap();
        }
        ann.done(&host, "undelete", &["--name=web1"]).await.unwrap();
        ann.done(&host, "machine/web1/rename", &[&format!("--to=was-{step}")]).await.unwrap();
        numbered_without_gaps(&ann, &host).await;
    }
}
