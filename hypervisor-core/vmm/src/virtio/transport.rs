//! How a driver reaches its device: registers in memory (section 4.2, virtio over MMIO, version 2).

use virtio_bindings::{
    virtio_config::{
        VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED, VIRTIO_CONFIG_S_FEATURES_OK,
        VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_F_VERSION_1,
    },
    virtio_mmio::*,
    virtio_ring::VIRTIO_RING_F_EVENT_IDX,
    virtio_ring::VIRTIO_RING_F_INDIRECT_DESC,
};
use virtio_queue::{Queue, QueueT};
use vmm_sys_util::eventfd::EventFd;

use super::{
    Broken, Sound, Virtio,
    ring::{Interrupt, Ring},
};
use crate::{
    bus,
    error::{Error, Result},
    memory::GuestMemory,
    wake::wake,
};

/// "virt".
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// "SKRY": who made the device.
const VENDOR: u32 = 0x5952_4b53;
/// Where a device's own configuration begins.
const CONFIGURATION: u64 = 0x100;
/// What any device here can.
const COMMON: u64 = 1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_EVENT_IDX | 1 << VIRTIO_RING_F_INDIRECT_DESC;

const DRIVER_OK: u32 = VIRTIO_CONFIG_S_DRIVER_OK;
const FEATURES_OK: u32 = VIRTIO_CONFIG_S_FEATURES_OK;
const NEEDS_RESET: u32 = VIRTIO_CONFIG_S_NEEDS_RESET;
const FAILED: u32 = VIRTIO_CONFIG_S_FAILED;

/// A device with its registers.
pub struct Transport {
    device: Box<dyn Virtio>,
    memory: GuestMemory,
    interrupt: Interrupt,
    notify: Vec<EventFd>,
    /// As the driver sets them up; taken over by `rings` when it is done.
    queues: Vec<Queue>,
    rings: Vec<Ring>,
    status: u32,
    chosen: u64,
    device_page: u32,
    driver_page: u32,
    selected: u32,
}

impl Transport {
    /// A device whose interrupt is raised by writing to `line`.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(device: Box<dyn Virtio>, memory: &GuestMemory, line: EventFd) -> Result<Self> {
        let mut transport = Self {
            memory: memory.clone(),
            interrupt: Interrupt::new(line),
            notify: device.queues().iter().map(|_| wake()).collect::<Result<_>>()?,
            queues: Vec::new(),
            rings: Vec::new(),
            status: 0,
            chosen: 0,
            device_page: 0,
            driver_page: 0,
            selected: 0,
            device,
        };
        transport.queues = transport.fresh().map_err(Error::at("a queue"))?;
        Ok(transport)
    }

    fn fresh(&self) -> std::result::Result<Vec<Queue>, virtio_queue::Error> {
        self.device.queues().iter().map(|size| Queue::new(*size)).collect()
    }

    /// What a driver writes to when there is something in a queue, one for each.
    pub fn notify(&self) -> &[EventFd] {
        &self.notify
    }

    /// How many descriptors a queue has at most.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn size(&self, queue: usize) -> u16 {
        self.device.queues()[queue]
    }

    /// What else brings the device work.
    pub fn sources(&self) -> Vec<i32> {
        self.device.sources()
    }

    fn offered(&self) -> u64 {
        self.device.features() | COMMON
    }

    fn runs(&self) -> bool {
        self.status & (DRIVER_OK | NEEDS_RESET | FAILED) == DRIVER_OK
    }

    /// The driver has written to a queue's notification.
    pub fn notified(&mut self, which: usize) {
        let _ = self.notify.get(which).map(EventFd::read);
        if self.runs() && which < self.rings.len() {
            let end = self.device.serve(which, &mut self.rings);
            self.stopped(end);
        }
    }

    /// One of the device's sources is readable.
    pub fn ready(&mut self, source: usize) {
        if self.runs() {
            let end = self.device.ready(source, &mut self.rings);
            self.stopped(end);
        }
    }

    fn stopped(&mut self, end: Sound<()>) {
        if end == Err(Broken) {
            self.status |= NEEDS_RESET;
            self.interrupt.changed();
        }
    }

    fn begin(&mut self) {
        let mut begun = Vec::with_capacity(self.queues.len());
        for (queue, notify) in self.queues.iter().zip(&self.notify) {
            let Ok(notify) = notify.try_clone() else { return self.stopped(Err(Broken)) };
            let mut queue = Queue::try_from(queue.state()).unwrap_or_default();
            queue.set_event_idx(self.chosen & 1 << VIRTIO_RING_F_EVENT_IDX != 0);
            // A queue that the driver leaves out is none; one that is nowhere stops the device.
            if !queue.ready() {
                continue;
            }
            match Ring::new(queue, &self.memory, &self.interrupt, notify) {
                Ok(ring) => begun.push(ring),
                Err(broken) => return self.stopped(Err(broken)),
            }
        }
        // Devices know their queues by their places: a gap would move those behind it.
        if begun.len() < self.queues.len() && self.queues[..begun.len()].iter().any(|queue| !queue.ready()) {
            return self.stopped(Err(Broken));
        }
        self.rings = begun;
        self.device.begin(&self.memory, self.chosen);
        for which in 0..self.rings.len() {
            self.rings[which].later();
        }
    }

    fn set_status(&mut self, status: u32) {
        if status == 0 {
            self.device.reset();
            self.rings.clear();
            self.queues = self.fresh().unwrap_or_default();
            self.status = 0;
            self.chosen = 0;
            self.interrupt.acknowledge(u32::MAX);
            return;
        }
        let mut status = status | self.status & NEEDS_RESET;
        let new = status & !self.status;
        if new & FEATURES_OK != 0
            && (self.chosen & !self.offered() != 0 || self.chosen & 1 << VIRTIO_F_VERSION_1 == 0)
        {
            status &= !FEATURES_OK;
        }
        if new & DRIVER_OK != 0 && status & FEATURES_OK == 0 {
            status |= NEEDS_RESET;
        }
        self.status = status;
        if new & DRIVER_OK != 0 && self.runs() {
            self.begin();
        }
    }

    fn register(&self, offset: u64) -> u32 {
        let queue = self.queues.get(self.selected as usize);
        match offset as u32 {
            VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            VIRTIO_MMIO_VERSION => VERSION,
            VIRTIO_MMIO_DEVICE_ID => self.device.kind(),
            VIRTIO_MMIO_VENDOR_ID => VENDOR,
            VIRTIO_MMIO_DEVICE_FEATURES if self.device_page < 2 => {
                (self.offered() >> (32 * self.device_page)) as u32
            }
            VIRTIO_MMIO_QUEUE_NUM_MAX => queue.map_or(0, |queue| u32::from(queue.max_size())),
            VIRTIO_MMIO_QUEUE_READY => queue.map_or(0, |queue| u32::from(queue.ready())),
            VIRTIO_MMIO_INTERRUPT_STATUS => self.interrupt.status(),
            VIRTIO_MMIO_STATUS => self.status,
            // No shared memory: a length of -1.
            VIRTIO_MMIO_SHM_LEN_LOW | VIRTIO_MMIO_SHM_LEN_HIGH => u32::MAX,
            VIRTIO_MMIO_SHM_BASE_LOW | VIRTIO_MMIO_SHM_BASE_HIGH => u32::MAX,
            _ => 0,
        }
    }

    fn set_register(&mut self, offset: u64, value: u32) {
        match offset as u32 {
            VIRTIO_MMIO_DEVICE_FEATURES_SEL => self.device_page = value,
            VIRTIO_MMIO_DRIVER_FEATURES_SEL => self.driver_page = value,
            VIRTIO_MMIO_DRIVER_FEATURES if self.status & FEATURES_OK == 0 && self.driver_page < 2 => {
                let shift = 32 * self.driver_page;
                self.chosen = self.chosen & !(u64::from(u32::MAX) << shift) | u64::from(value) << shift;
            }
            VIRTIO_MMIO_QUEUE_SEL => self.selected = value,
            VIRTIO_MMIO_QUEUE_NOTIFY => {
                // Usually KVM does this, without coming here.
                if let Some(notify) = self.notify.get(value as usize) {
                    let _ = notify.write(1);
                }
            }
            VIRTIO_MMIO_INTERRUPT_ACK => self.interrupt.acknowledge(value),
            VIRTIO_MMIO_STATUS => self.set_status(value & 0xff),
            _ => self.set_queue(offset as u32, value),
        }
    }

    /// Queues are set up between the choice of features and the driver's being there.
    fn set_queue(&mut self, register: u32, value: u32) {
        if self.status & (FEATURES_OK | DRIVER_OK) != FEATURES_OK {
            return;
        }
        let Some(queue) = self.queues.get_mut(self.selected as usize) else { return };
        match register {
            VIRTIO_MMIO_QUEUE_NUM => queue.set_size(u16::try_from(value).unwrap_or(0)),
            VIRTIO_MMIO_QUEUE_READY => queue.set_ready(value == 1),
            VIRTIO_MMIO_QUEUE_DESC_LOW => queue.set_desc_table_address(Some(value), None),
            VIRTIO_MMIO_QUEUE_DESC_HIGH => queue.set_desc_table_address(None, Some(value)),
            VIRTIO_MMIO_QUEUE_AVAIL_LOW => queue.set_avail_ring_address(Some(value), None),
            VIRTIO_MMIO_QUEUE_AVAIL_HIGH => queue.set_avail_ring_address(None, Some(value)),
            VIRTIO_MMIO_QUEUE_USED_LOW => queue.set_used_ring_address(Some(value), None),
            VIRTIO_MMIO_QUEUE_USED_HIGH => queue.set_used_ring_address(None, Some(value)),
            _ => {}
        }
    }
}

impl bus::Device for Transport {
    fn read(&mut self, offset: u64, bytes: &mut [u8]) {
        bytes.fill(0);
        match offset.checked_sub(CONFIGURATION) {
            Some(at) => {
                let own = self.device.configuration().iter().skip(at as usize);
                bytes.iter_mut().zip(own).for_each(|(to, from)| *to = *from);
            }
            // Registers are read and written whole (4.2.2.2).
            None if bytes.len() == 4 && offset.is_multiple_of(4) => {
                bytes.copy_from_slice(&self.register(offset).to_le_bytes());
            }
            None => {}
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        // No device here has a configuration that its driver writes.
        if let (Ok(value), true) =
            (bytes.try_into().map(u32::from_le_bytes), offset < CONFIGURATION && offset.is_multiple_of(4))
        {
            self.set_register(offset, value);
        }
    }
}
