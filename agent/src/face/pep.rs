//! Publishing on an account: by the personal eventing of the account's own server (XEP-0163), where
//! people who see the account's presence find it.
//!
//! Stock servers let an account send little (3 kB/s, ejabberd's default), so what is not yet sent is
//! replaced by what is newer. Events are not replaced: they are read from the log again, from where
//! the last one got through.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
/// How far back events are told again that the server does not have.
const REPEATED_MAX: u64 = 100;
const FORM: &str = "http://jabber.org/protocol/pubsub#node_config";
const OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";

/// What waits to be published.
#[derive(Debug, Default)]
pub(crate) struct Pep {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// The server has our picture, so presence may name it.
    pub(crate) pictured: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<(Node, String, Change)>,
    /// The number of the last event the server has.
    events_sent: Option<u64>,
    /// The session is lost: nothing is sent before the next login, so that all goes in order.
    down: bool,
    /// The nodes are to be made first: after each login that was not a resumption.
    prepare: bool,
    /// Card and picture are to be looked after, when nothing else waits: they are large.
    picture: bool,
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

    /// Whether the server has our picture.
    pub(crate) fn is_pictured(&self) -> bool {
        self.pictured.load(Ordering::Relaxed)
    }

    /// Whether card and picture are to be looked after now; the nodes and the session go first.
    fn wants_picture(&self) -> bool {
        let mut waiting = self.waiting();
        !waiting.down && !waiting.prepare && std::mem::take(&mut waiting.picture)
    }

    /// Logged in anew: the nodes are looked after first.
    pub(crate) fn logged_in(&self) {
        let mut waiting = self.waiting();
        (waiting.down, waiting.prepare, waiting.picture) = (false, true, true);
        drop(waiting);
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
                let audit = self.agent.config().audit.publish.then_some(Node::Audit);
                for node in [Node::State, Node::Events, Node::Metrics].into_iter().chain(audit) {
                    self.prepare_node(node).await;
                }
                self.find_where_to_go_on().await;
            }
            while self.publish_next().await {}
            if self.pep.wants_picture() {
                self.put_up_picture().await;
            }
        }
    }

    /// Publishes one thing; false when nothing waits or the link is down.
    async fn publish_next(&self) -> bool {
        let next = {
            let mut waiting = self.pep.waiting();
            if waiting.down || waiting.prepare {
                return false;
            }
            waiting.items.pop_front()
        };
        if let Some((node, id, change)) = next {
            let answer = self.ask_pep(&request(node, &id, &change)).await;
            if is_down(&answer) {
                let mut waiting = self.pep.waiting();
                let newer = waiting.items.iter().any(|(known, item, _)| *known == node && *item == id);
                if !newer {
                    waiting.items.push_front((node, id, change));
                }
                waiting.down = !waiting.prepare;
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
            let mut waiting = self.pep.waiting();
            waiting.down = !waiting.prepare;
            return false;
        }
        told(Node::Events, &answer);
        self.pep.waiting().events_sent = Some(event.sequence);
        true
    }

    /// Which event is the newest that the server still has: one that was killed forgets what it took in
    /// its last seconds, although it said that it had it.
    async fn find_where_to_go_on(&self) {
        let newest = self.last_event();
        if newest == 0 {
            return;
        }
        let items = tag("items", xep::PUBSUB).attr("node", Node::Events.name()).attr("max_items", "10");
        let iq = tag("iq", ns::CLIENT).attr("type", "get").child(tag("pubsub", xep::PUBSUB).child(items));
        let Ok(answer) = self.wire.ask(iq.into(), PATIENCE).await else { return };
        let mut waiting = self.pep.waiting();
        waiting.events_sent = Some(go_on_after(newest_item(&answer), newest, waiting.events_sent));
    }

    /// Sees to it that a node is there, may be read by who sees our presence, and holds enough: the
    /// servers' own choice is one item.
    async fn prepare_node(&self, node: Node) {
        for count in if matches!(node, Node::Metrics | Node::Audit) { &ITEMS[3..] } else { &ITEMS } {
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

/// The highest number among the items of an answer.
fn newest_item(answer: &Element) -> Option<u64> {
    let items = answer.get_child("pubsub", xep::PUBSUB)?.get_child("items", xep::PUBSUB)?;
    items.children().filter_map(|item| item.attr("id")?.parse().ok()).max()
}

/// After which event to go on. What the server has is believed unless it cannot be ours: a state folder
/// that was begun anew counts from one again.
fn go_on_after(held: Option<u64>, newest: u64, sent: Option<u64>) -> u64 {
    let held = held.filter(|held| *held <= newest).unwrap_or(0);
    let from = held.max(newest.saturating_sub(REPEATED_MAX));
    sent.map_or(from, |sent| sent.min(from))
}

/// Whether it was not sent because the link is down: it is sent again when it is up.
fn is_down(answer: &Result<Element, Ask>) -> bool {
    matches!(answer, Err(Ask::NotSent(SendError::Down | SendError::Closed)))
}

fn told(node: Node, answer: &Result<Element, Ask>) {
    if let Err(error) = answer {
        tracing::warn!(node = node.name(), %error, said = said(error), "not published");
    }
}

/// The server's own words for a refusal.
pub(crate) fn said(error: &Ask) -> String {
    match error {
        Ask::Refused(iq) => iq.get_child("error", ns::CLIENT).map(String::from).unwrap_or_default(),
        _ => String::new(),
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
    fn what_a_server_forgot_is_told_again() {
        assert_eq!(go_on_after(Some(7), 9, Some(9)), 7, "it had said that it has 8 and 9");
        assert_eq!(go_on_after(Some(9), 9, Some(7)), 7, "what is not known to be there is told");
        assert_eq!(go_on_after(Some(9), 9, None), 9, "the agent was begun again");
        assert_eq!(go_on_after(None, 900, Some(900)), 800, "all is gone; not all is told again");
        assert_eq!(go_on_after(Some(900), 5, None), 0, "those are of another life");
        let answer: Element = "<iq xmlns='jabber:client'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
            <items node='n'><item id='9'/><item id='10'/><item id='x'/></items></pubsub></iq>"
            .parse()
            .unwrap();
        assert_eq!(newest_item(&answer), Some(10));
    }

    #[test]
    fn only_two_options_are_sent() {
        let publish: Element = request(Node::State, "host", &Change::Publish(Element::bare("a", "x"))).into();
        let options = publish.get_child("publish-options", xep::PUBSUB).unwrap();
        assert_eq!(options.get_child("x", ns::FORMS).unwrap().children().count(), 3, "with FORM_TYPE");
    }
}
