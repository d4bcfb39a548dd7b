//! People with keys, as `skerry` has them.

use skerry_agent::{
    agent::Agent,
    asked::{Answer, Asked},
};
use skerry_stanzas::{
    refusal::{Reason, Refusal},
    signature::{Key, SigningKey, Text, ToSign},
};

use super::{Stage, asked, jid};

/// Somebody who signs.
pub struct Signer {
    pub who: &'static str,
    pub key: SigningKey,
}

impl Signer {
    pub fn new(who: &'static str) -> Self {
        Self { who, key: SigningKey::generate().unwrap() }
    }

    /// The line of the host's file.
    pub fn line(&self) -> String {
        let key = Key { public: self.key.public(), owner: jid(self.who).to_bare(), note: String::new() };
        format!("{key}\n")
    }

    /// What they ask, with a signature of it once the host has said what to sign.
    pub async fn signed(&self, agent: &Agent, line: &str) -> Asked {
        let mut ask = asked(self.who, line);
        let text = wanted(agent.ask(ask.clone(), None).await);
        ask.signature = Some(self.key.sign(&text));
        ask
    }

    /// The same, asked.
    pub async fn ask(&self, stage: &Stage, line: &str) -> Answer {
        let ask = self.signed(&stage.agent, line).await;
        let (hears, _) = tokio::sync::mpsc::channel(1);
        stage.agent.ask(ask, Some(hears)).await
    }
}

/// What the host wants signed.
#[track_caller]
pub fn wanted(answer: Answer) -> Text {
    Text::parse(&to_sign(answer).text).unwrap()
}

#[track_caller]
pub fn to_sign(answer: Answer) -> ToSign {
    let refusal = super::refused(answer);
    assert_eq!(refusal.reason, Reason::Unsigned, "{refusal:?}");
    *refusal.sign.unwrap_or_else(|| panic!("nothing to sign: {}", refusal.text))
}

impl Stage {
    /// From now on these are the keys that the host knows.
    pub fn know(&self, signers: &[&Signer]) {
        let lines: String = signers.iter().map(|signer| signer.line()).collect();
        std::fs::write(self.folder.path().join("keys"), lines).unwrap();
        self.agent.reload(super::config(self.folder.path())).unwrap();
    }

    /// It is refused as unsigned.
    pub async fn unsigned(&self, caller: &str, line: &str) -> Refusal {
        let refusal = self.refused(caller, line).await;
        assert_eq!(refusal.reason, Reason::Unsigned, "{refusal:?}");
        refusal
    }
}
