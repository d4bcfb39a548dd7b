//! What fake guests use: as much of everything as they are busy.

use std::time::Duration;

use super::{FakeWorld, faults::born_busy, world::held};
use crate::{
    definition::Definition,
    driver::{
        DriverError, Launch,
        numbers::{DiskTraffic, GuestMemory, NicTraffic, Reading},
    },
    machine::MachineId,
};

/// How busy a guest is that nobody ordered to be otherwise: a tenth.
pub(super) const IDLE_PERCENT: u32 = 10;
/// Of what it does in a second while it is wholly busy, in bytes: it reads this much from each disk …
const READ_BYTES_PER_MS: u64 = 10_000;
/// … writes this much to it …
const WRITTEN_BYTES_PER_MS: u64 = 4000;
/// … hears this much from each network …
const RECEIVED_BYTES_PER_MS: u64 = 2000;
/// … and says so much there.
const SENT_BYTES_PER_MS: u64 = 500;
/// Bytes of one read or write.
const BLOCK_BYTES: u64 = 4096;

/// How busy a guest is, and has been in this run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    /// Of each of its processors; `None` until it was asked for.
    percent: Option<u32>,
    /// Up to when it is counted in `busy_ms`, by the world's clock.
    counted_ms: u64,
    /// For how long one processor was busy.
    busy_ms: u64,
}

impl Work {
    /// Counts up to now.
    fn count(&mut self, born_ms: u64, now_ms: u64) {
        let since = self.counted_ms.max(born_ms);
        let percent = u64::from(self.percent.unwrap_or(IDLE_PERCENT));
        self.busy_ms += now_ms.saturating_sub(since) * percent / 100;
        self.counted_ms = now_ms;
    }

    /// One that begins: as busy as it was ordered to be from the beginning.
    pub(super) fn begun(definition: &Definition) -> Self {
        Self { percent: born_busy(definition), ..Self::default() }
    }
}

impl FakeWorld {
    /// From now on this guest is so busy.
    pub(super) fn set_busy(&self, id: MachineId, percent: u32) {
        let now_ms = self.0.clock.now_ms();
        let mut inside = held(&self.0.inside);
        if let Ok(guest) = inside.on(id) {
            guest.work.count(guest.born_ms, now_ms);
            guest.work.percent = Some(percent.min(100));
        }
    }

    pub(super) fn read_numbers(&self, launch: &Launch) -> Result<Reading, DriverError> {
        let now_ms = self.0.clock.now_ms();
        let mut inside = held(&self.0.inside);
        let guest = inside.on(launch.id)?;
        guest.work.count(guest.born_ms, now_ms);
        let busy_ms = guest.work.busy_ms;
        let vcpu_time = Duration::from_millis(busy_ms) * launch.definition.vcpus;
        let total_bytes = guest.memory_mib << 20;
        let percent = u64::from(guest.work.percent.unwrap_or(IDLE_PERCENT));
        let disk = |name: &String| DiskTraffic {
            name: name.clone(),
            read_bytes: busy_ms * READ_BYTES_PER_MS,
            written_bytes: busy_ms * WRITTEN_BYTES_PER_MS,
            reads: busy_ms * READ_BYTES_PER_MS / BLOCK_BYTES,
            writes: busy_ms * WRITTEN_BYTES_PER_MS / BLOCK_BYTES,
        };
        let nics = launch.definition.nics.iter().map(|nic| NicTraffic {
            name: nic.name.clone(),
            received_bytes: busy_ms * RECEIVED_BYTES_PER_MS,
            sent_bytes: busy_ms * SENT_BYTES_PER_MS,
        });
        Ok(Reading {
            running_for: Duration::from_millis(now_ms.saturating_sub(guest.born_ms)),
            cpu_time: vcpu_time,
            vcpu_time: Some(vcpu_time),
            steal: Some(vcpu_time / 100),
            resident_bytes: total_bytes,
            guest_memory: Some(GuestMemory {
                total_bytes,
                available_bytes: total_bytes / 100 * (100 - percent),
            }),
            disks: guest.disks.iter().map(disk).collect(),
            nics: nics.collect(),
            pressure: None,
        })
    }
}
