//! Who answers at which address.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

/// What answers at some addresses. Whatever it is asked, by whichever size: guests ask anything.
pub trait Device: Send {
    /// Fills what is read at so many bytes from its first address.
    fn read(&mut self, offset: u64, bytes: &mut [u8]);
    /// Takes what is written there.
    fn write(&mut self, offset: u64, bytes: &[u8]);
}

/// A device that several threads reach.
pub type Shared = Arc<Mutex<dyn Device>>;

/// All devices of one address space, which do not change while a machine runs.
#[derive(Default)]
pub struct Bus {
    devices: Vec<(Range<u64>, Shared)>,
}

impl Bus {
    /// Puts a device at some addresses that nobody has.
    pub fn put(&mut self, at: u64, length: u64, device: Shared) {
        let place = self.devices.partition_point(|(range, _)| range.start < at);
        debug_assert!(self.devices[..place].last().is_none_or(|(range, _)| range.end <= at));
        debug_assert!(self.devices[place..].first().is_none_or(|(range, _)| at + length <= range.start));
        self.devices.insert(place, (at..at + length, device));
    }

    fn at(&self, address: u64) -> Option<(u64, &Shared)> {
        let place = self.devices.partition_point(|(range, _)| range.end <= address);
        let (range, device) = self.devices.get(place)?;
        Some((address.checked_sub(range.start)?, device))
    }

    /// Reads. Where nobody is, all bits are set, as on a bus without a device.
    pub fn read(&self, address: u64, bytes: &mut [u8]) {
        bytes.fill(0xff);
        if let Some((offset, device)) = self.at(address) {
            device.lock().unwrap_or_else(PoisonError::into_inner).read(offset, bytes);
        }
    }

    /// Writes; to nobody, where nobody is.
    pub fn write(&self, address: u64, bytes: &[u8]) {
        if let Some((offset, device)) = self.at(address) {
            device.lock().unwrap_or_else(PoisonError::into_inner).write(offset, bytes);
        }
    }
}

/// The two address spaces of a PC.
#[derive(Clone)]
pub struct Buses {
    /// Ports.
    pub ports: Arc<Bus>,
    /// Addresses that are no memory.
    pub memory: Arc<Bus>,
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo(u8);
    impl Device for Echo {
        fn read(&mut self, offset: u64, bytes: &mut [u8]) {
            bytes.fill(self.0 + offset as u8);
        }
        fn write(&mut self, _: u64, bytes: &[u8]) {
            self.0 = bytes.first().copied().unwrap_or_default();
        }
    }

    #[test]
    fn each_address_has_its_device_and_the_others_nobody() {
        let mut bus = Bus::default();
        bus.put(0x20, 4, Arc::new(Mutex::new(Echo(1))));
        bus.put(0x10, 8, Arc::new(Mutex::new(Echo(100))));
        bus.write(0x23, &[50]);
        bus.write(0x18, &[7]);
        let read = |at| {
            let mut byte = [0];
            bus.read(at, &mut byte);
            byte[0]
        };
        let seen = [0xf, 0x10, 0x17, 0x18, 0x1f, 0x20, 0x23, 0x24, u64::MAX].map(read);
        assert_eq!(seen, [0xff, 100, 107, 0xff, 0xff, 50, 53, 0xff, 0xff]);
    }
}
