//! The commands of a host.

use super::{Command, Effect, Example, Object, Role};
use crate::reply::{self, Changed, DriverList, HostStatus, ImageList, MachineList, TrashList, Verdict};

/// Declares a host command: the struct with its arguments, and its constants.
macro_rules! host_command {
    (
        $(#[$doc:meta])* $name:ident { $($fields:tt)* }
        $verb:literal $effect:ident $role:ident -> $reply:ty,
        $($constant:ident = $value:expr),* $(,)?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, clap::Args)]
        pub struct $name { $($fields)* }
        impl Command for $name {
            const OBJECT: Object = Object::Host;
            const VERB: &'static str = $verb;
            const EFFECT: Effect = Effect::$effect;
            const ROLE: Role = Role::$role;
            type Reply = $reply;
            $(host_command!(@ $constant $value);)*
        }
    };
    (@ ALIASES $value:expr) => { const ALIASES: &'static [&'static str] = $value; };
    (@ POSITIONAL $value:expr) => { const POSITIONAL: &'static [&'static str] = $value; };
    (@ EXAMPLES $value:expr) => { const EXAMPLES: &'static [Example] = $value; };
}

host_command! {
    /// List the machines of this host
    List {
        /// Only those in this state
        #[arg(long, value_name = "STATE")]
        pub state: Option<String>,
        /// Only those with this label
        #[arg(long, value_name = "LABEL")]
        pub label: Option<String>,
    }
    "list" Read Viewer -> MachineList,
    ALIASES = &["ls", "machines", "ps"],
    EXAMPLES = &[("list", "all machines"), ("list state=running label=web", "some of them")],
}

host_command! {
    /// Create a machine
    Create {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: String,
        /// The image it starts from (see: images)
        #[arg(long, value_name = "IMAGE")]
        pub image: String,
        /// Memory, such as 512M or 2G
        #[arg(long, value_name = "SIZE", default_value = "512M")]
        pub memory: String,
        /// Number of virtual processors
        #[arg(long, value_name = "N", default_value = "1")]
        pub vcpus: u32,
        /// The driver that runs it; chosen by the host when not given (see: drivers)
        #[arg(long, value_name = "DRIVER")]
        pub driver: Option<String>,
        /// Start it at once
        #[arg(long)]
        pub start: bool,
    }
    "create" Change Admin -> Changed,
    POSITIONAL = &["name", "image"],
    ALIASES = &["new"],
    EXAMPLES = &[
        ("create web1 linux", "a machine from the image linux"),
        ("create web1 image=linux memory=1G vcpus=2 --start", "and more exactly"),
    ],
}

host_command! {
    /// Show how the host is
    Status {}
    "status" Read Viewer -> HostStatus,
    ALIASES = &["info"],
    EXAMPLES = &[("status", "ask how it is")],
}

host_command! {
    /// Show the drivers of this host, what each can do, and why not more
    Drivers {}
    "drivers" Read Viewer -> DriverList,
    EXAMPLES = &[("drivers", "what can run machines here")],
}

host_command! {
    /// List the images machines can be made from
    Images {}
    "images" Read Viewer -> ImageList,
    EXAMPLES = &[("images", "what machines can be made from")],
}

host_command! {
    /// List what is in the trash
    Trash {}
    "trash" Read Operator -> TrashList,
    EXAMPLES = &[("trash", "deleted machines that can come back")],
}

host_command! {
    /// Take a machine out of the trash
    Undelete {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: String,
    }
    "undelete" Change Admin -> Changed,
    POSITIONAL = &["name"],
    ALIASES = &["restore"],
    EXAMPLES = &[("undelete web1", "it was not meant to go")],
}

host_command! {
    /// Take over a machine that somebody else started, untouched; without a name, list them
    Adopt {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: Option<String>,
    }
    "adopt" Change Admin -> MachineList,
    POSITIONAL = &["name"],
    ALIASES = &["manage"],
    EXAMPLES = &[("adopt", "what could be taken over"), ("adopt oldbox", "take it over")],
}

host_command! {
    /// Show the versions of the agent and of what it runs on
    Version {}
    "version" Read Viewer -> reply::Version,
    EXAMPLES = &[("version", "which version is this")],
}

host_command! {
    /// Show how long the host and its agent have been up
    Uptime {}
    "uptime" Read Viewer -> reply::Uptime,
    EXAMPLES = &[("uptime", "how long it has been up")],
}

host_command! {
    /// Show who you are to this host, and which role you have
    Whoami {}
    "whoami" Read Viewer -> reply::Whoami,
    EXAMPLES = &[("whoami", "who am I here")],
}

host_command! {
    /// Ask whether something would be allowed, and by which rule
    May {
        /// Who; yourself when not given
        #[arg(long, value_name = "JID")]
        pub who: Option<String>,
        /// The command, such as start
        #[arg(long, value_name = "COMMAND")]
        pub what: String,
        /// The machine; the host itself when not given
        #[arg(long, value_name = "MACHINE")]
        pub machine: Option<String>,
    }
    "may" Read Viewer -> Verdict,
    POSITIONAL = &["what", "machine"],
    EXAMPLES = &[("may kill web1", "would I be allowed"), ("may kill web1 who=ann@example.org", "would she")],
}
