//! What the caller cannot mend: answered with a reference number, under which the log has the chain.

use std::error::Error;

use skerry_stanzas::refusal::{Reason, Refusal};

use crate::store::StoreError;

/// A reference: short enough to be read out on the telephone.
pub(crate) fn fresh() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    id.chars().take(8).collect()
}

/// Writes the chain of `error` to the log and refuses with its reference.
pub(crate) fn internal(what: &str, error: &(dyn Error + 'static)) -> Refusal {
    let reference = fresh();
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        chain = format!("{chain}: {cause}");
        source = cause.source();
    }
    tracing::error!(%reference, what, %chain, "internal error");
    answer(what, &reference)
}

/// The refusal for a reference that is in the log.
pub(crate) fn answer(what: &str, reference: &str) -> Refusal {
    Refusal::new(Reason::Internal, format!("{what}: an internal error (reference {reference})."))
        .hint("The agent's log says more under that reference.")
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Full => Refusal::new(Reason::Limit, "The host's disk is full: nothing was done.")
                .hint("Make room on the host, then try again."),
            StoreError::Closed => {
                Refusal::new(Reason::Unavailable, "The agent is shutting down: nothing was done.")
                    .hint("Try again in a moment.")
            }
            StoreError::TooMuch(what) => Refusal::new(Reason::Limit, format!("Nothing was done: {what}."))
                .hint("\"grants\" shows what there is; \"revoke NUMBER\" takes one back."),
            StoreError::Taken => Refusal::new(Reason::Conflict, "That name is taken."),
            _ => internal("Nothing was done", &error),
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "nothing".into())
}
