//! Long work of a host: what is under way, and calling it off.

use crate::reply;

declare! {
    /// List what is under way
    JobList {}
    "job-list" Host Read Operator -> reply::JobList,
    ALIASES = &["jobs"],
    EXAMPLES = &[("job list", "what is under way, and how far it is")],
}

declare! {
    /// Call off what is under way; what was done of it is undone
    JobCancel {
        /// Its id (see: job list)
        #[arg(long, value_name = "ID")]
        pub id: String,
    }
    "job-cancel" Host Change Operator -> reply::Cancelled,
    POSITIONAL = &["id"],
    EXAMPLES = &[("job cancel 66jf", "that was not meant")],
}
