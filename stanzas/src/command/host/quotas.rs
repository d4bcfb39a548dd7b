//! How much of a host each person may have.

use crate::reply::{self, QuotaChanged};

declare! {
    /// Limit how much the machines that somebody makes may take; what is not given is not limited
    QuotaSet {
        /// Whose: an address, a domain for each person of it, or everyone for all who have rights by a grant
        #[arg(long, value_name = "JID")]
        pub to: String,
        /// How many machines
        #[arg(long, value_name = "N")]
        pub machines: Option<u64>,
        /// How many virtual processors, of all of them together
        #[arg(long, value_name = "N")]
        pub vcpus: Option<u64>,
        /// How much memory
        #[arg(long, value_name = "SIZE")]
        pub memory: Option<String>,
        /// How large their disks may be
        #[arg(long, value_name = "SIZE")]
        pub disk: Option<String>,
        /// How many snapshots
        #[arg(long, value_name = "N")]
        pub snapshots: Option<u64>,
    }
    "quota-set" Host Change Admin -> QuotaChanged,
    POSITIONAL = &["to"],
    EXAMPLES = &[
        ("quota set eve@elsewhere.org machines=3 vcpus=8 memory=16G disk=200G", "hers, whatever others have"),
        ("quota set everyone machines=5 snapshots=20", "of each who has rights by a grant only"),
    ],
}

declare! {
    /// List the quotas and how much of them is used; your own, if you may not see all
    QuotaList {
        /// Only what counts for this person
        #[arg(long, value_name = "JID")]
        pub who: Option<String>,
    }
    "quota-list" Host Read Viewer -> reply::QuotaList,
    ALIASES = &["quotas"],
    PERSON = "who",
    EXAMPLES = &[("quota list", "who may have how much, and has")],
}

declare! {
    /// Take a quota away
    QuotaRemove {
        /// Whose (see: quota list)
        #[arg(long, value_name = "JID")]
        pub to: String,
    }
    "quota-remove" Host Change Admin -> QuotaChanged,
    POSITIONAL = &["to"],
    EXAMPLES = &[("quota remove everyone", "then that limits nobody any more")],
}
