//! What went wrong, in a sentence, with what the system said.

use std::fmt::Display;

/// Why a machine cannot be made or go on. For the agent, which says it to people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// What may end with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// One of these words.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// For `map_err`: what was being done, and what was said to it.
    pub fn at<E: Display>(what: impl Display) -> impl FnOnce(E) -> Self {
        move |error| Self(format!("{what}: {error}"))
    }
}
