//! What a machine is called.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The identity of a machine, for life: names and addresses may change, this does not (UUID v7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MachineId(pub uuid::Uuid);

impl MachineId {
    /// A new one, unlike any other.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::now_v7())
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a machine, checked: see [`MachineName::new`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineName(String);

/// Why a name cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing in it.
    #[error("a name needs at least one character")]
    Empty,
    /// More than [`MachineName::LENGTH_MAX`] bytes.
    #[error("a name may have at most {} bytes", MachineName::LENGTH_MAX)]
    TooLong,
    /// A character that has no place in a name.
    #[error("{0:?} cannot be in a name")]
    Character(char),
    /// It begins or ends with a space, a dot or a dash.
    #[error("a name begins and ends with a letter or a digit")]
    Edge,
}

impl MachineName {
    /// The longest name, in bytes: short enough for a unix socket's path and an escaped address.
    pub const LENGTH_MAX: usize = 63;

    /// Checks a name: letters and digits of any script in lower case, and `-`, `_`, `.` and single
    /// spaces between them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > Self::LENGTH_MAX {
            return Err(NameError::TooLong);
        }
        if let Some(odd) =
            name.chars().find(|c| !(c.is_alphanumeric() && c.to_lowercase().eq([*c]) || " -_.".contains(*c)))
        {
            return Err(NameError::Character(odd));
        }
        let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        if edge(name.chars().next())
            || edge(name.chars().next_back())
            || name.contains("  ")
            || name.contains("..")
        {
            return Err(NameError::Edge);
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for MachineName {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl From<MachineName> for String {
    fn from(name: MachineName) -> String {
        name.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn names_people_give() {
        for name in ["web1", "web-1.example_x", "my first machine", "größe", "猫", "7", &"a".repeat(63)] {
            assert_eq!(MachineName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_cannot_be() {
        assert_eq!(MachineName::new(""), Err(NameError::Empty));
        assert_eq!(MachineName::new("a".repeat(64)), Err(NameError::TooLong));
        // Two that differ by case would be one address; so would a titlecase letter and its lower one.
        for (name, odd) in [
            ("Web", 'W'),
            ("a/b", '/'),
            ("a@b", '@'),
            ("a\nb", '\n'),
            ("aǅ", 'ǅ'),
            ("a\u{202e}b", '\u{202e}'),
        ] {
            assert_eq!(MachineName::new(name), Err(NameError::Character(odd)), "{name:?}");
        }
        for name in [" web", "web ", ".web", "web-", "a  b", "..", "a..b", "-"] {
            assert_eq!(MachineName::new(name), Err(NameError::Edge), "{name:?}");
        }
    }

    #[test]
    fn a_stored_name_is_checked_when_read() {
        assert!(serde_json::from_str::<MachineName>("\"../etc\"").is_err());
        let name: MachineName = serde_json::from_str("\"web1\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"web1\"");
    }
}
