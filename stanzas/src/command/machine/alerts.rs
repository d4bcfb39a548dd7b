//! Being told when a machine uses too much, or too little. Each person's alerts are their own.

use std::time::Duration;

use crate::reply;

declare! {
    /// Tell me when the machine uses too much, and when that is over
    AlertAdd {
        /// What is too much, such as cpu>90%, memory>95%, disk>50M, net<1K, steal>10%, waits>20%
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
    "alert-add" Machine Change Viewer -> reply::AlertChanged,
    POSITIONAL = &["rule"],
    EXAMPLES = &[
        ("alert add cpu>90%", "when it is busy for five minutes"),
        ("alert add memory>95% for=1m clear=80%", "and more exactly"),
    ],
}

declare! {
    /// List what you are told of this machine
    AlertList {}
    "alert-list" Machine Read Viewer -> reply::AlertList,
    EXAMPLES = &[("alert list", "what am I told of")],
}

declare! {
    /// Tell me no more
    AlertRemove {
        /// Its number (see: alert list)
        #[arg(long, value_name = "NUMBER")]
        pub number: u64,
    }
    "alert-remove" Machine Change Viewer -> reply::AlertChanged,
    POSITIONAL = &["number"],
    EXAMPLES = &[("alert remove 3", "that was not worth it")],
}
