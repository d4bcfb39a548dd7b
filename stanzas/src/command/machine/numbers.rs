//! What a machine uses, and used.

use crate::reply;

declare! {
    /// Show what the machine uses: processors, memory, disks, networks
    Stats {}
    "stats" Machine Read Viewer -> reply::MachineStats,
    NEEDS = "numbers",
    ALIASES = &["usage", "domstats"],
    EXAMPLES = &[("stats", "what it uses now")],
}

declare! {
    /// Show a graph of what the machine used
    Graph {
        /// What of
        #[arg(long, value_name = "WHAT", default_value = "cpu")]
        pub of: Used,
        /// Of how long
        #[arg(long, value_name = "TIME", default_value = "hour")]
        pub last: Span,
        /// Light on dark
        #[arg(long)]
        pub dark: bool,
        /// Keep the picture with the host for a while, to be asked for there, and upload it nowhere
        #[arg(long)]
        pub inline: bool,
    }
    "graph" Machine Read Viewer -> reply::ScreenPicture,
    POSITIONAL = &["of", "last"],
    ALIASES = &["plot"],
    EXAMPLES = &[("graph cpu", "the last hour, as a picture"), ("graph disk week", "the last week")],
}

/// What there is a graph of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Used {
    /// How busy the processors were
    Cpu,
    /// Memory
    Memory,
    /// What was read from and written to disks
    Disk,
    /// What came in and went out
    Net,
    /// How much of the time something waited
    Waits,
}

/// Of how long a graph is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// The last hour
    Hour,
    /// The last week
    Week,
}
