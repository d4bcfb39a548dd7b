//! A hand-over in words: one for programs, sentences for people.

use super::{Standing, Word};

impl Word {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Offer,
        Self::Accept,
        Self::Refuse,
        Self::Failed,
        Self::Ask,
        Self::Ready,
        Self::Commit,
        Self::Abort,
        Self::Taken,
    ];

    /// As it is on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Accept => "accept",
            Self::Refuse => "refuse",
            Self::Failed => "failed",
            Self::Ask => "ask",
            Self::Ready => "ready",
            Self::Commit => "commit",
            Self::Abort => "abort",
            Self::Taken => "taken",
        }
    }
}

impl Standing {
    /// The word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Away { .. } => "away",
            Self::Owner { .. } => "owner",
            Self::Offered { .. } => "offered",
            Self::Sending { .. } => "sending",
            Self::Holding { .. } => "holding",
            Self::HandedOver { .. } => "handed over",
            Self::Preparing { .. } => "preparing",
            Self::Prepared { .. } => "prepared",
            Self::Received { .. } => "received",
            Self::Dropping { .. } => "dropping",
            Self::Taking { .. } => "taking",
        }
    }
}
