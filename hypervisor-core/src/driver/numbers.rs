//! What a machine uses, as counters and as of now. Who wants a rate reads twice.

use std::time::Duration;

use async_trait::async_trait;

use super::{DriverError, Launch};

/// What a machine has used since it was started, and what it holds now. Of a machine that was started
/// anew all counters begin at zero again: `running_for` tells.
///
/// What is not known is `None`, or not among the disks and NICs: never zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// For how long its process has lived, pauses included.
    pub running_for: Duration,
    /// Processor time of the whole process: the guest's, and what it costs to run it.
    pub cpu_time: Duration,
    /// Processor time of its virtual processors alone.
    pub vcpu_time: Option<Duration>,
    /// How long its virtual processors were ready to run and had to wait for one of the host's.
    pub steal: Option<Duration>,
    /// Memory of the host it holds, in bytes.
    pub resident_bytes: u64,
    /// What the guest itself says of its memory, when it says anything.
    pub guest_memory: Option<GuestMemory>,
    /// Its disks.
    pub disks: Vec<DiskTraffic>,
    /// Its network interfaces.
    pub nics: Vec<NicTraffic>,
    /// For how long it was held up, where the host counts that for it alone.
    pub pressure: Option<Pressure>,
}

/// A guest's memory by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestMemory {
    /// All it sees, in bytes.
    pub total_bytes: u64,
    /// What its programs could have without anything being swapped out, in bytes.
    pub available_bytes: u64,
}

/// What went to and from a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskTraffic {
    /// Its name in the definition.
    pub name: String,
    /// Bytes the guest has read.
    pub read_bytes: u64,
    /// Bytes the guest has written.
    pub written_bytes: u64,
    /// How often it read.
    pub reads: u64,
    /// How often it wrote.
    pub writes: u64,
}

/// What went through a network interface, as the guest sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicTraffic {
    /// Its name in the definition.
    pub name: String,
    /// Bytes that came in.
    pub received_bytes: u64,
    /// Bytes that went out.
    pub sent_bytes: u64,
}

/// For how long something had to wait: the kernel's pressure stall information, `some`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// For a processor.
    pub cpu: Duration,
    /// For memory.
    pub memory: Duration,
    /// For a disk.
    pub io: Duration,
}

/// What a machine uses.
#[async_trait]
pub trait Numbers: Send + Sync {
    /// Reads the counters of a machine that runs or is paused; changes nothing the guest could notice.
    /// What cannot be had soon is left out, as from a machine that is held still by its snapshot.
    async fn read(&self, launch: &Launch) -> Result<Reading, DriverError>;
}
