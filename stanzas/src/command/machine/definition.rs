//! What a machine is made of: shown, changed, remembered, taken back.

use crate::{
    command::argument::Lines,
    reply::{Defined, DefinitionHistory},
};

/// The steps in which a form asks for it.
const HARDWARE: &str = "Processors and memory";
const START: &str = "How it starts";
const NETWORKS: &str = "Networks";
const WHAT: &str = "What it is";

declare! {
    /// Show the definition, or change it
    Define {
        /// Memory, such as 512M or 2G
        #[arg(long, value_name = "SIZE", help_heading = HARDWARE)]
        pub memory: Option<String>,
        /// To how much memory can be raised while the machine runs
        #[arg(id = "memory-max", long, value_name = "SIZE", help_heading = HARDWARE)]
        pub memory_max: Option<String>,
        /// Number of virtual processors
        #[arg(long, value_name = "N", help_heading = HARDWARE)]
        pub vcpus: Option<u32>,
        /// To how many processors that can be raised while the machine runs
        #[arg(id = "vcpus-max", long, value_name = "N", help_heading = HARDWARE)]
        pub vcpus_max: Option<u32>,
        /// Kernel command line, for a machine that boots a kernel directly
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = START)]
        #[arg(num_args = 0..=1, default_missing_value = "")]
        pub cmdline: Option<String>,
        /// Whether it is started again when it ends by itself
        #[arg(long, value_name = "WHEN", help_heading = START)]
        pub restart: Option<Restart>,
        /// Its turn when the host starts, such as 1; last is after all turns
        #[arg(long, value_name = "TURN", help_heading = START)]
        pub order: Option<String>,
        /// How long those of the next turn wait after it, such as 30s
        #[arg(long, value_name = "TIME", help_heading = START)]
        pub delay: Option<String>,
        /// The CD in it, an image of this host (see: image list); none takes it out
        #[arg(long, value_name = "IMAGE", help_heading = START)]
        pub cd: Option<String>,
        /// A NIC, such as forward=8080:80 or network=lan; NAME,off takes it away
        #[arg(long, value_name = "NIC", num_args = 1.., help_heading = NETWORKS)]
        pub nic: Vec<String>,
        /// A note for people; empty takes it away
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = WHAT)]
        #[arg(num_args = 0..=1, default_missing_value = "")]
        pub note: Option<String>,
        /// The whole definition, as it is shown
        #[arg(long, value_name = "TOML", allow_hyphen_values = true, help_heading = WHAT)]
        pub toml: Option<Lines>,
    }
    "define" Machine Change Admin -> Defined,
    ALIASES = &["edit"],
    EXAMPLES = &[
        ("define", "show the definition"),
        ("define memory=1G vcpus=2", "change it"),
        ("define memory-max=4G vcpus-max=4", "let both be raised later, while it runs"),
        ("define restart=on-failure", "start it again when it crashes"),
        ("define order=1 delay=30s", "let it be the first to start with its host"),
        ("define nic=forward=8080:80,forward=2222:22", "lead two ports of the host to the guest"),
        ("define nic=network=lan", "connect it to a network of the host"),
    ],
}

/// Whether a machine that ended without being asked to is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never
    No,
    /// When it crashed
    OnFailure,
    /// Also when its guest shut itself down
    Always,
}

declare! {
    /// List the definitions the machine had
    DefinitionList {}
    "definition-list" Machine Read Admin -> DefinitionHistory,
    EXAMPLES = &[("definition list", "what was changed, when and by whom")],
}

declare! {
    /// Make the machine again of what it was made of before
    DefinitionRevert {
        /// Which (see: definition list)
        #[arg(long, value_name = "N")]
        pub number: u64,
    }
    "definition-revert" Machine Change Admin -> Defined,
    POSITIONAL = &["number"],
    EXAMPLES = &[("definition revert 1", "as it was at first")],
}
