//! What runs in the guest to do there what is asked from outside. All it says is the guest's word.

use std::{net::IpAddr, time::Duration};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::DriverError;
use crate::machine::MachineId;

/// The most of a command's output that is kept, in bytes: of each kind.
pub const OUTPUT_BYTES_MAX: usize = 256 << 10;
/// The most that a command is given to read, in bytes.
pub const INPUT_BYTES_MAX: usize = 64 << 10;
/// The most of a file that is read or written at once, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// The most addresses that are taken from a guest.
pub const ADDRESSES_MAX: usize = 64;

/// How often it is asked whether a command has ended: at first, and at most.
const ASK_FIRST: Duration = Duration::from_millis(20);
const ASK_LATER: Duration = Duration::from_secs(1);

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

/// A part of a file in the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilePart {
    /// What is there.
    pub bytes: Vec<u8>,
    /// Whether it goes to the end of the file.
    pub ends: bool,
}

/// What a guest says of itself. Each of it may be missing; what is there is bounded, and hostile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestSeen {
    /// The version of its agent.
    pub agent: Option<String>,
    /// Its system: `Debian GNU/Linux 12 (bookworm)`.
    pub os: Option<String>,
    /// The release of its kernel.
    pub kernel: Option<String>,
    /// What it calls itself.
    pub hostname: Option<String>,
    /// Its addresses, without those of itself alone; at most [`ADDRESSES_MAX`].
    pub addresses: Vec<GuestAddress>,
}

/// An address a guest has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestAddress {
    /// The address.
    pub address: IpAddr,
    /// What the guest calls the NIC.
    pub nic: String,
    /// The NIC's hardware address, in small letters: by it the machine's own NICs are known.
    pub mac: Option<String>,
}

/// What a guest gave back of its disks. All of it is its word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// How much it does not use, in bytes.
    pub bytes: u64,
    /// How many file systems it went through.
    pub file_systems: u64,
    /// Why it could not go through another one, if there is one.
    pub refused: Option<String>,
}

/// What runs in the guest to do there what is asked from outside.
///
/// [`DriverError::Unfit`] when no agent answers in the guest, or says no.
#[async_trait]
pub trait GuestAgent: Send + Sync {
    /// Whether something in the guest listens. Asks nothing of the guest, so it answers at once; who
    /// listens there may still be silent.
    async fn listens(&self, id: MachineId) -> Result<bool, DriverError>;

    /// Begins a program in the guest, with its arguments and without a shell, and with `input`, at most
    /// [`INPUT_BYTES_MAX`], to read. The number it has there.
    async fn begin(&self, id: MachineId, command: &[String], input: &[u8]) -> Result<i64, DriverError>;

    /// How a program ended that was begun; `None` while it goes on. Once this has answered how, the guest
    /// forgets it.
    async fn ended(&self, id: MachineId, program: i64) -> Result<Option<Ran>, DriverError>;

    /// Waits for the end of a program that was begun. [`DriverError::TimedOut`] when it has not ended after
    /// `limit`: it then goes on in the guest.
    async fn wait(&self, id: MachineId, program: i64, limit: Duration) -> Result<Ran, DriverError> {
        let until = Instant::now() + limit;
        let mut pause = ASK_FIRST;
        loop {
            if let Some(ran) = self.ended(id, program).await? {
                return Ok(ran);
            }
            if Instant::now() + pause > until {
                return Err(DriverError::TimedOut { what: "the command in the guest", limit });
            }
            sleep(pause).await;
            pause = (pause * 2).min(ASK_LATER);
        }
    }

    /// Reads a file in the guest from this byte on, at most so many bytes.
    async fn read(
        &self,
        id: MachineId,
        path: &str,
        from: u64,
        bytes_max: usize,
    ) -> Result<FilePart, DriverError>;

    /// Writes a file in the guest: in the place of what it holds, or after it.
    async fn write(&self, id: MachineId, path: &str, bytes: &[u8], append: bool) -> Result<(), DriverError>;

    /// Gives a user of the guest another password. `hashed`: it is given as its hash, as `crypt` makes it.
    async fn set_password(
        &self,
        id: MachineId,
        user: &str,
        password: &str,
        hashed: bool,
    ) -> Result<(), DriverError>;

    /// Has the guest write down what its file systems hold in memory, and hold still what would write to
    /// them. How many there are. Fine if they were.
    async fn freeze(&self, id: MachineId) -> Result<u64, DriverError>;

    /// Lets them go on. How many were let go. Fine if none was held.
    async fn thaw(&self, id: MachineId) -> Result<u64, DriverError>;

    /// Whether they are held still.
    async fn is_frozen(&self, id: MachineId) -> Result<bool, DriverError>;

    /// Has the guest give back what its file systems do not use. [`DriverError::TimedOut`] when it has not
    /// ended after `limit`: it then goes on in the guest.
    async fn trim(&self, id: MachineId, limit: Duration) -> Result<Trimmed, DriverError>;

    /// What it says of itself, as far as it answers within `limit`.
    async fn describe(&self, id: MachineId, limit: Duration) -> Result<GuestSeen, DriverError>;
}
