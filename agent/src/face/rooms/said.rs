//! What is said in a room where something was asked: consent or refusal, by whom the room shows by their own
//! address. All else that is said in rooms is nobody's command, and is not answered.

use std::{collections::VecDeque, sync::Arc, sync::Mutex, time::Duration};

use minidom::Element;
use skerry_stanzas::{command::COMMANDS, ns, refusal::Reason};
use xmpp_parsers::{
    jid::{BareJid, Jid},
    ns as xep,
};

use crate::face::{
    Face, chat, lock,
    stanza::{self, Tag, fresh_id, tag},
};
use crate::{
    alerts::Told,
    asked::{Answer, Asked, Door, Target},
};

/// How long a consent may take to be written down.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most of our own messages that are remembered by the ids rooms gave them.
const OWN_MAX: usize = 1024;

/// Our own messages in rooms, by the ids rooms gave them (XEP-0359): replies and reactions name those.
#[derive(Default)]
pub(crate) struct Own(Mutex<VecDeque<(BareJid, String, String)>>);

impl Own {
    fn know(&self, room: &BareJid, theirs: &str, ours: &str) {
        let mut own = lock(&self.0);
        if own.len() >= OWN_MAX {
            own.pop_front();
        }
        own.push_back((room.clone(), theirs.to_owned(), ours.to_owned()));
    }

    fn ours(&self, room: &BareJid, id: &str) -> Option<String> {
        let own = lock(&self.0);
        let found = own.iter().rev().find(|(of, theirs, ours)| of == room && (theirs == id || ours == id));
        found.map(|(_, _, ours)| ours.clone())
    }
}

impl Face {
    /// A message of somebody in a room: `person` is who the room says they are, where it hides nobody.
    pub(super) fn take_said(
        self: &Arc<Self>,
        room: &BareJid,
        is_own: bool,
        person: Option<BareJid>,
        message: &Element,
    ) {
        if is_own {
            let stamped = message.children().filter(|child| child.is("stanza-id", xep::SID));
            let theirs = stamped.into_iter().find(|id| id.attr("by") == Some(room.as_str()));
            if let (Some(theirs), Some(ours)) = (theirs.and_then(|id| id.attr("id")), message.attr("id")) {
                self.own_said.know(room, theirs, ours);
            }
            return;
        }
        // What was said before we came in, or is a copy, is not said now.
        let is_now = message.attr("type") == Some("groupchat") && !message.has_child("delay", xep::DELAY);
        let Some(person) = person.filter(|_| is_now) else { return };
        let Some((code, yes)) = self.consent_in(room, message) else { return };
        let key = message.attr("id").map(|id| format!("{room} {person} {}", stanza::printable(id)));
        let (face, room) = (Arc::clone(self), room.clone());
        let caller = person.clone();
        let answered = async move { face.answer_in(room, person, code, yes, key).await };
        let limits = self.limits.clone();
        let known = self.is_known_caller(&caller);
        tokio::spawn(async move {
            if limits.run((&caller, known), answered).await.is_err() {
                tracing::debug!(%caller, "too many of their messages at once");
            }
        });
    }

    /// The request a message consents to, or refuses: by its code, by a reply to the question, by a reaction.
    fn consent_in(&self, room: &BareJid, message: &Element) -> Option<(String, bool)> {
        if let Some((id, yes)) = chat::reaction(message) {
            let ours = self.own_said.ours(room, &id)?;
            let (code, _) = self.agent.question_to(room, &ours).filter(|(_, by_reaction)| *by_reaction)?;
            return Some((code, yes));
        }
        let body = message.get_child("body", ns::CLIENT)?.text();
        let words: Vec<String> = body.split_whitespace().map(str::to_lowercase).collect();
        if let [verb, code] = words.as_slice() {
            let yes = match verb.as_str() {
                "approve" => Some(true),
                "reject" => Some(false),
                _ => None,
            };
            if let Some(yes) = yes {
                return Some((code.clone(), yes));
            }
        }
        let ours = self.own_said.ours(room, &chat::replied_to(message)?)?;
        let (code, _) = self.agent.question_to(room, &ours)?;
        Some((code, chat::said_in_reply(&body)?))
    }

    async fn answer_in(&self, room: BareJid, person: BareJid, code: String, yes: bool, key: Option<String>) {
        let permission = if yes { "host.approve" } else { "host.reject" };
        let Some(declaration) = COMMANDS.iter().find(|it| it.permission() == permission) else { return };
        let asked = Asked {
            caller: Jid::from(person.clone()),
            target: Target::Host,
            declaration,
            argv: vec![format!("--code={code}")],
            door: Door::Room,
            key,
            patience: PATIENCE,
            hops: Vec::new(),
            together: None,
            signature: None,
        };
        match self.agent.ask(asked, None).await {
            Answer::Done { text, .. } => self.say_in(&room, &format!("{person}: {text}")).await,
            // Another host's, perhaps: there may be several in the room.
            Answer::Refused(refusal) if refusal.reason == Reason::NotFound => {}
            // Who may do what is nobody's business there.
            Answer::Refused(refusal) => {
                let told = Told {
                    from: Target::Host,
                    to: person,
                    id: fresh_id(),
                    text: refusal.sentence(),
                    answers: None,
                    instead: None,
                    buttons: Vec::new(),
                    in_room: false,
                };
                let _ = crate::alerts::Messages::tell(self, told).await;
            }
            Answer::Confirm(_) => {}
        }
    }

    async fn say_in(&self, room: &BareJid, text: &str) {
        let message = self.in_room(room, &fresh_id(), text);
        self.say(message).await;
    }

    /// A message to all of a room.
    pub(crate) fn in_room(&self, room: &BareJid, id: &str, text: &str) -> Tag {
        tag("message", ns::CLIENT)
            .attr("from", self.addresses().presence_of(&Target::Host).to_string())
            .attr("to", room.as_str())
            .attr("type", "groupchat")
            .attr("id", id)
            .child(tag("body", ns::CLIENT).text(text))
            .child(tag("origin-id", xep::SID).attr("id", id))
            .child(chat::mark())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn our_messages_are_known_by_the_ids_their_room_gave_them_and_no_other() {
        let (ops, lab) = (BareJid::new("ops@rooms.x").unwrap(), BareJid::new("lab@rooms.x").unwrap());
        let own = Own::default();
        own.know(&ops, "r1", "m1");
        assert_eq!(own.ours(&ops, "r1").as_deref(), Some("m1"));
        assert_eq!(own.ours(&ops, "m1").as_deref(), Some("m1"), "some clients name our own");
        assert_eq!(own.ours(&lab, "r1"), None);
        for n in 0..OWN_MAX {
            own.know(&lab, &format!("r{n}"), "later");
        }
        assert_eq!(own.ours(&ops, "r1"), None, "memory is bounded");
    }
}
