//! How much a NIC may carry, as network people count: `100Mbit`, in steps of 1000 and in bits a second.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The units, largest first, and how many bits each is.
const UNITS: [(&str, u64); 3] = [("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1_000)];
/// The least: below it not even a login is bearable.
const BITS_MIN: u64 = 64_000;
/// The most: no host carries more, and nft counts it well.
const BITS_MAX: u64 = 400_000_000_000;

/// How much a NIC carries in each direction, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(u64);

/// Why a text is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a rate: write one as 100Mbit, 1Gbit or 512kbit, from 64kbit to 400Gbit")]
pub struct RateError(String);

impl Rate {
    /// It in bytes a second.
    pub const fn bytes_per_second(self) -> u64 {
        self.0 / 8
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let read = || {
            let (number, unit) =
                UNITS.iter().find_map(|(word, bits)| Some((text.strip_suffix(word)?, bits)))?;
            // A plus sign would be taken, too.
            let number = number.trim_end();
            let number: u64 = number.bytes().all(|c| c.is_ascii_digit()).then(|| number.parse().ok())??;
            number.checked_mul(*unit).filter(|bits| (BITS_MIN..=BITS_MAX).contains(bits))
        };
        read().map(Self).ok_or_else(|| RateError(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, bits) = UNITS.iter().find(|(_, bits)| self.0.is_multiple_of(*bits)).unwrap_or(&UNITS[2]);
        write!(f, "{}{word}", self.0 / bits)
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;
    fn try_from(text: String) -> Result<Self, RateError> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> String {
        rate.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rates_are_read_as_they_are_shown() {
        for (text, bytes) in [("100Mbit", 12_500_000), ("1Gbit", 125_000_000), ("512kbit", 64_000)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.bytes_per_second(), rate.to_string().as_str()), (bytes, text));
        }
        assert_eq!("2000Mbit".parse::<Rate>().unwrap().to_string(), "2Gbit");
        for text in [
            "",
            "100",
            "100M",
            "1.5Gbit",
            "-1Mbit",
            "+1Mbit",
            "63kbit",
            "401Gbit",
            "18446744073709551615Gbit",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
