//! Words about images that hosts share, from and to other hosts (`urn:skerry:share:0`).

use minidom::Element;
use skerry_stanzas::{
    ns,
    payload::{
        Share,
        share::{ANSWER, Answer},
    },
};
use xmpp_parsers::jid::Jid;

use super::{
    Face,
    stanza::{Fault, Inquiry},
};
use crate::{asked::Target, migration::Unheard};

impl Face {
    /// A word of another host. Strangers' words are not looked at.
    pub(super) async fn shared(&self, inquiry: &Inquiry) -> Result<Option<Element>, Fault> {
        if inquiry.target != Target::Host {
            return Err(Fault::unknown_service());
        }
        if !self.agent.is_peer(&inquiry.from.to_bare()) {
            let text = "This host does not share images with you: see [peers] in its agent's file.";
            return Err(Fault::forbidden().text(text));
        }
        let no_sense = || Fault::bad_request("That word about an image makes no sense here.");
        let word = Share::try_from(inquiry.payload.clone()).map_err(|_| no_sense())?;
        let answer = self.agent.share_said(&inquiry.from, &word).await.ok_or_else(no_sense)?;
        let content = serde_json::to_string(&answer).map_err(|_| no_sense())?;
        Ok(Some(Share { word: ANSWER.into(), id: word.id, content }.into()))
    }

    /// Says one to another host, and hears the answer.
    pub(super) async fn share_with(&self, to: &Jid, word: Share) -> Result<Answer, Unheard> {
        let answer = self.to_peer(to, "set", word.into()).await?;
        let payload = answer.get_child("share", ns::SHARE).cloned();
        let word = payload.and_then(|payload| Share::try_from(payload).ok());
        word.and_then(|word| word.content())
            .ok_or_else(|| Unheard::Refused("its answer makes no sense".into()))
    }
}
