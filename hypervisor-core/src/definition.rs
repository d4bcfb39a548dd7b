//! What a machine is made of.

mod check;
mod difference;
mod size;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::{
    check::DefinitionError,
    difference::{Difference, Effective, differences},
    size::{Size, SizeError},
};

/// What a machine is made of. TOML for people, refusing unknown keys: see
/// [`Definition::from_toml`] and [`Definition::check`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Virtual processors, 1 to 255.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// How it starts.
    pub boot: Boot,
    /// Its disks, the first one bootable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Disk>,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How a machine starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "lowercase", deny_unknown_fields)]
pub enum Boot {
    /// A Linux kernel, directly.
    Kernel {
        /// bzImage or vmlinux.
        kernel: PathBuf,
        /// The initial file system.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        initrd: Option<PathBuf>,
        /// The kernel's command line.
        #[serde(default)]
        cmdline: String,
    },
    /// The first disk, by the firmware.
    Disk,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The file.
    pub path: PathBuf,
    /// How the file is written.
    pub format: DiskFormat,
    /// The guest cannot write to it.
    #[serde(default)]
    pub read_only: bool,
}

/// How a disk's file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// Byte for byte.
    Raw,
    /// QEMU's copy-on-write format, version 3.
    Qcow2,
}

impl Definition {
    /// The longest definition that is read, in bytes.
    pub const TOML_BYTES_MAX: usize = 64 * 1024;

    /// Reads a definition that a person wrote, and checks it.
    ///
    /// # Errors
    /// What is wrong with it, and where; for a key that is not known, the one that may be meant.
    pub fn from_toml(text: &str) -> Result<Self, DefinitionError> {
        if text.len() > Self::TOML_BYTES_MAX {
            return Err(DefinitionError::TooLong);
        }
        let definition: Self =
            toml::from_str(text).map_err(|error| DefinitionError::reading(text, &error))?;
        definition.check()?;
        Ok(definition)
    }

    /// It as a person would write it; [`Definition::from_toml`] reads it back.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("invariant: a definition has only what TOML can say")
    }
}

impl DiskFormat {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        }
    }
}
