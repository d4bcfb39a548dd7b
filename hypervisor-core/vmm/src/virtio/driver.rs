//! A guest's driver of a device, for tests: it sets up queues, asks, and reads the answers.
#![allow(clippy::unwrap_used)]

use virtio_bindings::{virtio_mmio::*, virtio_ring::VRING_DESC_F_NEXT, virtio_ring::VRING_DESC_F_WRITE};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{Virtio, transport::Transport};
use crate::{
    bus::Device,
    memory::{self, GuestMemory},
};

/// Bytes of the guest's memory.
pub(crate) const MEMORY: u64 = 4 << 20;
/// Where queue `n` is: descriptors, then what is available, then what is used.
const QUEUES: u64 = 0x1_0000;
const EACH: u64 = 0x1_0000;
/// Where requests are.
const REQUESTS: u64 = 0x10_0000;
/// The steps of a driver: I have seen it, I know how, I have chosen, I am here (2.1).
const STEPS: [u32; 4] = [1, 3, 11, 15];

/// A device and its driver.
pub(crate) struct Driver {
    pub(crate) transport: Transport,
    pub(crate) memory: GuestMemory,
    pub(crate) line: EventFd,
    available: Vec<u16>,
    seen: Vec<u16>,
}

impl Driver {
    /// A device nobody has touched.
    pub(crate) fn idle(device: Box<dyn Virtio>) -> Self {
        let memory = memory::make(MEMORY).unwrap();
        let line = EventFd::new(EFD_NONBLOCK).unwrap();
        let queues = device.queues().len();
        let transport = Transport::new(device, &memory, line.try_clone().unwrap()).unwrap();
        Self { transport, memory, line, available: vec![0; queues], seen: vec![0; queues] }
    }

    /// A device that is ready for requests; its driver wants all that is offered but `without`.
    pub(crate) fn begin(device: Box<dyn Virtio>, without: u64) -> Self {
        let mut driver = Self::idle(device);
        driver.set_up(without);
        driver
    }

    /// What a driver does first.
    pub(crate) fn set_up(&mut self, without: u64) {
        self.write(VIRTIO_MMIO_STATUS, STEPS[0]);
        self.write(VIRTIO_MMIO_STATUS, STEPS[1]);
        for page in 0..2 {
            self.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, page);
            self.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, page);
            let offered = self.read(VIRTIO_MMIO_DEVICE_FEATURES);
            self.write(VIRTIO_MMIO_DRIVER_FEATURES, offered & !((without >> (32 * page)) as u32));
        }
        self.write(VIRTIO_MMIO_STATUS, STEPS[2]);
        for queue in 0..self.available.len() as u32 {
            let at = (QUEUES + EACH * u64::from(queue)) as u32;
            self.write(VIRTIO_MMIO_QUEUE_SEL, queue);
            let size = self.read(VIRTIO_MMIO_QUEUE_NUM_MAX);
            self.write(VIRTIO_MMIO_QUEUE_NUM, size);
            self.write(VIRTIO_MMIO_QUEUE_DESC_LOW, at);
            self.write(VIRTIO_MMIO_QUEUE_AVAIL_LOW, at + 0x4000);
            self.write(VIRTIO_MMIO_QUEUE_USED_LOW, at + 0x8000);
            self.write(VIRTIO_MMIO_QUEUE_READY, 1);
        }
        self.write(VIRTIO_MMIO_STATUS, STEPS[3]);
    }

    /// How many queues the device has.
    pub(crate) fn queues(&self) -> usize {
        self.available.len()
    }

    pub(crate) fn read(&mut self, register: u32) -> u32 {
        let mut bytes = [0; 4];
        self.transport.read(u64::from(register), &mut bytes);
        u32::from_le_bytes(bytes)
    }

    pub(crate) fn write(&mut self, register: u32, value: u32) {
        self.transport.write(u64::from(register), &value.to_le_bytes());
    }

    /// Puts a request into a queue: what it gives, and how many bytes of room there are for the answer, in
    /// pieces.
    pub(crate) fn put(&mut self, queue: usize, given: &[&[u8]], room: &[u32]) {
        let table = QUEUES + EACH * queue as u64;
        // One request at a time: its descriptors are the first ones, or those after an earlier one of this
        // batch.
        let first = self.available[queue].wrapping_sub(self.seen[queue]) % 8 * 8;
        let pieces = given.len() + room.len();
        let mut at = REQUESTS + 0x2_0000 * u64::from(first / 8) + 0x10_0000 * queue as u64;
        for piece in 0..pieces {
            let (length, flags) = match given.get(piece) {
                Some(bytes) => {
                    self.memory.write_slice(bytes, GuestAddress(at)).unwrap();
                    (bytes.len() as u32, 0)
                }
                None => (room[piece - given.len()], VRING_DESC_F_WRITE),
            };
            let more = if piece + 1 < pieces { VRING_DESC_F_NEXT } else { 0 };
            let index = first + piece as u16;
            let descriptor = GuestAddress(table + 16 * u64::from(index));
            self.memory.write_obj(at, descriptor).unwrap();
            let rest = u64::from(length) | u64::from(flags | more) << 32 | u64::from(index + 1) << 48;
            self.memory.write_obj(rest, GuestAddress(descriptor.0 + 8)).unwrap();
            at += u64::from(length).next_multiple_of(16);
        }
        let ring = table + 0x4000;
        let place = u64::from(self.available[queue]) % u64::from(self.transport.size(queue));
        self.memory.write_obj(first, GuestAddress(ring + 4 + 2 * place)).unwrap();
        self.available[queue] = self.available[queue].wrapping_add(1);
        self.memory.write_obj(self.available[queue], GuestAddress(ring + 2)).unwrap();
    }

    /// Tells the device, and has it do its work.
    pub(crate) fn kick(&mut self, queue: usize) {
        self.transport.notified(queue);
    }

    /// The next answer: the bytes the device says it wrote, where the first request of a batch has its room,
    /// after so many bytes that were given.
    pub(crate) fn answer(&mut self, queue: usize, given: u64) -> Option<Vec<u8>> {
        let ring = QUEUES + EACH * queue as u64 + 0x8000;
        let used: u16 = self.memory.read_obj(GuestAddress(ring + 2)).unwrap();
        if used == self.seen[queue] {
            return None;
        }
        let place = u64::from(self.seen[queue]) % u64::from(self.transport.size(queue));
        let entry = GuestAddress(ring + 4 + 8 * place);
        let (head, length): (u32, u32) =
            (self.memory.read_obj(entry).unwrap(), self.memory.read_obj(GuestAddress(entry.0 + 4)).unwrap());
        self.seen[queue] = self.seen[queue].wrapping_add(1);
        let at = REQUESTS + 0x2_0000 * u64::from(head / 8) + 0x10_0000 * queue as u64 + given;
        let mut bytes = vec![0; length as usize];
        self.memory.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        Some(bytes)
    }

    /// Asks, and has the answer.
    pub(crate) fn ask(&mut self, queue: usize, given: &[&[u8]], room: &[u32]) -> Option<Vec<u8>> {
        self.put(queue, given, room);
        self.kick(queue);
        let before = given.iter().map(|bytes| (bytes.len() as u64).next_multiple_of(16)).sum();
        self.answer(queue, before)
    }

    /// Whether the device has stopped.
    pub(crate) fn is_broken(&mut self) -> bool {
        self.read(VIRTIO_MMIO_STATUS) & virtio_bindings::virtio_config::VIRTIO_CONFIG_S_NEEDS_RESET != 0
    }

    /// Whether its interrupt was raised since this was asked.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.line.read().is_ok()
    }
}
