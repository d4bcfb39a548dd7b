//! Images: what machines are made from, kept by content.
//!
//! An image comes from anywhere and nothing in it is believed. It is copied to a place of ours and hashed;
//! [`inspect`] reads its header and refuses whatever names another file; qemu-img then reads it, told its
//! format and told to follow nothing, and writes it anew as qcow2 ([`convert`]). What is kept is that new
//! file, under the hash of what came ([`Images`]).

mod appliance;
mod beneath;
mod convert;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod header;
mod kept;
mod ova;
mod ovf;
mod staging;
mod uses;
mod vmdk;

use std::{fmt, io, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::{
    appliance::{Appliance, pack},
    beneath::open_beneath,
    convert::{Chain, convert, measure},
    header::{Header, inspect},
    kept::{Images, Kind, room_for},
    ovf::{MANIFEST_BYTES_MAX, OVF_BYTES_MAX, Sum, described},
    staging::{Arrived, Staged, Staging},
    uses::{Uses, backing_file},
};

/// The largest disk an image may hold, in bytes.
pub const VIRTUAL_BYTES_MAX: u64 = 8 << 40;

/// How what is brought here is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// QEMU's.
    Qcow2,
    /// Byte for byte.
    Raw,
    /// VMware's, in one file.
    Vmdk,
    /// VirtualBox's.
    Vdi,
    /// A CD or DVD (ISO 9660).
    Iso,
    /// A tar archive with a description (OVF) and one disk.
    Ova,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 6] =
        [Format::Qcow2, Format::Raw, Format::Vmdk, Format::Vdi, Format::Iso, Format::Ova];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Format::Qcow2 => "qcow2",
            Format::Raw => "raw",
            Format::Vmdk => "vmdk",
            Format::Vdi => "vdi",
            Format::Iso => "iso",
            Format::Ova => "ova",
        }
    }
}

impl FromStr for Format {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|format| format.word() == word).ok_or(())
    }
}

/// The SHA-256 of what an image came as: what it is kept under.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these bytes.
    pub fn of_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ();

    /// 64 hexadecimal digits, with or without `sha256:` or `sha256-` before them.
    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim();
        let text = text.strip_prefix("sha256:").or_else(|| text.strip_prefix("sha256-")).unwrap_or(text);
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = text.get(2 * at..2 * at + 2).and_then(|two| u8::from_str_radix(two, 16).ok()).ok_or(())?;
        }
        Ok(Self(bytes))
    }
}

/// Why an image cannot be taken, or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// It is not what it should be, or asks for what it may not.
    #[error("{0}")]
    Unfit(String),
    /// It takes more than there is.
    #[error("it takes {} MiB, and {} MiB are free", needed >> 20, free >> 20)]
    NoRoom {
        /// Bytes it takes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// qemu-img did not do it.
    #[error("qemu-img: {0}")]
    Tool(String),
    /// The system did not do it.
    #[error("{what}")]
    System {
        /// What was being done.
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl ImageError {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        match self {
            Self::NoRoom { .. } => true,
            Self::System { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            Self::Tool(said) => said.contains("No space left on device"),
            Self::Unfit(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn digests_are_read_as_people_paste_them() {
        let hex = "ab".repeat(32);
        let digest: Digest = hex.parse().unwrap();
        assert_eq!(digest.to_string(), hex);
        for text in [format!("sha256:{hex}"), format!(" SHA256-{hex}").to_lowercase(), hex.to_uppercase()] {
            assert_eq!(text.parse(), Ok(digest), "{text}");
        }
        for text in ["", "ab", "sha256:", &"zz".repeat(32), &"é".repeat(32), &"+a".repeat(32)] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn formats_have_words() {
        for format in Format::ALL {
            assert_eq!(format.word().parse(), Ok(format));
            assert_eq!(serde_json::to_value(format).unwrap(), format.word());
        }
    }
}
