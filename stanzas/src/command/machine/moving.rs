//! Long work on a machine's disks.

use crate::reply::{Changed, ImageExported, Trimmed};

declare! {
    /// Move a disk to another file of the host, also while the machine runs
    DiskMove {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: String,
        /// The new file's whole path, in a folder the host allows; own: back into the machine's own
        #[arg(long, value_name = "PATH")]
        pub to: String,
    }
    "disk-move" Machine Change Admin -> Changed,
    NEEDS = "disks",
    POSITIONAL = &["name", "to"],
    EXAMPLES = &[
        ("disk move data /srv/fast/web1-data.qcow2", "onto other storage; the guest does not notice"),
        ("disk move data own", "and back into the machine's own folder"),
    ],
}

declare! {
    /// Give back to the host what the guest does not use of its disks
    DiskTrim {}
    "disk-trim" Machine Change Operator -> Trimmed,
    NEEDS = "guest-agent",
    EXAMPLES = &[("disk trim", "after much was deleted in it")],
}

declare! {
    /// Write a machine that is off to an OVA, for other hypervisors
    Export {
        /// What to call the file; the machine's name when not given
        #[arg(long, value_name = "NAME")]
        pub name: Option<String>,
    }
    "export" Machine Change Admin -> ImageExported,
    NEEDS = "disks",
    POSITIONAL = &["name"],
    EXAMPLES = &[("export", "all of its disks, and what it is made of")],
}
