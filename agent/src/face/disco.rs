//! Service discovery (XEP-0030): the host, its machines, their commands and nodes, as one tree.
//!
//! What is hashed into caps must be the same for all machines, so a name is told only at bare addresses
//! and nodes, where people's clients look for it, and not at the full ones presence comes from.

use std::collections::BTreeSet;

use hypervisor_core::machine::MachineName;
use minidom::Element;
use skerry_stanzas::ns;
use xmpp_parsers::{
    jid::{BareJid, Jid},
    ns as xep,
};

use super::{
    Face,
    adhoc::Place,
    nodes::Node,
    router::TABLE,
    stanza::{Fault, Inquiry, Tag, tag},
};
use crate::asked::Target;

/// Features beside those of the router's table: what messages and presences may hold.
const FEATURES: &[&str] =
    &[xep::CAPS, xep::RECEIPTS, xep::SID, ns::CORRECT, ns::FORMS, ns::JSON, ns::QUICK_RESPONSE];

/// What our own pubsub service can do (XEP-0060 §10), and that machines have pictures.
const COMPONENT_FEATURES: &[&str] = &[
    "http://jabber.org/protocol/pubsub#access-authorize",
    "http://jabber.org/protocol/pubsub#filtered-notifications",
    "http://jabber.org/protocol/pubsub#item-ids",
    "http://jabber.org/protocol/pubsub#last-published",
    "http://jabber.org/protocol/pubsub#persistent-items",
    "http://jabber.org/protocol/pubsub#retrieve-affiliations",
    "http://jabber.org/protocol/pubsub#retrieve-items",
    "http://jabber.org/protocol/pubsub#retrieve-subscriptions",
    "http://jabber.org/protocol/pubsub#rsm",
    "http://jabber.org/protocol/pubsub#subscribe",
    xep::VCARD_UPDATE,
];

/// The disco#info of a host or a machine.
pub(crate) fn described(machine: bool, component: bool, name: Option<&str>) -> Tag {
    let (category, kind) = match (machine, component) {
        (false, true) => ("component", "generic"),
        _ => ("client", "bot"),
    };
    let rows = TABLE.iter().filter(|row| row.told && (component || !row.component_only));
    let more = if component { COMPONENT_FEATURES } else { &[] };
    let features: BTreeSet<&str> = rows
        .map(|row| row.namespace)
        .chain(FEATURES.iter().copied())
        .chain(more.iter().copied())
        .chain(if machine { [ns::MACHINE].iter() } else { [ns::HOST, ns::SIGNATURES].iter() }.copied())
        .collect();
    let identity = tag("identity", xep::DISCO_INFO).attr("category", category).attr("type", kind);
    tag("query", xep::DISCO_INFO)
        .child(identity.attr_if("name", name))
        .children(features.into_iter().map(feature))
}

fn feature(var: &str) -> Tag {
    tag("feature", xep::DISCO_INFO).attr("var", var)
}

fn one(category: &str, kind: &str, name: &str, features: &[&str]) -> Tag {
    let identity = tag("identity", xep::DISCO_INFO).attr("category", category).attr("type", kind);
    tag("query", xep::DISCO_INFO)
        .child(identity.attr("name", name))
        .children(features.iter().map(|var| feature(var)))
}

fn item(jid: &Jid, node: Option<&str>, name: &str) -> Tag {
    tag("item", xep::DISCO_ITEMS).attr("jid", jid.as_str()).attr_if("node", node).attr("name", name)
}

impl Face {
    /// disco#info.
    pub(crate) fn disco_info(&self, inquiry: &Inquiry) -> Result<Element, Fault> {
        let component = self.addresses().is_component();
        let Some(node) = inquiry.payload.attr("node") else {
            let at_full_address = component && inquiry.to.is_full();
            let name = (!at_full_address).then(|| self.name_of(&inquiry.target));
            let machine = matches!(inquiry.target, Target::Machine(_));
            return Ok(described(machine, component, name.as_deref()).into());
        };
        let person = inquiry.from.to_bare();
        if !self.agent.knows(&person, &inquiry.target) {
            return Err(Fault::not_found());
        }
        let answer = if node == ns::ADHOC {
            one("automation", "command-list", "Commands", &[ns::ADHOC])
        } else if let Some(place) = Place::find(node, &inquiry.target) {
            let name = self.title_for(&person, &place).ok_or_else(Fault::not_found)?;
            one("automation", "command-node", &name, &[ns::ADHOC, ns::FORMS])
        } else if let Some(name) = self.machine_node(&person, &inquiry.target, node) {
            described(true, component, Some(name.as_str()))
        } else {
            let found = Node::named(node).filter(|node| self.has_node(&inquiry.target, *node));
            let found = found.ok_or_else(Fault::not_found)?;
            one("pubsub", "leaf", found.title(), &[xep::PUBSUB])
        };
        Ok(answer.attr("node", node).into())
    }

    /// disco#items.
    pub(crate) fn disco_items(&self, inquiry: &Inquiry) -> Result<Element, Fault> {
        let query = tag("query", xep::DISCO_ITEMS).attr_if("node", inquiry.payload.attr("node"));
        let person = inquiry.from.to_bare();
        if !self.agent.knows(&person, &inquiry.target) {
            // Only the host is asked this far by strangers: there is nothing here for them.
            return Ok(query.into());
        }
        let own = self.addresses().of(&inquiry.target);
        let items = match inquiry.payload.attr("node") {
            None => self.top_items(&person, &inquiry.target, &own),
            Some(ns::ADHOC) => {
                let places = self.commands_at(&person, &inquiry.target).into_iter();
                places.map(|(node, name)| item(&own, Some(&node), &name)).collect()
            }
            Some(node) => {
                if let Some(name) = self.machine_node(&person, &inquiry.target, node) {
                    let places = self.commands_of(&person, &name).into_iter();
                    places.map(|(node, name)| item(&own, Some(&node), &name)).collect()
                } else if let Some(node) =
                    Node::named(node).filter(|node| self.has_node(&inquiry.target, *node))
                {
                    let ids = self.item_ids(&inquiry.target, node);
                    ids.iter()
                        .map(|id| tag("item", xep::DISCO_ITEMS).attr("jid", own.as_str()).attr("name", id))
                        .collect()
                } else if Place::find(node, &inquiry.target).is_some() {
                    Vec::new()
                } else {
                    return Err(Fault::not_found());
                }
            }
        };
        Ok(query.children(items).into())
    }

    /// Machines first, so that a client that shows only some shows those.
    fn top_items(&self, person: &BareJid, target: &Target, own: &Jid) -> Vec<Tag> {
        let mut items = Vec::new();
        let component = self.addresses().is_component();
        if *target == Target::Host {
            for seen in self.agent.machines_for(person) {
                let jid = self.addresses().machine(&seen.name);
                let node = format!("machine/{}", seen.name);
                items.push(item(&jid, (!component).then_some(node.as_str()), seen.name.as_str()));
            }
        }
        items.push(item(own, Some(ns::ADHOC), "Commands"));
        // Pictures are asked for by those who know the node; in a tree for people they only stand in the way.
        let shown = |node: &Node| !matches!(node, Node::AvatarData | Node::AvatarMetadata);
        let nodes = Node::ALL.into_iter().filter(|node| shown(node) && self.has_node(target, *node));
        items.extend(nodes.map(|node| item(own, Some(node.name()), node.title())));
        items
    }

    /// The machine behind a node `machine/<name>` of the host.
    fn machine_node(&self, person: &BareJid, target: &Target, node: &str) -> Option<MachineName> {
        let name = node.strip_prefix("machine/").filter(|_| *target == Target::Host)?;
        let name = MachineName::new(name).ok()?;
        let known = self.agent.knows(person, &Target::Machine(name.clone()));
        self.agent.machine(&name).filter(|_| known).map(|seen| seen.name)
    }

    fn name_of(&self, target: &Target) -> String {
        match target {
            Target::Host => self.host_name.clone(),
            Target::Machine(name) => name.to_string(),
        }
    }

    fn has_node(&self, target: &Target, node: Node) -> bool {
        self.addresses().is_component() && self.entity(target).is_some_and(|entity| node.is_of(entity))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn features(machine: bool, component: bool) -> Vec<String> {
        let info: Element = described(machine, component, None).into();
        info.children().filter_map(|child| child.attr("var").map(str::to_owned)).collect()
    }

    #[test]
    fn what_the_table_answers_is_told() {
        for var in [xep::DISCO_INFO, xep::PING, xep::VERSION, ns::ADHOC, xep::PUBSUB, xep::VCARD, ns::MACHINE]
        {
            assert!(features(true, true).iter().any(|feature| feature == var), "{var}");
        }
        assert!(!features(true, true).contains(&xep::ROSTER.to_owned()));
    }

    #[test]
    fn an_account_does_not_claim_what_its_server_answers() {
        assert!(!features(false, false).contains(&xep::PUBSUB.to_owned()));
        assert!(features(false, false).contains(&ns::HOST.to_owned()));
    }

    #[test]
    fn every_feature_is_told_once() {
        let all = features(false, true);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
