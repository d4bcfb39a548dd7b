//! Publishing on an account: by the personal eventing of the account's own server (XEP-0163), where
//! people who see the account's presence find it.
//!
//! Stock servers let an account send little (3 kB/s, ejabberd's default), so what is not yet sent is
//! replaced by what is newer. Events are not replaced: they are read from the log again, from where
//! the last one got through.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use minidom::Element;
use skerry_link::{Ask, SendError};
use skerry_stanzas::ns;
use tokio::sync::Notify;
use xmpp_parsers::ns as xep;

use super::{
    Face,
    nodes::Node,
    payloads,
    stanza::{Tag, tag},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// How many items may wait: the host's and each machine's state.
const WAITING_MAX: usize = 8192;
/// How many items a node is asked to hold, most wanted first; servers differ in what they allow.
const ITEMS: [&str; 4] = ["1000", "256", "100", "10"];
const FORM: &str = "http://jabber.org/protocol/pubsub#node_config";
const OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";

/// What waits to be published.
#[derive(Debug, Default)]
pub(crate) struct Pep {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<(Node, String, Change)>,
    /// The number of the last event the server has.
    events_sent: Option<u64>,
    /// The nodes are to be made first: after each login that was not a resumption.
    prepare: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Change {
    Publish(Element),
    Retract,
}

impl Pep {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes an item, soon. One of the same id that still waits is replaced.
    pub(crate) fn publish(&self, node: Node, id: &str, payload: Element) {
        self.push(node, id, Change::Publish(payload));
    }

    /// Takes an item away, soon.
    pub(crate) fn retract(&self, node: Node, id: &str) {
        self.push(node, id, Change::Retract);
    }

    fn push(&self, node: Node, id: &str, change: Change) {
        let mut waiting = self.waiting();
        let same = waiting.items.iter_mut().find(|(known, item, _)| *known == node && item == id);
        if let Some((_, _, old)) = same {
            *old = change;
        } else if waiting.items.len() < WAITING_MAX {
            waiting.items.push_back((node, id.to_owned(), change));
        } else {
            tracing::warn!("too much waits to be published; some of it is left out");
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// There are new events.
    pub(crate) fn events(&self) {
        self.wake.notify_one();
    }

    /// Logged in anew: the nodes are looked after first.
    pub(crate) fn logged_in(&self) {
        self.waiting().prepare = true;
        self.wake.notify_one();
    }
}

impl Face {
    /// Publishes what waits, one after the other, for ever.
    pub(crate) async fn publish_by_pep(&self) {
        loop {
            self.pep.wake.notified().await;
            if std::mem::take(&mut self.pep.waiting().prepare) {
                self.apply_roles_to_roster().await;
                for node in [Node::State, Node::Events, Node::Metrics] {
                    self.prepare_node(node).await;
                }
            }
            while self.publish_next().await {}
        }
    }

    /// Publishes one thing; false when nothing waits or the link is down.
    async fn publish_next(&self) -> bool {
        let next = self.pep.waiting().items.pop_front();
        if let Some((node, id, change)) = next {
            let answer = self.ask_pep(&request(node, &id, &change)).await;
            if is_down(&answer) {
                let mut waiting = self.pep.waiting();
                let newer = waiting.items.iter().any(|(known, item, _)| *known == node && *item == id);
                if !newer {
                    waiting.items.push_front((node, id, change));
                }
                return false;
            }
            told(node, &answer);
            return true;
        }
        self.publish_next_event().await
    }

    async fn publish_next_event(&self) -> bool {
        let newest = self.last_event();
        let sent = *self.pep.waiting().events_sent.get_or_insert(newest.saturating_sub(1));
        if sent >= newest {
            return false;
        }
        let Some(event) = self.agent.events_after(sent, 1).await.into_iter().next() else { return false };
        let change = Change::Publish(payloads::event(&event));
        let answer = self.ask_pep(&request(Node::Events, &event.sequence.to_string(), &change)).await;
        if is_down(&answer) {
            return false;
        }
        told(Node::Events, &answer);
        self.pep.waiting().events_sent = Some(event.sequence);
        true
    }

    /// Sees to it that a node is there, may be read by who sees our presence, and holds enough: the
    /// servers' own choice is one item.
    async fn prepare_node(&self, node: Node) {
        for count in if node == Node::Metrics { &ITEMS[3..] } else { &ITEMS } {
            let form = form(
                FORM,
                &[
                    ("pubsub#access_model", "presence"),
                    ("pubsub#persist_items", "1"),
                    ("pubsub#max_items", count),
                ],
            );
            let create = tag("pubsub", xep::PUBSUB)
                .child(tag("create", xep::PUBSUB).attr("node", node.name()))
                .child(tag("configure", xep::PUBSUB).child(form.clone()));
            let configure = tag("pubsub", xep::PUBSUB_OWNER)
                .child(tag("configure", xep::PUBSUB_OWNER).attr("node", node.name()).child(form));
            for request in [create, configure] {
                match self.ask_pep(&request).await {
                    Ok(_) | Err(Ask::NotSent(_)) => return,
                    // It is there already, or so many items are too many: the next way.
                    Err(_) => {}
                }
            }
        }
        tracing::warn!(node = node.name(), "the server lets us set nothing up; it may keep one item only");
    }

    async fn ask_pep(&self, pubsub: &Tag) -> Result<Element, Ask> {
        let iq = tag("iq", ns::CLIENT).attr("type", "set").child(pubsub.clone());
        self.wire.ask(iq.into(), PATIENCE).await
    }
}

/// Whether it was not sent because the link is down: it is sent again when it is up.
fn is_down(answer: &Result<Element, Ask>) -> bool {
    matches!(answer, Err(Ask::NotSent(SendError::Down | SendError::Closed)))
}

fn told(node: Node, answer: &Result<Element, Ask>) {
    if let Err(error) = answer {
        let said = match error {
            Ask::Refused(iq) => iq.get_child("error", ns::CLIENT).map(String::from).unwrap_or_default(),
            _ => String::new(),
        };
        tracing::warn!(node = node.name(), %error, said, "not published");
    }
}

fn request(node: Node, id: &str, change: &Change) -> Tag {
    let item = tag("item", xep::PUBSUB).attr("id", id);
    match change {
        Change::Publish(payload) => tag("pubsub", xep::PUBSUB)
            .child(tag("publish", xep::PUBSUB).attr("node", node.name()).child(item.child(payload.clone())))
            // These two and no more: a field ejabberd does not know here is an error to it.
            .child(
                tag("publish-options", xep::PUBSUB).child(form(
                    OPTIONS,
                    &[("pubsub#access_model", "presence"), ("pubsub#persist_items", "1")],
                )),
            ),
        Change::Retract => tag("pubsub", xep::PUBSUB)
            .child(tag("retract", xep::PUBSUB).attr("node", node.name()).attr("notify", "1").child(item)),
    }
}

fn form(kind: &str, fields: &[(&str, &str)]) -> Tag {
    let field = |var: &str, value: &str| {
        tag("field", ns::FORMS).attr("var", var).child(tag("value", ns::FORMS).text(value))
    };
    tag("x", ns::FORMS)
        .attr("type", "submit")
        .child(field("FORM_TYPE", kind).attr("type", "hidden"))
        .children(fields.iter().map(|(var, value)| field(var, value)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_still_waits_is_replaced() {
        let pep = Pep::default();
        pep.publish(Node::State, "web1", Element::bare("a", "x"));
        pep.publish(Node::State, "web2", Element::bare("a", "x"));
        pep.publish(Node::State, "web1", Element::bare("b", "x"));
        pep.retract(Node::State, "web2");
        let waiting = pep.waiting();
        assert_eq!(waiting.items.len(), 2);
        assert_eq!(waiting.items[0].2, Change::Publish(Element::bare("b", "x")));
        assert_eq!(waiting.items[1].2, Change::Retract);
    }

    #[test]
    fn only_two_options_are_sent() {
        let publish: Element = request(Node::State, "host", &Change::Publish(Element::bare("a", "x"))).into();
        let options = publish.get_child("publish-options", xep::PUBSUB).unwrap();
        assert_eq!(options.get_child("x", ns::FORMS).unwrap().children().count(), 3, "with FORM_TYPE");
    }
}
