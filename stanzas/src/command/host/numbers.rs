//! What a host and its machines use.

pub use crate::command::machine::{Span, Used};
use crate::reply;

declare! {
    /// Show what the host uses: processors, memory, disks, networks
    Stats {}
    "stats" Host Read Viewer -> reply::HostStats,
    ALIASES = &["usage"],
    EXAMPLES = &[("stats", "what it uses now")],
}

declare! {
    /// Show the busiest machines
    Top {
        /// What to sort by
        #[arg(long, value_name = "KEY", default_value = "cpu")]
        pub sort: SortKey,
        /// How many machines to show
        #[arg(long, value_name = "N", default_value = "10")]
        pub rows: u32,
    }
    "top" Host Read Viewer -> reply::Top,
    POSITIONAL = &["sort", "rows"],
    EXAMPLES = &[("top", "the busiest ten"), ("top memory 5", "the largest five")],
}

declare! {
    /// Show a graph of what the host used
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
    "graph" Host Read Viewer -> reply::ScreenPicture,
    POSITIONAL = &["of", "last"],
    ALIASES = &["plot"],
    EXAMPLES = &[("graph memory", "the last hour, as a picture")],
}

/// What machines are sorted by, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SortKey {
    /// Processors of the host they keep busy
    Cpu,
    /// Memory of the host they hold
    Memory,
    /// What goes to and from their disks
    Disk,
    /// What goes through their NICs
    Net,
    /// Time they wait for a processor of the host
    Steal,
    /// Their names, from a on
    Name,
}
