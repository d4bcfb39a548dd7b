//! The devices of a host that machines can be given.

use crate::reply;

declare! {
    /// List the devices that machines can be given, and who has them
    DeviceList {}
    "device-list" Host Read Viewer -> reply::DeviceList,
    ALIASES = &["devices"],
    EXAMPLES = &[("device list", "what is there, what it is called, and which machine has it")],
}

declare! {
    /// Call a device by a name, by which machines can be given it
    DeviceMap {
        /// Its name: 1 to 16 of a-z, 0-9 and -; one that is known gets another meaning
        #[arg(long, value_name = "NAME")]
        pub name: String,
        /// Its address on PCI, its USB port, or its vendor and product (see: device list)
        #[arg(long, value_name = "DEVICE")]
        pub device: String,
        /// Which one by USB, where several of its kind are there
        #[arg(long, value_name = "SERIAL")]
        pub serial: Option<String>,
        /// Hand it over also while the host itself uses it: what it does with it is lost to it then
        #[arg(id = "even-in-use", long)]
        pub even_in_use: bool,
    }
    "device-map" Host Change Admin -> reply::DeviceChanged,
    POSITIONAL = &["name", "device"],
    EXAMPLES = &[
        ("device map gpu 0000:01:00.0", "on PCI"),
        ("device map key 1050:0407", "by USB, wherever it is plugged in"),
        ("device map key 1-2", "by USB, at this port alone"),
        ("device map nic 0000:02:00.0 --even-in-use", "what the host would be cut off without"),
    ],
}

declare! {
    /// Call a device by its name no more
    DeviceUnmap {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: String,
    }
    "device-unmap" Host Change Admin -> reply::DeviceChanged,
    POSITIONAL = &["name"],
    EXAMPLES = &[("device unmap gpu", "no machine can be given it any more")],
}
