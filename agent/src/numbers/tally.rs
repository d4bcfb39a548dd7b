//! How often each command was carried out.

use serde::{Deserialize, Serialize};

use crate::journal::Outcome;

/// How often something was done, and how often refused or failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Done.
    pub done: u64,
    /// Refused, or failed.
    pub refused: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done { .. } => self.done += 1,
            Outcome::Refused(_) | Outcome::Unknown { .. } => self.refused += 1,
        }
    }
}
