//! Who subscribed to which node (XEP-0060 §6.1). Subscribed twice is subscribed once.

use std::collections::{BTreeSet, HashMap};

use minidom::Element;
use xmpp_parsers::{
    jid::{BareJid, Jid},
    ns as xep,
};

use super::{fault, unsupported};
use crate::face::{
    Face,
    entity::Entity,
    ledger::Change,
    nodes::Node,
    stanza::{Fault, Inquiry, Tag, address, tag},
};

/// The most subscriptions of one person, and of one node.
const PERSON_MAX: usize = 4096;
const NODE_MAX: usize = 4096;

/// All subscriptions. One of a bare address is kept for ever; one of a full address ends with the
/// agent, or when that client cannot be reached.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(HashMap<(Entity, Node), BTreeSet<Jid>>);

impl Subscriptions {
    /// Adds one; false when there are too many.
    pub(crate) fn add(&mut self, entity: Entity, node: Node, jid: Jid) -> bool {
        let of_person =
            |jids: &BTreeSet<Jid>| jids.iter().filter(|known| known.to_bare() == jid.to_bare()).count();
        let persons: usize = self.0.values().map(of_person).sum();
        let jids = self.0.entry((entity, node)).or_default();
        if !jids.contains(&jid) && (persons >= PERSON_MAX || jids.len() >= NODE_MAX) {
            return false;
        }
        jids.insert(jid);
        true
    }

    /// Takes one away; true when there was one.
    pub(crate) fn remove(&mut self, entity: Entity, node: Node, jid: &Jid) -> bool {
        self.0.get_mut(&(entity, node)).is_some_and(|jids| jids.remove(jid))
    }

    /// Who subscribed to this node.
    pub(crate) fn of(&self, entity: Entity, node: Node) -> Vec<Jid> {
        self.0.get(&(entity, node)).into_iter().flatten().cloned().collect()
    }

    /// What this person subscribed to at this entity.
    fn of_person(&self, entity: Entity, person: &BareJid) -> Vec<(Node, Jid)> {
        let nodes = Node::ALL.into_iter().flat_map(|node| {
            let jids = self.0.get(&(entity, node)).into_iter().flatten();
            jids.filter(|jid| jid.to_bare() == *person).map(move |jid| (node, jid.clone()))
        });
        nodes.collect()
    }

    /// Forgets an entity.
    pub(crate) fn forget_entity(&mut self, entity: Entity) {
        self.0.retain(|(known, _), _| *known != entity);
    }

    /// Takes away every subscription of this address, or with a bare one of this person; says which.
    pub(crate) fn drop_jid(&mut self, entity: Entity, gone: &Jid) -> Vec<(Node, Jid)> {
        let mut found = self.of_person(entity, &gone.to_bare());
        found.retain(|(_, jid)| gone.is_bare() || jid == gone);
        for (node, jid) in &found {
            self.remove(entity, *node, jid);
        }
        found
    }
}

/// Whom a request is about: the caller, or one of the caller's own addresses.
fn subscriber(inquiry: &Inquiry, element: &Element) -> Result<Jid, Fault> {
    let jid = address(element, "jid");
    let jid = jid.filter(|jid| jid.to_bare() == inquiry.from.to_bare());
    jid.ok_or_else(|| fault("modify", "bad-request", "invalid-jid"))
}

fn subscription(node: Node, jid: &Jid) -> Tag {
    tag("subscription", xep::PUBSUB)
        .attr("node", node.name())
        .attr("jid", jid.as_str())
        .attr("subscription", "subscribed")
}

impl Face {
    pub(super) fn subscribe(
        &self,
        asked: &Inquiry,
        entity: Entity,
        what: &Element,
    ) -> Result<Vec<Tag>, Fault> {
        let jid = subscriber(asked, what)?;
        let node = self.node_in(entity, what)?;
        if asked.payload.has_child("options", xep::PUBSUB) {
            return Err(unsupported("subscription-options"));
        }
        if !self.subscriptions().add(entity, node, jid.clone()) {
            return Err(fault("wait", "policy-violation", "too-many-subscriptions"));
        }
        if let Ok(person) = BareJid::try_from(jid.clone()) {
            self.ledger.note(Change::Subscription(entity, node, person, true));
        }
        Ok(vec![subscription(node, &jid)])
    }

    pub(super) fn unsubscribe(&self, asked: &Inquiry, entity: Entity, what: &Element) -> Result<(), Fault> {
        let jid = subscriber(asked, what)?;
        let node = self.node_in(entity, what)?;
        if !self.subscriptions().remove(entity, node, &jid) {
            return Err(fault("cancel", "unexpected-request", "not-subscribed"));
        }
        self.note_unsubscribed(entity, node, jid);
        Ok(())
    }

    fn note_unsubscribed(&self, entity: Entity, node: Node, jid: Jid) {
        if let Ok(person) = BareJid::try_from(jid) {
            self.ledger.note(Change::Subscription(entity, node, person, false));
        }
    }

    pub(super) fn list_subscriptions(&self, asked: &Inquiry, entity: Entity, what: &Element) -> Vec<Tag> {
        let mut found = self.subscriptions().of_person(entity, &asked.from.to_bare());
        found.retain(|(node, _)| what.attr("node").is_none_or(|name| name == node.name()));
        let list = tag("subscriptions", xep::PUBSUB).attr_if("node", what.attr("node"));
        vec![list.children(found.iter().map(|(node, jid)| subscription(*node, jid)))]
    }

    /// A notification came back: who does not exist any more is no subscriber.
    pub(crate) fn notification_bounced(&self, entity: Entity, from: &Jid) {
        let gone = self.subscriptions().drop_jid(entity, from);
        for (node, jid) in gone {
            tracing::info!(%jid, node = node.name(), "a subscriber is gone");
            self.note_unsubscribed(entity, node, jid);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    #[test]
    fn a_bounce_takes_only_what_bounced() {
        let mut subscriptions = Subscriptions::default();
        for who in ["ann@x.org", "ann@x.org/phone", "bob@x.org"] {
            assert!(subscriptions.add(Entity::Host, Node::Events, jid(who)));
        }
        assert_eq!(subscriptions.drop_jid(Entity::Host, &jid("ann@x.org/phone")).len(), 1);
        assert_eq!(subscriptions.of(Entity::Host, Node::Events), [jid("ann@x.org"), jid("bob@x.org")]);
        assert_eq!(subscriptions.drop_jid(Entity::Host, &jid("ann@x.org")).len(), 1);
    }

    #[test]
    fn there_are_only_so_many() {
        let mut subscriptions = Subscriptions::default();
        for n in 0..PERSON_MAX {
            assert!(subscriptions.add(Entity::Host, Node::State, jid(&format!("ann@x.org/{n}"))));
        }
        assert!(!subscriptions.add(Entity::Host, Node::Events, jid("ann@x.org/more")));
        assert!(subscriptions.add(Entity::Host, Node::Events, jid("bob@x.org")), "others still may");
        assert!(subscriptions.add(Entity::Host, Node::State, jid("ann@x.org/0")), "again is no more");
    }
}
