//! What is wrong with a definition, in words that say how to mend it.

use std::path::PathBuf;

use super::{Definition, Forward, Mac, Size, Startup};

/// The least memory, in MiB.
pub(super) const MEMORY_MIB_MIN: u64 = 16;
/// The most memory, in MiB: 16 TiB.
pub(super) const MEMORY_MIB_MAX: u64 = 16 * 1024 * 1024;
/// The least memory with which a UEFI starts anything (OVMF; with 128 MiB it shows nothing), in MiB.
pub(super) const UEFI_MIB_MIN: u64 = 256;
/// The most virtual processors.
pub(super) const VCPUS_MAX: u32 = 255;
/// The most disks.
pub(super) const DISKS_MAX: usize = 32;
/// The most NICs.
pub(super) const NICS_MAX: usize = 8;
/// The most rules of a firewall.
pub(super) const RULES_MAX: usize = 64;
/// The ports of a q35's own AHCI controller.
pub(super) const SATA_MAX: usize = 6;
/// The longest command line x86 Linux reads (COMMAND_LINE_SIZE without its end).
pub(super) const CMDLINE_BYTES_MAX: usize = 2047;
/// The longest note.
pub(super) const NOTE_BYTES_MAX: usize = 2000;
/// How much of what was written is repeated in an error.
const QUOTED_CHARS_MAX: usize = 60;

/// Why something cannot be a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// A key or a value that is not known here.
    #[error("line {line}: {what:?} is not known here{}", meant(nearest))]
    Unknown {
        /// What was written.
        what: String,
        /// The one that may be meant.
        nearest: Option<String>,
        /// Where, counted from one.
        line: usize,
    },
    /// It is not TOML, or not of a definition's shape.
    #[error("line {line}: {message}")]
    Toml {
        /// What the parser says.
        message: String,
        /// Where, counted from one.
        line: usize,
    },
    /// More than [`Definition::TOML_BYTES_MAX`].
    #[error("a definition may have at most {} KiB", Definition::TOML_BYTES_MAX / 1024)]
    TooLong,
    /// Too few or too many virtual processors.
    #[error("a machine has 1 to {VCPUS_MAX} virtual processors, not {0}")]
    Vcpus(u32),
    /// Too little or too much memory, in MiB.
    #[error("a machine has 16M to 16T of memory, not {}", shown(*.0))]
    Memory(u64),
    /// More processors than there may be.
    #[error("it has {vcpus} virtual processors, and vcpus_max is {max}: raise that")]
    VcpusOver {
        /// Those it has.
        vcpus: u32,
        /// The most it may have.
        max: u32,
    },
    /// Memory outside of its own range.
    #[error("{} of memory do not fit {what}, which is {}", shown(*.memory_mib), shown(*.bound_mib))]
    MemoryRange {
        /// What it has.
        memory_mib: u64,
        /// Which end of the range.
        what: &'static str,
        /// That end.
        bound_mib: u64,
    },
    /// Less memory than a UEFI needs.
    #[error("a UEFI needs {UEFI_MIB_MIN}M of memory, not {}: give it more, or firmware = \"bios\"", shown(*.0))]
    UefiMemory(u64),
    /// Secure boot, and a kernel that goes round it.
    #[error(
        "a kernel that is booted directly is not checked for its signature: let it boot from a disk, or take \
         firmware = \"uefi\""
    )]
    UncheckedKernel,
    /// More of somebody else's words than anybody starts a machine with.
    #[error("kept is at most 256 lines of at most 4 KiB")]
    Kept,
    /// A number that no processor of a host has.
    #[error("{0} in cpu.pin is no processor of a host")]
    Pin(u32),
    /// It boots by its firmware, and there is nothing to boot from.
    #[error("it boots from its first disk, but has none: give it a disk, or a kernel")]
    NoBootDisk,
    /// Too many disks.
    #[error("a machine has at most {DISKS_MAX} disks, not {0}")]
    Disks(usize),
    /// Too many NICs.
    #[error("a machine has at most {NICS_MAX} NICs, not {0}")]
    Nics(usize),
    /// Too many shared folders.
    #[error("a machine shares at most 8 folders, not {0}")]
    Shares(usize),
    /// Too many devices of the host.
    #[error("a machine is given at most 8 devices of its host, not {0}")]
    Devices(usize),
    /// More PCI devices than there is room for.
    #[error("these are {0} PCI devices more than it has room for: put disks on the bus \"scsi\"")]
    Room(usize),
    /// More disks on SATA than it has ports.
    #[error("it has {SATA_MAX} SATA ports, not {0}: put disks on the bus \"scsi\"")]
    Sata(usize),
    /// A name that cannot be one.
    #[error("{name:?} cannot be the name of a {what}: use 1 to 16 of a-z, 0-9 and -, a letter first")]
    Name {
        /// Of what.
        what: &'static str,
        /// As written.
        name: String,
    },
    /// Two of a kind with one name.
    #[error("two {what}s are called {name:?}")]
    NameTwice {
        /// Of what.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Two devices want to be tried at one place in the boot order.
    #[error("two devices have the boot order {0}")]
    BootOrder(u32),
    /// A CD where none can be, or one that is written to.
    #[error("the CD {name:?} {why}")]
    Cd {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A limit that is none, or that QEMU cannot count.
    #[error("the disk {0:?} has a limit that is no limit: leave it out, or give 1 to 10^15")]
    Limit(String),
    /// The name of no bridge.
    #[error("{0:?} cannot be the name of a bridge: it has 1 to 15 of a-z, A-Z, 0-9, - _ and .")]
    Bridge(String),
    /// One port of the host, twice.
    #[error("the port {0} of the host is forwarded twice")]
    ForwardTwice(Forward),
    /// Two NICs with one address.
    #[error("two NICs have the address {0}")]
    MacTwice(Mac),
    /// What only a network of the host's can do.
    #[error(
        "the NIC {name:?} is not on a network of this host, which {what} needs: \
         put it on one with network=…, or leave {what} out"
    )]
    OnlyOnNetwork {
        /// Its name.
        name: String,
        /// What it cannot have.
        what: &'static str,
    },
    /// Too many rules.
    #[error("a firewall has at most {RULES_MAX} rules, not {0}")]
    Rules(usize),
    /// The name of no processor model.
    #[error("{0:?} cannot be the name of a processor model: see qemu-system-x86_64 -cpu help")]
    CpuModel(String),
    /// Sockets, cores and threads that do not make the number of processors.
    #[error(
        "{sockets} sockets of {cores} cores with {threads} threads are not the {vcpus} virtual processors it has"
    )]
    Topology {
        /// Sockets.
        sockets: u32,
        /// Cores of each.
        cores: u32,
        /// Threads of each of those.
        threads: u32,
        /// What it should come to.
        vcpus: u32,
    },
    /// Keys that are none, or too many.
    #[error("ssh_keys are at most 64 public keys, one line each")]
    SshKeys,
    /// More than goes on the disk for cloud-init.
    #[error("user_data and network have at most 32 KiB each")]
    CloudInit,
    /// A wait that is too long, in seconds.
    #[error("delay_seconds is at most {max}, not {0}", max = Startup::DELAY_SECONDS_MAX)]
    Delay(u32),
    /// A path from nowhere: the agent's working folder is nobody's business.
    #[error("the {what} {path:?} must be a whole path, beginning with /")]
    Relative {
        /// Of what.
        what: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// A path that no file can have here.
    #[error("the path of the {what} is too long, or has control characters in it")]
    OddPath {
        /// Of what.
        what: &'static str,
    },
    /// Two disks would write to one file.
    #[error("{0:?} is a disk of it twice: make both read-only, or leave one out")]
    DiskTwice(PathBuf),
    /// A kernel command line that is too long or has control characters.
    #[error("a kernel command line is one line of at most {CMDLINE_BYTES_MAX} bytes")]
    Cmdline,
    /// A note that is too long or has control characters.
    #[error("a note has at most {NOTE_BYTES_MAX} bytes, and no control characters but line ends")]
    Note,
}

fn meant(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|nearest| format!("; is {nearest:?} meant?")).unwrap_or_default()
}

fn shown(mib: u64) -> String {
    Size::from_mib(mib).map_or_else(|_| format!("{mib} MiB"), |size| size.to_string())
}

impl DefinitionError {
    /// The key that is wrong, where it is one: for a form's field.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            DefinitionError::Vcpus(_) | DefinitionError::VcpusOver { .. } => Some("vcpus"),
            DefinitionError::Memory(_)
            | DefinitionError::MemoryRange { .. }
            | DefinitionError::UefiMemory(_) => Some("memory"),
            DefinitionError::Cmdline => Some("cmdline"),
            DefinitionError::Note => Some("note"),
            DefinitionError::NoBootDisk
            | DefinitionError::Disks(_)
            | DefinitionError::DiskTwice(_)
            | DefinitionError::Room(_)
            | DefinitionError::Sata(_)
            | DefinitionError::Cd { .. }
            | DefinitionError::Limit(_) => Some("disks"),
            DefinitionError::Nics(_)
            | DefinitionError::Bridge(_)
            | DefinitionError::ForwardTwice(_)
            | DefinitionError::OnlyOnNetwork { .. }
            | DefinitionError::MacTwice(_) => Some("nics"),
            DefinitionError::Rules(_) => Some("firewall"),
            DefinitionError::Relative { what, .. } | DefinitionError::OddPath { what } => Some(what),
            DefinitionError::Unknown { .. }
            | DefinitionError::Toml { .. }
            | DefinitionError::TooLong
            | DefinitionError::Name { .. }
            | DefinitionError::NameTwice { .. }
            | DefinitionError::BootOrder(_)
            | DefinitionError::CpuModel(_)
            | DefinitionError::Topology { .. }
            | DefinitionError::SshKeys
            | DefinitionError::Kept
            | DefinitionError::UncheckedKernel
            | DefinitionError::Shares(_)
            | DefinitionError::Devices(_)
            | DefinitionError::Pin(_)
            | DefinitionError::Delay(_)
            | DefinitionError::CloudInit => None,
        }
    }

    /// What serde says of a key or a value that is not known names it, and those that are.
    pub(super) fn reading(text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let message = error.message();
        let unknown = message.strip_prefix("unknown field `").or(message.strip_prefix("unknown variant `"));
        match unknown.and_then(|rest| rest.split_once("`, expected ")) {
            Some((what, known)) => {
                let nearest = known
                    .split('`')
                    .skip(1)
                    .step_by(2)
                    .map(|known| (strsim::jaro_winkler(what, known), known))
                    .max_by(|(one, _), (other, _)| one.total_cmp(other))
                    .filter(|(likeness, _)| *likeness > 0.75)
                    .map(|(_, known)| known.to_owned());
                Self::Unknown { what: quoted(what), nearest, line }
            }
            None => Self::Toml { message: quoted(message), line },
        }
    }
}

fn quoted(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut quoted: String = line.chars().take(2 * QUOTED_CHARS_MAX).collect();
    if quoted.len() < line.len() {
        quoted.push('…');
    }
    quoted
}
