//! The commands of a machine's snapshots.

use crate::reply::{self, Changed};

declare! {
    /// Take a snapshot of all disks, to which the machine can go back
    SnapshotTake {
        /// What to call it
        #[arg(long, value_name = "NAME")]
        pub name: String,
        /// Keep the memory as well, of a machine that runs: it is held still for that
        #[arg(long)]
        pub memory: bool,
    }
    "snapshot-take" Machine Change Operator -> Changed,
    NEEDS = "snapshots",
    POSITIONAL = &["name"],
    EXAMPLES = &[
        ("snapshot take before", "the disks as they are now"),
        ("snapshot take before --memory", "and what is in memory"),
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
