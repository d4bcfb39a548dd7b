//! What commands answer. Each reply is one typed value: JSON for programs (XEP-0335), and one text
//! for people, made here and nowhere else.
//!
//! The texts are plain and short; a table stands between code fences; an empty list says what to do
//! next; times are absolute, since nothing here knows what time it is.

use serde::{Serialize, de::DeserializeOwned};

/// What a command answers.
pub trait Reply: Serialize + DeserializeOwned + Send + 'static {
    /// The whole answer in plain words, several lines when needed.
    fn text(&self) -> String;
}

/// The key that stands in the JSON of an answer (with the value true) when the command is not done yet.
/// The same request again, with the same id, waits for the end and is answered with it.
pub const UNDER_WAY: &str = "under_way";

/// Beside [`UNDER_WAY`]: the code of the request that waits for the consent of others.
pub const REQUEST: &str = "request";

/// Beside [`UNDER_WAY`]: what `job cancel` calls it by.
pub const JOB: &str = "job";

/// Beside [`UNDER_WAY`], when it is known: how much is done, 0 to 100.
pub const PERCENT: &str = "percent";

macro_rules! reply {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type),* }
    };
}

mod alerts;
mod approvals;
mod audit;
mod devices;
mod firewall;
mod guest;
mod host;
mod images;
mod jobs;
mod machine;
pub mod measure;
mod migrate;
mod networks;
mod nics;
mod numbers;
mod quotas;
mod released;
mod rights;
mod schedules;
mod screen;
mod storage;
mod trimmed;
mod written;

pub use alerts::{AlertChanged, AlertLine, AlertList, QuietHours};
pub use approvals::{PolicyLine, PolicyList, RequestLine, RequestList};
pub use audit::{
    AuditEntries, AuditEntry, AuditPage, AuditVerified, WitnessChanged, WitnessLine, WitnessList,
};
pub use devices::{DeviceChanged, DeviceLine, DeviceList, DeviceMissing};
pub use firewall::{FirewallChanged, FirewallList};
pub use guest::{Executed, FileWritten, Frozen, GuestAddress, GuestFacts, GuestFile, PasswordSet, Thawed};
pub use host::{DriverLine, DriverList, HostStatus, TrashLine, TrashList, Uptime, Version};
pub use images::{
    ImageChanged, ImageDetails, ImageExported, ImageKept, ImageLine, ImageList, ImageOffered, ImageShared,
};
pub use jobs::{Cancelled, JobLine, JobList};
pub use machine::{
    Adoption, Changed, ConsoleOutput, Defined, DefinitionHistory, DefinitionLine, LogLine, LogLines,
    MachineLine, MachineList, MachineStatus, Redefined, Removed,
};
pub use migrate::{Evacuated, EvacuatedLine, Migrated};
pub use networks::{NetworkChanged, NetworkDetails, NetworkGuest, NetworkLine, NetworkList};
pub use nics::{NicLine, NicList};
pub use numbers::{DiskStats, HostStats, MachineStats, NicStats, PressureStats, Top, TopLine};
pub use quotas::{QuotaChanged, QuotaLine, QuotaList, QuotaUse};
pub use released::Released;
pub use rights::{Able, GrantLine, GrantList, Granted, RoleLine, RoleList, Verdict, WhoCan, Whoami};
pub use schedules::{ScheduleLine, Schedules};
pub use screen::{PNG, ScreenPicture, ScreenTicket, Typed};
pub use storage::{DiskLine, DiskList, SnapshotFile, SnapshotLine, SnapshotList, SnapshotTree};
pub use trimmed::{Trimmed, TrimmedDisk};
pub use written::{Applied, Exported};
