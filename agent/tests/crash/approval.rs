//! The agent dies at each step of a request: asked for, agreed to, carried out, told.

use std::time::Duration;

use skerry_stanzas::reply::{REQUEST, UNDER_WAY};

use super::{
    stage::{OTTO, ear::Ear},
    *,
};

async fn kill(agent: &Agent) -> Answer {
    let ask = skerry_agent::asked::Asked {
        key: Some(KEY.into()),
        // What waits is answered at once; what is carried out is waited for.
        patience: Duration::from_millis(1),
        ..asked(OTTO, "web1: kill")
    };
    agent.ask(ask, None).await
}

fn code(answer: &Answer) -> Option<String> {
    let Answer::Done { json, .. } = answer else { return None };
    json.get(UNDER_WAY)?;
    Some(json[REQUEST].as_str()?.to_owned())
}

/// Asks, agrees, and waits until it was told.
async fn ask_and_agree(agent: &Agent, ear: &Ear) {
    let Some(code) = code(&kill(agent).await) else { return };
    // Who asks is told last, so all that can be died at is behind us then.
    let agreed = agent.ask(asked(ANN, &format!("approve {code}")), None).await;
    assert!(matches!(agreed, Answer::Done { .. } | Answer::Refused(_)), "{agreed:?}");
    let mut nth = 0;
    while ear.next(nth).await.to.as_str() != "otto@example.org" {
        nth += 1;
    }
}

#[tokio::test]
#[ignore = "run by the others, to die"]
async fn the_one_that_asks() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let agent = open(Path::new(&folder)).await;
    let ear = Ear::of(&agent);
    ask_and_agree(&agent, &ear).await;
    // What was told is still to be forgotten.
    while !look(&agent, "request list")["requests"].as_array().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    agent.close().await;
}

/// Those a request and the consent to it pass.
const STEPS: [&str; 13] = [
    "before-accepted",
    "accepted",
    "request-stored",
    "approval-asked",
    "approval-stored",
    "approval-begun",
    "intent-stored",
    "before-driver",
    "after-driver",
    "state-stored",
    "before-close",
    "closed",
    "approval-told",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_carried_out_once_wherever_its_agent_dies() {
    for step in STEPS {
        let folder = tempfile::tempdir().unwrap();
        let agent = open(folder.path()).await;
        for (n, line) in ["create web1 linux", "start", "policy add careful kill on web1"].iter().enumerate()
        {
            let line = if *line == "start" { "web1: start" } else { line };
            let answer = give(&agent, line, &format!("before-{n}")).await;
            assert!(matches!(answer, Answer::Done { .. }), "{line}: {answer:?}");
        }
        agent.close().await;
        drop(agent);
        assert!(dies_in("approval::the_one_that_asks", folder.path(), "", step), "it does not pass {step}");
        let agent = open(folder.path()).await;
        let ear = Ear::of(&agent);
        agent.linked(true);
        // The same request again: it waits still, or gets its end; it is never a second one.
        ask_and_agree(&agent, &ear).await;
        assert!(kill_is_over(&agent).await, "at {step}");
        let log = look_at(&agent, "log").to_string();
        assert_eq!(log.matches("\"kill\"").count(), 1, "at {step}: {log}");
        // What was begun and not done is not begun again, and its asker hears that. (Some steps are those of
        // the consent's own entry: how far the other was then is up to the machine.)
        let hears = log.contains("restarted meanwhile") && !log.contains("Done, although");
        assert_eq!(is(&agent, "running"), hears, "at {step}: {log}");
        assert!(hears || step != "approval-begun");
        agent.close().await;
    }
}

async fn kill_is_over(agent: &Agent) -> bool {
    let answer = kill(agent).await;
    code(&answer).is_none()
}

fn look_at(agent: &Agent, line: &str) -> serde_json::Value {
    look(agent, &format!("web1: {line}"))
}
