//! Publish-subscribe on our own addresses (XEP-0060), where a whole domain is ours: no other service is
//! needed, no right on one, and no limit of one is in the way. Only the agent publishes.
//!
//! Who gets notified: who subscribed, and every client of a contact whose caps say `+notify` (XEP-0163
//! §4.3). In both cases only as long as they may look.

mod notify;
mod subscriptions;

use minidom::Element;
use xmpp_parsers::ns as xep;

pub(crate) use subscriptions::Subscriptions;

use super::{
    Face,
    entity::Entity,
    nodes::Node,
    stanza::{Fault, Inquiry, Tag, tag},
};

/// The most items in one answer: with the largest payload still below every server's stanza limit.
const ITEMS_MAX: usize = 100;
/// How many events are given when nobody says how many.
const EVENTS_DEFAULT: usize = 20;

/// One item of a node.
pub(crate) struct Item {
    id: String,
    payload: Element,
}

/// Which items are wanted.
enum Wanted {
    /// These.
    Ids(Vec<String>),
    /// The newest, at most so many.
    Newest(usize),
    /// Those after this one, at most so many (XEP-0059).
    After(u64, usize),
}

/// A fault of pubsub's own (XEP-0060 §16.4.1).
fn fault(kind: &'static str, condition: &'static str, own: &str) -> Fault {
    Fault::new(kind, condition).more(tag(own, xep::PUBSUB_ERRORS))
}

fn unsupported(feature: &str) -> Fault {
    Fault::not_implemented().more(tag("unsupported", xep::PUBSUB_ERRORS).attr("feature", feature))
}

impl Face {
    /// Answers a `<pubsub/>`. That the caller may look was seen to before.
    pub(crate) async fn pubsub(&self, inquiry: &Inquiry) -> Result<Option<Element>, Fault> {
        let mut actions = inquiry.payload.children().filter(|child| !child.has_ns(xep::RSM));
        let Some(action) = actions.next() else {
            return Err(Fault::bad_request("There is nothing in that <pubsub/>."));
        };
        let entity = self.entity(&inquiry.target).ok_or_else(Fault::not_found)?;
        if !self.agent.may_follow(&inquiry.from.to_bare(), &inquiry.target) {
            return Err(Fault::forbidden().text("Its nodes are for those with a role on the whole host."));
        }
        let answer = match (inquiry.set, action.name()) {
            (false, "items") => self.get_items(inquiry, entity, action).await?,
            (true, "subscribe") => self.subscribe(inquiry, entity, action)?,
            (true, "unsubscribe") => return self.unsubscribe(inquiry, entity, action).map(|()| None),
            (false, "subscriptions") => self.list_subscriptions(inquiry, entity, action),
            (false, "affiliations") => affiliations(entity, action),
            (_, "options") => return Err(unsupported("subscription-options")),
            (false, "default") => return Err(unsupported("retrieve-default-sub")),
            (true, "publish" | "retract" | "create" | "configure") => {
                return Err(Fault::forbidden().text("Only the agent itself publishes here."));
            }
            _ => return Err(Fault::bad_request("That is no pubsub request I know.")),
        };
        Ok(Some(tag("pubsub", xep::PUBSUB).children(answer).into()))
    }

    /// The node an element names, when this entity has it.
    fn node_in(&self, entity: Entity, element: &Element) -> Result<Node, Fault> {
        let Some(name) = element.attr("node").filter(|name| !name.is_empty()) else {
            return Err(fault("modify", "bad-request", "nodeid-required"));
        };
        Node::named(name).filter(|node| node.is_of(entity)).ok_or_else(Fault::not_found)
    }

    /// Retrieves items (XEP-0060 §6.5), and events by their number (XEP-0059).
    async fn get_items(&self, inquiry: &Inquiry, entity: Entity, items: &Element) -> Result<Vec<Tag>, Fault> {
        let node = self.node_in(entity, items)?;
        let set = inquiry.payload.get_child("set", xep::RSM);
        let found = match wanted(items, set)? {
            Wanted::Ids(ids) => {
                let found = self.items_by_id(entity, node, &ids).await;
                match found.is_empty() {
                    true => return Err(Fault::not_found()),
                    false => found,
                }
            }
            Wanted::Newest(count) => self.newest_items(entity, node, count).await,
            Wanted::After(sequence, count) if node == Node::Events => self.events(sequence, count).await,
            Wanted::After(..) => return Err(Fault::not_found()),
        };
        let page = set.map(|_| page(&found));
        let items = tag("items", xep::PUBSUB).attr("node", node.name());
        let items = items.children(found.into_iter().map(|item| item.tag(xep::PUBSUB)));
        Ok(std::iter::once(items).chain(page).collect())
    }

    async fn items_by_id(&self, entity: Entity, node: Node, ids: &[String]) -> Vec<Item> {
        let mut found = Vec::new();
        if node != Node::Events {
            let present = self.newest_items(entity, node, 1).await;
            found.extend(present.into_iter().filter(|item| ids.contains(&item.id)));
            return found;
        }
        for id in ids.iter().take(ITEMS_MAX) {
            let Some(before) = id.parse::<u64>().ok().and_then(|id| id.checked_sub(1)) else { continue };
            found.extend(self.events(before, 1).await.into_iter().filter(|item| item.id == *id));
        }
        found
    }

    /// The newest items of a node, oldest of them first.
    pub(crate) async fn newest_items(&self, entity: Entity, node: Node, count: usize) -> Vec<Item> {
        if count == 0 {
            return Vec::new();
        }
        let item = |id: &str, payload| Some(Item { id: id.to_owned(), payload });
        let one = match node {
            Node::Events => {
                let last = self.last_event();
                return self.events(last.saturating_sub(count as u64), count).await;
            }
            Node::State => self.state_of(entity).and_then(|payload| item("current", payload)),
            Node::Metrics => item("current", self.metrics().await),
            Node::Audit => self.head_item().map(|(id, payload)| Item { id, payload }),
            Node::AvatarData => {
                let avatar = self.avatar(entity);
                item(&avatar.hash, super::avatar::wire_data(&avatar))
            }
            Node::AvatarMetadata => {
                let avatar = self.avatar(entity);
                item(&avatar.hash, super::avatar::wire_metadata(&avatar))
            }
        };
        one.into_iter().collect()
    }

    async fn events(&self, after: u64, count: usize) -> Vec<Item> {
        let events = self.agent.events_after(after, count.min(ITEMS_MAX)).await;
        events.iter().map(Item::event).collect()
    }
}

impl Item {
    /// An event: its number is its id.
    pub(crate) fn event(event: &crate::agent::Event) -> Self {
        Self { id: event.sequence.to_string(), payload: super::payloads::event(event) }
    }

    /// A whole `<item/>`, of the service or of a notification.
    pub(crate) fn tag(self, namespace: &str) -> Tag {
        tag("item", namespace).attr("id", self.id).child(self.payload)
    }
}

/// What an `<items/>` and a `<set/>` ask for.
fn wanted(items: &Element, set: Option<&Element>) -> Result<Wanted, Fault> {
    let ids: Vec<String> = items
        .children()
        .filter(|item| item.is("item", xep::PUBSUB))
        .filter_map(|i| i.attr("id"))
        .map(str::to_owned)
        .take(ITEMS_MAX)
        .collect();
    if !ids.is_empty() {
        return Ok(Wanted::Ids(ids));
    }
    let number = |text: Option<String>| {
        text.map(|text| text.trim().parse::<usize>().map(|n| n.min(ITEMS_MAX))).transpose()
    };
    let child = |name: &str| set.and_then(|set| set.get_child(name, xep::RSM)).map(Element::text);
    let bad = |_| Fault::bad_request("That is no number of items.");
    let max = number(child("max")).map_err(bad)?;
    let max_items = number(items.attr("max_items").map(str::to_owned)).map_err(bad)?;
    let count = max.or(max_items).unwrap_or(EVENTS_DEFAULT);
    match child("after") {
        Some(after) => Ok(Wanted::After(after.trim().parse().map_err(|_| Fault::not_found())?, count)),
        None if max.is_some() && child("before").is_none() => Ok(Wanted::After(0, count)),
        None => Ok(Wanted::Newest(count)),
    }
}

/// Where this page begins and ends (XEP-0059).
fn page(items: &[Item]) -> Tag {
    let ends = [("first", items.first()), ("last", items.last())];
    let ends = ends.into_iter().filter_map(|(name, item)| Some(tag(name, xep::RSM).text(&item?.id)));
    tag("set", xep::RSM).children(ends)
}

/// What the caller is to our nodes (XEP-0060 §5.7): somebody who may look.
fn affiliations(entity: Entity, asked: &Element) -> Vec<Tag> {
    let nodes = Node::ALL.into_iter().filter(|node| node.is_of(entity));
    let nodes = nodes.filter(|node| asked.attr("node").is_none_or(|name| name == node.name()));
    let one =
        |node: Node| tag("affiliation", xep::PUBSUB).attr("node", node.name()).attr("affiliation", "member");
    vec![tag("affiliations", xep::PUBSUB).children(nodes.map(one))]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn ask(items: &str, set: Option<&str>) -> Result<Wanted, Fault> {
        let items: Element = items.parse().unwrap();
        let set: Option<Element> = set.map(|set| set.parse().unwrap());
        wanted(&items, set.as_ref())
    }

    #[test]
    fn what_is_asked_for_is_bounded() {
        let all = "<items xmlns='http://jabber.org/protocol/pubsub' node='n' max_items='99999'/>";
        assert!(matches!(ask(all, None), Ok(Wanted::Newest(ITEMS_MAX))));
        let many: String = (0..500).map(|n| format!("<item id='{n}'/>")).collect();
        let many = format!("<items xmlns='http://jabber.org/protocol/pubsub' node='n'>{many}</items>");
        assert!(matches!(ask(&many, None), Ok(Wanted::Ids(ids)) if ids.len() == ITEMS_MAX));
    }

    #[test]
    fn pages_are_asked_for_by_number() {
        let items = "<items xmlns='http://jabber.org/protocol/pubsub' node='n'/>";
        let set = |inner: &str| format!("<set xmlns='http://jabber.org/protocol/rsm'>{inner}</set>");
        let after = ask(items, Some(&set("<max>5</max><after>17</after>")));
        assert!(matches!(after, Ok(Wanted::After(17, 5))));
        assert!(matches!(ask(items, Some(&set("<max>5</max>"))), Ok(Wanted::After(0, 5))));
        assert!(matches!(ask(items, Some(&set("<max>5</max><before/>"))), Ok(Wanted::Newest(5))));
        assert!(ask(items, Some(&set("<max>x</max>"))).is_err());
        assert!(ask(items, Some(&set("<after>x</after>"))).is_err());
    }
}
