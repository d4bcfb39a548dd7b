//! Moving all machines of a host elsewhere.

use crate::reply::Evacuated;

declare! {
    /// Move all machines to the other hosts, as far as these have room; the plan is shown first
    Evacuate {
        /// Only to these hosts, by their names in [peers]
        #[arg(long, value_name = "HOST", num_args = 1..)]
        pub to: Vec<String>,
        /// At most so much a second: 100M
        #[arg(long, value_name = "SIZE")]
        pub bandwidth: Option<String>,
    }
    "evacuate" Host Destroy Admin -> Evacuated,
    EXAMPLES = &[("evacuate", "empty this host"), ("evacuate to=kvm2", "onto kvm2")],
}
