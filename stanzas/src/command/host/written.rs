//! Rights that are written in a file: made so, and written out.

use crate::{
    command::argument::Lines,
    reply::{Applied, Exported},
};

declare! {
    /// Make what is granted here what a file says; the difference is shown first
    Apply {
        /// The file: roles, grants, what is denied, quotas, in TOML (see: grant export)
        #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
        pub toml: Lines,
        /// What the file is called here: what came from it is taken away when it is not in it any more
        #[arg(long, value_name = "NAME", default_value = "file")]
        pub set: String,
        /// Only show the difference
        #[arg(id = "dry-run", long)]
        pub dry_run: bool,
    }
    "apply" Host Destroy Admin -> Applied,
    POSITIONAL = &["toml"],
    EXAMPLES = &[(
        "apply 'grant = [{ to = \"otto@example.org\", what = \"power\" }]'",
        "from then on what is granted by files is that",
    )],
}

declare! {
    /// Write out what is granted here, as apply takes it
    GrantExport {
        /// Only what came from the file that is called so here
        #[arg(long, value_name = "NAME")]
        pub set: Option<String>,
    }
    "grant-export" Host Read Admin -> Exported,
    EXAMPLES = &[("grant export", "a file to keep")],
}
