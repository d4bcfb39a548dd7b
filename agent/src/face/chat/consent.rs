//! Answers to the question whether somebody agrees: a reply to the message that asks it (XEP-0461), or a
//! reaction (XEP-0444). Both become the command that says the same.

use minidom::Element;
use skerry_stanzas::ns;

use super::Message;
use crate::{asked::Target, face::Face};

/// Message replies (XEP-0461).
pub(super) const REPLY: &str = "urn:xmpp:reply:0";
/// Message reactions (XEP-0444).
const REACTIONS: &str = "urn:xmpp:reactions:0";

/// The id of the message this one replies to.
pub(crate) fn replied_to(message: &Element) -> Option<String> {
    let reply = message.get_child("reply", REPLY)?;
    reply.attr("id").map(str::to_owned)
}

/// The message reacted to, and what is said by that: one sign that is understood, and none that says the
/// opposite.
pub(crate) fn reaction(message: &Element) -> Option<(String, bool)> {
    let reactions = message.get_child("reactions", REACTIONS)?;
    let signs = reactions.children().filter(|child| child.is("reaction", REACTIONS)).map(Element::text);
    let mut said: Vec<bool> = signs.filter_map(|sign| sign_says(sign.trim())).collect();
    said.dedup();
    match said.as_slice() {
        [yes] => Some((reactions.attr("id")?.to_owned(), *yes)),
        _ => None,
    }
}

fn sign_says(sign: &str) -> Option<bool> {
    // Skin tones and the like come after the sign.
    match sign.chars().next()? {
        '👍' | '✅' | '✔' | '👌' => Some(true),
        '👎' | '❌' | '✖' | '⛔' | '🚫' => Some(false),
        _ => None,
    }
}

/// What a reply says, without what it quotes of the message it replies to.
pub(crate) fn said(body: &str) -> Option<bool> {
    let own = body.lines().filter(|line| !line.trim_start().starts_with('>')).collect::<Vec<_>>().join(" ");
    let own = own.trim().trim_end_matches(['!', '.']).to_lowercase();
    match own.as_str() {
        "yes" | "y" | "ok" | "okay" | "approve" | "approved" | "agreed" => Some(true),
        "no" | "n" | "reject" | "rejected" | "deny" | "denied" => Some(false),
        sign => sign_says(sign),
    }
}

impl Face {
    /// A message that answers the question about a request: as the command that says so. Any other, as it is.
    pub(super) fn as_consent(&self, mut message: Message, message_stanza: &Element) -> Option<Message> {
        let person = message.from.to_bare();
        if let Some((id, yes)) = reaction(message_stanza) {
            let (code, _) = self.agent.question_to(&person, &id).filter(|(_, by_reaction)| *by_reaction)?;
            return Some(message.put_as(&code, yes));
        }
        if let Some(yes) = said(&message.body)
            && let Some(id) = replied_to(message_stanza)
            && let Some((code, _)) = self.agent.question_to(&person, &id)
        {
            message = message.put_as(&code, yes);
        }
        Some(message)
    }
}

impl Message {
    fn put_as(self, code: &str, yes: bool) -> Self {
        let verb = if yes { "approve" } else { "reject" };
        Self { body: format!("{verb} {code}"), target: Target::Host, ..self }
    }
}

/// Whether a stanza is nothing but a reaction, which has no words.
pub(super) fn is_reaction(message: &Element) -> bool {
    message.has_child("reactions", REACTIONS) && !message.has_child("body", ns::CLIENT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[track_caller]
    fn assert_reaction(signs: &[&str], expected: Option<bool>) {
        let signs: String = signs.iter().map(|sign| format!("<reaction>{sign}</reaction>")).collect();
        let text = format!(
            "<message xmlns='jabber:client'><reactions id='q1' xmlns='{REACTIONS}'>{signs}</reactions></message>"
        );
        let message: Element = text.parse().unwrap();
        assert_eq!(reaction(&message), expected.map(|yes| ("q1".to_owned(), yes)), "{text}");
        assert!(is_reaction(&message));
    }

    #[test]
    fn a_reaction_says_yes_or_no_or_nothing() {
        assert_reaction(&["👍"], Some(true));
        assert_reaction(&["👍🏽", "❤️"], Some(true));
        assert_reaction(&["👎"], Some(false));
        assert_reaction(&["👍", "👎"], None);
        assert_reaction(&["🤔"], None);
        assert_reaction(&[], None);
    }

    #[test]
    fn a_reply_says_it_in_its_own_words() {
        for yes in ["yes", "Yes!", "> kill db1?\n> really\nok", "👍", "approve"] {
            assert_eq!(said(yes), Some(true), "{yes}");
        }
        for no in ["no", "> yes\nNo.", "deny", "👎"] {
            assert_eq!(said(no), Some(false), "{no}");
        }
        for neither in ["", "> yes", "yes but later", "status"] {
            assert_eq!(said(neither), None, "{neither}");
        }
    }
}
