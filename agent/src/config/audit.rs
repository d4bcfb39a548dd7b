//! `[audit]`: who witnesses the audit trail, and how much of it stays in the store.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};
use xmpp_parsers::jid::BareJid;

pub use crate::journal::trail::Keep;

/// `[audit]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuditSection {
    /// Who is told each head of the trail, best at another server than ours.
    #[serde(deserialize_with = "witnesses")]
    pub witnesses: Vec<BareJid>,
    /// Whether each head is published at the host's node as well. On an account that takes of what little its
    /// server lets it say.
    pub publish: bool,
    /// How many of the newest entries stay in the store; older ones are in files beside it.
    pub rows: u64,
    /// How young an entry is that stays in any case. Not to be set: a repeated request has to find its
    /// answer.
    #[serde(skip)]
    pub young: Option<Duration>,
}

impl Default for AuditSection {
    fn default() -> Self {
        Self { witnesses: Vec::new(), publish: true, rows: Keep::default().rows, young: None }
    }
}

impl AuditSection {
    pub(super) fn check(&self) -> Result<(), String> {
        match self.rows {
            100.. => Ok(()),
            few => Err(format!("{few} is too few; write 100 or more")),
        }
    }

    pub(crate) fn keep(&self) -> Keep {
        Keep { rows: self.rows, age: self.young.unwrap_or(Keep::default().age) }
    }
}

fn witnesses<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<BareJid>, D::Error> {
    let read = |text: String| {
        BareJid::new(&text)
            .map_err(|_| D::Error::custom(format!("{text:?} is no address; write \"witness@other.example\"")))
    };
    Vec::<String>::deserialize(from)?.into_iter().map(read).collect()
}
