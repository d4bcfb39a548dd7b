//! What somebody asked to be told of, told: a message nobody's message was before.

use async_trait::async_trait;
use minidom::Element;
use skerry_stanzas::{
    ns,
    payload::{Response, replace},
};
use xmpp_parsers::{jid::Jid, ns as xep};

use super::{consent::REPLY, mark, spoken_by_a_domain};
use crate::{
    alerts::{Messages, Told},
    face::{Face, stanza::tag},
};

#[async_trait]
impl Messages for Face {
    async fn tell(&self, told: Told) -> bool {
        if told.in_room {
            // What nobody saw there needs no change.
            if !self.is_seated(&told.to) {
                return told.instead.is_some();
            }
            let message = self.in_room(&told.to, &told.id, &told.text);
            let message = message.children(told.instead.as_deref().map(replace));
            return self.wire.send(message.into()).await.is_ok();
        }
        let from = Jid::from(self.addresses().of(&told.from).into_bare());
        // A message of an account comes from where it is connected.
        let from = if self.addresses().is_component() { from } else { self.addresses().host() };
        let answers = told.answers.map(|id| tag("reply", REPLY).attr("to", from.as_str()).attr("id", id));
        let message = tag("message", ns::CLIENT)
            .attr("from", from.as_str())
            .attr("to", told.to.as_str())
            .attr("type", "chat")
            .attr("id", &told.id)
            .child(tag("body", ns::CLIENT).text(&told.text))
            .children(answers)
            .children(told.instead.as_deref().map(replace))
            .children(told.buttons.iter().map(|value| Element::from(Response::new(value))))
            .child(tag("origin-id", xep::SID).attr("id", &told.id))
            .children(from.node().is_none().then(spoken_by_a_domain))
            .child(mark());
        self.wire.send(message.into()).await.is_ok()
    }
}
