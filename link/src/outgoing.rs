//! What a stanza has to be before it is sent. A server answers the wrong one by closing the stream on
//! everybody, and stream management would send it again; so it is refused here, to its sender.

use minidom::{
    Element, Node,
    rxml::{Namespace, NcNameStr},
};
use xmpp_parsers::jid::{BareJid, Jid};

use crate::{SendError, names, wire::CLIENT};

/// The nesting that a stanza of ours may have.
const DEPTH_MAX: usize = 64;

/// From where stanzas are sent, and how large they may be.
#[derive(Clone, Debug)]
pub(crate) struct Customs {
    /// The component's domain; none on an account.
    component: Option<BareJid>,
    bytes_max: usize,
}

impl Customs {
    /// For a component. 512 KiB is what Prosody takes from one by default; ejabberd has no bound.
    pub(crate) fn component(domain: BareJid) -> Self {
        Self { component: Some(domain), bytes_max: 512 * 1024 }
    }

    /// For an account. 256 KiB is what Prosody and Debian's ejabberd take from one by default.
    pub(crate) fn account() -> Self {
        Self { component: None, bytes_max: 256 * 1024 }
    }

    /// A stanza as it can be sent: with a sender, on a component link; with U+FFFD for what XML cannot
    /// carry.
    ///
    /// # Errors
    /// It is no stanza, has an address it must not have, or is too large.
    pub(crate) fn admit(&self, mut stanza: Element) -> Result<Element, SendError> {
        let is_stanza = matches!(stanza.name(), "iq" | "message" | "presence") && stanza.has_ns(CLIENT);
        if !is_stanza {
            let why = format!("<{} xmlns='{}'/> is no stanza", stanza.name(), stanza.ns());
            return Err(SendError::Unsendable { why });
        }
        self.address(&mut stanza)?;
        let bytes = weigh(&mut stanza, "", 1)?;
        match bytes <= self.bytes_max {
            true => Ok(stanza),
            false => {
                let why = format!("it has {bytes} bytes, and servers take {}", self.bytes_max);
                Err(SendError::Unsendable { why })
            }
        }
    }

    fn address(&self, stanza: &mut Element) -> Result<(), SendError> {
        let unsendable = |why: String| Err(SendError::Unsendable { why });
        let to = match stanza.attr("to").map(Jid::new) {
            Some(Err(error)) => return unsendable(format!("its address is none: {error}")),
            Some(Ok(to)) => Some(to),
            None => None,
        };
        let Some(domain) = &self.component else {
            // The server knows who sends on an account's stream, and ends it over another opinion.
            stanza.attrs_mut().remove(&Namespace::NONE, "from");
            return Ok(());
        };
        if to.is_none() {
            return unsendable("a component's stanzas need an address (to)".to_owned());
        }
        match stanza.attr("from").map(Jid::new) {
            None => names::set(stanza, "from", domain.as_str()),
            Some(Ok(from)) if from.domain() == domain.domain() => {}
            Some(_) => return unsendable(format!("its sender is not of {domain}")),
        }
        Ok(())
    }
}

/// An upper bound, nearly exact, of the bytes that an element takes on the wire; mends its text.
fn weigh(element: &mut Element, outer: &str, depth: usize) -> Result<usize, SendError> {
    if depth > DEPTH_MAX {
        return Err(SendError::Unsendable { why: format!("it is nested deeper than {DEPTH_MAX}") });
    }
    if <&NcNameStr>::try_from(element.name()).is_err() {
        return Err(SendError::Unsendable { why: format!("{:?} is no name of an element", element.name()) });
    }
    let namespace = element.ns();
    // <name></name>, and xmlns='…'.
    let mut bytes = 2 * element.name().len() + 5;
    if namespace != outer {
        bytes += 9 + written_length(&namespace);
    }
    for ((space, name), value) in element.attrs_mut().iter_mut() {
        mend(value);
        bytes += name.len() + 4 + written_length(value);
        if !space.is_none() {
            // xmlns:a='…' and the prefix.
            bytes += 14 + 2 * 8 + written_length(space.as_str());
        }
    }
    for node in element.nodes_mut() {
        bytes += match node {
            Node::Element(child) => weigh(child, &namespace, depth + 1)?,
            Node::Text(text) => {
                mend(text);
                // Only in attributes are quotes and white space written as references.
                text.len()
                    + 5 * text.bytes().filter(|byte| matches!(byte, b'&' | b'<' | b'>' | b'\r')).count()
            }
        };
    }
    Ok(bytes)
}

/// An attribute with its references: `&amp;` is the longest.
fn written_length(text: &str) -> usize {
    text.len()
        + 5 * text
            .bytes()
            .filter(|byte| matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'' | b'\t' | b'\n' | b'\r'))
            .count()
}

/// Puts U+FFFD for characters that XML 1.0 has no way to write (§2.2): a guest's console is full of them.
fn mend(text: &mut String) {
    let writable =
        |ch: char| !matches!(ch, '\0'..='\x08' | '\x0B' | '\x0C' | '\x0E'..='\x1F' | '\u{FFFE}' | '\u{FFFF}');
    if !text.chars().all(writable) {
        *text = text.chars().map(|ch| if writable(ch) { ch } else { '\u{FFFD}' }).collect();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn element(xml: &str) -> Element {
        xml.replacen(' ', &format!(" xmlns='{CLIENT}' "), 1).parse().unwrap()
    }

    fn refused(customs: &Customs, stanza: Element) -> String {
        match customs.admit(stanza) {
            Err(SendError::Unsendable { why }) => why,
            other => panic!("{other:?}"),
        }
    }

    fn kvm1() -> Customs {
        Customs::component(BareJid::new("kvm1.example.org").unwrap())
    }

    #[test]
    fn a_component_sends_from_its_own_domain_to_somebody() {
        let sent = kvm1().admit(element("<presence to='a@b'/>")).unwrap();
        assert_eq!(sent.attr("from"), Some("kvm1.example.org"));
        let from = "<message to='a@b' from='web1@KVM1.example.org/machine'/>";
        assert!(kvm1().admit(element(from)).is_ok());
        assert!(refused(&kvm1(), element("<message to='a@b' from='kvm2.example.org'/>")).contains("sender"));
        assert!(refused(&kvm1(), element("<presence />")).contains("need an address"));
        assert!(refused(&kvm1(), element("<presence to='@'/>")).contains("address"));
    }

    #[test]
    fn an_account_sends_as_itself() {
        let sent = Customs::account().admit(element("<iq from='x@y' type='get'/>")).unwrap();
        assert_eq!(sent.attr("from"), None);
        let handshake = element("<handshake />");
        assert!(refused(&Customs::account(), handshake).contains("no stanza"));
    }

    #[test]
    fn what_would_end_the_stream_is_refused() {
        let mut deep = Element::bare("x", CLIENT);
        for _ in 0..DEPTH_MAX {
            let mut outer = Element::bare("x", CLIENT);
            outer.append_child(deep);
            deep = outer;
        }
        let mut message = element("<message to='a@b'/>");
        message.append_child(deep);
        assert!(refused(&kvm1(), message).contains("nested"));
        let mut misnamed = element("<message to='a@b'/>");
        misnamed.append_child(Element::bare("a b", CLIENT));
        assert!(refused(&kvm1(), misnamed).contains("no name"));
        let mut large = element("<message to='a@b'/>");
        large.append_child(Element::builder("body", CLIENT).append("&".repeat(100_000)).build());
        assert!(refused(&kvm1(), large).contains("bytes"));
    }

    #[test]
    fn what_xml_cannot_carry_is_replaced_and_the_weight_is_no_less_than_the_bytes() {
        let mut message = element("<message to='a@b'/>");
        let body = Element::builder("body", "urn:other").append("a\u{1b}[0m\u{0}é\u{FFFE}<&>\"'\n").build();
        names::set(&mut message, "id", "\u{2}'\"");
        message.append_child(body);
        let mut sent = kvm1().admit(message).unwrap();
        assert_eq!(sent.attr("id"), Some("\u{FFFD}'\""));
        let text = sent.get_child("body", "urn:other").unwrap().text();
        assert_eq!(text, "a\u{FFFD}[0m\u{FFFD}é\u{FFFD}<&>\"'\n");
        let written = String::from(&sent).len();
        assert!(weigh(&mut sent, "", 1).unwrap() >= written);
    }
}
