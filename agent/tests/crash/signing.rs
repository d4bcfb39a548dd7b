//! The agent dies at each step of what takes a signature: it is done once, and what was signed for the agent that
//! died is either answered as it was, or has to be signed anew.

use skerry_stanzas::signature::{SigningKey, Text};

use super::{stage::OTTO, *};

/// Where the one that dies finds the key.
const KEY_FILE: &str = "signing-key";
/// The signature that was sent first.
const SENT: &str = "sent";

fn key(folder: &Path) -> SigningKey {
    SigningKey::parse(&std::fs::read_to_string(folder.join(KEY_FILE)).unwrap()).unwrap()
}

fn kill(signature: Option<skerry_stanzas::signature::Signature>) -> skerry_agent::asked::Asked {
    skerry_agent::asked::Asked { key: Some(KEY.into()), signature, ..asked(OTTO, "web1: kill") }
}

/// What the host wants signed, if it wants that.
fn wanted(answer: &Answer) -> Option<Text> {
    let Answer::Refused(refusal) = answer else { return None };
    Text::parse(&refusal.sign.as_ref()?.text)
}

/// Asks, and signs what is to be signed.
async fn signed(agent: &Agent, folder: &Path) -> Answer {
    let answer = agent.ask(kill(None), None).await;
    let Some(text) = wanted(&answer) else { return answer };
    std::fs::write(folder.join(SENT), text.to_string()).unwrap();
    agent.ask(kill(Some(key(folder).sign(&text))), None).await
}

#[tokio::test]
#[ignore = "run by the others, to die"]
async fn the_one_that_asks() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let agent = open(Path::new(&folder)).await;
    let answer = signed(&agent, Path::new(&folder)).await;
    assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
    agent.close().await;
}

/// Those a command that takes a signature passes once that was looked at.
const STEPS: [&str; 8] = [
    "before-accepted",
    "accepted",
    "intent-stored",
    "before-driver",
    "after-driver",
    "state-stored",
    "before-close",
    "closed",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_is_done_once_wherever_its_agent_dies() {
    for step in STEPS {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let made = SigningKey::generate().unwrap();
        std::fs::write(folder.join(KEY_FILE), made.line()).unwrap();
        let line = format!("ed25519 {} otto@example.org\n", made.public().base64());
        std::fs::write(folder.join("keys"), line).unwrap();
        let agent = open(folder).await;
        for (n, line) in ["create web1 linux", "web1: start", "policy add sealed kill on web1 signed need 0"]
            .iter()
            .enumerate()
        {
            let answer = give(&agent, line, &format!("before-{n}")).await;
            assert!(matches!(answer, Answer::Done { .. }), "{line}: {answer:?}");
        }
        agent.close().await;
        drop(agent);
        assert!(dies_in("signing::the_one_that_asks", folder, "", step), "it does not pass {step}");
        let agent = open(folder).await;
        // The very request that was sent before the agent died, sent again.
        let sent = Text::parse(&std::fs::read_to_string(folder.join(SENT)).unwrap()).unwrap();
        let again = agent.ask(kill(Some(made.sign(&sent))), None).await;
        let is_new = wanted(&again).is_some();
        assert_eq!(is_new, step == "before-accepted", "at {step}: {again:?}");
        if is_new {
            assert!(is(&agent, "running"), "at {step}: what was signed for another agent was done");
            let answer = signed(&agent, folder).await;
            assert!(matches!(answer, Answer::Done { .. }), "at {step}: {answer:?}");
        }
        let log = look(&agent, "web1: log").to_string();
        assert_eq!(log.matches("\"kill\"").count(), 1, "at {step}: {log}");
        // Nothing more comes of it, whatever is sent once more.
        let end = is(&agent, "running");
        agent.ask(kill(Some(made.sign(&sent))), None).await;
        assert_eq!(is(&agent, "running"), end, "at {step}");
        agent.close().await;
    }
}
