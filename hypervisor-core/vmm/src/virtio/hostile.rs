//! A driver that does whatever it is told, for tests and for a fuzzer.

use virtio_bindings::virtio_mmio::{VIRTIO_MMIO_QUEUE_NOTIFY, VIRTIO_MMIO_STATUS};
use vm_memory::{Bytes, GuestAddress};

use super::driver::{Driver, MEMORY};
use crate::bus::Device;

/// Does it all: a kind of step, where, and what.
pub(crate) fn drive(driver: &mut Driver, steps: &[(u8, u64, u32)]) {
    for (kind, place, value) in steps {
        let queue = *place as usize % 3;
        match kind % 12 {
            // Registers, whole and in pieces.
            0 => driver.write((*place % 0x200) as u32, *value),
            1 => driver.write((*place % 0x40) as u32 * 4, *value),
            2 => drop(driver.read((*place % 0x1000) as u32)),
            3 => {
                let mut bytes = [0; 8];
                let length = *value as usize % 9;
                driver.transport.read(*place % 0x1000, &mut bytes[..length]);
                driver.transport.write(*place % 0x1000, &bytes[..length]);
            }
            4 => driver.write(VIRTIO_MMIO_STATUS, *value & 0x1f),
            5 => driver.set_up(*place & u64::from(*value)),
            // The memory its queues and requests are in.
            6 | 7 => {
                let at = if kind % 2 == 0 { 0x1_0000 + place % 0x3_0000 } else { place % MEMORY };
                // What lies outside is nobody's.
                let _ = driver.memory.write_obj(*value, GuestAddress(at));
            }
            8 => {
                let bytes = value.to_le_bytes().repeat(1 + *place as usize % 20);
                if queue < driver.queues() {
                    driver.put(queue, &[&bytes], &[value % 5000, 1]);
                }
            }
            9 => driver.write(VIRTIO_MMIO_QUEUE_NOTIFY, *value % 4),
            10 => driver.transport.ready(queue),
            _ => driver.kick(queue),
        }
    }
}
