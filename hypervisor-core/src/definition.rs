//! What a machine is made of.

mod check;
mod device;
mod difference;
mod disk;
mod error;
pub mod firewall;
mod hardware;
mod nic;
mod policy;
mod rate;
mod rule;
mod share;
mod size;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use self::check::{is_device_name, is_interface};
pub use self::{
    device::Device,
    difference::{Difference, Effective, Live, differences},
    disk::{Bus, Cache, Disk, DiskFormat, Limits, Media},
    error::DefinitionError,
    hardware::{CloudInit, Cpu, Firmware, Watchdog},
    nic::{
        Forward, ForwardError, Link, Mac, MacError, Network, Nic, NicModel, NicWordError, Protocol, say_nic,
    },
    policy::{Restart, Startup},
    rate::{Rate, RateError},
    rule::{Carried, Rule, RuleError, Way},
    share::{Share, Via},
    size::{Size, SizeError},
};

/// What a machine is made of. TOML for people, refusing unknown keys: see
/// [`Definition::from_toml`] and [`Definition::check`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Virtual processors, 1 to 255.
    pub vcpus: u32,
    /// To how many that can be raised while it runs; left out, it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus_max: Option<u32>,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// To how much that can be raised while it runs, in MiB; left out, it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max_mib: Option<u64>,
    /// The least that it may be lowered to, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_min_mib: Option<u64>,
    /// Whether its memory is in huge pages of the host, which have to be there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hugepages: bool,
    /// The processor as the guest sees it.
    #[serde(default, skip_serializing_if = "Cpu::is_default")]
    pub cpu: Cpu,
    /// What starts it.
    #[serde(default, skip_serializing_if = "Firmware::is_default")]
    pub firmware: Firmware,
    /// How it starts.
    pub boot: Boot,
    /// Its disks, the first one bootable.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "disk::read")]
    pub disks: Vec<Disk>,
    /// Its network interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nic::read")]
    pub nics: Vec<Nic>,
    /// What may pass between it and the networks it is on, by rules in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firewall: Vec<Rule>,
    /// A screen with a pointer, which can be looked at (VNC on a unix socket, nothing on the network).
    #[serde(default = "yes")]
    pub graphics: bool,
    /// A port for QEMU's guest agent.
    #[serde(default = "yes")]
    pub guest_agent: bool,
    /// A TPM 2.0; what it remembers is kept in the machine's folder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tpm: bool,
    /// Folders of the host that the guest may look into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<Share>,
    /// Devices of the host that it is given, by the names they have there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// What is done when the guest hangs; none is no watchdog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Watchdog>,
    /// What cloud-init in the guest is told at its first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,
    /// Whether it is started again when it ended without being asked to.
    #[serde(default, skip_serializing_if = "Restart::is_default")]
    pub restart: Restart,
    /// Its turn when the host starts.
    #[serde(default, skip_serializing_if = "Startup::is_default")]
    pub startup: Startup,
    /// What somebody else started it with and this definition cannot say, in their program's words. It is
    /// theirs as long as it runs, and never dropped in passing: the machine is not started here before this
    /// is taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How a machine starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "lowercase", deny_unknown_fields)]
pub enum Boot {
    /// A Linux kernel, directly.
    Kernel {
        /// bzImage or vmlinux.
        kernel: PathBuf,
        /// The initial file system.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        initrd: Option<PathBuf>,
        /// The kernel's command line.
        #[serde(default)]
        cmdline: String,
    },
    /// The first disk, by the firmware.
    Disk,
}

impl Definition {
    /// One with the defaults: a screen, a port for the guest agent, no disk, no NIC.
    pub fn new(vcpus: u32, memory_mib: u64, boot: Boot) -> Self {
        Self {
            vcpus,
            vcpus_max: None,
            memory_mib,
            memory_max_mib: None,
            memory_min_mib: None,
            hugepages: false,
            cpu: Cpu::default(),
            firmware: Firmware::default(),
            boot,
            disks: Vec::new(),
            nics: Vec::new(),
            firewall: Vec::new(),
            graphics: true,
            guest_agent: true,
            tpm: false,
            shares: Vec::new(),
            devices: Vec::new(),
            watchdog: None,
            cloud_init: None,
            restart: Restart::default(),
            startup: Startup::default(),
            kept: Vec::new(),
            note: None,
        }
    }

    /// The most memory it can have while it runs, in MiB: with so much it is started.
    pub fn memory_room_mib(&self) -> u64 {
        self.memory_max_mib.unwrap_or(self.memory_mib)
    }

    /// The most virtual processors it can have while it runs.
    pub fn vcpus_room(&self) -> u32 {
        self.vcpus_max.unwrap_or(self.vcpus)
    }

    /// Names the disks and NICs that have no name yet: `disk1`, `disk2` …, `net1` …
    pub fn name_all(&mut self) {
        disk::name(&mut self.disks);
        nic::name(&mut self.nics);
    }

    /// Whether a process beside QEMU reads its memory, as virtiofsd does.
    pub fn shares_memory(&self) -> bool {
        self.shares.iter().any(|share| share.via == Via::Virtiofs)
    }

    /// The disk of this name.
    pub fn disk(&self, name: &str) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.name == name)
    }

    /// The longest definition that is read, in bytes.
    pub const TOML_BYTES_MAX: usize = 64 * 1024;

    /// Reads a definition that a person wrote, and checks it.
    ///
    /// # Errors
    /// What is wrong with it, and where; for a key that is not known, the one that may be meant.
    pub fn from_toml(text: &str) -> Result<Self, DefinitionError> {
        if text.len() > Self::TOML_BYTES_MAX {
            return Err(DefinitionError::TooLong);
        }
        let definition: Self =
            toml::from_str(text).map_err(|error| DefinitionError::reading(text, &error))?;
        definition.check()?;
        Ok(definition)
    }

    /// It as a person would write it; [`Definition::from_toml`] reads it back.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("invariant: a definition has only what TOML can say")
    }
}

fn yes() -> bool {
    true
}

/// Gives those without a name the first free one of `word1`, `word2` …
fn fill_names<T>(word: &str, all: &mut [T], name: fn(&mut T) -> &mut String) {
    let mut taken: Vec<String> = all.iter_mut().map(|one| name(one).clone()).collect();
    for one in all.iter_mut().map(name).filter(|name| name.is_empty()) {
        let free = (1..).map(|n| format!("{word}{n}")).find(|free| !taken.contains(free));
        *one = free.expect("invariant: there are more numbers than devices");
        taken.push(one.clone());
    }
}
