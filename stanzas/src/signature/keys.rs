//! Which keys are whose: a file of lines, one a key.

use std::fmt;

use xmpp_parsers::jid::BareJid;

use super::key::{KeyError, PUBLIC, PublicKey, is_private};

/// The most keys of a file.
const KEYS_MAX: usize = 1024;
/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 4096;

/// A key, and whose it is: `ed25519 BASE64 juliet@example.org laptop`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub public: PublicKey,
    /// Who signs by it.
    pub owner: BareJid,
    /// What it is called, for people.
    pub note: String,
}

impl Key {
    /// Reads a line.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        let mut words = line.split_whitespace();
        let kind = words.next();
        if kind.is_some_and(is_private) {
            return Err(KeyError::Told);
        }
        let (Some(PUBLIC), Some(base64), Some(owner)) = (kind, words.next(), words.next()) else {
            return Err(KeyError::NotPublic);
        };
        let owner = BareJid::new(owner).ok().filter(|owner| owner.node().is_some());
        let note: Vec<&str> = words.collect();
        Ok(Self {
            public: PublicKey::parse(base64)?,
            owner: owner.ok_or(KeyError::NotPublic)?,
            note: crate::safe::safe_line(&note.join(" "), 80),
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { public, owner, note } = self;
        write!(f, "{PUBLIC} {} {owner}", public.base64())?;
        if note.is_empty() { Ok(()) } else { write!(f, " {note}") }
    }
}

/// What is wrong with a file of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// A line is no key.
    #[error("line {0} is no key: {1}")]
    Line(usize, KeyError),
    /// A line is too long.
    #[error("line {0} is too long to be a key")]
    Long(usize),
    /// A key is there twice: one would stay when the other is removed.
    #[error("line {0} has a key that stands there before")]
    Twice(usize),
    /// There are too many.
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
}

/// Which keys are whose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Reads a file: a key a line; empty lines and those that begin with `#` are remarks.
    ///
    /// # Errors
    /// The first thing that is wrong. A file that is not all right is not taken in part.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let mut keys: Vec<Key> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.len() > LINE_BYTES_MAX {
                return Err(KeysError::Long(at + 1));
            }
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            let key = Key::parse(line).map_err(|error| KeysError::Line(at + 1, error))?;
            if keys.iter().any(|known| known.public == key.public && known.owner == key.owner) {
                return Err(KeysError::Twice(at + 1));
            }
            keys.push(key);
        }
        if keys.len() > KEYS_MAX { Err(KeysError::TooMany) } else { Ok(Self(keys)) }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// A person's.
    pub fn of<'a>(&'a self, person: &'a BareJid) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| key.owner == *person)
    }
}
