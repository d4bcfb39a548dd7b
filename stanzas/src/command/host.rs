//! The commands of a host.

mod alerts;
mod approvals;
mod audit;
mod create;
mod devices;
mod evacuate;
mod images;
mod jobs;
mod networks;
mod numbers;
mod quotas;
mod rights;
mod written;

pub use self::{
    alerts::{AlertAdd, AlertList, AlertRemove, Quiet},
    approvals::{Approve, BreakGlass, PolicyAdd, PolicyList, PolicyRemove, Reject, RequestList, Withdraw},
    audit::{AuditExport, AuditSearch, AuditShow, AuditVerify, WitnessAdd, WitnessList, WitnessRemove},
    create::{Create, Firmware},
    devices::{DeviceList, DeviceMap, DeviceUnmap},
    evacuate::Evacuate,
    images::{
        ImageDelete, ImageExport, ImageImport, ImageList, ImagePublish, ImagePull, ImageRename, ImageShare,
        ImageShow,
    },
    jobs::{JobCancel, JobList},
    networks::{NetworkCreate, NetworkDefine, NetworkDelete, NetworkList, NetworkShow},
    numbers::{Graph, SortKey, Stats, Top},
    quotas::{QuotaList, QuotaRemove, QuotaSet},
    rights::{
        Deny, Grant, GrantList, May, Revoke, RoleDefine, RoleDelete, RoleList, RoleShow, Terms, WhoCan,
        Whoami,
    },
    written::{Apply, GrantExport},
};
use crate::reply::{self, Changed, DriverList, HostStatus, MachineList, TrashList};

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
