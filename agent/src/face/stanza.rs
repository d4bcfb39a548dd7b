//! Stanzas, made and taken apart: the few shapes every face needs.

use minidom::{
    Element,
    rxml::{Namespace, NcName},
};
use skerry_stanzas::{ns, refusal::Refusal};
use xmpp_parsers::jid::Jid;

use crate::asked::Target;

/// An element being made.
#[derive(Clone, Debug)]
pub(crate) struct Tag(Element);

/// A new element.
pub(crate) fn tag(name: &str, namespace: &str) -> Tag {
    Tag(Element::bare(name, namespace))
}

impl Tag {
    /// With an attribute.
    pub(crate) fn attr(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let name = NcName::try_from(name).expect("invariant: attribute names are literals");
        self.0.set_attr(Namespace::NONE, name, value.into());
        self
    }

    /// With an attribute, when there is a value.
    pub(crate) fn attr_if(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// With a child.
    pub(crate) fn child(mut self, child: impl Into<Element>) -> Self {
        self.0.append_child(child.into());
        self
    }

    /// With children.
    pub(crate) fn children<E: Into<Element>>(mut self, children: impl IntoIterator<Item = E>) -> Self {
        for child in children {
            self.0.append_child(child.into());
        }
        self
    }

    /// With text; characters XML cannot hold are replaced.
    pub(crate) fn text(mut self, text: impl AsRef<str>) -> Self {
        self.0.append_text(printable(text.as_ref()));
        self
    }
}

impl From<Tag> for Element {
    fn from(tag: Tag) -> Element {
        tag.0
    }
}

/// The text without the characters XML 1.0 forbids, which would end the stream.
pub(crate) fn printable(text: &str) -> String {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..);
    text.chars().map(|c| if allowed(c) { c } else { '\u{FFFD}' }).collect()
}

/// An IQ request to one of our addresses.
#[derive(Clone, Debug)]
pub(crate) struct Inquiry {
    /// Who asks, vouched for by the server.
    pub(crate) from: Jid,
    /// The address it was sent to.
    pub(crate) to: Jid,
    /// Its id.
    pub(crate) id: String,
    /// Whether it is of type set.
    pub(crate) set: bool,
    /// Whom it is for.
    pub(crate) target: Target,
    /// Its one child.
    pub(crate) payload: Element,
}

/// A stanza error (RFC 6120 §8.3).
#[derive(Clone, Debug)]
pub(crate) struct Fault(Element);

impl Fault {
    /// An error of this type and condition.
    pub(crate) fn new(kind: &'static str, condition: &'static str) -> Self {
        Self::holding(kind, tag(condition, ns::STANZA_ERRORS))
    }

    fn holding(kind: &'static str, condition: Tag) -> Self {
        Self(tag("error", ns::CLIENT).attr("type", kind).child(condition).into())
    }

    /// A whole `<error/>` made elsewhere.
    pub(crate) fn whole(error: Element) -> Self {
        Self(error)
    }

    /// With a sentence for people.
    pub(crate) fn text(self, text: impl AsRef<str>) -> Self {
        self.more(tag("text", ns::STANZA_ERRORS).text(text))
    }

    /// With an application-specific condition (RFC 6120 §8.3.4).
    pub(crate) fn more(mut self, more: impl Into<Element>) -> Self {
        self.0.append_child(more.into());
        self
    }

    /// No such thing here.
    pub(crate) fn not_found() -> Self {
        Self::new("cancel", "item-not-found")
    }

    /// The request makes no sense.
    pub(crate) fn bad_request(text: &str) -> Self {
        Self::new("modify", "bad-request").text(text)
    }

    /// Nobody here knows this namespace.
    pub(crate) fn unknown_service() -> Self {
        Self::new("cancel", "service-unavailable")
    }

    /// The namespace is known, this use of it is not.
    pub(crate) fn not_implemented() -> Self {
        Self::new("cancel", "feature-not-implemented")
    }

    /// The caller has no right to it.
    pub(crate) fn forbidden() -> Self {
        Self::new("auth", "forbidden")
    }

    /// Too much at once: later again.
    pub(crate) fn busy(text: &str) -> Self {
        Self::new("wait", "resource-constraint").text(text)
    }

    /// The thing has another address now.
    pub(crate) fn gone_to(address: &Jid, whereabouts: &str) -> Self {
        let condition = tag("gone", ns::STANZA_ERRORS).text(format!("xmpp:{address}"));
        Self::holding("cancel", condition).text(format!("This machine is {whereabouts} now."))
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::whole(refusal.stanza_error())
    }
}

/// The answer to a stanza, with the addresses turned around and its `error`.
pub(crate) fn refuse(stanza: &Element, fault: &Fault) -> Element {
    let answer = turned(stanza).attr("type", "error");
    answer.child(fault.0.clone()).into()
}

/// The result of an IQ.
pub(crate) fn result(from: &Jid, to: &Jid, id: &str, payload: Option<Element>) -> Element {
    tag("iq", ns::CLIENT)
        .attr("type", "result")
        .attr("from", from.as_str())
        .attr("to", to.as_str())
        .attr("id", id)
        .children(payload)
        .into()
}

/// A stanza of the same name and id, with `from` and `to` turned around.
fn turned(stanza: &Element) -> Tag {
    tag(stanza.name(), ns::CLIENT)
        .attr_if("id", stanza.attr("id"))
        .attr_if("from", stanza.attr("to"))
        .attr_if("to", stanza.attr("from"))
}

/// The address in an attribute: `None` when it is missing, is no address, or would be read as another.
pub(crate) fn address(stanza: &Element, attribute: &str) -> Option<Jid> {
    stanza.attr(attribute).and_then(skerry_link::address::given)
}

/// An id nobody can guess.
pub(crate) fn fresh_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(printable("a\u{0}b\u{1b}[0m\tc\u{ffff}"), "a\u{fffd}b\u{fffd}[0m\tc\u{fffd}");
    }

    #[test]
    fn an_error_goes_back_where_the_stanza_came_from() {
        let iq: Element =
            "<iq xmlns='jabber:client' type='get' id='1' from='a@b/c' to='d@e'/>".parse().unwrap();
        let error = refuse(&iq, &Fault::not_found().text("no"));
        assert_eq!((error.attr("from"), error.attr("to")), (Some("d@e"), Some("a@b/c")));
        assert_eq!((error.attr("id"), error.attr("type")), (Some("1"), Some("error")));
        let inner = error.get_child("error", ns::CLIENT).unwrap();
        assert!(inner.has_child("item-not-found", ns::STANZA_ERRORS));
    }
}
