//! How the driver is to work.

use std::path::PathBuf;

use super::{trimmer::Trimmer, unit::Launcher};
use crate::confine::Users;

/// How the driver is to work. The default is right for hosts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The program; looked for on the PATH if it has no slash.
    pub program: PathBuf,
    /// Who executes the guests.
    pub acceleration: Acceleration,
    /// Who keeps the processes.
    pub keeper: Keeper,
    /// Who bounds their logs.
    pub trimmer: Trimmer,
    /// What bounds a process that systemd starts; without one it is not bounded there.
    pub launcher: Option<Launcher>,
    /// The users of the host that guests are, each one of its own; without any they are the agent's.
    pub users: Option<Users>,
    /// Where machines' folders are: whether files there can be shown as those users' is tried there.
    pub machines: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            program: "qemu-system-x86_64".into(),
            acceleration: Acceleration::Auto,
            keeper: Keeper::Auto,
            trimmer: Trimmer::Task,
            launcher: None,
            users: Some(Users::default()),
            machines: std::env::temp_dir(),
        }
    }
}

/// Who executes the guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceleration {
    /// KVM if it is worth it, else QEMU.
    Auto,
    /// KVM, untried.
    Kvm,
    /// QEMU itself (TCG): slower, anywhere.
    Tcg,
}

/// Who keeps the processes when the agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// A systemd unit each if the agent is one itself and may start others, else nobody.
    Auto,
    /// A transient systemd service for each.
    Systemd,
    /// Nobody: they are processes in groups of their own.
    Nobody,
}
