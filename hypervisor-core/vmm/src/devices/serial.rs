//! The serial port: a 16550A, whose bytes go to whoever keeps them, and come from whoever types.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use vm_superio::{Serial, Trigger, serial::SerialEvents};
use vmm_sys_util::eventfd::EventFd;

use crate::{bus::Device, console::Screen};

/// Raises the port's interrupt.
struct Interrupt(EventFd);

impl Trigger for Interrupt {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// Tells that there is room again for what is typed.
struct Room(EventFd);

impl SerialEvents for Room {
    fn buffer_read(&self) {}
    fn out_byte(&self) {}
    fn tx_lost_byte(&self) {}

    fn in_buffer_empty(&self) {
        // Told already, if it is full.
        let _ = self.0.write(1);
    }
}

/// The port, for the guest and for whoever types.
#[derive(Clone)]
pub struct Port(Arc<Mutex<Serial<Interrupt, Room, Screen>>>);

impl Port {
    /// A port whose bytes go to `screen`; `room` is told when the guest has read all that was typed.
    pub fn new(interrupt: EventFd, room: EventFd, screen: Screen) -> Self {
        Self(Arc::new(Mutex::new(Serial::with_events(Interrupt(interrupt), Room(room), screen))))
    }

    /// Types as much of this as there is room for; how many bytes that was.
    pub fn type_in(&self, bytes: &[u8]) -> usize {
        let mut port = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = port.fifo_capacity().min(bytes.len());
        // A port in loopback takes nothing.
        port.enqueue_raw_bytes(&bytes[..count]).unwrap_or(0)
    }
}

impl Device for Port {
    fn read(&mut self, offset: u64, bytes: &mut [u8]) {
        if let [byte] = bytes {
            *byte = self.0.lock().unwrap_or_else(PoisonError::into_inner).read(offset as u8);
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        if let [byte] = bytes {
            // What fails is an interrupt nobody waits for, or a console nobody keeps: the guest goes on.
            let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write(offset as u8, *byte);
        }
    }
}
