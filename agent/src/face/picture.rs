//! The card and the picture of an account, which its server keeps and shows to whoever asks: vCard
//! (XEP-0054), which most clients take the picture from, and user avatar (XEP-0084). A component
//! answers both itself.

use std::{sync::atomic::Ordering, time::Duration};

use minidom::Element;
use skerry_link::Ask;
use skerry_stanzas::ns;
use xmpp_parsers::ns as xep;

use super::{
    Face, avatar,
    entity::Entity,
    nodes::Node,
    pep::said,
    stanza::{Tag, tag},
};
use crate::asked::Target;

/// A picture of some kB takes a slow account seconds.
const PATIENCE: Duration = Duration::from_secs(60);

impl Face {
    /// Sees to it that the server has our card and our picture. It is asked first: a server that has
    /// them is not told anew at each login, nor are those who see us.
    pub(crate) async fn put_up_picture(&self) {
        match self.put_up_card().await {
            Ok(()) => self.show_picture().await,
            Err(error) => refused("vCard", &error),
        }
        // Some servers make one from the other: so this is asked only now.
        if let Err(error) = self.put_up_avatar().await {
            refused("avatar", &error);
        }
    }

    async fn put_up_card(&self) -> Result<(), Ask> {
        let card = self.card_of(&Target::Host, Entity::Host);
        match self.ask_own("get", tag("vCard", xep::VCARD)).await {
            Ok(answer) if answer.get_child("vCard", xep::VCARD).is_some_and(|kept| is_same(kept, &card)) => {
                return Ok(());
            }
            // An error says that there is none.
            Ok(_) | Err(Ask::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        self.ask_own("set", card).await.map(drop)
    }

    async fn put_up_avatar(&self) -> Result<(), Ask> {
        let picture = self.avatar(Entity::Host);
        let newest =
            tag("items", xep::PUBSUB).attr("node", Node::AvatarMetadata.name()).attr("max_items", "1");
        match self.ask_own("get", tag("pubsub", xep::PUBSUB).child(newest)).await {
            Ok(answer) if is_about(&answer, &picture.hash) => return Ok(()),
            Ok(_) | Err(Ask::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        // The picture before the news of it (XEP-0084 §3.1).
        for (node, payload) in [
            (Node::AvatarData, avatar::wire_data(&picture)),
            (Node::AvatarMetadata, avatar::wire_metadata(&picture)),
        ] {
            let item = tag("item", xep::PUBSUB).attr("id", &picture.hash).child(payload);
            let publish = tag("publish", xep::PUBSUB).attr("node", node.name()).child(item);
            self.ask_own("set", tag("pubsub", xep::PUBSUB).child(publish)).await?;
        }
        Ok(())
    }

    /// From now on the presence names the picture (XEP-0153): earlier, clients would ask for one that
    /// is not there, and remember that.
    async fn show_picture(&self) {
        if self.pep.pictured.swap(true, Ordering::Relaxed) {
            return;
        }
        loop {
            let sentence = self.host_sentence();
            self.show_presence(Entity::Host).await;
            // What changed meanwhile may have been shown before this: then this was old.
            if self.host_sentence() == sentence {
                return;
            }
        }
    }

    async fn ask_own(&self, kind: &'static str, payload: impl Into<Element>) -> Result<Element, Ask> {
        let iq: Tag = tag("iq", ns::CLIENT).attr("type", kind).child(payload.into());
        self.wire.ask(iq.into(), PATIENCE).await
    }
}

fn refused(what: &str, error: &Ask) {
    tracing::warn!(%error, said = said(error), "the server does not keep our {what}");
}

/// Whether a kept card says what ours says; servers add to it, and break long lines.
fn is_same(kept: &Element, ours: &Element) -> bool {
    ours.children().all(|field| {
        // Prosody keeps a vCard4, and makes its note a NOTE, whatever it was before.
        let note = || kept.get_child("NOTE", xep::VCARD).filter(|_| field.name() == "DESC");
        let kept = kept.get_child(field.name(), xep::VCARD).or_else(note);
        kept.is_some_and(|kept| match field.children().next() {
            None => kept.text().trim() == field.text(),
            Some(_) => field.children().all(|part| {
                let bare = |text: String| text.split_whitespace().collect::<String>();
                let kept = kept.get_child(part.name(), xep::VCARD);
                kept.is_some_and(|kept| bare(kept.text()) == bare(part.text()))
            }),
        })
    })
}

/// Whether the answer tells of the picture with this hash.
fn is_about(answer: &Element, hash: &str) -> bool {
    let items = answer.get_child("pubsub", xep::PUBSUB).and_then(|it| it.get_child("items", xep::PUBSUB));
    let mut items = items.into_iter().flat_map(Element::children);
    items.any(|item| {
        let metadata = item.get_child("metadata", xep::AVATAR_METADATA);
        let mut entries = metadata.into_iter().flat_map(Element::children);
        entries.any(|entry| entry.attr("id") == Some(hash))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn card(inner: &str) -> Element {
        format!("<vCard xmlns='vcard-temp'>{inner}</vCard>").parse().unwrap()
    }

    #[test]
    fn a_card_is_the_same_whatever_a_server_adds() {
        let ours = card(
            "<FN>kvm1</FN><DESC>A host.</DESC><PHOTO><TYPE>image/png</TYPE><BINVAL>AAAABBBB</BINVAL></PHOTO>",
        );
        let photo = "<PHOTO><BINVAL>AAAA\nBBBB</BINVAL><TYPE>image/png</TYPE></PHOTO>";
        let photo = format!("{photo}<NOTE>A host.</NOTE>");
        assert!(is_same(&card(&format!("<VERSION>2.0</VERSION>{photo}<FN>kvm1</FN>")), &ours));
        assert!(!is_same(&card(&format!("{photo}<FN>kvm2</FN>")), &ours), "another name");
        assert!(!is_same(&card("<FN>kvm1</FN>"), &ours), "no picture");
        assert!(!is_same(&card(&format!("<FN>kvm1</FN>{}", photo.replace('B', "C"))), &ours), "another one");
    }
}
