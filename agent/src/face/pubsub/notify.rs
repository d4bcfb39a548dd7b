//! Notifications: to those who subscribed, and to clients of contacts that say they want them.

use minidom::Element;
use skerry_stanzas::ns;
use xmpp_parsers::{
    jid::{FullJid, Jid},
    ns as xep,
};

use super::Item;
use crate::face::{
    Face,
    entity::Entity,
    nodes::{Node, Wants},
    stanza::{Inquiry, Tag, address, fresh_id, tag},
};

/// A notification without a receiver: a headline, which no server keeps for later.
fn notification(from: &Jid, inner: Tag) -> Tag {
    tag("message", ns::CLIENT)
        .attr("type", "headline")
        .attr("from", from.as_str())
        .child(tag("event", xep::PUBSUB_EVENT).child(inner))
}

fn items(node: Node, items: Vec<Item>) -> Tag {
    let items = items.into_iter().map(|item| item.tag(xep::PUBSUB_EVENT));
    tag("items", xep::PUBSUB_EVENT).attr("node", node.name()).children(items)
}

impl Face {
    /// Publishes what a node holds now.
    pub(crate) async fn publish_current(&self, entity: Entity, node: Node) {
        if self.listeners(entity, node).is_empty() {
            return;
        }
        let newest = self.newest_items(entity, node, 1).await;
        self.notify(entity, node, items(node, newest)).await;
    }

    /// Publishes one event.
    pub(crate) async fn publish_event(&self, event: &crate::agent::Event) {
        self.notify(Entity::Host, Node::Events, items(Node::Events, vec![Item::event(event)])).await;
    }

    /// Tells subscribers that a node is no more (XEP-0060 §8.4.2).
    pub(crate) async fn publish_deletion(&self, from: &Jid, entity: Entity, moved: Option<&Jid>) {
        for node in Node::ALL {
            // At another address there is another such node (XEP-0060 §8.4.2).
            let redirect = moved.map(|to| {
                tag("redirect", xep::PUBSUB_EVENT).attr("uri", format!("xmpp:{to}?;node={}", node.name()))
            });
            let deleted = tag("delete", xep::PUBSUB_EVENT).attr("node", node.name()).children(redirect);
            let listeners = self.subscriptions().of(entity, node);
            for listener in listeners {
                self.say(
                    notification(from, deleted.clone()).attr("to", listener.as_str()).attr("id", fresh_id()),
                )
                .await;
            }
        }
    }

    /// Whether anybody wants this node's items.
    pub(crate) fn is_listened_to(&self, entity: Entity, node: Node) -> bool {
        !self.listeners(entity, node).is_empty()
    }

    async fn notify(&self, entity: Entity, node: Node, inner: Tag) {
        let Some(target) = self.target(entity) else { return };
        let from = Jid::from(self.addresses().of(&target).into_bare());
        let message = notification(&from, inner);
        for listener in self.listeners(entity, node) {
            self.say(message.clone().attr("to", listener.as_str()).attr("id", fresh_id())).await;
        }
    }

    /// Who is to be notified: each once, and only who may (still) look.
    fn listeners(&self, entity: Entity, node: Node) -> Vec<Jid> {
        let Some(target) = self.target(entity) else { return Vec::new() };
        let mut listeners = self.subscriptions().of(entity, node);
        let clients = self.contacts().clients(entity);
        let peers = self.peers();
        for (client, caps) in clients {
            let bare = Jid::from(client.to_bare());
            let client = Jid::from(client);
            if peers.wants(&caps).has(node) && !listeners.contains(&bare) && !listeners.contains(&client) {
                listeners.push(client);
            }
        }
        drop(peers);
        listeners.retain(|listener| self.agent.may_follow(&listener.to_bare(), &target));
        listeners
    }

    /// A client is here that wants these nodes: it gets what each holds now (XEP-0163 §4.3.2).
    pub(crate) async fn send_last_items(&self, entity: Entity, client: &FullJid, wants: Wants) {
        for node in Node::ALL.into_iter().filter(|node| wants.has(*node) && node.is_of(entity)) {
            self.send_last_item(entity, node, &Jid::from(client.clone())).await;
        }
    }

    /// What was just subscribed to, its subscriber gets at once.
    pub(crate) async fn greet_subscriber(&self, inquiry: &Inquiry) {
        let subscribe = inquiry.payload.get_child("subscribe", xep::PUBSUB).filter(|_| inquiry.set);
        let node = subscribe.and_then(|what| Node::named(what.attr("node")?));
        let jid = subscribe.and_then(|what| address(what, "jid"));
        if let (Some(node), Some(jid), Some(entity)) = (node, jid, self.entity(&inquiry.target)) {
            self.send_last_item(entity, node, &jid).await;
        }
    }

    async fn send_last_item(&self, entity: Entity, node: Node, to: &Jid) {
        let Some(target) = self.target(entity) else { return };
        if !self.agent.may_follow(&to.to_bare(), &target) {
            return;
        }
        let newest = self.newest_items(entity, node, 1).await;
        if newest.is_empty() {
            return;
        }
        let from = Jid::from(self.addresses().of(&target).into_bare());
        let message = notification(&from, items(node, newest));
        self.say(message.attr("to", to.as_str()).attr("id", fresh_id())).await;
    }

    /// The ids of what a node holds now: disco's items of it (XEP-0060 §5.5). Events are asked for by
    /// number instead.
    pub(crate) fn item_ids(&self, target: &crate::asked::Target, node: Node) -> Vec<String> {
        let Some(entity) = self.entity(target) else { return Vec::new() };
        match node {
            Node::Events => Vec::new(),
            Node::Audit => self.head_item().map(|(id, _)| id).into_iter().collect(),
            Node::State | Node::Metrics => vec!["current".to_owned()],
            Node::AvatarData | Node::AvatarMetadata => vec![self.avatar_hash(entity)],
        }
    }

    /// A foreign pubsub event tells us nothing: we subscribed to nothing.
    pub(crate) fn is_foreign_event(message: &Element) -> bool {
        message.has_child("event", xep::PUBSUB_EVENT)
    }
}
