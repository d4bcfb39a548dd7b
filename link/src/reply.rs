//! Stanza errors (RFC 6120 §8.3).

use minidom::{Element, rxml::Namespace};

use crate::{names, wire::CLIENT};

const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// A defined condition (RFC 6120 §8.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// It cannot be read.
    BadRequest,
    /// Nobody here does that.
    FeatureNotImplemented,
    /// The sender may not.
    Forbidden,
    /// Nothing is there.
    ItemNotFound,
    /// An address in it is none, or another's in our eyes.
    JidMalformed,
    /// Understood, and wrong.
    NotAcceptable,
    /// Against a bound of ours.
    PolicyViolation,
    /// Too much at once; later.
    ResourceConstraint,
    /// Nobody here understands that payload.
    ServiceUnavailable,
    /// Our own fault.
    InternalServerError,
}

impl Condition {
    /// As written on the wire, and the type of error that goes with it (RFC 6120 §8.3.2).
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest => ("bad-request", "modify"),
            Self::FeatureNotImplemented => ("feature-not-implemented", "cancel"),
            Self::Forbidden => ("forbidden", "auth"),
            Self::ItemNotFound => ("item-not-found", "cancel"),
            Self::JidMalformed => ("jid-malformed", "modify"),
            Self::NotAcceptable => ("not-acceptable", "modify"),
            Self::PolicyViolation => ("policy-violation", "modify"),
            Self::ResourceConstraint => ("resource-constraint", "wait"),
            Self::ServiceUnavailable => ("service-unavailable", "cancel"),
            Self::InternalServerError => ("internal-server-error", "cancel"),
        }
    }
}

/// The error that answers a stanza: to its sender, from its addressee, with its id. `None` for what must not
/// be answered: an error, or an IQ that is itself an answer.
pub fn error(stanza: &Element, condition: Condition, text: &str) -> Option<Element> {
    match (stanza.name(), stanza.attr("type")) {
        (_, Some("error")) | ("iq", Some("result")) => return None,
        _ => {}
    }
    let mut reply = Element::bare(stanza.name(), CLIENT);
    names::set(&mut reply, "type", "error");
    for (theirs, ours) in [("from", "to"), ("to", "from"), ("id", "id")] {
        if let Some(value) = stanza.attr(theirs) {
            names::set(&mut reply, ours, value);
        }
    }
    reply.append_child(payload(condition, text));
    Some(reply)
}

/// A stanza as if its sender had answered with an error.
pub(crate) fn as_error(mut stanza: Element, condition: Condition, text: &str) -> Element {
    stanza.attrs_mut().remove(&Namespace::NONE, "type");
    names::set(&mut stanza, "type", "error");
    stanza.take_nodes();
    stanza.append_child(payload(condition, text));
    stanza
}

fn payload(condition: Condition, text: &str) -> Element {
    let (name, kind) = condition.words();
    let mut error = names::element("error", CLIENT, &[("type", kind)]);
    error.append_child(Element::bare(name, STANZAS));
    if !text.is_empty() {
        error.append_child(Element::builder("text", STANZAS).append(text).build());
    }
    error
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_error_goes_back_where_the_stanza_came_from() {
        let iq =
            names::element("iq", CLIENT, &[("type", "get"), ("id", "7"), ("from", "a@b/c"), ("to", "k")]);
        let reply = error(&iq, Condition::PolicyViolation, "Too much.").unwrap();
        let expected = format!(
            "<iq xmlns='{CLIENT}' type='error' id='7' from='k' to='a@b/c'><error type='modify'>\
             <policy-violation xmlns='{STANZAS}'/><text xmlns='{STANZAS}'>Too much.</text></error></iq>"
        );
        assert_eq!(reply, expected.parse::<Element>().unwrap());
        assert!(error(&reply, Condition::BadRequest, "").is_none(), "errors are not answered");
        let result = names::element("iq", CLIENT, &[("type", "result")]);
        assert!(error(&result, Condition::BadRequest, "").is_none());
    }
}
