//! The commands of a machine's disks, and its clone.

use super::Quiesce;
use crate::reply::{self, Changed};

declare! {
    /// List the disks of the machine, and those that were detached from it
    DiskList {}
    "disk-list" Machine Read Viewer -> reply::DiskList,
    NEEDS = "disks",
    ALIASES = &["disks"],
    EXAMPLES = &[("disk list", "what it stores its files on")],
}

declare! {
    /// Make an empty disk and attach it, at once if the machine runs
    DiskCreate {
        /// Its name in this machine
        #[arg(long, value_name = "NAME")]
        pub name: String,
        /// How large it is, such as 20G
        #[arg(long, value_name = "SIZE")]
        pub size: String,
        /// How the guest reaches it; only virtio can be attached while the machine runs
        #[arg(long, value_name = "BUS", default_value = "virtio")]
        pub bus: Bus,
        /// How its file is written; snapshots take qcow2
        #[arg(long, value_name = "FORMAT", default_value = "qcow2")]
        pub format: Format,
    }
    "disk-create" Machine Change Admin -> Changed,
    NEEDS = "disks",
    POSITIONAL = &["name", "size"],
    EXAMPLES = &[("disk create data 20G", "a further disk of 20 GiB")],
}

declare! {
    /// Attach a file of the host as a disk, or one that was detached before
    DiskAttach {
        /// The file's whole path, or the name of a detached disk
        #[arg(long, value_name = "PATH")]
        pub what: String,
        /// Its name in this machine; the next free one when not given
        #[arg(long, value_name = "NAME")]
        pub name: Option<String>,
        /// How its file is written; by the end of its name when not given (.qcow2, .raw, .img, .iso)
        #[arg(long, value_name = "FORMAT")]
        pub format: Option<Format>,
        /// The guest cannot write to it
        #[arg(long)]
        pub readonly: bool,
    }
    "disk-attach" Machine Change Admin -> Changed,
    NEEDS = "disks",
    POSITIONAL = &["what"],
    EXAMPLES = &[
        ("disk attach data", "the disk that was detached before"),
        ("disk attach data name=archive --readonly", "the same, under another name, only to be read"),
    ],
}

declare! {
    /// Detach a disk; its file stays
    DiskDetach {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: String,
    }
    "disk-detach" Machine Change Admin -> Changed,
    NEEDS = "disks",
    POSITIONAL = &["name"],
    EXAMPLES = &[("disk detach data", "take it away from the guest, keep what is on it")],
}

declare! {
    /// Delete a detached disk and all that is on it
    DiskDelete {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: String,
    }
    "disk-delete" Machine Destroy Admin -> Changed,
    NEEDS = "disks",
    POSITIONAL = &["name"],
    EXAMPLES = &[("disk delete data", "it is not needed any more")],
}

declare! {
    /// Make a disk larger, also while the machine runs; never smaller
    DiskResize {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: String,
        /// How large it is to be, such as 40G
        #[arg(long, value_name = "SIZE")]
        pub size: String,
    }
    "disk-resize" Machine Change Admin -> Changed,
    NEEDS = "disks",
    POSITIONAL = &["name", "size"],
    ALIASES = &["disk-grow"],
    EXAMPLES = &[("disk resize data 40G", "more room; the guest has to use it")],
}

declare! {
    /// Make another machine like this one; one that runs is copied
    Clone {
        /// The name of the new one
        #[arg(long, value_name = "NAME")]
        pub name: String,
        /// Copy the disks, rather than have both stand on what they have in common
        #[arg(long)]
        pub full: bool,
        /// Have both stand on what they have in common: so it is where nothing else is said
        #[arg(long, hide = true, conflicts_with = "full")]
        pub linked: bool,
        /// Have the file systems of one that runs stand still as the copy begins
        #[arg(long, value_enum, default_value_t)]
        pub quiesce: Quiesce,
    }
    "clone" Machine Change Admin -> Changed,
    NEEDS = "disks",
    POSITIONAL = &["name"],
    EXAMPLES = &[("clone web2", "at once, sharing what is the same"), ("clone web2 --full", "a copy of all of it")],
}

/// How a guest reaches a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// The fastest
    Virtio,
    /// Many disks on one controller
    Scsi,
    /// Any guest knows it
    Sata,
}

/// How a disk's file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// QEMU's own: grows with what is written, and keeps snapshots
    Qcow2,
    /// Byte for byte
    Raw,
}
