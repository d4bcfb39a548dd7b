//! The commands of a host.

mod alerts;
mod create;
mod evacuate;
mod images;
mod jobs;
mod networks;
mod numbers;

pub use self::{
    alerts::{AlertAdd, AlertList, AlertRemove, Quiet},
    create::{Create, Firmware},
    evacuate::Evacuate,
    images::{
        ImageDelete, ImageExport, ImageImport, ImageList, ImagePublish, ImagePull, ImageRename, ImageShare,
        ImageShow,
    },
    jobs::{JobCancel, JobList},
    networks::{NetworkCreate, NetworkDefine, NetworkDelete, NetworkList, NetworkShow},
    numbers::{Graph, SortKey, Stats, Top},
};
use crate::reply::{self, Changed, DriverList, HostStatus, MachineList, TrashList, Verdict};

declare! {
    /// List the machines of this host
    List {
        /// Only those in this state
        #[arg(long, value_name = "STATE")]
        pub state: Option<String>,
        /// Only those with this label
        #[arg(long, value_name = "LABEL")]
        pub label: Option<String>,
    }
    "list" Host Read Viewer -> MachineList,
    ALIASES = &["ls", "machines", "ps"],
    EXAMPLES = &[("list", "all machines"), ("list state=running label=web", "some of them")],
}

declare! {
    /// Show how the host is
    Status {}
    "status" Host Read Viewer -> HostStatus,
    ALIASES = &["info"],
    EXAMPLES = &[("status", "ask how it is")],
}

declare! {
    /// Show the drivers of this host, what each can do, and why not more
    Drivers {}
    "drivers" Host Read Viewer -> DriverList,
    EXAMPLES = &[("drivers", "what can run machines here")],
}

declare! {
    /// List what is in the trash
    Trash {}
    "trash" Host Read Operator -> TrashList,
    EXAMPLES = &[("trash", "deleted machines that can come back")],
}

declare! {
    /// Take a machine out of the trash
    Undelete {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: String,
    }
    "undelete" Host Change Admin -> Changed,
    POSITIONAL = &["name"],
    ALIASES = &["restore"],
    EXAMPLES = &[("undelete web1", "it was not meant to go")],
}

declare! {
    /// Take over a machine that somebody else started, untouched; without a name, list them
    Adopt {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: Option<String>,
    }
    "adopt" Host Change Admin -> reply::Adoption,
    POSITIONAL = &["name"],
    ALIASES = &["manage"],
    EXAMPLES = &[("adopt", "what could be taken over"), ("adopt oldbox", "take it over")],
}

declare! {
    /// Show the versions of the agent and of what it runs on
    Version {}
    "version" Host Read Viewer -> reply::Version,
    EXAMPLES = &[("version", "which version is this")],
}

declare! {
    /// Show how long the host and its agent have been up
    Uptime {}
    "uptime" Host Read Viewer -> reply::Uptime,
    EXAMPLES = &[("uptime", "how long it has been up")],
}

declare! {
    /// Show who you are to this host, and which role you have
    Whoami {}
    "whoami" Host Read Viewer -> reply::Whoami,
    EXAMPLES = &[("whoami", "who am I here")],
}

declare! {
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
    "may" Host Read Viewer -> Verdict,
    POSITIONAL = &["what", "machine"],
    EXAMPLES = &[("may kill web1", "would I be allowed"), ("may kill web1 who=ann@example.org", "would she")],
}
