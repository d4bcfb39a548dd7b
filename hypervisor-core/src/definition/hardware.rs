//! What a machine is besides its memory, disks and NICs: processor, firmware, watchdog, first settings.

use serde::{Deserialize, Serialize};

/// What starts a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// A PC BIOS.
    #[default]
    Bios,
    /// UEFI; what it remembers is kept in the machine's folder.
    Uefi,
    /// UEFI that starts only what is signed.
    SecureBoot,
}

impl Firmware {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Firmware::Bios => "bios",
            Firmware::Uefi => "uefi",
            Firmware::SecureBoot => "secure-boot",
        }
    }

    /// Whether it is a UEFI.
    pub const fn is_uefi(self) -> bool {
        matches!(self, Firmware::Uefi | Firmware::SecureBoot)
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The processor as a guest sees it; what is left out is as the host has it, one socket of single cores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// QEMU's name of a model. Left out: the host's own under KVM, all that QEMU knows without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sockets: Option<u32>,
    /// Cores of a socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Threads of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Processors of the host that its own run on: the first on the first, and round again. Left out,
    /// wherever there is room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pin: Vec<u32>,
}

impl Cpu {
    /// Sockets, cores of each and threads of each of those, where any of it is said; what of it is
    /// not said is one, but for cores, of which there are as many as it takes.
    pub fn topology(&self, vcpus: u32) -> Option<(u32, u32, u32)> {
        let Self { sockets, cores, threads, .. } = self;
        sockets.or(*cores).or(*threads)?;
        let (sockets, threads) = (sockets.unwrap_or(1), threads.unwrap_or(1));
        let each = sockets.saturating_mul(threads).max(1);
        Some((sockets, cores.unwrap_or(vcpus / each), threads))
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a watchdog does when the guest has not fed it: an Intel 6300ESB, which Linux and Windows know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watchdog {
    /// Resets the machine.
    Reset,
    /// Cuts its power.
    Poweroff,
    /// Holds it still, to be looked at.
    Pause,
}

impl Watchdog {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Watchdog::Reset => "reset",
            Watchdog::Poweroff => "poweroff",
            Watchdog::Pause => "pause",
        }
    }
}

/// What cloud-init in the guest is told at its first start, on a small disk labelled `cidata`. Who may
/// see the definition sees it: no place for secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudInit {
    /// Public keys, a line each, of those who may log in as the image's usual user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
    /// `user-data`, as it is: `#cloud-config` or a script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// `network-config`, as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}
