//! Sizes as people write them: `512M`, `2G`, `1.5G`. Always in steps of 1024, always with a unit.

use std::{fmt, str::FromStr};

/// A size of memory or of a disk: a whole number of KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    kib: u64,
}

/// Why something is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizeError {
    /// A bare number.
    #[error("{0} of what? Give a unit: {0}M, or {0}G")]
    NoUnit(String),
    /// A unit that means different things to different people.
    #[error("{unit} may count in steps of 1000 or of 1024. Write {number}{letter}, which is of 1024")]
    Ambiguous {
        /// The number before it.
        number: String,
        /// As written.
        unit: String,
        /// What to write instead.
        letter: char,
    },
    /// Not a number and a unit.
    #[error("this is not a size. Write one as 512M or 2G")]
    NotASize,
    /// A fraction that does not come out even.
    #[error("this is not a whole number of {0}. Use a smaller unit")]
    Fraction(&'static str),
    /// More than can be counted.
    #[error("this is too large")]
    TooLarge,
}

/// The units, largest first, and how many KiB each is.
const UNITS: [(char, u64); 4] = [('T', 1 << 30), ('G', 1 << 20), ('M', 1 << 10), ('K', 1)];
/// The longest number that is read, in characters.
const NUMBER_CHARS_MAX: usize = 20;

impl Size {
    /// So many MiB.
    ///
    /// # Errors
    /// More than can be counted.
    pub fn from_mib(mib: u64) -> Result<Self, SizeError> {
        Ok(Self { kib: mib.checked_mul(1024).ok_or(SizeError::TooLarge)? })
    }

    /// It in KiB.
    pub fn kib(self) -> u64 {
        self.kib
    }

    /// It in MiB.
    ///
    /// # Errors
    /// When it is not a whole number of them.
    pub fn mib(self) -> Result<u64, SizeError> {
        if self.kib.is_multiple_of(1024) { Ok(self.kib / 1024) } else { Err(SizeError::Fraction("MiB")) }
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = (&text[..end], text[end..].trim_start());
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if number.len() > NUMBER_CHARS_MAX || !digits(whole) || !digits(fraction) {
            return Err(SizeError::NotASize);
        }
        let mut letters = unit.chars().map(|letter| letter.to_ascii_uppercase());
        let Some(letter) = letters.next() else { return Err(SizeError::NoUnit(number.into())) };
        let Some((_, kib)) = UNITS.into_iter().find(|(known, _)| *known == letter) else {
            return Err(SizeError::NotASize);
        };
        match letters.collect::<String>().as_str() {
            "" | "I" | "IB" => {}
            "B" => {
                let (number, unit) = (number.into(), unit.into());
                return Err(SizeError::Ambiguous { number, unit, letter });
            }
            _ => return Err(SizeError::NotASize),
        }
        let parsed = |part: &str| part.parse::<u128>().map_err(|_| SizeError::NotASize);
        let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| SizeError::NotASize)?);
        let scaled = (parsed(whole)? * scale + parsed(fraction)?)
            .checked_mul(u128::from(kib))
            .ok_or(SizeError::TooLarge)?;
        if !scaled.is_multiple_of(scale) {
            return Err(SizeError::Fraction("KiB"));
        }
        Ok(Self { kib: u64::try_from(scaled / scale).map_err(|_| SizeError::TooLarge)? })
    }
}

impl fmt::Display for Size {
    /// In the largest unit in which it has at most one decimal; [`Size::from_str`] reads it back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let even = |kib: u64| (u128::from(self.kib) * 10).is_multiple_of(u128::from(kib));
        let unit = UNITS.into_iter().find(|(_, kib)| self.kib >= *kib && even(*kib));
        let (letter, kib) = unit.unwrap_or(('K', 1));
        match u128::from(self.kib) * 10 / u128::from(kib) % 10 {
            0 => write!(f, "{}{letter}", self.kib / kib),
            tenths => write!(f, "{}.{tenths}{letter}", self.kib / kib),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn mib(text: &str) -> Result<u64, SizeError> {
        text.parse::<Size>()?.mib()
    }

    #[test]
    fn what_people_write() {
        for (text, expected) in [
            ("512M", 512),
            ("2G", 2048),
            ("1.5G", 1536),
            ("512MiB", 512),
            ("512 mib", 512),
            ("0.5g", 512),
            ("1T", 1 << 20),
            (" 2048K ", 2),
            ("1Gi", 1024),
        ] {
            assert_eq!(mib(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_says_what_to_write() {
        assert_eq!(mib("512").unwrap_err().to_string(), "512 of what? Give a unit: 512M, or 512G");
        let ambiguous = mib("512MB").unwrap_err().to_string();
        assert_eq!(ambiguous, "MB may count in steps of 1000 or of 1024. Write 512M, which is of 1024");
        assert_eq!(mib("100K"), Err(SizeError::Fraction("MiB")));
        assert_eq!(mib("0.0001K"), Err(SizeError::Fraction("KiB")));
        assert_eq!(mib("99999999999999999999T"), Err(SizeError::TooLarge));
        let long = "9".repeat(4000) + "M";
        for text in
            ["", "M", "-1G", "1..5G", ".5G", "5.G", "1.2.3G", "five", "5X", "5MiBs", "1e3M", "٣M", &long]
        {
            assert_eq!(mib(text), Err(SizeError::NotASize), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read(kib in any::<u64>()) {
            let size = Size { kib };
            prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
        }

        #[test]
        fn nothing_that_is_typed_breaks_it(text in any::<String>()) {
            let _ = text.parse::<Size>();
        }
    }
}
