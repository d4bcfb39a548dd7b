//! The hand-over of a machine from one host to another: who owns it, at every instant.
//!
//! Pure: no clock, no I/O. A machine's owner is the host that may run it. Ownership is a token with an
//! epoch that grows by one each time it is passed on. Each host keeps its [`Standing`] towards a machine;
//! [`step`] says what an [`Input`] makes of it and, in their order, the [`Effect`]s: what is written to
//! the journal, what is done to the guest, what is told to the other host. [`recover`] says how a host
//! goes on from what its journal holds.
//!
//! The point of no return is one write: [`Standing::HandedOver`] in the source's journal. Until then the
//! source may call it off, alone and at any time; from then on it never runs the guest again. The
//! destination lets the guest run only once it was told of that write; if it does not know, it asks.
//!
//! All states that two hosts can reach, over a network that loses, repeats and reorders, with a crash of
//! either at each step, are gone through in `explore`. docs/handover.md is written from here.

#[cfg(test)]
mod explore;
mod recover;
mod step;
mod words;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{recover::recover, step::step};

/// One try to pass a machine on. Unlike any other, so that what belongs to one is never taken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub uuid::Uuid);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is to be passed on: the token as the new owner will have it, in this attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pass {
    /// Which try.
    pub attempt: Attempt,
    /// The new owner's epoch: one more than the present owner's.
    pub epoch: u64,
}

/// What one host is to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Standing {
    /// It is not this host's. `epoch` is the newest that it knows of; 0 if it knows nothing.
    Away {
        /// The newest epoch known here.
        epoch: u64,
    },
    /// It is this host's, and nothing is under way.
    Owner {
        /// The token's.
        epoch: u64,
    },
    /// The source has offered it, and waits for the answer. The guest runs here.
    Offered {
        /// What is to be passed on.
        pass: Pass,
    },
    /// The source is sending it. The guest runs here, or stands still because all of it is sent.
    Sending {
        /// What is to be passed on.
        pass: Pass,
    },
    /// The destination has all of it; the source makes sure that the guest stands still here.
    Holding {
        /// What is to be passed on.
        pass: Pass,
    },
    /// It is this host's no more, and is never run here again, whatever happens.
    HandedOver {
        /// What was passed on.
        pass: Pass,
    },
    /// The destination makes room for it.
    Preparing {
        /// What is to be passed on.
        pass: Pass,
        /// The newest epoch known here before.
        known: u64,
    },
    /// The destination takes it in.
    Prepared {
        /// What is to be passed on.
        pass: Pass,
        /// The newest epoch known here before.
        known: u64,
    },
    /// The destination has all of it, and does not know whether it is its own yet. It neither runs it nor
    /// throws it away before the source has said which.
    Received {
        /// What is to be passed on.
        pass: Pass,
        /// The newest epoch known here before.
        known: u64,
    },
    /// The destination was told that it stays the source's, and throws away what it has.
    Dropping {
        /// What was to be passed on.
        pass: Pass,
        /// The newest epoch known here before.
        known: u64,
    },
    /// It is the destination's; the guest is made to run on.
    Taking {
        /// What was passed on.
        pass: Pass,
    },
}

impl Standing {
    /// Whether this host may let the guest run.
    pub const fn owns(&self) -> bool {
        match self {
            Self::Owner { .. }
            | Self::Offered { .. }
            | Self::Sending { .. }
            | Self::Holding { .. }
            | Self::Taking { .. } => true,
            Self::Away { .. }
            | Self::HandedOver { .. }
            | Self::Preparing { .. }
            | Self::Prepared { .. }
            | Self::Received { .. }
            | Self::Dropping { .. } => false,
        }
    }

    /// The newest epoch that this host knows to have begun.
    pub const fn epoch(&self) -> u64 {
        match self {
            Self::Away { epoch } | Self::Owner { epoch } => *epoch,
            Self::Offered { pass } | Self::Sending { pass } | Self::Holding { pass } => pass.epoch - 1,
            Self::HandedOver { pass } | Self::Taking { pass } => pass.epoch,
            Self::Preparing { known, .. }
            | Self::Prepared { known, .. }
            | Self::Received { known, .. }
            | Self::Dropping { known, .. } => *known,
        }
    }

    /// The attempt under way, if one is.
    pub const fn pass(&self) -> Option<Pass> {
        match self {
            Self::Away { .. } | Self::Owner { .. } => None,
            Self::Offered { pass }
            | Self::Sending { pass }
            | Self::Holding { pass }
            | Self::HandedOver { pass }
            | Self::Taking { pass }
            | Self::Preparing { pass, .. }
            | Self::Prepared { pass, .. }
            | Self::Received { pass, .. }
            | Self::Dropping { pass, .. } => Some(*pass),
        }
    }
}

/// What one host tells the other. Any may be lost, come twice, or late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Source: will you have it?
    Offer,
    /// Destination: yes, send it.
    Accept,
    /// Destination: no.
    Refuse,
    /// Destination: it did not come through, or I have let go of it.
    Failed,
    /// Destination, which has nothing yet: is it still coming?
    Ask,
    /// Destination, which has all of it: is it mine?
    Ready,
    /// Source: it is yours.
    Commit,
    /// Source: it stays mine, throw away what you have.
    Abort,
    /// Destination: I know that it is mine.
    Taken,
}

/// A word, and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Message {
    /// What is said.
    pub word: Word,
    /// Of which attempt.
    pub pass: Pass,
}

/// What happens to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Somebody who may wants it moved.
    Move(Attempt),
    /// The other host said something. That it is the other host of this attempt, and no third one, is for
    /// the caller to make sure.
    Heard(Message),
    /// [`Deed::Prepare`] is done.
    Prepared,
    /// All of it has come.
    Received,
    /// [`Deed::Hold`] is done: the guest stands still here, and all of it was sent.
    Held,
    /// What was being done did not work.
    Failed,
    /// Somebody calls it off, or it has taken too long.
    GiveUp,
    /// A person knows that the other host has not got it, and never will: that it is destroyed, say. Only who
    /// is right about it keeps it to one owner; nothing else takes a machine back.
    Kept,
    /// Time has passed: what may not have been heard is said again.
    Tick,
}

/// What a host does to the guest. Each may be done again after a crash, and changes nothing then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Destination: make room, and wait for it. Ends in [`Input::Prepared`] or [`Input::Failed`].
    Prepare(Pass),
    /// Source: begin to send. The destination sees its end.
    Send(Pass),
    /// Source: make sure that the guest stands still here, and that all of it was sent: one that ran on
    /// since must not be handed over. Ends in [`Input::Held`] or [`Input::Failed`].
    Hold(Pass),
    /// Source: stop sending, and let the guest run on here.
    CallOff(Pass),
    /// Source: take away what is left of it here.
    Clear(Pass),
    /// Destination: throw away what has come.
    Discard(Pass),
    /// Destination: let it run on.
    Continue(Pass),
}

/// What a step asks for. Carried out one by one, in their order; a crash may come before or after each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// To the journal, and synced: what a crash leaves is this.
    Write(Standing),
    /// To the guest.
    Do(Deed),
    /// To the other host.
    Say(Message),
}

/// What becomes of a standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What this host is to the machine once all effects are done.
    pub next: Standing,
    /// What is to be done for it, in this order.
    pub effects: Vec<Effect>,
}

impl Step {
    /// Nothing changes.
    const fn none(standing: Standing) -> Self {
        Self { next: standing, effects: Vec::new() }
    }

    fn to(next: Standing, effects: impl Into<Vec<Effect>>) -> Self {
        Self { next, effects: effects.into() }
    }
}

const fn say(word: Word, pass: Pass) -> Effect {
    Effect::Say(Message { word, pass })
}
