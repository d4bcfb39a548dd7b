//! Folders of the host that a guest may look into.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A folder of the host that a guest can mount: `mount -t 9p -o trans=virtio NAME /mnt`, or by virtiofs
/// `mount -t virtiofs NAME /mnt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// What the guest mounts it by.
    pub name: String,
    /// The folder, below one that the agent's configuration allows.
    pub path: PathBuf,
    /// Whether the guest can only read. By 9p, owners and rights that a guest gives to what it writes are
    /// kept beside the files (extended attributes), and are not theirs on the host. By virtiofs they are
    /// the files' own: who is root in the guest is root there.
    #[serde(default = "yes")]
    pub read_only: bool,
    /// How it reaches the guest.
    #[serde(default, skip_serializing_if = "Via::is_default")]
    pub via: Via,
}

/// How a folder reaches a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Via {
    /// QEMU hands it on, with the rights that it has itself.
    #[default]
    #[serde(rename = "9p")]
    NineP,
    /// virtiofsd, a process beside QEMU, does: much faster, as a file system of the host. It takes an agent
    /// that is root; the memory of such a machine can be neither kept in a snapshot nor moved.
    #[serde(rename = "virtiofs")]
    Virtiofs,
}

impl Via {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Via::NineP => "9p",
            Via::Virtiofs => "virtiofs",
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_default(&self) -> bool {
        *self == Via::default()
    }
}

fn yes() -> bool {
    true
}
