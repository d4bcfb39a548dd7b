//! The head of a trail: what a host tells witnesses, and what they keep.

use std::collections::BTreeMap;

use minidom::Element;
use serde::{Deserialize, Serialize};

use super::{Flaw, unhex};
use crate::{element::set, ns, safe::safe_value};

/// The name of the element, of the namespace [`ns::AUDIT`].
const NAME: &str = "head";
/// The longest name of a host, in bytes.
const HOST_BYTES_MAX: usize = 1023;

/// The newest row of a host's trail at some time. Who has it knows if anything up to there is changed later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The host: its bare address.
    pub host: String,
    /// The number of the row.
    pub sequence: u64,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
    /// When it was written (RFC 3339).
    pub at: String,
}

impl Head {
    /// Whether it can be one: it is bounded, and its hash is a hash.
    fn fits(&self) -> bool {
        self.sequence > 0
            && (1..=HOST_BYTES_MAX).contains(&self.host.len())
            && safe_value(&self.host) == self.host
            && unhex(&self.hash).is_some_and(|hash| hash.len() == 32)
            && self.at.len() <= 64
            && chrono::DateTime::parse_from_rfc3339(&self.at).is_ok()
    }

    /// Reads the element.
    pub fn read(element: &Element) -> Option<Self> {
        let word = |name: &str| element.attr(name).map(str::to_owned);
        if !element.is(NAME, ns::AUDIT) {
            return None;
        }
        let head = Self {
            host: word("host")?,
            sequence: word("sequence")?.parse().ok()?,
            hash: word("hash")?,
            at: word("at")?,
        };
        head.fits().then_some(head)
    }
}

impl From<&Head> for Element {
    fn from(head: &Head) -> Self {
        let mut element = Element::bare(NAME, ns::AUDIT);
        set(&mut element, "host", Some(&head.host));
        set(&mut element, "sequence", Some(&head.sequence.to_string()));
        set(&mut element, "hash", Some(&head.hash));
        set(&mut element, "at", Some(&head.at));
        element
    }
}

/// What a head is to one who has heads already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is newer: it was kept.
    Newer,
    /// It is known.
    Known,
    /// It cannot be of the same trail.
    Contradicts(Contradiction),
}

/// Why a head cannot be of the trail that the heads before are of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Another row has its number.
    #[error("{host} shows another entry {sequence} than before: its trail was forked", host = .0.host, sequence = .0.sequence)]
    Forked(Head),
    /// The host had come farther: the newest head, and this one.
    #[error("{host} went back from entry {before} to {now}: its trail was cut off", host = .1.host, before = .0.sequence, now = .1.sequence)]
    WentBack(Head, Head),
}

/// Why heads cannot be held against a trail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There are two of one number.
    #[error(transparent)]
    Contradict(Flaw),
    /// They are of several hosts, and none was named.
    #[error("there are heads of {}: say of which host the trail is", .0.join(", "))]
    SeveralHosts(Vec<String>),
}

/// Heads of one host, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads(BTreeMap<u64, Head>);

impl Heads {
    /// Those of a host among the lines of a file that a witness wrote; of the only host there is when none is
    /// named. Lines that are no heads (a witness writes its alarms as well) are passed over.
    ///
    /// # Errors
    /// Heads that contradict each other, or heads of several hosts.
    pub fn of_lines(lines: &str, host: Option<&str>) -> Result<Self, Unfit> {
        let all = lines.lines().filter_map(|line| serde_json::from_str::<Head>(line).ok());
        let all: Vec<Head> = all.filter(Head::fits).collect();
        let mut hosts: Vec<String> = all.iter().map(|head| head.host.clone()).collect();
        hosts.sort();
        hosts.dedup();
        let host = match (host, hosts.as_slice()) {
            (Some(host), _) => host.to_owned(),
            (None, []) => return Ok(Self::default()),
            (None, [only]) => only.clone(),
            (None, _) => return Err(Unfit::SeveralHosts(hosts)),
        };
        let mut heads = Self::default();
        for head in all.into_iter().filter(|head| head.host == host) {
            if heads.0.get(&head.sequence).is_some_and(|known| known.hash != head.hash) {
                return Err(Unfit::Contradict(Flaw::HeadsContradict(head)));
            }
            heads.0.insert(head.sequence, head);
        }
        Ok(heads)
    }

    /// Looks at one that has just come: one that is not newer than what is there must be there.
    pub fn note(&mut self, head: &Head) -> Noted {
        match (self.0.get(&head.sequence), self.newest()) {
            (Some(known), _) if known.hash == head.hash => Noted::Known,
            (Some(known), _) => Noted::Contradicts(Contradiction::Forked(known.clone())),
            (None, Some(newest)) if newest.sequence > head.sequence => {
                Noted::Contradicts(Contradiction::WentBack(newest.clone(), head.clone()))
            }
            _ => {
                self.0.insert(head.sequence, head.clone());
                Noted::Newer
            }
        }
    }

    /// The one of this number.
    pub fn at(&self, sequence: u64) -> Option<&Head> {
        self.0.get(&sequence)
    }

    /// The one with the highest number.
    pub fn newest(&self) -> Option<&Head> {
        self.0.values().next_back()
    }

    /// Forgets the oldest of more than so many.
    pub fn keep_newest(&mut self, count: usize) {
        while self.0.len() > count {
            self.0.pop_first();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
