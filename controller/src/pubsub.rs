//! Publish-subscribe, as a reader needs it (XEP-0060): subscribe, leave, fetch items, understand what
//! is told.
//!
//! A component publishes on its own address; an agent with an account by its account (PEP, XEP-0163).

use minidom::Element;
use skerry_stanzas::{ns, payload::Event};
use xmpp_parsers::jid::{BareJid, Jid};

use crate::{
    failure::{Failure, Kind, Outcome},
    fleet::Host,
    session::{SHORT, Session},
    wire,
};

/// The most items fetched in one answer.
const PAGE_MAX: usize = 100;
/// The most events that are fetched of a host, twice as many as one keeps: what is more has no end.
const EVENTS_MAX: usize = 20_000;
/// The most items an account's node is set up to hold (by the agent; servers may allow fewer).
const HELD_MAX: usize = 1000;

/// Where a host publishes.
pub fn service(host: &Host) -> Jid {
    Jid::from(host.jid.to_bare())
}

/// Asks to be told what is new on a host's node, at this session alone.
///
/// # Errors
/// Not allowed (on an account: not a contact), or not answered.
pub async fn subscribe(session: &Session, host: &Host, node: &str) -> Outcome<()> {
    subscription(session, host, node, "subscribe").await
}

/// Wants to be told no more.
///
/// # Errors
/// Not answered.
pub async fn unsubscribe(session: &Session, host: &Host, node: &str) -> Outcome<()> {
    subscription(session, host, node, "unsubscribe").await
}

async fn subscription(session: &Session, host: &Host, node: &str, verb: &str) -> Outcome<()> {
    let mut pubsub = Element::bare("pubsub", wire::PUBSUB);
    let jid = session.jid().to_string();
    pubsub.append_child(wire::element(verb, wire::PUBSUB, &[("node", node), ("jid", &jid)]));
    let answer = session.ask(wire::set(Some(&service(host)), pubsub), SHORT).await;
    answer.map(drop).map_err(|error| told_to_contacts(host, error.into()))
}

/// An account's server tells what happens to those who see its presence, whatever role they have.
fn told_to_contacts(host: &Host, failure: Failure) -> Failure {
    if failure.kind != Kind::NotAllowed || host.jid.node().is_none() {
        return failure;
    }
    let account = service(host);
    Failure::new(failure.kind, format!("{account} tells that to its contacts only"))
        .hint(format!("Add {account} to your contacts in any chat client."))
}

/// Events of a host, oldest first: those after `since`, or the `last` ones.
///
/// # Errors
/// Not allowed, or not answered.
pub async fn events(session: &Session, host: &Host, wanted: Wanted) -> Outcome<Vec<Event>> {
    match wanted {
        Wanted::Last(last) if last <= PAGE_MAX || host.jid.node().is_some() => {
            newest(session, host, last).await
        }
        Wanted::Last(last) => {
            let end = newest(session, host, 1).await?.pop().map_or(0, |event| event.sequence);
            let back = u64::try_from(last).unwrap_or(u64::MAX);
            pages(session, host, end.saturating_sub(back)).await
        }
        // What stands in `after` is the service's own to choose (XEP-0059 §2.2). Ours counts by sequence;
        // ejabberd's goes by times of its own, and answers a sequence with nothing.
        Wanted::Since(since) if host.jid.node().is_none() => pages(session, host, since).await,
        Wanted::Since(since) => {
            let mut found = newest(session, host, PAGE_MAX).await?;
            if found.len() >= PAGE_MAX && found[0].sequence > since.saturating_add(1) {
                found = newest(session, host, HELD_MAX).await?;
            }
            found.retain(|event| event.sequence > since);
            Ok(found)
        }
    }
}

/// The newest events, at most so many (XEP-0060 §6.5.7), oldest of them first.
async fn newest(session: &Session, host: &Host, count: usize) -> Outcome<Vec<Event>> {
    let mut found = fetch(session, host, newest_request(count)).await?;
    // A service may send more than was asked for.
    found.drain(..found.len().saturating_sub(count));
    Ok(found)
}

/// All after `since`, page by page, oldest first.
async fn pages(session: &Session, host: &Host, since: u64) -> Outcome<Vec<Event>> {
    all_pages(since, async |after| fetch(session, host, page_request(after)).await)
        .await?
        .ok_or_else(|| endless(host))
}

/// All pages; none when there is no end of them.
async fn all_pages(
    since: u64,
    fetch: impl AsyncFn(u64) -> Outcome<Vec<Event>>,
) -> Outcome<Option<Vec<Event>>> {
    let mut found: Vec<Event> = Vec::new();
    let mut after = since;
    loop {
        let mut page = fetch(after).await?;
        // A service without result sets sends what it has, each time the same.
        page.retain(|event| event.sequence > after);
        let more = page.len() >= PAGE_MAX;
        after = page.last().map_or(after, |event| event.sequence);
        found.extend(page);
        if found.len() > EVENTS_MAX {
            return Ok(None);
        }
        if !more {
            return Ok(Some(found));
        }
    }
}

fn endless(host: &Host) -> Failure {
    Failure::new(Kind::Refused, format!("{} gives events without end", host.name))
        .hint("No host keeps so many: something is wrong with it.")
}

async fn fetch(session: &Session, host: &Host, request: Element) -> Outcome<Vec<Event>> {
    let iq = wire::get(Some(&service(host)), request);
    let answer = session.ask(iq, SHORT).await.map_err(|error| told_to_contacts(host, error.into()))?;
    let mut events = answer.map(|pubsub| items(&pubsub)).unwrap_or_default();
    events.sort_by_key(|event| event.sequence);
    Ok(events)
}

/// Which events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All after this one.
    Since(u64),
    /// This many of the last.
    Last(usize),
}

/// `<pubsub><items max_items=…/></pubsub>` (XEP-0060 §6.5.7).
fn newest_request(count: usize) -> Element {
    let count = count.to_string();
    let mut pubsub = Element::bare("pubsub", wire::PUBSUB);
    pubsub.append_child(wire::element("items", wire::PUBSUB, &[("node", ns::EVENTS), ("max_items", &count)]));
    pubsub
}

/// `<pubsub><items/><set/></pubsub>` (XEP-0060 §6.5.4, XEP-0059).
fn page_request(after: u64) -> Element {
    let mut set = Element::bare("set", wire::RSM);
    for (name, number) in [("max", PAGE_MAX as u64), ("after", after)] {
        set.append_child(wire::text_element(name, wire::RSM, &number.to_string()));
    }
    let mut pubsub = Element::bare("pubsub", wire::PUBSUB);
    pubsub.append_child(wire::element("items", wire::PUBSUB, &[("node", ns::EVENTS)]));
    pubsub.append_child(set);
    pubsub
}

fn items(pubsub: &Element) -> Vec<Event> {
    let Some(items) = pubsub.children().find(|child| child.name() == "items") else { return Vec::new() };
    items.children().filter_map(event_of).collect()
}

fn event_of(item: &Element) -> Option<Event> {
    Event::try_from(item.get_child("event", ns::EVENTS)?.clone()).ok()
}

/// The events a message tells, and the bare address that tells them. The reader checks that it is a
/// host: anybody can send such a message.
pub fn told(message: &Element) -> Option<(BareJid, Vec<Event>)> {
    let items = message.get_child("event", wire::PUBSUB_EVENT)?.get_child("items", wire::PUBSUB_EVENT)?;
    if message.name() != "message" || items.attr("node") != Some(ns::EVENTS) {
        return None;
    }
    let events: Vec<Event> = items.children().filter_map(event_of).collect();
    (!events.is_empty()).then_some((wire::from(message)?.to_bare(), events))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn notice(node: &str) -> Element {
        format!(
            "<message xmlns='jabber:client' from='kvm1.example.org/host'>\
             <event xmlns='http://jabber.org/protocol/pubsub#event'><items node='{node}'><item id='7'>\
             <event xmlns='{}' sequence='7' at='2026-11-22T21:00:00Z' what='machine.started' machine='web1' \
             state='running' generation='4'>web1 runs.</event></item></items></event></message>",
            ns::EVENTS
        )
        .parse()
        .unwrap()
    }

    #[test]
    fn a_notice_is_understood() {
        let (host, events) = told(&notice(ns::EVENTS)).unwrap();
        assert_eq!(host.to_string(), "kvm1.example.org");
        assert_eq!((events[0].sequence, events[0].machine.as_deref()), (7, Some("web1")));
    }

    #[test]
    fn an_account_says_whom_it_tells() {
        let host = |jid: &str| Host { jid: Jid::new(jid).unwrap(), name: "attic".into() };
        let no = Failure::new(Kind::NotAllowed, "no");
        let told = told_to_contacts(&host("attic@example.org/skerry"), no.clone());
        assert!(told.hint.unwrap().contains("attic@example.org to your contacts"));
        assert_eq!(told_to_contacts(&host("kvm1.example.org"), no.clone()), no);
    }

    #[test]
    fn notices_of_other_nodes_are_not_events() {
        assert!(told(&notice("urn:other")).is_none());
    }

    #[tokio::test]
    async fn a_host_that_gives_events_without_end_is_not_listened_to_without_end() {
        let event = |sequence| {
            let event = notice(ns::EVENTS);
            let mut event = told(&event).unwrap().1.remove(0);
            event.sequence = sequence;
            event
        };
        let page = |after: u64, last: u64| (after + 1..=last.min(after + 100)).map(event).collect::<Vec<_>>();
        let whole = all_pages(5, async |after| Ok(page(after, 250))).await.unwrap().unwrap();
        assert_eq!((whole.len(), whole.last().unwrap().sequence), (245, 250));
        assert_eq!(all_pages(0, async |after| Ok(page(after, u64::MAX))).await.unwrap(), None);
    }

    #[test]
    fn pages_go_on_after_the_last_one() {
        let pubsub = page_request(5);
        let set = pubsub.get_child("set", wire::RSM).unwrap();
        assert_eq!(set.get_child("after", wire::RSM).unwrap().text(), "5");
        assert_eq!(set.get_child("max", wire::RSM).unwrap().text(), "100");
        let last = newest_request(3);
        assert_eq!(last.get_child("items", wire::PUBSUB).unwrap().attr("max_items"), Some("3"));
    }
}
