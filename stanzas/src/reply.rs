//! What commands answer. Each reply is one typed value: JSON for programs (XEP-0335), and one text
//! for people, made here and nowhere else.

pub mod table;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What a command answers.
pub trait Reply: Serialize + DeserializeOwned + Send + 'static {
    /// The whole answer in plain words, several lines when needed.
    fn text(&self) -> String;
}

macro_rules! reply {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type),* }
    };
}

reply! {
    /// A machine after a command that changes it.
    Changed {
        /// Its name.
        name: String,
        /// Its address.
        jid: String,
        /// Its state now (see docs/lifecycle.md).
        state: String,
        /// Grows by one with every change of state.
        generation: u64,
        /// What happened, in a sentence.
        sentence: String,
    }
}
reply! {
    /// One line of a list of machines.
    MachineLine {
        /// Its name.
        name: String,
        /// Its address.
        jid: String,
        /// The host's address.
        host: String,
        /// Its state.
        state: String,
        /// The driver that runs it.
        driver: String,
        /// Virtual processors.
        vcpus: u32,
        /// Memory in MiB.
        memory_mib: u64,
        /// Its labels.
        labels: Vec<String>,
    }
}
reply! {
    /// Machines.
    MachineList {
        /// One line a machine, by name.
        machines: Vec<MachineLine>,
    }
}
reply! {
    /// How a machine is.
    MachineStatus {
        /// Its name.
        name: String,
        /// Its address.
        jid: String,
        /// The host's address.
        host: String,
        /// Its state.
        state: String,
        /// The state in a sentence, with its reason.
        sentence: String,
        /// What it should be: running, stopped or paused.
        wanted: String,
        /// Grows by one with every change of state.
        generation: u64,
        /// The driver that runs it.
        driver: String,
        /// Virtual processors.
        vcpus: u32,
        /// Memory in MiB.
        memory_mib: u64,
        /// Since when it runs.
        running_since: Option<DateTime<Utc>>,
        /// Processor time used since it started, in seconds.
        cpu_seconds: Option<f64>,
        /// Its labels.
        labels: Vec<String>,
        /// Starts with its host.
        autostart: bool,
        /// Refuses kill, reset and delete.
        protected: bool,
        /// A note for people.
        note: Option<String>,
    }
}
reply! {
    /// The definition of a machine.
    Defined {
        /// Its name.
        name: String,
        /// What was changed, in words; empty when nothing was.
        changed: Vec<String>,
        /// When the changes take effect: now, or at the next start.
        effective: String,
        /// The definition as TOML.
        toml: String,
    }
}
reply! {
    /// One entry of the journal, for people.
    LogLine {
        /// When it was accepted.
        at: DateTime<Utc>,
        /// Who asked.
        who: String,
        /// What: the permission, such as machine.start.
        what: String,
        /// How it ended; empty while it is open.
        outcome: String,
    }
}
reply! {
    /// Entries of the journal, oldest first.
    LogLines {
        /// The entries.
        entries: Vec<LogLine>,
    }
}
reply! {
    /// Lines of a serial console, as the guest wrote them, made safe to show.
    ConsoleOutput {
        /// The machine.
        name: String,
        /// The lines, oldest first.
        lines: Vec<String>,
    }
}
reply! {
    /// A machine went to the trash.
    Removed {
        /// Its name.
        name: String,
        /// When it is gone for good.
        purged_at: DateTime<Utc>,
    }
}
reply! {
    /// How a host is.
    HostStatus {
        /// Its name.
        name: String,
        /// Its address.
        jid: String,
        /// How many machines it has.
        machines: u32,
        /// How many of them run.
        running: u32,
        /// Processors.
        cpus: u32,
        /// Load average of the last minute.
        load: f64,
        /// Memory in MiB.
        memory_mib: u64,
        /// Memory free for use, in MiB.
        memory_free_mib: u64,
        /// Free space where machines are kept, in MiB.
        disk_free_mib: u64,
        /// The driver used when none is named.
        driver: String,
    }
}
reply! {
    /// One driver of a host.
    DriverLine {
        /// Its name.
        name: String,
        /// Whether it can be used.
        usable: bool,
        /// Whether it is used when none is named.
        default: bool,
        /// What was found, and why not more.
        why: String,
        /// The capabilities it has here.
        capabilities: Vec<String>,
    }
}
reply! {
    /// The drivers of a host.
    DriverList {
        /// One line a driver.
        drivers: Vec<DriverLine>,
    }
}
reply! {
    /// One image.
    ImageLine {
        /// Its name.
        name: String,
        /// kernel or disk.
        kind: String,
        /// Size in MiB.
        size_mib: u64,
        /// What it is.
        about: String,
    }
}
reply! {
    /// The images of a host.
    ImageList {
        /// One line an image.
        images: Vec<ImageLine>,
    }
}
reply! {
    /// One deleted machine.
    TrashLine {
        /// Its name.
        name: String,
        /// When it was deleted.
        deleted_at: DateTime<Utc>,
        /// Who deleted it.
        deleted_by: String,
        /// When it is gone for good.
        purged_at: DateTime<Utc>,
    }
}
reply! {
    /// The trash.
    TrashList {
        /// One line a machine.
        machines: Vec<TrashLine>,
    }
}
reply! {
    /// Versions.
    Version {
        /// The agent's.
        agent: String,
        /// The operating system's.
        os: String,
        /// The kernel's.
        kernel: String,
    }
}
reply! {
    /// How long things have been up, in seconds.
    Uptime {
        /// The host.
        host_seconds: u64,
        /// The agent.
        agent_seconds: u64,
        /// The connection to the server.
        link_seconds: u64,
    }
}
reply! {
    /// Who the caller is.
    Whoami {
        /// The bare address.
        jid: String,
        /// The role, when there is one.
        role: Option<String>,
        /// The rule that gives it.
        rule: String,
    }
}
reply! {
    /// Whether something is allowed.
    Verdict {
        /// Who asks.
        who: String,
        /// The permission.
        what: String,
        /// On which machine.
        machine: Option<String>,
        /// Whether it is allowed.
        allowed: bool,
        /// The rule that decides.
        rule: String,
    }
}

macro_rules! spine { ($($t:ty),*) => { $(impl Reply for $t { fn text(&self) -> String { format!("{self:?}") } })* } }
spine!(
    Changed,
    MachineList,
    MachineStatus,
    Defined,
    LogLines,
    ConsoleOutput,
    Removed,
    HostStatus,
    DriverList,
    ImageList,
    TrashList,
    Version,
    Uptime,
    Whoami,
    Verdict
);
