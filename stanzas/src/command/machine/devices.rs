//! The commands by which a machine is given devices of its host.

use crate::reply::Defined;

declare! {
    /// Give the machine a device of its host
    DeviceAttach {
        /// Its name there (see: device list)
        #[arg(long, value_name = "NAME")]
        pub name: String,
    }
    "device-attach" Machine Change Admin -> Defined,
    POSITIONAL = &["name"],
    EXAMPLES = &[("device attach key", "by USB at once, on PCI from its next start on")],
}

declare! {
    /// Take a device of its host from the machine
    DeviceDetach {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: String,
    }
    "device-detach" Machine Change Admin -> Defined,
    POSITIONAL = &["name"],
    EXAMPLES = &[("device detach key", "by USB at once, on PCI when it is off")],
}
