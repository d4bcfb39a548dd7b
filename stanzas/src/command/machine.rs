//! The commands of a machine.

use std::time::Duration;

use super::{Command, Effect, Example, Object, Role};
use crate::reply::{Changed, ConsoleOutput, Defined, LogLines, MachineStatus, Removed};

/// Declares a machine command: the struct with its arguments, and its constants.
macro_rules! machine_command {
    (
        $(#[$doc:meta])* $name:ident { $($fields:tt)* }
        $verb:literal $effect:ident $role:ident -> $reply:ty,
        $($constant:ident = $value:expr),* $(,)?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, clap::Args)]
        pub struct $name { $($fields)* }
        impl Command for $name {
            const OBJECT: Object = Object::Machine;
            const VERB: &'static str = $verb;
            const EFFECT: Effect = Effect::$effect;
            const ROLE: Role = Role::$role;
            type Reply = $reply;
            $(machine_command!(@ $constant $value);)*
        }
    };
    (@ ALIASES $value:expr) => { const ALIASES: &'static [&'static str] = $value; };
    (@ NEEDS $value:expr) => { const NEEDS: Option<&'static str> = Some($value); };
    (@ REST $value:expr) => { const REST: bool = $value; };
    (@ POSITIONAL $value:expr) => { const POSITIONAL: &'static [&'static str] = $value; };
    (@ EXAMPLES $value:expr) => { const EXAMPLES: &'static [Example] = $value; };
}

machine_command! {
    /// Start the machine
    Start {}
    "start" Change Operator -> Changed,
    ALIASES = &["boot", "poweron", "run"],
    EXAMPLES = &[("start", "start the machine")],
}

machine_command! {
    /// Ask the guest to shut down
    Shutdown {
        /// How long to wait for the guest before giving up
        #[arg(long, value_name = "TIME", default_value = "90s", value_parser = humantime::parse_duration)]
        #[serde(serialize_with = "super::seconds")]
        pub wait: Duration,
    }
    "shutdown" Change Operator -> Changed,
    ALIASES = &["stop", "poweroff", "halt"],
    EXAMPLES = &[
        ("shutdown", "ask the guest to shut down"),
        ("shutdown wait=5m", "and give it five minutes"),
    ],
}

machine_command! {
    /// Cut the power at once: the guest gets no chance to save its work
    Kill {}
    "kill" Destroy Operator -> Changed,
    ALIASES = &["force-off"],
    EXAMPLES = &[("kill", "cut the power")],
}

machine_command! {
    /// Ask the guest to reboot
    Reboot {
        /// How long to wait for the guest before giving up
        #[arg(long, value_name = "TIME", default_value = "90s", value_parser = humantime::parse_duration)]
        #[serde(serialize_with = "super::seconds")]
        pub wait: Duration,
    }
    "reboot" Change Operator -> Changed,
    ALIASES = &["restart"],
    EXAMPLES = &[("reboot", "ask the guest to reboot")],
}

machine_command! {
    /// Reset the machine at once, as a reset button would
    Reset {}
    "reset" Destroy Operator -> Changed,
    NEEDS = "reset",
    EXAMPLES = &[("reset", "press the reset button")],
}

machine_command! {
    /// Pause the machine: it keeps its memory and runs no further
    Pause {}
    "pause" Change Operator -> Changed,
    NEEDS = "pause",
    ALIASES = &["freeze"],
    EXAMPLES = &[("pause", "stop its clock for a while")],
}

machine_command! {
    /// Let a paused machine run on
    Resume {}
    "resume" Change Operator -> Changed,
    NEEDS = "pause",
    ALIASES = &["unpause", "thaw"],
    EXAMPLES = &[("resume", "let it run on")],
}

machine_command! {
    /// Show how the machine is
    Status {}
    "status" Read Viewer -> MachineStatus,
    ALIASES = &["info", "state"],
    EXAMPLES = &[("status", "ask how it is")],
}

machine_command! {
    /// Show the definition, or change it
    Define {
        /// Memory, such as 512M or 2G
        #[arg(long, value_name = "SIZE")]
        pub memory: Option<String>,
        /// Number of virtual processors
        #[arg(long, value_name = "N")]
        pub vcpus: Option<u32>,
        /// Kernel command line, for a machine that boots a kernel directly
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        #[arg(num_args = 0..=1, default_missing_value = "")]
        pub cmdline: Option<String>,
        /// A note for people; empty takes it away
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        #[arg(num_args = 0..=1, default_missing_value = "")]
        pub note: Option<String>,
    }
    "define" Change Admin -> Defined,
    ALIASES = &["edit", "definition"],
    EXAMPLES = &[("define", "show the definition"), ("define memory=1G vcpus=2", "change it")],
}

machine_command! {
    /// Give the machine another name (and so another address)
    Rename {
        /// The new name
        #[arg(long, value_name = "NAME")]
        pub to: String,
    }
    "rename" Change Admin -> Changed,
    POSITIONAL = &["to"],
    EXAMPLES = &[("rename web2", "call it web2 from now on")],
}

machine_command! {
    /// Add labels, or take them away
    Label {
        /// Labels to add
        #[arg(long, value_name = "LABEL", num_args = 1..)]
        pub add: Vec<String>,
        /// Labels to take away
        #[arg(long, value_name = "LABEL", num_args = 1..)]
        pub remove: Vec<String>,
    }
    "label" Change Operator -> Changed,
    POSITIONAL = &["add"],
    ALIASES = &["tag"],
    EXAMPLES = &[("label web prod", "add two labels"), ("label remove=prod", "take one away")],
}

machine_command! {
    /// Start the machine when its host starts, or no longer
    Autostart {
        /// Whether it starts with its host
        #[arg(long, value_name = "on|off", default_value = "on")]
        pub set: Switch,
    }
    "autostart" Change Operator -> Changed,
    POSITIONAL = &["set"],
    EXAMPLES = &[("autostart on", "start it with its host"), ("autostart off", "no longer")],
}

machine_command! {
    /// Protect the machine from being killed, reset or deleted by mistake, or no longer
    Protect {
        /// Whether it is protected
        #[arg(long, value_name = "on|off", default_value = "on")]
        pub set: Switch,
    }
    "protect" Change Admin -> Changed,
    POSITIONAL = &["set"],
    EXAMPLES = &[("protect on", "refuse kill, reset and delete"), ("protect off", "allow them again")],
}

machine_command! {
    /// Show what was done to the machine, by whom, and how it went
    Log {
        /// How many entries, newest last
        #[arg(long, value_name = "N", default_value = "20")]
        pub lines: u32,
    }
    "log" Read Viewer -> LogLines,
    POSITIONAL = &["lines"],
    ALIASES = &["history"],
    EXAMPLES = &[("log", "what happened lately"), ("log 100", "and before that")],
}

machine_command! {
    /// Show the last lines of the serial console, or type a line into it
    Console {
        /// A line to type into the console
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        pub send: Option<String>,
        /// How many lines to show
        #[arg(long, value_name = "N", default_value = "20")]
        pub lines: u32,
    }
    "console" Change Operator -> ConsoleOutput,
    NEEDS = "console",
    POSITIONAL = &["send"],
    REST = true,
    ALIASES = &["serial"],
    EXAMPLES = &[("console", "the last lines"), ("console \"uname -a\"", "type a line and show what comes")],
}

machine_command! {
    /// Delete the machine: it goes to the trash first, and is gone for good some days later
    Delete {}
    "delete" Destroy Admin -> Removed,
    ALIASES = &["undefine", "remove"],
    EXAMPLES = &[("delete", "put it into the trash")],
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// Yes
    On,
    /// No
    Off,
}

impl Switch {
    /// Whether it is on.
    pub fn is_on(self) -> bool {
        self == Switch::On
    }
}
