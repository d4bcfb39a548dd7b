//! Stream management (XEP-0198): what was sent and not yet acknowledged, and resumption.

use std::collections::VecDeque;

use minidom::Element;
use xmpp_parsers::jid::Jid;

use crate::names;

/// XEP-0198.
pub(crate) const NS: &str = "urn:xmpp:sm:3";
/// How many stanzas may wait for their acknowledgement; then nothing more is sent.
pub(crate) const UNACKED_MAX: usize = 1_024;
/// After how many stanzas the server is asked to acknowledge them, even in the middle of a burst.
const ASK_EVERY: usize = 64;

/// The `h` of an element.
pub(crate) fn counter(element: &Element) -> Option<u32> {
    element.attr("h")?.trim().parse().ok()
}

/// What is needed to ask for an old session back.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    id: String,
    received: u32,
    /// The address of that session, which it keeps.
    pub(crate) jid: Jid,
}

impl Ticket {
    pub(crate) fn resume(&self) -> Element {
        names::element("resume", NS, &[("previd", &self.id), ("h", &self.received.to_string())])
    }
}

/// The counters of one session, which outlive its connections.
#[derive(Debug)]
pub(crate) struct Sm {
    id: Option<String>,
    jid: Jid,
    /// Stanzas of the server that we handled, modulo 2^32.
    received: u32,
    /// Stanzas of ours that the server handled, modulo 2^32.
    acked: u32,
    /// Stanzas of ours that it may not have handled, oldest first.
    unacked: VecDeque<Element>,
    /// How many of those it has not been asked about.
    unasked: usize,
    /// An `<r/>` of ours is unanswered.
    asking: bool,
    /// Where both counters stood when the session was last resumed.
    resumed_at: Option<(u32, u32)>,
}

impl Sm {
    /// A new session; `id` when it can be resumed.
    pub(crate) fn enabled(id: Option<String>, jid: Jid) -> Self {
        Self {
            id,
            jid,
            received: 0,
            acked: 0,
            unacked: VecDeque::new(),
            unasked: 0,
            asking: false,
            resumed_at: None,
        }
    }

    /// The ticket to resume with. None for a session that cannot be resumed, nor for one that was resumed
    /// and broke before anything moved: what broke it is in the queue of one of the two sides, and would
    /// break it again.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        let stuck = self.resumed_at == Some((self.received, self.acked));
        let id = self.id.clone().filter(|_| !stuck)?;
        Some(Ticket { id, received: self.received, jid: self.jid.clone() })
    }

    /// A stanza came.
    pub(crate) fn count_in(&mut self) {
        self.received = self.received.wrapping_add(1);
    }

    /// The answer to an `<r/>` of the server.
    pub(crate) fn ack(&self) -> Element {
        names::element("a", NS, &[("h", &self.received.to_string())])
    }

    /// A stanza was sent.
    pub(crate) fn keep(&mut self, stanza: Element) {
        self.unacked.push_back(stanza);
        self.unasked += 1;
    }

    /// Whether there is room for another stanza.
    pub(crate) fn has_room(&self) -> bool {
        self.unacked.len() < UNACKED_MAX
    }

    /// Whether the server should be asked to acknowledge: so many stanzas after it was last asked, or,
    /// with `idle`, as soon as there is anything to ask about. One question at a time.
    pub(crate) fn wants_ack(&self, idle: bool) -> bool {
        !self.asking && (self.unasked >= ASK_EVERY || (idle && !self.unacked.is_empty()))
    }

    /// The question; [`Self::acknowledge`] is its answer.
    pub(crate) fn ask(&mut self) -> Element {
        self.asking = true;
        self.unasked = 0;
        Element::bare("r", NS)
    }

    /// The server has handled `h` stanzas. False when we have not sent so many: then the stream is no
    /// longer to be trusted (XEP-0198 §4).
    pub(crate) fn acknowledge(&mut self, h: u32) -> bool {
        self.asking = false;
        let more = h.wrapping_sub(self.acked) as usize;
        if more > self.unacked.len() {
            return false;
        }
        self.unacked.drain(..more);
        self.unasked = self.unasked.min(self.unacked.len());
        self.acked = h;
        true
    }

    /// The session was resumed: what is to be sent again, oldest first. It is kept again when it is sent.
    /// `None` when `h` cannot be true.
    pub(crate) fn resumed(&mut self, h: u32) -> Option<VecDeque<Element>> {
        if !self.acknowledge(h) {
            return None;
        }
        self.resumed_at = Some((self.received, self.acked));
        self.unasked = 0;
        Some(std::mem::take(&mut self.unacked))
    }

    /// The session is lost; `h` is what the server handled of it, if it said so. What it may not have
    /// handled, oldest first.
    pub(crate) fn lost(mut self, h: Option<u32>) -> VecDeque<Element> {
        if let Some(h) = h {
            self.acknowledge(h);
        }
        self.unacked
    }
}

/// Whether a stanza of a lost session is sent once more on the next one, although the server may have
/// handled it. A message is better twice than never; not so one that is worthless later (headline) or that
/// answers something (error). Presence is sent anew by whoever sends it, and the answer to an IQ is no
/// longer waited for.
pub(crate) fn worth_repeating(stanza: &Element) -> bool {
    stanza.name() == "message" && !matches!(stanza.attr("type"), Some("error" | "headline"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn sm() -> Sm {
        Sm::enabled(Some("id".to_owned()), Jid::new("a@b/c").unwrap())
    }

    fn message(id: &str) -> Element {
        names::element("message", "jabber:client", &[("id", id)])
    }

    fn ids(stanzas: &VecDeque<Element>) -> Vec<&str> {
        stanzas.iter().filter_map(|stanza| stanza.attr("id")).collect()
    }

    #[test]
    fn a_resumed_session_repeats_what_was_not_handled() {
        let mut sm = sm();
        for id in ["1", "2", "3"] {
            sm.keep(message(id));
        }
        assert!(sm.acknowledge(1));
        sm.count_in();
        assert_eq!(sm.ticket().unwrap().resume().attr("h"), Some("1"));
        let again = sm.resumed(2).unwrap();
        assert_eq!(ids(&again), ["3"]);
        assert!(sm.unacked.is_empty(), "kept again only when sent again");
    }

    #[test]
    fn a_session_that_broke_without_progress_is_not_resumed_again() {
        let mut sm = sm();
        for stanza in sm.resumed(0).unwrap() {
            sm.keep(stanza);
        }
        assert!(sm.ticket().is_none());
        sm.count_in();
        assert!(sm.ticket().is_some(), "something came");
        assert!(Sm::enabled(None, Jid::new("a@b").unwrap()).ticket().is_none());
    }

    #[test]
    fn more_than_was_sent_cannot_have_been_handled() {
        let mut sm = sm();
        sm.keep(message("1"));
        assert!(!sm.acknowledge(2));
        assert!(sm.acknowledge(1));
        assert!(!sm.acknowledge(0), "nor less than before");
    }

    #[test]
    fn counters_go_round() {
        let mut sm = sm();
        sm.acked = u32::MAX;
        sm.keep(message("1"));
        sm.keep(message("2"));
        assert!(sm.acknowledge(0));
        assert_eq!(ids(&sm.unacked), ["2"]);
        sm.received = u32::MAX;
        sm.count_in();
        assert_eq!(sm.ack().attr("h"), Some("0"));
    }

    #[test]
    fn acks_are_asked_for_after_bursts_and_when_idle() {
        let mut sm = sm();
        assert!(!sm.wants_ack(true));
        sm.keep(message("1"));
        assert!(!sm.wants_ack(false));
        assert!(sm.wants_ack(true));
        for _ in 1..ASK_EVERY {
            sm.keep(message("x"));
        }
        assert!(sm.wants_ack(false));
        sm.ask();
        assert!(!sm.wants_ack(true), "one question at a time");
        assert!(sm.acknowledge(1));
        assert!(sm.wants_ack(true));
    }

    #[test]
    fn a_lost_session_repeats_messages_only() {
        let mut sm = sm();
        sm.keep(message("1"));
        sm.keep(names::element("presence", "jabber:client", &[]));
        sm.keep(message("2"));
        sm.keep(names::element("message", "jabber:client", &[("id", "3"), ("type", "headline")]));
        let mut lost = sm.lost(Some(1));
        lost.retain(worth_repeating);
        assert_eq!(ids(&lost), ["2"]);
    }
}
