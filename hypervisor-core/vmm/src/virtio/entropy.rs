//! Random numbers for the guest (section 5.4): the host's.

use std::io::Write;

use rustix::rand::{GetRandomFlags, getrandom};
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

use super::{Broken, Sound, Virtio, ring::Ring};

/// Bytes for one request: a guest that wants more asks again.
const AT_ONCE: usize = 4096;

/// The device.
#[derive(Debug)]
pub struct Entropy;

impl Virtio for Entropy {
    fn kind(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> &[u16] {
        &[64]
    }

    fn configuration(&self) -> &[u8] {
        &[]
    }

    fn serve(&mut self, which: usize, rings: &mut [Ring]) -> Sound<()> {
        rings[which].serve(|mut request| {
            let mut bytes = [0; AT_ONCE];
            let wanted = request.writer.available_bytes().min(AT_ONCE);
            // The system gives up to 256 bytes whole, and may be interrupted in more.
            let count = getrandom(&mut bytes[..wanted], GetRandomFlags::empty()).map_err(|_| Broken)?;
            request.writer.write_all(&bytes[..count]).map_err(|_| Broken)?;
            Ok(count as u32)
        })
    }
}
