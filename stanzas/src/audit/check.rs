//! Whether a trail is whole.

use std::fmt;

use super::{Head, Heads, Row};

/// What is wrong with a trail, and where. The first that is found; what comes after it proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The row is not what was written: a part of it was changed.
    Altered(u64),
    /// It is whole by itself, but is no successor of the row before it.
    NotLinked(u64),
    /// These are not there: from, through.
    Missing(u64, u64),
    /// It stands where a later one should: it is there twice, or was put elsewhere.
    OutOfOrder(u64),
    /// A line is no row: its number in the file.
    Unreadable(u64),
    /// What a witness saw under this number was another row.
    Forked(Head),
    /// The trail ends before what a witness saw: the last row there is, and the head.
    Truncated(u64, Head),
    /// A signature in the row is none, or of something else.
    Forged(u64, String),
    /// There are two heads with one number.
    HeadsContradict(Head),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered(seq) => write!(f, "entry {seq} was altered"),
            Self::NotLinked(seq) => write!(f, "entry {seq} does not follow the one before it"),
            Self::Missing(one, other) if one == other => write!(f, "entry {one} is missing"),
            Self::Missing(from, through) => write!(f, "entries {from} to {through} are missing"),
            Self::OutOfOrder(seq) => write!(f, "entry {seq} is there twice, or not at its place"),
            Self::Forged(seq, what) => write!(f, "entry {seq}: {what}"),
            Self::Unreadable(line) => write!(f, "line {line} is no entry: it was altered"),
            Self::Forked(head) => {
                write!(f, "entry {} is not the one a witness saw at {}", head.sequence, head.at)
            }
            Self::Truncated(last, head) => write!(
                f,
                "the trail ends with entry {last}, but a witness saw entry {} at {}: {} are missing at its end",
                head.sequence,
                head.at,
                head.sequence - last
            ),
            Self::HeadsContradict(head) => write!(
                f,
                "the heads of {} contradict each other: there are two of entry {}",
                head.host, head.sequence
            ),
        }
    }
}

/// The chain of rows, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    first: Option<u64>,
    last: Option<(u64, Vec<u8>)>,
}

impl Chain {
    /// One that goes on after this row.
    pub fn after(seq: u64, hash: Vec<u8>) -> Self {
        Self { first: None, last: Some((seq, hash)) }
    }

    /// The next row.
    ///
    /// # Errors
    /// It is not the next one, or not what was written.
    pub fn add(&mut self, row: &Row) -> Result<(), Flaw> {
        match &self.last {
            // Nothing comes before the first row of all.
            None if row.seq == 0 => return Err(Flaw::OutOfOrder(0)),
            None => {}
            Some((last, _)) if row.seq <= *last => return Err(Flaw::OutOfOrder(row.seq)),
            Some((last, _)) if row.seq > last + 1 => return Err(Flaw::Missing(last + 1, row.seq - 1)),
            Some(_) => {}
        }
        if row.computed() != row.hash {
            return Err(Flaw::Altered(row.seq));
        }
        let follows = match &self.last {
            None => (row.seq == 1) == row.prev.is_empty(),
            Some((_, hash)) => *hash == row.prev,
        };
        if !follows {
            return Err(Flaw::NotLinked(row.seq));
        }
        self.first.get_or_insert(row.seq);
        self.last = Some((row.seq, row.hash.clone()));
        Ok(())
    }

    /// The number and hash of the last row.
    pub fn last(&self) -> Option<(u64, &[u8])> {
        self.last.as_ref().map(|(seq, hash)| (*seq, hash.as_slice()))
    }
}

/// A trail that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The number of the first row; 0 when there is none.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// Its hash.
    pub hash: Vec<u8>,
    /// How many heads it was held against.
    pub held: u64,
    /// How many heads are of rows that are not in it, since it begins later.
    pub earlier: u64,
}

/// Goes through a trail, and holds it against what witnesses saw.
#[derive(Clone, Debug, Default)]
pub struct Check {
    chain: Chain,
    heads: Heads,
    lines: u64,
    held: u64,
}

impl Check {
    /// Against these heads, which are of one host.
    pub fn against(heads: Heads) -> Self {
        Self { heads, ..Self::default() }
    }

    /// The same for a trail of which what comes before this row is not looked at.
    #[must_use]
    pub fn after(self, seq: u64, hash: Vec<u8>) -> Self {
        Self { chain: Chain::after(seq, hash), ..self }
    }

    /// The next row.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, row: &Row) -> Result<(), Flaw> {
        self.chain.add(row)?;
        match self.heads.at(row.seq) {
            Some(head) if head.hash != super::hex(&row.hash) => Err(Flaw::Forked(head.clone())),
            Some(_) => {
                self.held += 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The next line of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add_line(&mut self, line: &str) -> Result<(), Flaw> {
        self.lines += 1;
        self.add(&Row::parse(line).ok_or(Flaw::Unreadable(self.lines))?)
    }

    /// The number of the last row so far.
    pub fn last(&self) -> u64 {
        self.chain.last().map_or(0, |(last, _)| last)
    }

    /// That was all.
    ///
    /// # Errors
    /// It ends too early.
    pub fn finish(self) -> Result<Checked, Flaw> {
        let (last, hash) = self.chain.last.unwrap_or_default();
        match self.heads.newest() {
            Some(head) if head.sequence > last => Err(Flaw::Truncated(last, head.clone())),
            _ => Ok(Checked {
                first: self.chain.first.unwrap_or(last),
                last,
                hash,
                held: self.held,
                earlier: self.heads.len() as u64 - self.held,
            }),
        }
    }
}
