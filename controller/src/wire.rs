//! Stanzas as `skerry` writes and reads them, beyond what [`skerry_stanzas`] has.

use minidom::{Element, rxml};
use skerry_stanzas::{
    ns,
    refusal::Refusal,
    safe::{safe_text, safe_value},
};
use xmpp_parsers::jid::Jid;

use crate::failure::{Failure, Kind, kind};

/// Service discovery, information (XEP-0030).
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
/// Service discovery, items (XEP-0030).
pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// The contact list (RFC 6121).
pub const ROSTER: &str = "jabber:iq:roster";
/// Publish-subscribe (XEP-0060).
pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
/// Publish-subscribe, what was published (XEP-0060).
pub const PUBSUB_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
/// Result sets (XEP-0059).
pub const RSM: &str = "http://jabber.org/protocol/rsm";
/// Delivery receipts (XEP-0184).
pub const RECEIPTS: &str = "urn:xmpp:receipts";
/// Chat states (XEP-0085).
pub const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
/// Is it there (XEP-0199).
pub const PING: &str = "urn:xmpp:ping";
/// Bytes within the stream (XEP-0047).
pub const IBB: &str = "http://jabber.org/protocol/ibb";

/// An `<iq/>` that asks.
pub fn get(to: Option<&Jid>, payload: Element) -> Element {
    iq("get", to, payload)
}

/// An `<iq/>` that wants something done.
pub fn set(to: Option<&Jid>, payload: Element) -> Element {
    iq("set", to, payload)
}

fn iq(kind: &str, to: Option<&Jid>, payload: Element) -> Element {
    let mut iq = Element::bare("iq", ns::CLIENT);
    set_attr(&mut iq, "type", kind);
    if let Some(to) = to {
        set_attr(&mut iq, "to", &to.to_string());
    }
    iq.append_child(payload);
    iq
}

/// Sets an attribute; what XML cannot hold is left out.
pub fn set_attr(element: &mut Element, name: &'static str, value: &str) {
    let name = rxml::NcName::try_from(name).expect("invariant: attribute names are written in this crate");
    element.set_attr(rxml::Namespace::NONE, name, safe_value(value));
}

/// An element with text in it.
pub fn text_element(name: &str, namespace: &str, text: &str) -> Element {
    let mut element = Element::bare(name, namespace);
    element.append_text(safe_value(text));
    element
}

/// An element with attributes.
pub fn element(name: &str, namespace: &str, attributes: &[(&'static str, &str)]) -> Element {
    let mut element = Element::bare(name, namespace);
    for (name, value) in attributes {
        set_attr(&mut element, name, value);
    }
    element
}

/// Who sent a stanza.
pub fn from(stanza: &Element) -> Option<Jid> {
    Jid::new(stanza.attr("from")?).ok()
}

/// The empty result to an `<iq/>` that asked.
pub fn result_to(iq: &Element) -> Element {
    let mut answer = Element::bare("iq", ns::CLIENT);
    set_attr(&mut answer, "type", "result");
    address_back(iq, &mut answer);
    answer
}

/// An error to an `<iq/>` that asked (RFC 6120 §8.3).
pub fn error_to(iq: &Element, kind: &str, condition: &str) -> Element {
    let mut answer = Element::bare("iq", ns::CLIENT);
    set_attr(&mut answer, "type", "error");
    address_back(iq, &mut answer);
    let mut error = element("error", ns::CLIENT, &[("type", kind)]);
    error.append_child(Element::bare(condition, ns::STANZA_ERRORS));
    answer.append_child(error);
    answer
}

fn address_back(asked: &Element, answer: &mut Element) {
    if let Some(id) = asked.attr("id") {
        set_attr(answer, "id", id);
    }
    if let Some(from) = asked.attr("from") {
        set_attr(answer, "to", from);
    }
}

/// The condition and the text of an error stanza (RFC 6120 §8.3).
pub fn condition(stanza: &Element) -> (String, Option<String>) {
    let Some(error) = stanza.children().find(|child| child.name() == "error") else {
        return ("undefined-condition".into(), None);
    };
    let text = error.get_child("text", ns::STANZA_ERRORS).map(Element::text).filter(|text| !text.is_empty());
    let condition = error
        .children()
        .find(|child| child.ns() == ns::STANZA_ERRORS && child.name() != "text")
        .map_or("undefined-condition", Element::name);
    (condition.to_owned(), text)
}

/// Whether an answer of type error comes from a server, saying that nobody is there.
pub fn is_away(stanza: &Element) -> bool {
    let ours = stanza.children().flat_map(Element::children).any(|child| child.ns() == ns::REFUSAL);
    let condition = condition(stanza).0;
    !ours
        && matches!(
            condition.as_str(),
            "remote-server-not-found"
                | "remote-server-timeout"
                | "recipient-unavailable"
                | "service-unavailable"
        )
}

/// What an answer of type error says, in words.
pub fn refused(stanza: &Element) -> Failure {
    let who = from(stanza).map_or_else(|| "the server".to_owned(), |jid| jid.to_string());
    let Some(error) = stanza.children().find(|child| child.name() == "error") else {
        return Failure::new(Kind::Internal, format!("{who} answered with an error that says nothing"));
    };
    let refusal = Refusal::from_error(error);
    let (condition, text) = condition(stanza);
    let kind = kind(refusal.reason);
    if text.is_some() {
        return Failure {
            kind,
            text: safe_text([refusal.text.as_str()]),
            hint: refusal.hint.map(|h| safe_text([h.as_str()])),
        };
    }
    let what = match condition.as_str() {
        "remote-server-not-found" => "has no such server",
        "remote-server-timeout" => "is not connected",
        "recipient-unavailable" | "service-unavailable" => "is not there, or does not do this",
        "item-not-found" => "has no such thing",
        "forbidden" | "not-authorized" | "not-allowed" => "does not allow you this",
        "internal-server-error" => "had a fault of its own",
        _ => return Failure::new(kind, format!("{who} refused ({condition})")),
    };
    Failure::new(kind, format!("{who} {what}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn error(condition: &str, text: &str) -> Element {
        format!(
            "<iq xmlns='jabber:client' type='error' from='kvm1.example.org' id='1'><error type='cancel'>\
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>{text}</error></iq>"
        )
        .parse()
        .unwrap()
    }

    #[test]
    fn errors_of_servers_get_their_kind() {
        for (condition, kind) in [
            ("forbidden", Kind::NotAllowed),
            ("remote-server-timeout", Kind::Unreachable),
            ("service-unavailable", Kind::Unreachable),
            ("item-not-found", Kind::Refused),
            ("internal-server-error", Kind::Internal),
            ("resource-constraint", Kind::Refused),
            ("never-heard-of", Kind::Internal),
        ] {
            assert_eq!(refused(&error(condition, "")).kind, kind, "{condition}");
        }
    }

    #[test]
    fn a_host_that_is_away_is_told_from_one_that_refuses() {
        assert!(is_away(&error("remote-server-timeout", "")));
        assert!(is_away(&error("service-unavailable", "")));
        assert!(!is_away(&error("forbidden", "")));
        let ours = format!("<not-allowed xmlns='{}'/>", ns::REFUSAL);
        assert!(!is_away(&error("service-unavailable", &ours)));
    }

    #[test]
    fn what_it_said_is_shown_and_made_safe() {
        let text = "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>\u{9b}No.</text>";
        assert_eq!(refused(&error("forbidden", text)).text, "No.");
    }

    #[test]
    fn answers_go_back_where_the_question_came_from() {
        let asked: Element = "<iq xmlns='jabber:client' type='get' from='a@b/c' id='7'/>".parse().unwrap();
        let answer = error_to(&asked, "cancel", "service-unavailable");
        assert_eq!((answer.attr("to"), answer.attr("id")), (Some("a@b/c"), Some("7")));
        assert_eq!(condition(&answer).0, "service-unavailable");
    }
}
