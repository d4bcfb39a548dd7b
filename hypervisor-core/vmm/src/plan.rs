//! What a machine is made of, as the agent tells it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    layout,
};

/// The version of these words.
pub const VERSION: u32 = 1;
/// Processors a machine may have.
pub const PROCESSORS_MAX: u32 = 32;
/// Bytes of memory it has at least.
pub const MEMORY_MIN: u64 = 16 << 20;

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// Processors.
    pub processors: u32,
    /// Bytes of memory, whole pages.
    pub memory: u64,
    /// The kernel: uncompressed, or a bzImage.
    pub kernel: PathBuf,
    /// Its initial file system.
    pub initrd: Option<PathBuf>,
    /// Its command line.
    pub command_line: String,
    /// Disks, in their order.
    #[serde(default)]
    pub disks: Vec<Disk>,
    /// NICs, in their order.
    #[serde(default)]
    pub nics: Vec<Nic>,
    /// Where the console is kept: appended to.
    pub log: PathBuf,
    /// Where the console is watched and typed into: a socket that is made.
    pub console: PathBuf,
    /// Where the machine is told what to do: a socket that is made.
    pub control: PathBuf,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Disk {
    /// What is in it, byte for byte.
    pub file: PathBuf,
    /// Whether it is only read.
    #[serde(default)]
    pub read_only: bool,
    /// What guests find it by.
    #[serde(default)]
    pub serial: String,
}

/// A NIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Nic {
    /// The descriptor of its tap, which the process was given.
    pub tap: i32,
    /// Its address.
    pub address: [u8; 6],
}

impl Plan {
    /// Reads it, and looks whether it can be.
    ///
    /// # Errors
    /// Why not.
    pub fn read(text: &str) -> Result<Self> {
        let plan: Self = serde_json::from_str(text).map_err(Error::at("the plan of the machine"))?;
        let devices = plan.disks.len() + plan.nics.len() + 1;
        if plan.version != VERSION {
            return Err(Error::new(format!("the plan has version {}, not {VERSION}", plan.version)));
        }
        if !(1..=PROCESSORS_MAX).contains(&plan.processors) {
            return Err(Error::new(format!("a machine has 1 to {PROCESSORS_MAX} processors")));
        }
        if plan.memory < MEMORY_MIN || !plan.memory.is_multiple_of(crate::memory::PAGE) {
            return Err(Error::new(format!(
                "a machine has {MEMORY_MIN} bytes of memory or more, in whole pages"
            )));
        }
        if devices > layout::VIRTIO_MAX {
            return Err(Error::new(format!(
                "a machine has at most {} disks and NICs",
                layout::VIRTIO_MAX - 1
            )));
        }
        Ok(plan)
    }
}
