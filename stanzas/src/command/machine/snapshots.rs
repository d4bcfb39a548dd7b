//! The commands of a machine's snapshots.

use clap::ValueEnum;

use crate::reply::{self, Changed};

/// Whether a guest is asked, by its guest agent, to write down all it has and to stand still while its disks
/// are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Quiesce {
    /// Where it can be asked
    #[default]
    Auto,
    /// It is refused where that is not possible
    Yes,
    /// As a power cut would leave them
    No,
}

declare! {
    /// Take a snapshot of all disks, to which the machine can go back
    SnapshotTake {
        /// What to call it
        #[arg(long, value_name = "NAME")]
        pub name: String,
        /// Keep the memory as well, of a machine that runs: it is held still for that
        #[arg(long)]
        pub memory: bool,
        /// Leave the disks' files as they are, and go on in others that stand on them; raw disks, too
        #[arg(long)]
        pub external: bool,
        /// Have the file systems of its guest stand still for that moment
        #[arg(long, value_enum, default_value_t)]
        pub quiesce: Quiesce,
    }
    "snapshot-take" Machine Change Operator -> Changed,
    NEEDS = "snapshots",
    POSITIONAL = &["name"],
    EXAMPLES = &[
        ("snapshot take before", "the disks as they are now"),
        ("snapshot take before --memory", "and what is in memory"),
        ("snapshot take before --external", "as files that any backup can copy"),
        ("snapshot take before quiesce=no", "without a word to its guest"),
    ],
}

declare! {
    /// List the snapshots
    SnapshotList {}
    "snapshot-list" Machine Read Viewer -> reply::SnapshotList,
    NEEDS = "snapshots",
    ALIASES = &["snapshots"],
    EXAMPLES = &[("snapshot list", "what it can go back to")],
}

declare! {
    /// Show which snapshot was taken after which
    SnapshotTree {}
    "snapshot-tree" Machine Read Viewer -> reply::SnapshotTree,
    NEEDS = "snapshots",
    EXAMPLES = &[("snapshot tree", "where it stands")],
}

declare! {
    /// Go back to a snapshot: what was written since is lost
    SnapshotRevert {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: String,
    }
    "snapshot-revert" Machine Destroy Operator -> Changed,
    NEEDS = "snapshots",
    POSITIONAL = &["name"],
    EXAMPLES = &[("snapshot revert before", "as it was then")],
}

declare! {
    /// Delete a snapshot; the machine and its other snapshots stay as they are
    SnapshotDelete {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: String,
    }
    "snapshot-delete" Machine Destroy Operator -> Changed,
    NEEDS = "snapshots",
    POSITIONAL = &["name"],
    EXAMPLES = &[("snapshot delete before", "it is not needed any more")],
}
