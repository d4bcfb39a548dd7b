//! Virtio devices ([virtio 1.2](https://docs.oasis-open.org/virtio/virtio/v1.2/virtio-v1.2.html)).
//!
//! A device ([`Virtio`]) knows its requests; its [`transport`] knows the guest's driver; a [`ring::Ring`] is
//! the one way to what the driver has put into a queue. All three take whatever is there for hostile: a queue
//! that makes no sense stops its device ([`Broken`]) until the driver resets it, and nothing else.

use std::os::fd::RawFd;

pub mod block;
#[cfg(any(test, fuzzing))]
pub(crate) mod driver;
pub mod entropy;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
pub mod net;
pub mod ring;
pub mod served;
#[cfg(test)]
mod tests;
pub mod transport;

use self::ring::Ring;
use crate::memory::GuestMemory;

/// What a driver did makes no sense, so its device stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// What may end with a device that stops.
pub type Sound<T> = Result<T, Broken>;

/// A device, without how its driver reaches it.
pub trait Virtio: Send {
    /// Its number among the kinds of devices (section 5).
    fn kind(&self) -> u32;

    /// What it can do; what all can is added by the transport.
    fn features(&self) -> u64;

    /// How many descriptors each of its queues may have: powers of two.
    fn queues(&self) -> &[u16];

    /// Its configuration, as the driver reads it.
    fn configuration(&self) -> &[u8];

    /// The driver has chosen what it wants, and the queues are there.
    fn begin(&mut self, _memory: &GuestMemory, _features: u64) {}

    /// The driver says there is something in a queue.
    ///
    /// # Errors
    /// [`Broken`] when it makes no sense.
    fn serve(&mut self, which: usize, rings: &mut [Ring]) -> Sound<()>;

    /// What else brings it work, told once as it becomes readable.
    fn sources(&self) -> Vec<RawFd> {
        Vec::new()
    }

    /// One of these is readable.
    ///
    /// # Errors
    /// As for [`Virtio::serve`].
    fn ready(&mut self, _source: usize, _rings: &mut [Ring]) -> Sound<()> {
        Ok(())
    }

    /// The driver begins anew.
    fn reset(&mut self) {}
}
