//! The head of the audit trail, told to the world: at a pubsub node, and to each witness.

use std::sync::Arc;

use minidom::Element;
use skerry_stanzas::{
    audit::Head,
    ns,
    payload::{Hint, hint},
};

use super::{
    Face,
    entity::Entity,
    nodes::Node,
    stanza::{fresh_id, tag},
};

impl Face {
    /// The head as the item of its node.
    pub(super) fn head_item(&self) -> Option<(String, Element)> {
        let head = self.agent.audit_heads().borrow().clone()?;
        Some((head.sequence.to_string(), Element::from(&head)))
    }

    /// Tells each head, beside the loop: the newest of what waits.
    pub(crate) async fn tell_heads(self: Arc<Self>) {
        let mut heads = self.agent.audit_heads();
        loop {
            let head = heads.borrow_and_update().clone();
            if let Some(head) = head {
                self.tell_head(&head).await;
            }
            if heads.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells it again, to a server that was away.
    pub(crate) async fn tell_head_again(&self) {
        let head = self.agent.audit_heads().borrow().clone();
        if let Some(head) = head {
            self.tell_head(&head).await;
        }
    }

    async fn tell_head(&self, head: &Head) {
        match (self.agent.config().audit.publish, self.addresses().is_component()) {
            (false, _) => {}
            (true, true) => self.publish_current(Entity::Host, Node::Audit).await,
            (true, false) => self.pep.publish(Node::Audit, "current", Element::from(head)),
        }
        match self.agent.witnesses().await {
            Ok(witnesses) => {
                let from = self.addresses().host().clone();
                for witness in witnesses {
                    let message = tag("message", ns::CLIENT)
                        .attr("from", from.as_str())
                        .attr("to", witness.as_str())
                        .attr("id", fresh_id())
                        .child(Element::from(head))
                        // One who is away finds it later.
                        .child(hint(Hint::Store));
                    self.say(message).await;
                }
            }
            Err(error) => tracing::error!(%error, "the witnesses of the audit trail cannot be read"),
        }
    }
}
