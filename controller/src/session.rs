//! Logged in: one link, its answers to what others ask of us, and what else comes in.

use std::time::Duration;

use minidom::Element;
use skerry_link::{Ask, Link, LinkEvent, LinkHandle};
use skerry_stanzas::ns;
use tokio::sync::{mpsc, watch};
use xmpp_parsers::jid::Jid;

use crate::{
    config::Config,
    failure::{Failure, Outcome},
    signing::Signer,
    wire,
};

/// How long logging in may take, all in all.
const LOGIN_MAX: Duration = Duration::from_secs(30);
/// How long a question to the server or to a directory of services may take.
pub const SHORT: Duration = Duration::from_secs(10);
/// Messages and presences held for the reader before the server is no longer read from.
const INBOUND_MAX: usize = 1024;

/// What comes in that somebody may want to see.
#[derive(Debug)]
pub enum Inbound {
    /// A message, a presence, or an `<iq/>` of XEP-0047 that asks.
    Stanza(Element),
    /// The connection broke; it is being mended.
    Down(String),
    /// The connection is back. `fresh`: the server knows nothing of us any more.
    Up {
        /// Presence and subscriptions have to be sent again.
        fresh: bool,
    },
}

/// Logged in.
pub struct Session {
    jid: watch::Receiver<Jid>,
    signer: Signer,
    handle: LinkHandle,
    inbound: Option<mpsc::Receiver<Inbound>>,
}

impl Session {
    /// Logs in. `lasting`: comes back after a break (chat, events), which one-shot commands do not.
    ///
    /// # Errors
    /// No password to be had, the server not reached, or it does not want us.
    pub async fn open(config: &Config, lasting: bool) -> Outcome<Self> {
        let Link { handle, mut events } = Link::open(config.link(lasting).await?);
        let jid = tokio::time::timeout(LOGIN_MAX, up(&mut events)).await.map_err(|_| {
            Failure::unreachable(format!("the server did not answer within {} s", LOGIN_MAX.as_secs()))
        })??;
        let (sender, inbound) = mpsc::channel(INBOUND_MAX);
        let (renamed, jid) = watch::channel(jid);
        tokio::spawn(pump(events, handle.clone(), sender, renamed));
        Ok(Self { jid, signer: Signer::of(config), handle, inbound: Some(inbound) })
    }

    /// Who signs what needs it.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Our address, with resource; the server may give another one after a break.
    pub fn jid(&self) -> Jid {
        self.jid.borrow().clone()
    }

    /// What comes in from now on; without it everything but questions is dropped.
    pub fn inbound(&mut self) -> mpsc::Receiver<Inbound> {
        match self.inbound.take() {
            Some(inbound) => inbound,
            None => mpsc::channel(1).1,
        }
    }

    /// Nobody will look at what comes in.
    pub fn deaf(mut self) -> Self {
        self.inbound = None;
        self
    }

    /// To send and ask with, from another task.
    pub fn handle(&self) -> LinkHandle {
        self.handle.clone()
    }

    /// Asks, and gives the payload of the answer.
    ///
    /// # Errors
    /// Not sent, refused, or not answered in time.
    pub async fn ask(&self, iq: Element, patience: Duration) -> Result<Option<Element>, Ask> {
        let answer = self.handle.ask(iq, patience).await?;
        Ok(answer.children().next().cloned())
    }

    /// Sends a stanza.
    ///
    /// # Errors
    /// Not connected.
    pub async fn send(&self, stanza: Element) -> Outcome<()> {
        Ok(self.handle.send(stanza).await?)
    }

    /// Says that we are here, with a priority that draws no messages of others to us.
    ///
    /// # Errors
    /// Not connected.
    pub async fn appear(&self) -> Outcome<()> {
        self.send(presence()).await
    }

    /// Leaves.
    pub async fn close(self) {
        self.handle.close().await;
    }
}

/// Our presence: here, but not the one to send messages to (RFC 6121 §4.7.2.3).
pub fn presence() -> Element {
    let mut presence = Element::bare("presence", ns::CLIENT);
    presence.append_child(wire::text_element("priority", ns::CLIENT, "-1"));
    presence
}

/// Waits until the link is up.
async fn up(events: &mut mpsc::Receiver<LinkEvent>) -> Outcome<Jid> {
    while let Some(event) = events.recv().await {
        match event {
            LinkEvent::Up { jid, .. } => return Ok(jid),
            LinkEvent::Refused(error) => return Err(error.into()),
            LinkEvent::Down { why, .. } => {
                return Err(Failure::unreachable(format!("cannot reach the server: {why}"))
                    .hint("Is it up? Where it is: `server` in the configuration, else DNS."));
            }
            _ => {}
        }
    }
    Err(Failure::unreachable("the connection ended before we were logged in"))
}

/// Answers what is asked of us and passes the rest on, in order.
async fn pump(
    mut events: mpsc::Receiver<LinkEvent>,
    handle: LinkHandle,
    to: mpsc::Sender<Inbound>,
    renamed: watch::Sender<Jid>,
) {
    while let Some(event) = events.recv().await {
        let inbound = match event {
            LinkEvent::Stanza(stanza) if is_question(&stanza) => {
                // A link that is down loses the answer as it lost the question.
                handle.send(answer(&stanza)).await.ok();
                continue;
            }
            LinkEvent::Stanza(stanza) if stanza.name() == "iq" && stanza.attr("type") != Some("set") => {
                continue;
            }
            LinkEvent::Stanza(stanza) => Inbound::Stanza(stanza),
            LinkEvent::Up { resumed, jid } => {
                renamed.send_replace(jid);
                Inbound::Up { fresh: !resumed }
            }
            LinkEvent::Down { why, .. } => Inbound::Down(why),
            LinkEvent::Refused(error) => Inbound::Down(error.to_string()),
            _ => continue,
        };
        // Nobody reads: what comes in is dropped, questions are still answered.
        to.send(inbound).await.ok();
    }
}

/// An `<iq/>` that wants an answer from here; those of XEP-0047 are the console's to answer.
fn is_question(stanza: &Element) -> bool {
    stanza.name() == "iq"
        && matches!(stanza.attr("type"), Some("get" | "set"))
        && !stanza.children().any(|child| child.ns() == wire::IBB)
}

/// Every question gets an answer (RFC 6120 §8.2.3).
fn answer(iq: &Element) -> Element {
    match iq.children().next() {
        Some(payload) if payload.is("ping", wire::PING) => wire::result_to(iq),
        Some(payload) if payload.is("query", wire::DISCO_INFO) && iq.attr("type") == Some("get") => {
            let mut query = payload.clone();
            let identity = [("category", "client"), ("type", "console"), ("name", "skerry")];
            query.append_child(wire::element("identity", wire::DISCO_INFO, &identity));
            for feature in [wire::DISCO_INFO, wire::PING, wire::IBB, wire::RECEIPTS, ns::CORRECT] {
                query.append_child(wire::element("feature", wire::DISCO_INFO, &[("var", feature)]));
            }
            let mut answer = wire::result_to(iq);
            answer.append_child(query);
            answer
        }
        _ => wire::error_to(iq, "cancel", "service-unavailable"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn iq(kind: &str, payload: &str) -> Element {
        format!("<iq xmlns='jabber:client' type='{kind}' from='example.org' id='q'>{payload}</iq>")
            .parse()
            .unwrap()
    }

    #[test]
    fn a_ping_is_answered() {
        let answer = answer(&iq("get", "<ping xmlns='urn:xmpp:ping'/>"));
        assert_eq!((answer.attr("type"), answer.attr("to")), (Some("result"), Some("example.org")));
    }

    #[test]
    fn what_we_do_not_know_gets_an_error() {
        let answer = answer(&iq("set", "<open xmlns='urn:other'/>"));
        assert_eq!(wire::condition(&answer).0, "service-unavailable");
    }

    #[test]
    fn results_and_bytestreams_are_not_answered_here() {
        assert!(!is_question(&iq("result", "")));
        assert!(!is_question(&iq("set", "<data xmlns='http://jabber.org/protocol/ibb'/>")));
        assert!(is_question(&iq("get", "")));
    }

    #[test]
    fn presence_draws_no_messages() {
        assert_eq!(presence().get_child("priority", ns::CLIENT).unwrap().text(), "-1");
    }
}
