//! The commands of a machine's network interfaces.

use crate::reply::{self, Defined};

declare! {
    /// List the network interfaces of the machine
    NicList {}
    "nic-list" Machine Read Viewer -> reply::NicList,
    ALIASES = &["nics"],
    EXAMPLES = &[("nic list", "what it is connected to, and with which addresses")],
}

declare! {
    /// Put the cable of a network interface in
    NicUp {
        /// Which; the only one when not given
        #[arg(long, value_name = "NAME")]
        pub name: Option<String>,
    }
    "nic-up" Machine Change Operator -> Defined,
    POSITIONAL = &["name"],
    EXAMPLES = &[("nic up", "its guest has a carrier again")],
}

declare! {
    /// Take the cable of a network interface out: nothing passes until it is in again
    NicDown {
        /// Which; the only one when not given
        #[arg(long, value_name = "NAME")]
        pub name: Option<String>,
    }
    "nic-down" Machine Change Operator -> Defined,
    POSITIONAL = &["name"],
    EXAMPLES = &[("nic down", "off the network at once, also from the next start on")],
}
