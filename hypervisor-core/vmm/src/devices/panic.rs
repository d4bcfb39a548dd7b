//! Where a guest's kernel tells that it panicked (QEMU's docs/specs/pvpanic): what waits on it need not
//! guess.

use std::sync::Arc;

use crate::{
    bus::Device,
    ending::{Ending, Endings},
};

/// That it panicked, and does nothing about it itself.
const PANICKED: u8 = 1;

/// The port.
pub struct Panic(pub Arc<Endings>);

impl Device for Panic {
    fn read(&mut self, _: u64, bytes: &mut [u8]) {
        bytes.fill(PANICKED);
    }

    fn write(&mut self, _: u64, bytes: &[u8]) {
        if bytes.first().is_some_and(|byte| byte & PANICKED != 0) {
            self.0.tell(Ending::Panicked);
        }
    }
}
