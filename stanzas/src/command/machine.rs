//! The commands of a machine.

mod alerts;
mod definition;
mod devices;
mod disks;
mod firewall;
mod guest;
mod migrate;
mod moving;
mod nics;
mod numbers;
mod schedules;
mod screen;
mod snapshots;

use std::time::Duration;

pub use self::{
    alerts::{AlertAdd, AlertList, AlertRemove},
    definition::{Define, DefinitionList, DefinitionRevert, Restart},
    devices::{DeviceAttach, DeviceDetach},
    disks::{Bus, Clone, DiskAttach, DiskCreate, DiskDelete, DiskDetach, DiskList, DiskResize, Format},
    firewall::{Carried, FirewallAllow, FirewallDeny, FirewallList, FirewallRemove, Way},
    guest::{Exec, FileRead, FileWrite, Fsfreeze, Fsthaw, Password},
    migrate::{Migrate, MigrateResolve, Resolution, Storage},
    moving::{DiskMove, DiskTrim, Export},
    nics::{NicDown, NicList, NicUp},
    numbers::{Graph, Span, Stats, Used},
    schedules::{SnapshotSchedule, SnapshotSchedules, SnapshotUnschedule},
    screen::{Key, Screenshot, Type, Vnc, Watch},
    snapshots::{Quiesce, SnapshotDelete, SnapshotList, SnapshotRevert, SnapshotTake, SnapshotTree},
};
use crate::reply::{Changed, ConsoleOutput, LogLines, MachineStatus, Released, Removed};

declare! {
    /// Start the machine
    Start {}
    "start" Machine Change Operator -> Changed,
    ALIASES = &["boot", "poweron", "run"],
    EXAMPLES = &[("start", "start the machine")],
}

declare! {
    /// Ask the guest to shut down
    Shutdown {
        /// How long to wait for the guest before giving up
        #[arg(long, value_name = "TIME", default_value = "90s", value_parser = humantime::parse_duration)]
        #[serde(serialize_with = "super::seconds")]
        pub wait: Duration,
    }
    "shutdown" Machine Change Operator -> Changed,
    ALIASES = &["stop", "poweroff", "halt"],
    EXAMPLES = &[
        ("shutdown", "ask the guest to shut down"),
        ("shutdown wait=5m", "and give it five minutes"),
    ],
}

declare! {
    /// Cut the power at once: the guest gets no chance to save its work
    Kill {}
    "kill" Machine Destroy Operator -> Changed,
    ALIASES = &["force-off"],
    EXAMPLES = &[("kill", "cut the power")],
}

declare! {
    /// Ask the guest to reboot
    Reboot {
        /// How long to wait for the guest before giving up
        #[arg(long, value_name = "TIME", default_value = "90s", value_parser = humantime::parse_duration)]
        #[serde(serialize_with = "super::seconds")]
        pub wait: Duration,
    }
    "reboot" Machine Change Operator -> Changed,
    ALIASES = &["restart"],
    EXAMPLES = &[("reboot", "ask the guest to reboot")],
}

declare! {
    /// Reset the machine at once, as a reset button would
    Reset {}
    "reset" Machine Destroy Operator -> Changed,
    NEEDS = "reset",
    EXAMPLES = &[("reset", "press the reset button")],
}

declare! {
    /// Pause the machine: it keeps its memory and runs no further
    Pause {}
    "pause" Machine Change Operator -> Changed,
    NEEDS = "pause",
    ALIASES = &["freeze"],
    EXAMPLES = &[("pause", "stop its clock for a while")],
}

declare! {
    /// Let a paused machine run on
    Resume {}
    "resume" Machine Change Operator -> Changed,
    NEEDS = "pause",
    ALIASES = &["unpause", "thaw"],
    EXAMPLES = &[("resume", "let it run on")],
}

declare! {
    /// Show how the machine is
    Status {}
    "status" Machine Read Viewer -> MachineStatus,
    ALIASES = &["info", "state"],
    EXAMPLES = &[("status", "ask how it is")],
}

declare! {
    /// Give the machine another name (and so another address)
    Rename {
        /// The new name
        #[arg(long, value_name = "NAME")]
        pub to: String,
    }
    "rename" Machine Change Admin -> Changed,
    POSITIONAL = &["to"],
    EXAMPLES = &[("rename web2", "call it web2 from now on")],
}

declare! {
    /// Add labels, or take them away
    Label {
        /// Labels to add
        #[arg(long, value_name = "LABEL", num_args = 1..)]
        pub add: Vec<String>,
        /// Labels to take away
        #[arg(long, value_name = "LABEL", num_args = 1..)]
        pub remove: Vec<String>,
    }
    "label" Machine Change Operator -> Changed,
    POSITIONAL = &["add"],
    ALIASES = &["tag"],
    EXAMPLES = &[("label web prod", "add two labels"), ("label remove=prod", "take one away")],
}

declare! {
    /// Start the machine when its host starts, or no longer
    Autostart {
        /// Whether it starts with its host
        #[arg(long, value_name = "on|off", default_value = "on")]
        pub set: Switch,
    }
    "autostart" Machine Change Operator -> Changed,
    POSITIONAL = &["set"],
    EXAMPLES = &[("autostart on", "start it with its host"), ("autostart off", "no longer")],
}

declare! {
    /// Protect the machine from being killed, reset or deleted by mistake, or no longer
    Protect {
        /// Whether it is protected
        #[arg(long, value_name = "on|off", default_value = "on")]
        pub set: Switch,
    }
    "protect" Machine Change Admin -> Changed,
    POSITIONAL = &["set"],
    EXAMPLES = &[("protect on", "refuse kill, reset and delete"), ("protect off", "allow them again")],
}

declare! {
    /// Show what was done to the machine, by whom, and how it went
    Log {
        /// How many entries, newest last
        #[arg(long, value_name = "N", default_value = "20")]
        pub lines: u32,
    }
    "log" Machine Read Viewer -> LogLines,
    POSITIONAL = &["lines"],
    ALIASES = &["history"],
    EXAMPLES = &[("log", "what happened lately"), ("log 100", "and before that")],
}

declare! {
    /// Show the last lines of the serial console
    Console {
        /// How many lines to show
        #[arg(long, value_name = "N", default_value = "20")]
        pub lines: u32,
    }
    "console" Machine Read Viewer -> ConsoleOutput,
    NEEDS = "console",
    INSTEAD = "send",
    ALIASES = &["serial"],
    EXAMPLES = &[("console", "the last lines"), ("console lines=100", "and what came before them")],
}

declare! {
    /// Type a line into the serial console, and show what comes of it
    Send {
        /// The line; an empty one is the enter key alone
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        #[arg(num_args = 0..=1, default_missing_value = "")]
        pub line: String,
        /// How many lines of the answer to show, the last ones
        #[arg(long, value_name = "N", default_value = "20")]
        pub lines: u32,
    }
    "send" Machine Change Operator -> ConsoleOutput,
    NEEDS = "console",
    POSITIONAL = &["line"],
    REST = true,
    EXAMPLES = &[("send uptime", "what a shell there says to it"), ("send lines=50 dmesg", "more of it")],
}

declare! {
    /// Give a machine that was taken over back to who started it: it runs on, untouched
    Release {}
    "release" Machine Change Admin -> Released,
    NEEDS = "adopt",
    EXAMPLES = &[("release", "it is not to be looked after here any more")],
}

declare! {
    /// Delete the machine: it goes to the trash first, and is gone for good some days later
    Delete {}
    "delete" Machine Destroy Admin -> Removed,
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
