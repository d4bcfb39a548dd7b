//! What the machine tells its guest by ACPI: that the power button was pressed.
//!
//! A register with a bit for each event, and an interrupt; reading it clears it (ACPI 6.5, 5.6.9, the generic
//! event device).

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU8, Ordering},
};

use vmm_sys_util::eventfd::EventFd;

use crate::{
    bus::Device,
    error::{Error, Result},
};

/// The power button.
pub const BUTTON: u8 = 1;
/// The machine is a copy: what was random is so no more.
pub const COPIED: u8 = 2;

/// The register.
#[derive(Clone)]
pub struct Events {
    happened: Arc<AtomicU8>,
    interrupt: Arc<Mutex<EventFd>>,
}

impl Events {
    /// With what raises its interrupt.
    pub fn new(interrupt: EventFd) -> Self {
        Self { happened: Arc::default(), interrupt: Arc::new(Mutex::new(interrupt)) }
    }

    /// Tells the guest.
    ///
    /// # Errors
    /// When the interrupt cannot be raised.
    pub fn happen(&self, what: u8) -> Result<()> {
        self.happened.fetch_or(what, Ordering::SeqCst);
        let interrupt = self.interrupt.lock().unwrap_or_else(PoisonError::into_inner);
        interrupt.write(1).map_err(Error::at("the interrupt of the power button"))
    }
}

impl Device for Events {
    fn read(&mut self, _: u64, bytes: &mut [u8]) {
        bytes.fill(0);
        if let Some(first) = bytes.first_mut() {
            *first = self.happened.swap(0, Ordering::SeqCst);
        }
    }

    fn write(&mut self, _: u64, _: &[u8]) {}
}
