//! What a network is called.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The name of a network, checked: it is part of an interface's name, of a file's and of nftables' words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName(String);

/// Why a text cannot be the name of a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be the name of a network: use 1 to 12 of a-z, 0-9 and -, a letter first, no - last")]
pub struct NetworkNameError(String);

impl NetworkName {
    /// The longest name, in bytes: with `sk-` before it, it is that of an interface.
    pub const BYTES_MAX: usize = 12;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NetworkName {
    type Err = NetworkNameError;

    fn from_str(text: &str) -> Result<Self, NetworkNameError> {
        let fine = text.len() <= Self::BYTES_MAX
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        if fine { Ok(Self(text.to_owned())) } else { Err(NetworkNameError(text.chars().take(40).collect())) }
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for NetworkName {
    type Error = NetworkNameError;
    fn try_from(text: String) -> Result<Self, NetworkNameError> {
        text.parse()
    }
}

impl From<NetworkName> for String {
    fn from(name: NetworkName) -> String {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_everywhere() {
        for name in ["lan", "a", "dmz-2", "abcdefghijkl"] {
            assert!(name.parse::<NetworkName>().is_ok(), "{name}");
        }
        for name in ["", "Lan", "1lan", "-a", "a-", "a.b", "a/b", "a b", "lan\n", "abcdefghijklm", "größe"]
        {
            assert!(name.parse::<NetworkName>().is_err(), "{name}");
        }
    }
}
