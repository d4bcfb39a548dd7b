//! What two hosts say to each other when a machine moves from one to the other: a word of the hand-over
//! (docs/handover.md) in an IQ of type set, answered with an empty result when it was heard. An IQ of type
//! get with the word `plan` asks whether an offer would be taken, and changes nothing.

use std::net::Ipv4Addr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use xso::{AsXml, FromXml, error::Error};

use super::bounded;
use crate::ns;

/// The most that goes along with a word, in bytes.
pub const CONTENT_BYTES_MAX: usize = 160 * 1024;

/// A word of a hand-over.
#[derive(Clone, Debug, PartialEq, FromXml, AsXml)]
#[xml(namespace = ns::MIGRATION, name = "handover", deserialize_callback = check)]
pub struct Handover {
    /// What is said.
    #[xml(attribute)]
    pub word: String,
    /// The machine's identity.
    #[xml(attribute)]
    pub machine: String,
    /// In which attempt.
    #[xml(attribute)]
    pub attempt: String,
    /// The epoch of the new owner.
    #[xml(attribute)]
    pub epoch: u64,
    /// What goes along with it, as JSON: an [`Offer`] with `offer` and `plan`, [`Accepted`] with `accept`,
    /// [`Refused`] with `refuse`, [`Plan`] with the answer to `plan`, [`Handed`] with `commit`; else nothing.
    #[xml(text)]
    pub content: String,
}

fn check(handover: &mut Handover) -> Result<(), Error> {
    bounded([&handover.word, &handover.machine, &handover.attempt])?;
    match handover.content.len() <= CONTENT_BYTES_MAX {
        true => Ok(()),
        false => Err(Error::Other("What goes along with the word is too long.")),
    }
}

impl Handover {
    /// What goes along with it.
    pub fn content<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.content).ok()
    }
}

/// A machine that is offered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Its name.
    pub name: String,
    /// Who moves it, as the source vouches for.
    pub by: String,
    /// The driver that runs it.
    pub driver: String,
    /// What its processor must be like, where it runs.
    pub processor: String,
    /// What it is made of.
    pub definition: Value,
    /// What it should be.
    pub wanted: Value,
    /// Its labels.
    pub labels: Vec<String>,
    /// Whether it starts with its host.
    pub autostart: bool,
    /// Whether it is protected.
    pub protected: bool,
    /// The number of its last change of state.
    pub generation: u64,
    /// When it was made, and by whom.
    pub created: (String, String),
    /// What it was made of before, oldest first, as far as there is room for it.
    #[serde(default)]
    pub history: Vec<Past>,
    /// It runs, or is paused.
    pub live: bool,
    /// It is paused.
    pub paused: bool,
    /// It may run there before all of its memory has come.
    #[serde(default)]
    pub postcopy: bool,
    /// How its disks are to get there.
    pub storage: Storage,
    /// Its disks.
    pub disks: Vec<OfferedDisk>,
    /// Other files that it needs.
    #[serde(default)]
    pub files: Vec<OfferedFile>,
    /// The addresses it has on the source's networks.
    #[serde(default)]
    pub addresses: Vec<OfferedAddress>,
    /// The rights on it, as they are when it is offered. Those that count are in [`Handed`].
    #[serde(default)]
    pub grants: Vec<OfferedGrant>,
    /// Who sees it at its old address: bare JIDs, to whom it shows itself at the new one.
    #[serde(default)]
    pub watchers: Vec<String>,
    /// The source's authority, made for this migration, in PEM. Empty in a `plan`.
    #[serde(default)]
    pub authority: String,
}

/// What it was made of once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// Who changed it.
    pub who: String,
    /// What was changed.
    pub what: String,
    /// What it was made of from then on.
    pub definition: Value,
}

/// How disks get there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// Those that both hosts have are shared, the others are copied.
    #[default]
    Auto,
    /// Both hosts have them.
    Shared,
    /// They are copied.
    Copy,
}

/// A disk of a machine that is offered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfferedDisk {
    /// Its name.
    pub name: String,
    /// As large as the guest sees it, in bytes.
    pub size_bytes: u64,
    /// Its file, on the source.
    pub path: String,
    /// It is in the machine's own folder.
    pub own: bool,
    /// It is only read.
    pub read_only: bool,
    /// A file beside it, and what is in it: a host that finds it there has the same folder.
    #[serde(default)]
    pub sign: Option<(String, String)>,
}

/// A file of the host that a machine needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfferedFile {
    /// What it is: kernel, initrd.
    pub what: String,
    /// Where it is.
    pub path: String,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// An address that a machine has on a network of the source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfferedAddress {
    /// Its NIC.
    pub nic: String,
    /// The network, by its name.
    pub network: String,
    /// What was lent to it there.
    pub address: Ipv4Addr,
}

/// A right on a machine that is offered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfferedGrant {
    /// Who has it: an address, or a domain.
    pub to: String,
    /// Roles that every host has, and permissions.
    pub what: Vec<String>,
    /// It forbids.
    #[serde(default)]
    pub forbids: bool,
    /// Until when.
    #[serde(default)]
    pub until: Option<DateTime<Utc>>,
    /// Why.
    #[serde(default)]
    pub because: Option<String>,
    /// Who made it.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// What goes along with a machine in the instant in which it is handed over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Handed {
    /// The rights on it.
    pub grants: Vec<OfferedGrant>,
}

/// What would become of an offer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Why it is not taken; none: it is.
    pub reasons: Vec<String>,
    /// The disks that have to be copied.
    pub copies: Vec<String>,
    /// The machine's address there.
    pub address: String,
    /// Memory that is free there, in MiB.
    pub memory_free_mib: u64,
    /// What is not as it was, and does not stand against it. Sentences.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// An offer that is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// Where to send it.
    pub place: Value,
    /// The disks that have to be copied.
    pub copies: Vec<String>,
    /// The machine's address there.
    pub address: String,
    /// The destination's authority, made for this migration, in PEM.
    pub authority: String,
}

/// An offer that is not taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub reasons: Vec<String>,
}
