//! The key that leaves a console.

use std::fmt;

use crate::failure::{Failure, Outcome};

/// A key with Ctrl: the byte a terminal sends for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DetachKey(u8);

impl DetachKey {
    /// The one when nobody says: as telnet and virsh have it.
    pub(super) const USUAL: &'static str = "ctrl-]";

    /// `ctrl-]`, `ctrl-a`, `^]`.
    ///
    /// # Errors
    /// It is no such key.
    pub(super) fn named(name: &str) -> Outcome<Self> {
        let lower = name.to_lowercase();
        let key = lower.strip_prefix("ctrl-").or_else(|| lower.strip_prefix('^')).unwrap_or_default();
        match key.as_bytes() {
            [letter @ (b'a'..=b'z')] => Ok(Self(letter - b'a' + 1)),
            [sign @ (b'[' | b'\\' | b']' | b'^' | b'_')] => Ok(Self(sign - b'@')),
            _ => Err(Failure::usage(format!("{name:?} is no key to leave with"))
                .hint("Write ctrl- and a letter or one of [ \\ ] ^ _, such as ctrl-].")),
        }
    }

    /// What was typed before the key, and whether it was typed.
    pub(super) fn split(self, typed: &[u8]) -> (&[u8], bool) {
        match typed.iter().position(|byte| *byte == self.0) {
            Some(at) => (typed.get(..at).unwrap_or_default(), true),
            None => (typed, false),
        }
    }
}

impl fmt::Display for DetachKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ctrl-{}", char::from(self.0 + b'@'))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn keys_are_named_and_shown() {
        for (name, byte, shown) in [
            ("ctrl-]", 0x1d, "Ctrl-]"),
            ("^]", 0x1d, "Ctrl-]"),
            ("Ctrl-A", 1, "Ctrl-A"),
            ("ctrl-\\", 0x1c, "Ctrl-\\"),
        ] {
            let key = DetachKey::named(name).unwrap();
            assert_eq!((key.0, key.to_string().as_str()), (byte, shown));
        }
        for odd in ["]", "ctrl-", "ctrl-ab", "alt-x", "ctrl-é"] {
            assert!(DetachKey::named(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn what_was_typed_before_it_still_goes_out() {
        let key = DetachKey::named(DetachKey::USUAL).unwrap();
        assert_eq!(key.split(b"ls\n"), (b"ls\n".as_slice(), false));
        assert_eq!(key.split(b"ls\x1dmore"), (b"ls".as_slice(), true));
    }
}
