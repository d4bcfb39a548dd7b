//! The audit trail outside of the host that keeps it: its rows as lines of JSON, the chain they are, and
//! the heads that witnesses keep. Whoever has the lines can check them without the host.
//!
//! A row's hash is SHA-256 over the hash of the row before it and over time, kind, entry and body of the
//! row, each with its length in front. The numbers have no gaps. So nothing can be changed, left out, put
//! elsewhere or doubled without breaking the chain at that place; and what is cut off at the end is missed
//! by whoever has a later head.

mod check;
mod head;
mod signed;

use sha2::{Digest, Sha256};

pub use self::{
    check::{Chain, Check, Checked, Flaw},
    head::{Contradiction, Head, Heads, Noted, Unfit},
    signed::signatures,
};

/// The longest line that is read: a row is a command with its arguments, or its outcome.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// One row of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// 1, 2, 3 …, without gaps.
    pub seq: u64,
    /// When (RFC 3339).
    pub at: String,
    /// What it is: `accepted`, `closed`, `refused`, `refusals`.
    pub kind: String,
    /// Which command it is about.
    pub entry: String,
    /// What there is to say, as JSON.
    pub body: String,
    /// The hash of the row before; empty in the first.
    pub prev: Vec<u8>,
    /// The hash of this one.
    pub hash: Vec<u8>,
}

/// The part of a line that is not the body. The body comes last, letter by letter as it was hashed.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Front {
    seq: u64,
    at: String,
    kind: String,
    entry: String,
    prev: String,
    hash: String,
}

const BODY: &str = ",\"body\":";

impl Row {
    /// What its hash has to be.
    pub fn computed(&self) -> Vec<u8> {
        link(&self.prev, [&self.at, &self.kind, &self.entry, &self.body])
    }

    /// As a line of JSON, without the line break.
    pub fn line(&self) -> String {
        let front = Front {
            seq: self.seq,
            at: self.at.clone(),
            kind: self.kind.clone(),
            entry: self.entry.clone(),
            prev: hex(&self.prev),
            hash: hex(&self.hash),
        };
        let mut line = serde_json::to_string(&front).unwrap_or_default();
        line.pop();
        line + BODY + &self.body + "}"
    }

    /// Reads a line. Only what [`Row::line`] writes is one, to the letter: of two ways to write the same, a
    /// changed letter could lead from one to the other unseen.
    pub fn parse(line: &str) -> Option<Self> {
        let (front, body) = line.split_once(BODY)?;
        let body = body.strip_suffix('}')?;
        // What is more than one line, or shows as something else on a terminal, is none.
        if body.chars().any(char::is_control) {
            return None;
        }
        serde_json::from_str::<serde::de::IgnoredAny>(body).ok()?;
        let front: Front = serde_json::from_str(&format!("{front}}}")).ok()?;
        let row = Self {
            seq: front.seq,
            at: front.at,
            kind: front.kind,
            entry: front.entry,
            body: body.to_owned(),
            prev: unhex(&front.prev)?,
            hash: unhex(&front.hash)?,
        };
        (row.line() == line).then_some(row)
    }
}

/// The hash of a row with these fields, after a row with this hash. Lengths go in before the fields, so that
/// nothing can move from one field to the next.
pub fn link(prev: &[u8], fields: [&str; 4]) -> Vec<u8> {
    let mut digest = Sha256::new();
    digest.update(prev);
    for field in fields {
        digest.update((field.len() as u64).to_be_bytes());
        digest.update(field);
    }
    digest.finalize().to_vec()
}

/// Bytes in small hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits; small ones only.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests;
