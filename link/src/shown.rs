//! Stanzas as the log may hold them: what is secret is hidden, and nothing in them moves a terminal's
//! cursor. Logging in (SASL, the handshake of a component) never comes here.

use std::fmt::{self, Write as _};

use minidom::{Element, Node};

/// What stands for what is not shown.
const HIDDEN: &str = "[hidden]";
/// The longest stanza shown, in characters.
const CHARS_MAX: usize = 4096;

/// Tells a stanza to the log: at the level debug what it is, at the level trace all of it.
pub(crate) fn tell(way: &str, stanza: &Element) {
    if tracing::enabled!(tracing::Level::TRACE) {
        tracing::trace!("{way} {}", Whole(stanza));
    } else {
        tracing::debug!("{way} {}", Summary(stanza));
    }
}

/// A stanza in a line: what it is, from whom, to whom, about what.
struct Summary<'a>(&'a Element);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(stanza) = self;
        write!(f, "<{}", Harmless(stanza.name()))?;
        for name in ["type", "from", "to", "id"] {
            if let Some(value) = stanza.attr(name) {
                write!(f, " {name}='{}'", Harmless(value))?;
            }
        }
        f.write_char('>')?;
        for child in stanza.children().take(8) {
            write!(f, " {} ({})", Harmless(child.name()), Harmless(&child.ns()))?;
        }
        Ok(())
    }
}

/// A stanza as XML.
struct Whole<'a>(&'a Element);

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stanza = self.0.clone();
        hide(&mut stanza);
        let xml = String::from(&stanza);
        match xml.char_indices().nth(CHARS_MAX) {
            Some((end, _)) => write!(f, "{} … ({} bytes)", Harmless(&xml[..end]), xml.len()),
            None => write!(f, "{}", Harmless(&xml)),
        }
    }
}

/// Takes the text of whatever may be secret: passwords by the name of their element or field, private
/// fields of forms (XEP-0004 §3.3), all of SASL.
fn hide(element: &mut Element) {
    if is_secret(element) {
        for node in element.nodes_mut() {
            match node {
                Node::Text(text) => HIDDEN.clone_into(text),
                Node::Element(child) => blacken(child),
            }
        }
        return;
    }
    element.children_mut().for_each(hide);
}

/// Takes all text.
fn blacken(element: &mut Element) {
    for node in element.nodes_mut() {
        match node {
            Node::Text(text) => HIDDEN.clone_into(text),
            Node::Element(child) => blacken(child),
        }
    }
}

fn is_secret(element: &Element) -> bool {
    let named = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["password", "secret", "token", "credential", "handshake"].iter().any(|word| name.contains(word))
    };
    named(element.name())
        || element.ns().starts_with("urn:ietf:params:xml:ns:xmpp-sasl")
        || element.ns().starts_with("urn:xmpp:sasl:")
        || (element.name() == "field"
            && (element.attr("type") == Some("text-private") || element.attr("var").is_some_and(named)))
}

/// Text without what a terminal would obey.
struct Harmless<'a>(&'a str);

impl fmt::Display for Harmless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ch in self.0.chars() {
            let is_bidi =
                matches!(ch, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            match ch.is_control() || is_bidi {
                true => write!(f, "{}", ch.escape_default())?,
                false => f.write_char(ch)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn stanza(inner: &str) -> Element {
        format!("<iq xmlns='jabber:client' type='set' to='a@b' id='7'>{inner}</iq>").parse().unwrap()
    }

    #[test]
    fn secrets_are_hidden() {
        for inner in [
            "<query xmlns='jabber:iq:register'><username>ann</username><password>hunter2</password></query>",
            "<x xmlns='jabber:x:data'><field type='text-private' var='x'><value>hunter2</value></field></x>",
            "<x xmlns='jabber:x:data'><field var='ADMIN-Password'><value>hunter2</value></field></x>",
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>hunter2</auth>",
            "<authenticate xmlns='urn:xmpp:sasl:2'><initial-response>hunter2</initial-response></authenticate>",
            "<s xmlns='x'><client-secret><deep>hunter2</deep></client-secret></s>",
        ] {
            let shown = Whole(&stanza(inner)).to_string();
            assert!(!shown.contains("hunter2") && shown.contains(HIDDEN), "{shown}");
            assert!(!Summary(&stanza(inner)).to_string().contains("hunter2"));
        }
    }

    #[test]
    fn the_rest_is_shown_and_obeyed_by_no_terminal() {
        let stanza = stanza("<body xmlns='jabber:client'>a\u{9b}31m\u{202e}b</body>");
        let shown = Whole(&stanza).to_string();
        assert!(shown.contains("a\\u{9b}31m\\u{202e}b"), "{shown}");
        assert_eq!(Summary(&stanza).to_string(), "<iq type='set' to='a@b' id='7'> body (jabber:client)");
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = format!("<body xmlns='jabber:client'>{}</body>", "é".repeat(CHARS_MAX));
        let shown = Whole(&stanza(&long)).to_string();
        assert!(shown.chars().count() < CHARS_MAX + 40 && shown.contains(" bytes)"), "{}", shown.len());
    }
}
