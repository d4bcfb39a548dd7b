//! The networks of a host.

use crate::reply;

declare! {
    /// List the networks machines can be on
    NetworkList {}
    "network-list" Host Read Viewer -> reply::NetworkList,
    ALIASES = &["networks"],
    EXAMPLES = &[("network list", "what machines can be connected to")],
}

declare! {
    /// Show one network: its addresses, who is on it, what is in its way
    NetworkShow {
        /// Its name
        #[arg(long, value_name = "NETWORK")]
        pub name: String,
    }
    "network-info" Host Read Viewer -> reply::NetworkDetails,
    POSITIONAL = &["name"],
    ALIASES = &["network-show"],
    EXAMPLES = &[("network info lan", "who is on it, with which address")],
}

declare! {
    /// Make a network for machines
    NetworkCreate {
        /// Its name: 1 to 12 of a-z, 0-9 and -
        #[arg(long, value_name = "NAME")]
        pub name: String,
        /// What it does with the world
        #[arg(long, value_name = "MODE", value_parser = ["nat", "routed", "isolated", "bridge"], default_value = "nat")]
        pub mode: String,
        /// Its addresses, such as 10.20.0.0/24; chosen by the host when not given
        #[arg(long, value_name = "SUBNET")]
        pub subnet: Option<String>,
        /// Its IPv6 addresses, such as fd00:20::/64
        #[arg(long, value_name = "SUBNET")]
        pub subnet6: Option<String>,
        /// The bridge of the host it is, for mode bridge
        #[arg(long, value_name = "BRIDGE")]
        pub bridge: Option<String>,
        /// The interface that leads to its VLAN, for mode bridge without a bridge
        #[arg(long, value_name = "INTERFACE")]
        pub uplink: Option<String>,
        /// Its VLAN, 1 to 4094
        #[arg(long, value_name = "N")]
        pub vlan: Option<u32>,
        /// Whether guests are given their addresses
        #[arg(long, value_name = "ON|OFF", value_parser = ["on", "off"])]
        pub dhcp: Option<String>,
        /// Whether guests are told names
        #[arg(long, value_name = "ON|OFF", value_parser = ["on", "off"])]
        pub dns: Option<String>,
        /// The domain of its guests' names; NAME.internal when not given
        #[arg(long, value_name = "DOMAIN")]
        pub domain: Option<String>,
        /// What it is, for people
        #[arg(long, value_name = "TEXT")]
        pub about: Option<String>,
    }
    "network-create" Host Change Admin -> reply::NetworkChanged,
    POSITIONAL = &["name"],
    EXAMPLES = &[
        ("network create lan", "guests reach out, and each other by name"),
        ("network create lab subnet=10.30.0.0/24 mode=isolated", "guests reach each other alone"),
        ("network create office mode=bridge bridge=br0", "guests are where the host is"),
    ],
}

declare! {
    /// Change a network
    NetworkDefine {
        /// Its name
        #[arg(long, value_name = "NETWORK")]
        pub name: String,
        /// What it does with the world
        #[arg(long, value_name = "MODE", value_parser = ["nat", "routed", "isolated"])]
        pub mode: Option<String>,
        /// Its addresses; only while none of its machines runs
        #[arg(long, value_name = "SUBNET")]
        pub subnet: Option<String>,
        /// Its IPv6 addresses, or none; only while none of its machines runs
        #[arg(long, value_name = "SUBNET")]
        pub subnet6: Option<String>,
        /// Whether guests are given their addresses
        #[arg(long, value_name = "ON|OFF", value_parser = ["on", "off"])]
        pub dhcp: Option<String>,
        /// Whether guests are told names
        #[arg(long, value_name = "ON|OFF", value_parser = ["on", "off"])]
        pub dns: Option<String>,
        /// The domain of its guests' names
        #[arg(long, value_name = "DOMAIN")]
        pub domain: Option<String>,
        /// What it is, for people; empty takes it away
        #[arg(long, value_name = "TEXT", num_args = 0..=1, default_missing_value = "")]
        pub about: Option<String>,
    }
    "network-define" Host Change Admin -> reply::NetworkChanged,
    POSITIONAL = &["name"],
    EXAMPLES = &[("network define lan mode=isolated", "from now on its guests reach each other alone")],
}

declare! {
    /// Take a network away that no machine is on
    NetworkDelete {
        /// Its name
        #[arg(long, value_name = "NETWORK")]
        pub name: String,
    }
    "network-delete" Host Destroy Admin -> reply::NetworkChanged,
    POSITIONAL = &["name"],
    ALIASES = &["network-remove"],
    EXAMPLES = &[("network delete lan", "its bridge, its rules, its addresses")],
}
