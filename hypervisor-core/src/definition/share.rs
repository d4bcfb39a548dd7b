//! Folders of the host that a guest may look into.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A folder of the host that a guest can mount (9p): `mount -t 9p -o trans=virtio NAME /mnt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// What the guest mounts it by.
    pub name: String,
    /// The folder, below one that the agent's configuration allows.
    pub path: PathBuf,
    /// Whether the guest can only read. Owners and rights that a guest gives to what it writes are kept
    /// beside the files (extended attributes), and are not theirs on the host.
    #[serde(default = "yes")]
    pub read_only: bool,
}

fn yes() -> bool {
    true
}
