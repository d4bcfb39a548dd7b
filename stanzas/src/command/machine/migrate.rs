//! Moving a machine to another host.

use clap::ValueEnum;

use crate::reply::Migrated;

/// How disks get to the other host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// Those that both hosts have stay where they are, the others are copied
    #[default]
    Auto,
    /// Both hosts have them
    Shared,
    /// They are copied
    Copy,
}

declare! {
    /// Move the machine to another host, while it runs
    Migrate {
        /// The host, by its name in [peers] or its address
        #[arg(long, value_name = "HOST")]
        pub to: String,
        /// Only show what would be done
        #[arg(id = "dry-run", long)]
        pub dry_run: bool,
        /// At most so much a second: 100M
        #[arg(long, value_name = "SIZE")]
        pub bandwidth: Option<String>,
        /// How its disks get there
        #[arg(long, value_enum, default_value_t)]
        pub storage: Storage,
        /// Let it run there before all of its memory has come: it cannot be called off from then on, and is
        /// lost like in a power cut if the hosts lose each other meanwhile
        #[arg(long)]
        pub postcopy: bool,
    }
    "migrate" Machine Change Admin -> Migrated,
    NEEDS = "migrate",
    ALIASES = &["move"],
    POSITIONAL = &["to"],
    SPOKEN = &["to"],
    EXAMPLES = &[
        ("migrate kvm2", "move it to the host kvm2"),
        ("migrate kvm2 --dry-run", "what would be done"),
        ("migrate kvm2 storage=copy bandwidth=100M", "with its disks, slowly"),
    ],
}

declare! {
    /// Settle a move whose other host does not answer any more, by what you know of it
    MigrateResolve {
        /// Keep it here: the other host never runs it; or give it up: the other host has it
        #[arg(long, value_enum)]
        pub outcome: Resolution,
    }
    "migrate-resolve" Machine Destroy Admin -> crate::reply::Changed,
    NEEDS = "migrate",
    POSITIONAL = &["outcome"],
    EXAMPLES = &[("migrate resolve keep", "it is this host's")],
}

/// What a person knows of the other host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// This host has it
    Keep,
    /// The other host has it
    GiveUp,
}
