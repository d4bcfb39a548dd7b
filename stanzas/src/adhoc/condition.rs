//! What can be wrong with a command's stanza itself (XEP-0050 §4.6).

use minidom::Element;

use crate::{element::text_child, ns};

/// An error condition of XEP-0050, with the RFC 6120 condition it rides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Condition {
    /// The action is none of the five.
    #[error("the action is not known")]
    MalformedAction,
    /// The action cannot be taken at this stage.
    #[error("the action cannot be taken now")]
    BadAction,
    /// The language asked for is not there.
    #[error("the language is not there")]
    BadLocale,
    /// The form, or another part, cannot be read.
    #[error("the command or its form cannot be read")]
    BadPayload,
    /// No session has this id.
    #[error("there is no such session, or it is somebody else's")]
    BadSessionid,
    /// The session was there, and is over.
    #[error("the session has expired")]
    SessionExpired,
}

impl Condition {
    pub(super) const ALL: [Condition; 6] = [
        Condition::MalformedAction,
        Condition::BadAction,
        Condition::BadLocale,
        Condition::BadPayload,
        Condition::BadSessionid,
        Condition::SessionExpired,
    ];

    /// The name of the element.
    pub const fn word(self) -> &'static str {
        match self {
            Condition::MalformedAction => "malformed-action",
            Condition::BadAction => "bad-action",
            Condition::BadLocale => "bad-locale",
            Condition::BadPayload => "bad-payload",
            Condition::BadSessionid => "bad-sessionid",
            Condition::SessionExpired => "session-expired",
        }
    }

    /// The whole `<error/>` of an answer.
    pub fn to_element(self) -> Element {
        let (type_, rfc) = match self {
            Condition::SessionExpired => ("cancel", "not-allowed"),
            _ => ("modify", "bad-request"),
        };
        let mut element = Element::bare("error", ns::CLIENT);
        crate::element::set(&mut element, "type", Some(type_));
        element.append_child(Element::bare(rfc, ns::STANZA_ERRORS));
        element.append_child(text_child("text", ns::STANZA_ERRORS, &format!("Sorry: {self}. Begin again.")));
        element.append_child(Element::bare(self.word(), ns::ADHOC));
        element
    }

    /// The condition in an `<error/>`, when there is one of these.
    pub fn from_error(error: &Element) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| error.has_child(condition.word(), ns::ADHOC))
    }
}
