//! A machine is made: what it has, in the steps in which a form asks for it.

use crate::reply::Changed;

/// The steps.
const FROM: &str = "Name and image";
const HARDWARE: &str = "Processors and memory";
const DISKS: &str = "Disks";
const NETWORKS: &str = "Networks";
const WHAT: &str = "What it is";

declare! {
    /// Create a machine
    Create {
        /// Its name
        #[arg(long, value_name = "NAME", help_heading = FROM)]
        pub name: String,
        /// The image it starts from (see: image list)
        #[arg(long, value_name = "IMAGE", help_heading = FROM)]
        pub image: String,
        /// Memory, such as 512M or 2G
        #[arg(long, value_name = "SIZE", default_value = "512M", help_heading = HARDWARE)]
        pub memory: String,
        /// Number of virtual processors
        #[arg(long, value_name = "N", default_value = "1", help_heading = HARDWARE)]
        pub vcpus: u32,
        /// What starts it
        #[arg(long, value_name = "FIRMWARE", default_value = "bios", help_heading = HARDWARE)]
        pub firmware: Firmware,
        /// The driver that runs it; chosen by the host when not given (see: drivers)
        #[arg(long, value_name = "DRIVER", help_heading = HARDWARE)]
        pub driver: Option<String>,
        /// How large its disk is, such as 20G; as large as its image when not given
        #[arg(long, value_name = "SIZE", help_heading = DISKS)]
        pub size: Option<String>,
        /// Copy the image whole, instead of keeping only what differs from it
        #[arg(long, help_heading = DISKS)]
        pub full: bool,
        /// A further, empty disk, such as 20G or data,20G
        #[arg(long, value_name = "DISK", num_args = 1.., help_heading = DISKS)]
        pub disk: Vec<String>,
        /// The network it is on (see: network list); when not given, guests reach out and nobody reaches them
        #[arg(long, value_name = "NETWORK", help_heading = NETWORKS)]
        pub network: Option<String>,
        /// More of a NIC, such as forward=2222:22, or a further one, such as net2,network=lan
        #[arg(long, value_name = "NIC", num_args = 1.., help_heading = NETWORKS)]
        pub nic: Vec<String>,
        /// A note for people
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = WHAT)]
        pub note: Option<String>,
        /// Start it at once
        #[arg(long, help_heading = WHAT)]
        pub start: bool,
    }
    "create" Host Change Admin -> Changed,
    POSITIONAL = &["name", "image"],
    ALIASES = &["new"],
    EXAMPLES = &[
        ("create web1 linux", "a machine from the image linux"),
        ("create web1 image=linux memory=1G vcpus=2 --start", "and more exactly"),
        ("create web1 linux disk=data,20G nic=forward=2222:22", "with a further disk, and a port of the host"),
    ],
}

/// What starts a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// A PC BIOS
    Bios,
    /// UEFI
    Uefi,
    /// UEFI that starts only what is signed
    SecureBoot,
}
