//! A question on its way in, and the answer on its way out: all that the front doors and the rest of
//! the agent know of each other.

use std::time::Duration;

use hypervisor_core::machine::MachineName;
use skerry_stanzas::{
    command::{Declaration, argument},
    payload::Together,
    refusal::Refusal,
    signature::Signature,
};
use xmpp_parsers::jid::{BareJid, Jid};

pub use crate::hop::Hop;

/// Who or what is addressed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The host.
    Host,
    /// A machine, which may or may not exist.
    Machine(MachineName),
}

/// Through which door it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// XEP-0050.
    Adhoc,
    /// A chat message.
    Chat,
    /// A message in a room.
    Room,
    /// A schedule of the host, in the name of who made it.
    Schedule,
}

/// A command somebody wants carried out, not yet permitted and not yet parsed.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who asks: the `from` of the stanza, vouched for by the server.
    pub caller: Jid,
    /// What is addressed.
    pub target: Target,
    /// Which command.
    pub declaration: &'static Declaration,
    /// Its arguments, as `--name=value` words.
    pub argv: Vec<String>,
    /// Through which door.
    pub door: Door,
    /// What makes this request this one: a repetition with the same key from the same caller gets
    /// the first answer and runs nothing. The door makes it from the stanza id (or session id).
    pub key: Option<String>,
    /// How long to wait for the end before answering "under way".
    pub patience: Duration,
    /// What it passed on its way here.
    pub hops: Vec<Hop>,
    /// It is one of several that are given together.
    pub together: Option<Together>,
    /// The caller's signature, where one was asked for.
    pub signature: Option<Signature>,
}

impl Asked {
    /// The caller without a resource: what rights are given to.
    pub fn person(&self) -> BareJid {
        self.caller.to_bare()
    }

    /// Why, when that was said: it is among the arguments of everything that changes something.
    pub fn because(&self) -> Option<&str> {
        argument::reason(&self.argv)
    }
}

/// The answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It is done, or under way.
    Done {
        /// For people.
        text: String,
        /// For programs: the reply, serialised.
        json: serde_json::Value,
    },
    /// No.
    Refused(Refusal),
    /// It takes something away: ask whether it is really meant. Nothing has been done.
    Confirm(Confirmation),
}

/// A question back, bound to the exact command, its caller, and a deadline.
#[derive(Clone, Debug)]
pub struct Confirmation {
    /// Four characters a person can type; unique among the pending ones of the caller.
    pub code: String,
    /// What exactly will happen, in a sentence.
    pub sentence: String,
    /// Until when it can be confirmed.
    pub deadline: chrono::DateTime<chrono::Utc>,
}

impl Confirmation {
    /// For how long it can be confirmed, for people: they need not have our clock, or live where we do.
    pub(crate) fn time_left(&self) -> String {
        match (self.deadline - chrono::Utc::now()).num_seconds().max(1) {
            seconds @ 90.. => format!("{} minutes", (seconds + 30) / 60),
            1 => "1 second".to_owned(),
            seconds => format!("{seconds} seconds"),
        }
    }
}
