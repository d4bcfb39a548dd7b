//! Being told when a host uses too much, or too little, and when not to be told anything.

use std::time::Duration;

use crate::reply;

declare! {
    /// Tell me when the host uses too much, and when that is over
    AlertAdd {
        /// What is too much, such as cpu>90%, memory>95%, load>8, room<10G, disk>50M, net>50M, waits>20%
        #[arg(long, value_name = "RULE")]
        pub rule: String,
        /// For how long it has to be so, and not so any more
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
        #[serde(serialize_with = "crate::command::seconds")]
        pub r#for: Duration,
        /// What it has to come back to, such as 80%; a tenth away from the limit when not given
        #[arg(long, value_name = "LIMIT")]
        pub clear: Option<String>,
    }
    "alert-add" Host Change Viewer -> reply::AlertChanged,
    POSITIONAL = &["rule"],
    EXAMPLES = &[
        ("alert add room<10G", "when there is little room left for disks"),
        ("alert add cpu>90% for=15m", "when it is busy for long"),
    ],
}

declare! {
    /// List what you are told of the host and its machines
    AlertList {}
    "alert-list" Host Read Viewer -> reply::AlertList,
    ALIASES = &["alerts"],
    EXAMPLES = &[("alert list", "what am I told of")],
}

declare! {
    /// Tell me no more
    AlertRemove {
        /// Its number (see: alert list)
        #[arg(long, value_name = "NUMBER")]
        pub number: u64,
    }
    "alert-remove" Host Change Viewer -> reply::AlertChanged,
    POSITIONAL = &["number"],
    EXAMPLES = &[("alert remove 3", "that was not worth it")],
}

declare! {
    /// Tell me nothing at certain hours: what lasts longer is told after them
    Quiet {
        /// From when to when, or off
        #[arg(long, value_name = "HH:MM-HH:MM")]
        pub hours: String,
        /// How far your clock is before UTC
        #[arg(long, value_name = "+HH:MM", default_value = "+00:00", allow_hyphen_values = true)]
        pub zone: String,
    }
    "quiet" Host Change Viewer -> reply::QuietHours,
    POSITIONAL = &["hours"],
    EXAMPLES = &[
        ("quiet 22:00-07:00 zone=+02:00", "nothing at night, in summer in Berlin"),
        ("quiet off", "at all hours again"),
    ],
}
