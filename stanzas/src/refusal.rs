//! "No", said well: an RFC 6120 condition, our own, a sentence, and what to do next.

use minidom::{Element, rxml};
use serde::{Deserialize, Serialize};

use crate::{
    adhoc::Condition,
    element::{set, text_child},
    ns,
    safe::safe_value,
    signature::ToSign,
};

/// The longest text of somebody else's error that is kept, in characters.
const TEXT_CHARS_MAX: usize = 1000;

/// Why not. Each maps to one stanza error condition (RFC 6120 §8.3.3) and error type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The caller has no right to it (`forbidden`, auth).
    NotAllowed,
    /// It takes the signature of who asks, by a key of theirs (`not-authorized`, auth).
    Unsigned,
    /// No such machine, command, session, image (`item-not-found`, cancel).
    NotFound,
    /// What was asked cannot be understood (`bad-request`, modify).
    BadRequest,
    /// It does not fit the present state (`conflict`, cancel).
    Conflict,
    /// The driver cannot (`feature-not-implemented`, cancel).
    NotSupported,
    /// Over a limit: try later or ask for less (`resource-constraint`, wait).
    Limit,
    /// Not now: the host or the machine is busy or away (`recipient-unavailable`, wait).
    Unavailable,
    /// A session or confirmation lapsed (`not-acceptable`, modify).
    Lapsed,
    /// Our fault; the text carries the reference under which the log has the causes
    /// (`internal-server-error`, cancel).
    Internal,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 10] = [
        Reason::NotAllowed,
        Reason::Unsigned,
        Reason::NotFound,
        Reason::BadRequest,
        Reason::Conflict,
        Reason::NotSupported,
        Reason::Limit,
        Reason::Unavailable,
        Reason::Lapsed,
        Reason::Internal,
    ];

    /// The name of our condition on the wire, and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Reason::NotAllowed => "not-allowed",
            Reason::Unsigned => "unsigned",
            Reason::NotFound => "not-found",
            Reason::BadRequest => "bad-request",
            Reason::Conflict => "conflict",
            Reason::NotSupported => "not-supported",
            Reason::Limit => "limit",
            Reason::Unavailable => "unavailable",
            Reason::Lapsed => "lapsed",
            Reason::Internal => "internal",
        }
    }

    /// The error type and the condition of RFC 6120 §8.3.
    pub const fn stanza(self) -> (&'static str, &'static str) {
        match self {
            Reason::NotAllowed => ("auth", "forbidden"),
            Reason::Unsigned => ("auth", "not-authorized"),
            Reason::NotFound => ("cancel", "item-not-found"),
            Reason::BadRequest => ("modify", "bad-request"),
            Reason::Conflict => ("cancel", "conflict"),
            Reason::NotSupported => ("cancel", "feature-not-implemented"),
            Reason::Limit => ("wait", "resource-constraint"),
            Reason::Unavailable => ("wait", "recipient-unavailable"),
            Reason::Lapsed => ("modify", "not-acceptable"),
            Reason::Internal => ("cancel", "internal-server-error"),
        }
    }

    /// What somebody else's condition means to us: servers and other software answer too.
    fn of_condition(condition: &str) -> Self {
        match condition {
            "forbidden"
            | "not-authorized"
            | "not-allowed"
            | "registration-required"
            | "subscription-required" => Reason::NotAllowed,
            "item-not-found" | "gone" => Reason::NotFound,
            "bad-request" | "jid-malformed" | "not-acceptable" | "unexpected-request" => Reason::BadRequest,
            "conflict" => Reason::Conflict,
            "feature-not-implemented" => Reason::NotSupported,
            "resource-constraint" | "policy-violation" => Reason::Limit,
            "recipient-unavailable"
            | "remote-server-not-found"
            | "remote-server-timeout"
            | "service-unavailable"
            | "redirect" => Reason::Unavailable,
            _ => Reason::Internal,
        }
    }

    /// The exit code of `skerry`: 1 refused or failed, 2 the command line, 3 not allowed,
    /// 4 unreachable, 5 internal.
    pub const fn exit_code(self) -> u8 {
        match self {
            Reason::NotFound | Reason::Conflict | Reason::NotSupported | Reason::Limit | Reason::Lapsed => 1,
            Reason::BadRequest => 2,
            Reason::NotAllowed | Reason::Unsigned => 3,
            Reason::Unavailable => 4,
            Reason::Internal => 5,
        }
    }
}

/// A refusal, the same on every face.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// Why not.
    pub reason: Reason,
    /// One plain sentence.
    pub text: String,
    /// What to do next, when there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The argument that was wrong, when one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What would have to be signed, where that is what is missing. Not in stanza errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<Box<ToSign>>,
}

impl Refusal {
    /// A refusal of one sentence.
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into(), hint: None, field: None, sign: None }
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the argument that was wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// With what would have to be signed.
    #[must_use]
    pub fn sign(mut self, sign: ToSign) -> Self {
        self.sign = Some(Box::new(sign));
        self
    }

    /// The sentence and the hint, as a person reads them.
    pub fn sentence(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} {hint}", self.text),
            None => self.text.clone(),
        }
    }

    /// The whole `<error/>`: RFC 6120's condition for any software, the sentence for people, and our
    /// own condition with the hint and the field for ours.
    pub fn stanza_error(&self) -> Element {
        let (type_, condition) = self.reason.stanza();
        let mut error = Element::bare("error", ns::CLIENT);
        set(&mut error, "type", Some(type_));
        error.append_child(Element::bare(condition, ns::STANZA_ERRORS));
        let mut text = text_child("text", ns::STANZA_ERRORS, &self.sentence());
        let lang = rxml::NcName::try_from("lang").expect("invariant: lang is a name");
        text.set_attr(rxml::Namespace::XML, lang, "en");
        error.append_child(text);
        let mut ours = Element::bare(self.reason.word(), ns::REFUSAL);
        set(&mut ours, "field", self.field.as_deref());
        if let Some(hint) = &self.hint {
            ours.append_child(text_child("hint", ns::REFUSAL, hint));
        }
        error.append_child(ours);
        error
    }

    /// What an `<error/>` says, ours or anybody's. A text of somebody else is bounded.
    pub fn from_error(error: &Element) -> Self {
        let said = error
            .get_child("text", ns::STANZA_ERRORS)
            .map(|text| safe_value(&text.text()).trim().chars().take(TEXT_CHARS_MAX).collect::<String>())
            .filter(|text| !text.is_empty());
        let ours = Reason::ALL
            .into_iter()
            .find_map(|reason| Some((reason, error.get_child(reason.word(), ns::REFUSAL)?)));
        if let (Some((reason, ours)), Some(said)) = (ours, &said) {
            let hint = ours.get_child("hint", ns::REFUSAL).map(Element::text);
            let text = hint.as_deref().and_then(|hint| said.strip_suffix(hint)).unwrap_or(said);
            let field = ours.attr("field").map(str::to_owned);
            return Self { reason, text: text.trim_end().to_owned(), hint, field, sign: None };
        }
        let condition = error
            .children()
            .find(|child| child.has_ns(ns::STANZA_ERRORS) && child.name() != "text")
            .map_or("undefined-condition", Element::name);
        let reason = match Condition::from_error(error) {
            Some(Condition::BadSessionid | Condition::SessionExpired) => Reason::Lapsed,
            _ => Reason::of_condition(condition),
        };
        Self::new(reason, said.unwrap_or_else(|| format!("The answer was an error: {condition}.")))
    }

    /// The exit code of `skerry`, see [`Reason::exit_code`].
    pub const fn exit_code(&self) -> u8 {
        self.reason.exit_code()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn refusals_go_there_and_back() {
        for reason in Reason::ALL {
            let plain = Refusal::new(reason, "web1 is running.");
            let full = plain.clone().hint("Shut it down first: web1 shutdown").field("name");
            for refusal in [plain, full] {
                let xml = String::from(&refusal.stanza_error());
                let back = Refusal::from_error(&xml.parse().unwrap());
                assert_eq!(back, refusal, "{xml}");
            }
        }
    }

    #[test]
    fn every_software_finds_what_it_knows() {
        let error = Refusal::new(Reason::Limit, "Too many.").hint("Later.").stanza_error();
        assert_eq!(error.attr("type"), Some("wait"));
        assert!(error.has_child("resource-constraint", ns::STANZA_ERRORS));
        assert_eq!(error.get_child("text", ns::STANZA_ERRORS).unwrap().text(), "Too many. Later.");
    }

    #[test]
    fn words_are_the_same_in_json() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.word());
        }
    }

    #[track_caller]
    fn foreign(inner: &str, reason: Reason, text: &str) {
        let error: Element =
            format!("<error xmlns='jabber:client' type='cancel'>{inner}</error>").parse().unwrap();
        let refusal = Refusal::from_error(&error);
        assert_eq!((refusal.reason, refusal.text.as_str()), (reason, text));
    }

    #[test]
    fn errors_of_others_are_understood() {
        let ns = ns::STANZA_ERRORS;
        foreign(
            &format!("<remote-server-timeout xmlns='{ns}'/>"),
            Reason::Unavailable,
            "The answer was an error: remote-server-timeout.",
        );
        foreign(
            &format!("<forbidden xmlns='{ns}'/><text xmlns='{ns}'>Access denied</text>"),
            Reason::NotAllowed,
            "Access denied",
        );
        foreign("", Reason::Internal, "The answer was an error: undefined-condition.");
        foreign(
            &format!("<not-allowed xmlns='{ns}'/><session-expired xmlns='{}'/>", ns::ADHOC),
            Reason::Lapsed,
            "The answer was an error: not-allowed.",
        );
        let long = "a".repeat(10_000);
        foreign(
            &format!("<conflict xmlns='{ns}'/><text xmlns='{ns}'>{long}</text>"),
            Reason::Conflict,
            &long[..TEXT_CHARS_MAX],
        );
    }

    #[test]
    fn exit_codes_are_those_promised() {
        let code = |reason| Refusal::new(reason, "").exit_code();
        assert_eq!([Reason::Conflict, Reason::BadRequest, Reason::NotAllowed].map(code), [1, 2, 3]);
        assert_eq!([Reason::Unavailable, Reason::Internal].map(code), [4, 5]);
    }
}
