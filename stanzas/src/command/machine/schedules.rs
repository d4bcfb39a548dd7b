//! Snapshots that are taken by themselves.

use std::time::Duration;

use crate::reply::Schedules;

declare! {
    /// Have snapshots taken again and again, and keep the newest
    SnapshotSchedule {
        /// What to call it: its snapshots are called so, with the moment after it
        #[arg(long, value_name = "NAME")]
        pub name: String,
        /// How often, such as 6h or 1d
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        #[serde(serialize_with = "crate::command::seconds")]
        pub every: Duration,
        /// How many are kept; older ones are deleted
        #[arg(long, value_name = "N", default_value = "7")]
        pub keep: u32,
        /// At which time of the day, such as 03:00, in UTC
        #[arg(long, value_name = "TIME")]
        pub at: Option<String>,
    }
    "snapshot-schedule" Machine Change Operator -> Schedules,
    NEEDS = "snapshots",
    POSITIONAL = &["name"],
    EXAMPLES = &[
        ("snapshot schedule nightly every=1d keep=7 at=03:00", "the last seven nights"),
        ("snapshot schedule hourly every=1h keep=12", "and the last twelve hours"),
    ],
}

declare! {
    /// List the schedules by which snapshots are taken
    SnapshotSchedules {}
    "snapshot-schedules" Machine Read Viewer -> Schedules,
    NEEDS = "snapshots",
    EXAMPLES = &[("snapshot schedules", "what is taken, and when the next is due")],
}

declare! {
    /// End a schedule; the snapshots it took stay
    SnapshotUnschedule {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: String,
    }
    "snapshot-unschedule" Machine Change Operator -> Schedules,
    NEEDS = "snapshots",
    POSITIONAL = &["name"],
    EXAMPLES = &[("snapshot unschedule nightly", "no more by themselves")],
}
