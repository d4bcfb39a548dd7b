//! "No", said well: an RFC 6120 condition, our own, a sentence, and what to do next.

use serde::{Deserialize, Serialize};

/// Why not. Each maps to one stanza error condition (RFC 6120 §8.3.3) and error type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The caller has no right to it (`forbidden`, auth).
    NotAllowed,
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
}

impl Refusal {
    /// A refusal of one sentence.
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into(), hint: None, field: None }
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

    /// The sentence and the hint, as a person reads them.
    pub fn sentence(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} {hint}", self.text),
            None => self.text.clone(),
        }
    }
}
