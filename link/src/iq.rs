//! IQs that wait for their answers.
//!
//! An answer is matched by who it is from and its id (RFC 6120 §8.1.3): an id alone can be guessed. Nobody
//! keeps time here: each asker does, and leaves; what is left behind is swept.

use std::collections::HashMap;

use minidom::Element;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use xmpp_parsers::jid::{BareJid, Jid};

use crate::{Ask, SendError};

/// How many IQs may be under way; further ones wait for their turn within their patience.
pub(crate) const UNDER_WAY_MAX: usize = 4_096;

/// Who will answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Peer {
    /// Our own account, which the server answers for: no address, or our bare JID (RFC 6120 §10.3.3).
    Own,
    /// Anybody else.
    Other(Jid),
}

/// An IQ of ours that is under way.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Where the answer goes.
    pub(crate) answer: oneshot::Sender<Result<Element, Ask>>,
    /// Its place among those under way.
    #[expect(dead_code, reason = "given back when this is dropped")]
    pub(crate) place: OwnedSemaphorePermit,
}

/// The table of IQs under way.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    waiting: HashMap<(Peer, String), Asked>,
}

impl Asks {
    /// An IQ is about to be sent. When one with the same peer and id is under way, and waited for, the
    /// new one fails; when whoever asked that left, the new one takes its place: a question is repeated
    /// under its own id, and the answer to either is the answer.
    pub(crate) fn add(&mut self, iq: &Element, own: Option<&BareJid>, asked: Asked) -> bool {
        let (Some(peer), Some(id)) = (peer(iq.attr("to"), own), iq.attr("id")) else { return false };
        match self.waiting.entry((peer, id.to_owned())) {
            std::collections::hash_map::Entry::Occupied(mut place) => {
                let left = place.get().answer.is_closed();
                if left {
                    place.insert(asked);
                }
                left
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(asked);
                true
            }
        }
    }

    /// An IQ of type result or error came: the answer to one of these, or given back.
    pub(crate) fn answer(&mut self, iq: Element, own: Option<&BareJid>) -> Option<Element> {
        let Some(asked) = self.find(&iq, own) else { return Some(iq) };
        let answer = match iq.attr("type") {
            Some("error") => Err(Ask::Refused(Box::new(iq))),
            _ => Ok(iq),
        };
        // Whoever asked may have lost patience meanwhile.
        let _ = asked.answer.send(answer);
        None
    }

    fn find(&mut self, iq: &Element, own: Option<&BareJid>) -> Option<Asked> {
        let id = iq.attr("id")?.to_owned();
        let from = peer(iq.attr("from"), own)?;
        let key = (from, id);
        if let Some(asked) = self.waiting.remove(&key) {
            return Some(asked);
        }
        // A server may answer for the account from the full JID or from its domain.
        let own = own?;
        let (Peer::Other(from), id) = key else { return None };
        let for_us = from.to_bare() == *own
            || (from.resource().is_none() && from.node().is_none() && from.domain() == own.domain());
        for_us.then(|| self.waiting.remove(&(Peer::Own, id)))?
    }

    /// Drops those whose asker has left.
    pub(crate) fn sweep(&mut self) {
        self.waiting.retain(|_, asked| !asked.answer.is_closed());
    }

    /// The stream broke for good: no answer will come.
    pub(crate) fn fail_all(&mut self) {
        for (_, asked) in self.waiting.drain() {
            let _ = asked.answer.send(Err(Ask::NotSent(SendError::Down)));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// `own` is the bare JID of an account; a component has none, and every address counts as it is.
fn peer(address: Option<&str>, own: Option<&BareJid>) -> Option<Peer> {
    let Some(address) = address else { return Some(Peer::Own) };
    // Parsing normalises: case, Unicode forms.
    let jid = Jid::new(address).ok()?;
    let is_own = jid.resource().is_none() && own.is_some_and(|own| jid.to_bare() == *own);
    Some(if is_own { Peer::Own } else { Peer::Other(jid) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::names;

    struct Table {
        asks: Asks,
        places: Arc<Semaphore>,
        own: Option<BareJid>,
    }

    type Answer = oneshot::Receiver<Result<Element, Ask>>;

    impl Table {
        fn new(own: Option<&str>) -> Self {
            let own = own.map(|own| BareJid::new(own).unwrap());
            Self { asks: Asks::default(), places: Arc::new(Semaphore::new(8)), own }
        }

        fn ask(&mut self, to: Option<&str>) -> Answer {
            let mut iq = names::element("iq", "jabber:client", &[("type", "get"), ("id", "1")]);
            if let Some(to) = to {
                names::set(&mut iq, "to", to);
            }
            let (answer, answered) = oneshot::channel();
            let place = self.places.clone().try_acquire_owned().unwrap();
            assert!(self.asks.add(&iq, self.own.as_ref(), Asked { answer, place }));
            answered
        }

        /// Whether an answer from there is taken.
        fn takes(&mut self, from: Option<&str>) -> bool {
            let mut iq = names::element("iq", "jabber:client", &[("type", "result"), ("id", "1")]);
            if let Some(from) = from {
                names::set(&mut iq, "from", from);
            }
            self.asks.answer(iq, self.own.as_ref()).is_none()
        }
    }

    #[test]
    fn an_answer_from_somebody_else_is_none() {
        let mut table = Table::new(Some("me@here.example"));
        let mut answered = table.ask(Some("Kvm1.Example.ORG/host"));
        assert!(!table.takes(Some("kvm2.example.org/host")));
        assert!(!table.takes(Some("kvm1.example.org")));
        assert!(!table.takes(None));
        assert!(table.takes(Some("kvm1.example.org/host")), "compared after preparation");
        assert!(answered.try_recv().unwrap().is_ok());
        assert!(!table.takes(Some("kvm1.example.org/host")), "one answer");
    }

    #[test]
    fn our_account_answers_under_several_names() {
        let names = [None, Some("me@here.example"), Some("me@here.example/x"), Some("here.example")];
        for to in [None, Some("me@here.example")] {
            for from in names {
                let mut table = Table::new(Some("me@here.example"));
                let _answered = table.ask(to);
                assert!(!table.takes(Some("ann@here.example")), "another account is not ours");
                assert!(table.takes(from), "to {to:?} from {from:?}");
            }
        }
        let mut component = Table::new(None);
        let _answered = component.ask(Some("here.example"));
        assert!(!component.takes(None));
        assert!(component.takes(Some("here.example")));
    }

    #[test]
    fn one_id_is_one_question() {
        let mut table = Table::new(None);
        let _first = table.ask(Some("a.example"));
        let iq = names::element("iq", "jabber:client", &[("id", "1"), ("to", "a.example")]);
        let (answer, _second) = oneshot::channel();
        let place = table.places.clone().try_acquire_owned().unwrap();
        assert!(!table.asks.add(&iq, None, Asked { answer, place }));
    }

    #[test]
    fn a_question_can_be_repeated_by_whoever_gave_up_on_it() {
        let mut table = Table::new(None);
        drop(table.ask(Some("a.example")));
        let mut again = table.ask(Some("a.example"));
        assert_eq!(table.places.available_permits(), 7, "the first one's place is free");
        assert!(table.takes(Some("a.example")));
        assert!(again.try_recv().unwrap().is_ok());
    }

    #[test]
    fn whoever_left_gives_the_place_back() {
        let mut table = Table::new(None);
        drop(table.ask(Some("a.example")));
        let mut stays = table.ask(Some("b.example"));
        assert_eq!(table.places.available_permits(), 6);
        table.asks.sweep();
        assert_eq!(table.places.available_permits(), 7);
        table.asks.fail_all();
        assert!(table.asks.is_empty());
        assert!(matches!(stays.try_recv().unwrap(), Err(Ask::NotSent(SendError::Down))));
    }
}
