//! Values that no record keeps: passwords, and what is in files. Records tell one from another by a mark:
//! that of a secret means nothing outside this process.

use std::{
    fmt,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, RandomState},
    str::FromStr,
    sync::OnceLock,
};

/// Text that nobody may see but who it is for: no log, no journal, no chat, no list of processes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for where it is meant to go.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([hidden])")
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("[hidden {}]", mark(&self.0)))
    }
}

/// Text of several lines that is too much for a record, and not its business: what is in a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(pub String);

impl FromStr for Content {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.0.len())
    }
}

impl serde::Serialize for Content {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // The same after a restart of the agent: what is put after what is there must not be put there twice.
        let mark = BuildHasherDefault::<DefaultHasher>::default().hash_one(&self.0);
        to.serialize_str(&format!("[{} bytes {mark:016x}]", self.0.len()))
    }
}

/// By which two secrets are told from each other: a repetition of a request has the same. Its key is drawn
/// anew by each process and kept nowhere, so that nobody can try passwords against it; after a restart the
/// same password is set once more, which changes nothing.
fn mark(value: &str) -> String {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    format!("{:016x}", KEY.get_or_init(RandomState::new).hash_one(value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_record_has_them_and_each_tells_two_apart() {
        let (one, other): (Secret, Secret) = ("hunter2".parse().unwrap(), "hunter3".parse().unwrap());
        let written = |value: &Secret| serde_json::to_string(value).unwrap();
        assert!(!written(&one).contains("hunter2") && !format!("{one:?}").contains("hunter2"));
        assert_eq!(written(&one), written(&one.clone()));
        assert_ne!(written(&one), written(&other));
        let file = Content("line\n".into());
        let written = serde_json::to_string(&file).unwrap();
        assert!(written.starts_with("\"[5 bytes ") && !written.contains("line"), "{written}");
        assert_eq!(format!("{file:?}"), "Content(5 bytes)");
    }
}
