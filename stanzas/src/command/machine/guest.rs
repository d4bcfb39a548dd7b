//! The commands carried out inside a guest, by its guest agent.

use std::time::Duration;

use crate::reply::Executed;

declare! {
    /// Run a command in the guest, by its guest agent; without a shell
    Exec {
        /// The program, and its arguments one by one
        #[arg(long, value_name = "COMMAND", required = true, num_args = 1.., allow_hyphen_values = true)]
        pub command: Vec<String>,
        /// How long to wait for its end
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
        #[serde(serialize_with = "crate::command::seconds")]
        pub wait: Duration,
    }
    "exec" Machine Change Admin -> Executed,
    NEEDS = "guest-agent",
    POSITIONAL = &["command"],
    REST = true,
    EXAMPLES = &[("exec echo hello", "what it writes, and how it ended"), ("exec wait=5m true", "it may take longer")],
}
