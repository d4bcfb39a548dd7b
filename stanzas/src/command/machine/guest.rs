//! The commands carried out inside a guest, by its guest agent.

use std::time::Duration;

use crate::{
    command::kept::{Content, Secret},
    reply::{Executed, FileWritten, Frozen, GuestFile, PasswordSet, Thawed},
};

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
        /// What it is given to read; at most 48 KiB
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        pub input: Option<Content>,
    }
    "exec" Machine Change Admin -> Executed,
    NEEDS = "guest-agent",
    POSITIONAL = &["command"],
    REST = true,
    EXAMPLES = &[("exec echo hello", "what it writes, and how it ended"), ("exec wait=5m true", "it may take longer")],
}

declare! {
    /// Show a file of the guest, by its guest agent
    FileRead {
        /// Where it is in the guest
        #[arg(long, value_name = "PATH")]
        pub path: String,
        /// From which byte on
        #[arg(long, value_name = "N", default_value = "0")]
        pub from: u64,
        /// At most so many bytes, 48 KiB at once
        #[arg(long, value_name = "N", default_value = "16384")]
        pub bytes: u32,
    }
    "file-read" Machine Read Admin -> GuestFile,
    NEEDS = "guest-agent",
    POSITIONAL = &["path"],
    EXAMPLES = &[("file read /etc/hostname", "what is in it"), ("file read /var/log/syslog from=65536", "further on in it")],
}

declare! {
    /// Write a file of the guest, by its guest agent
    FileWrite {
        /// Where it is in the guest; its folder must be there
        #[arg(long, value_name = "PATH")]
        pub path: String,
        /// What is to be in it, as lines of text
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        pub text: Option<Content>,
        /// The same in base64, byte by byte; at most 48 KiB at once
        #[arg(long, value_name = "BASE64")]
        pub base64: Option<Content>,
        /// Put it after what is there already
        #[arg(long)]
        pub append: bool,
    }
    "file-write" Machine Change Admin -> FileWritten,
    NEEDS = "guest-agent",
    POSITIONAL = &["path", "text"],
    REST = true,
    EXAMPLES = &[("file write /etc/motd Ask ann first", "one line of text"), ("file write append=yes /etc/hosts 10.0.0.7 web7", "one more")],
}

declare! {
    /// Give a user of the guest another password, by its guest agent
    Password {
        /// Whose
        #[arg(long, value_name = "USER")]
        pub user: String,
        /// The new password; a form or skerry asks for it, no chat takes it
        #[arg(long, value_name = "PASSWORD")]
        pub password: Option<Secret>,
        /// It is given as its hash, as crypt makes it
        #[arg(long)]
        pub hashed: bool,
    }
    "password" Machine Change Admin -> PasswordSet,
    NEEDS = "guest-agent",
    POSITIONAL = &["user"],
    ALIASES = &["passwd"],
    EXAMPLES = &[("password root", "how to give it")],
}

declare! {
    /// Have the guest write down what its disks are to hold, and hold them still for a while
    Fsfreeze {
        /// For how long; then they go on by themselves
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
        #[serde(serialize_with = "crate::command::seconds")]
        pub during: Duration,
    }
    "fsfreeze" Machine Change Operator -> Frozen,
    NEEDS = "guest-agent",
    POSITIONAL = &["during"],
    EXAMPLES = &[("fsfreeze", "for a minute, for a copy of its disks"), ("fsfreeze 5m", "for five")],
}

declare! {
    /// Let the disks of the guest go on
    Fsthaw {}
    "fsthaw" Machine Change Operator -> Thawed,
    NEEDS = "guest-agent",
    EXAMPLES = &[("fsthaw", "before the time is over")],
}
