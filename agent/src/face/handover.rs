//! Words of hand-overs, from and to other hosts (`urn:skerry:migration:0`).

use std::time::Duration;

use async_trait::async_trait;
use hypervisor_core::machine::MachineId;
use minidom::Element;
use skerry_link::Ask;
use skerry_stanzas::{
    ns,
    payload::{Handover, Share, migration::Plan, share::Answer},
};
use xmpp_parsers::jid::{BareJid, Jid};

use super::{
    Face,
    entity::Entity,
    stanza::{Fault, Inquiry, tag},
};
use crate::{
    asked::Target,
    migration::{PLAN, Peers, Unheard},
};

/// How long another host may take to answer that it heard.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most of another host's words that is shown.
const WORDS_MAX: usize = 300;

impl Face {
    /// A word of another host. Strangers' words are not looked at.
    pub(super) async fn handover(&self, inquiry: &Inquiry) -> Result<Option<Element>, Fault> {
        if inquiry.target != Target::Host {
            return Err(Fault::unknown_service());
        }
        if !self.agent.is_peer(&inquiry.from.to_bare()) {
            let text = "This host does not exchange machines with you: see [peers] in its agent's file.";
            return Err(Fault::forbidden().text(text));
        }
        let no_sense = || Fault::bad_request("That word of a hand-over makes no sense here.");
        let word = Handover::try_from(inquiry.payload.clone()).map_err(|_| no_sense())?;
        if inquiry.set {
            return match self.agent.heard(&inquiry.from, word).await {
                true => Ok(None),
                false => Err(no_sense()),
            };
        }
        let plan = self.agent.plan_for(&inquiry.from, &word).await.ok_or_else(no_sense)?;
        let content = serde_json::to_string(&plan).map_err(|_| no_sense())?;
        Ok(Some(Handover { content, ..word }.into()))
    }

    pub(super) async fn to_peer(
        &self,
        to: &Jid,
        kind: &'static str,
        word: Element,
    ) -> Result<Element, Unheard> {
        let iq = tag("iq", ns::CLIENT)
            .attr("type", kind)
            .attr("from", self.addresses().host().to_string())
            .attr("to", to.as_str())
            .child(word);
        self.wire.ask(iq.into(), PATIENCE).await.map_err(|error| match error {
            Ask::Refused(error) => Unheard::Refused(words(&error)),
            error => {
                tracing::debug!(%to, %error, "another host did not hear");
                Unheard::Lost
            }
        })
    }
}

/// What an error says, for people.
fn words(iq: &Element) -> String {
    let error = iq.get_child("error", ns::CLIENT);
    let text = error.and_then(|error| error.get_child("text", ns::STANZA_ERRORS)).map(Element::text);
    let condition = || {
        let found = error?.children().find(|child| child.ns() == ns::STANZA_ERRORS)?;
        Some(format!("its answer is {}", found.name()))
    };
    let words = text.or_else(condition).unwrap_or_else(|| "it refused".into());
    words.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect()
}

#[async_trait]
impl Peers for Face {
    async fn say(&self, to: &Jid, word: Handover) -> Result<(), Unheard> {
        self.to_peer(to, "set", word.into()).await.map(drop)
    }

    async fn plan(&self, to: &Jid, word: Handover) -> Result<Plan, Unheard> {
        debug_assert_eq!(word.word, PLAN);
        let answer = self.to_peer(to, "get", word.into()).await?;
        let payload = answer.get_child("handover", ns::MIGRATION).cloned();
        let word = payload.and_then(|payload| Handover::try_from(payload).ok());
        word.and_then(|word| word.content())
            .ok_or_else(|| Unheard::Refused("its answer makes no sense".into()))
    }

    async fn share(&self, to: &Jid, word: Share) -> Result<Answer, Unheard> {
        self.share_with(to, word).await
    }

    fn watchers(&self, machine: MachineId) -> Vec<BareJid> {
        self.contacts().watchers(Entity::Machine(machine))
    }
}
