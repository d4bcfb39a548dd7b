//! What runs in the guest to do there what is asked from outside. All it says is the guest's word.

use std::time::Duration;

use async_trait::async_trait;

use super::DriverError;
use crate::machine::MachineId;

/// The most of a command's output that is kept, in bytes: of each kind.
pub const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// A command that ran in the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote: the beginning, at most [`OUTPUT_BYTES_MAX`].
    pub output: Vec<u8>,
    /// What it complained of, likewise.
    pub errors: Vec<u8>,
    /// Whether there was more of either.
    pub cut: bool,
}

/// What runs in the guest to do there what is asked from outside.
#[async_trait]
pub trait GuestAgent: Send + Sync {
    /// Runs a program in the guest, with its arguments and without a shell, and waits for its end.
    /// [`DriverError::Unfit`] when no agent answers in the guest, or there is no such program;
    /// [`DriverError::TimedOut`] when it has not ended after `limit`: it then goes on in the guest.
    async fn exec(&self, id: MachineId, command: &[String], limit: Duration) -> Result<Ran, DriverError>;
}
