//! NICs (section 5.1), over a tap of the host's.
//!
//! The tap has its own header for offloads, the same as virtio's (`IFF_VNET_HDR`, 12 bytes, of the least byte
//! first): packets pass as they are, and what the guest leaves undone (checksums, segments) the host's kernel
//! does.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    os::fd::{AsRawFd, RawFd},
};

use virtio_bindings::{virtio_ids::VIRTIO_ID_NET, virtio_net::*};

use super::{Broken, Sound, Virtio, ring::Ring};

/// Queues: what the guest receives, and what it sends.
const RECEIVED: usize = 0;
const SENT: usize = 1;
/// Packets that wait in each.
const QUEUE: u16 = 256;
/// The header before each packet (5.1.6), with `num_buffers`.
pub const HEADER: usize = 12;
/// Where `num_buffers` is in it.
const BUFFERS: usize = 10;
/// A packet with its header: 64 KiB of segments that are one, with Ethernet's header.
const PACKET_MAX: usize = HEADER + 14 + (64 << 10);
/// Packets that are received before others have their turn.
const TURN: usize = 256;

/// The device.
#[derive(Debug)]
pub struct Net {
    tap: File,
    address: [u8; 6],
    merges: bool,
    packet: Vec<u8>,
    /// Bytes of `packet` that the guest had no room for.
    held: usize,
}

impl Net {
    /// A NIC with this address. The tap does not block, and has headers of [`HEADER`] bytes.
    pub fn new(tap: File, address: [u8; 6]) -> Self {
        Self { tap, address, merges: false, packet: vec![0; PACKET_MAX], held: 0 }
    }

    /// Gives the packet that is held to the guest; `false` when it has no room.
    fn give(&mut self, ring: &mut Ring) -> Sound<bool> {
        let packet = &mut self.packet[..self.held];
        let mut used: Vec<(u16, u32)> = Vec::new();
        let mut at = 0;
        while at < packet.len() {
            let Some((head, mut request)) = ring.take()? else {
                used.iter().for_each(|_| ring.put_back());
                return Ok(false);
            };
            let room = request.writer.available_bytes();
            let piece = room.min(packet.len() - at);
            if piece == 0 || at == 0 && room < HEADER || piece < packet.len() - at && !self.merges {
                return Err(Broken);
            }
            request.writer.write_all(&packet[at..at + piece]).map_err(|_| Broken)?;
            used.push((head, piece as u32));
            at += piece;
        }
        // How many buffers it took is known only now, and stands in the first.
        if used.len() > 1 {
            let count = (used.len() as u16).to_le_bytes();
            packet[BUFFERS..BUFFERS + 2].copy_from_slice(&count);
            used.iter().for_each(|_| ring.put_back());
            let (_, mut first) = ring.take()?.ok_or(Broken)?;
            let piece = used[0].1 as usize;
            first.writer.write_all(&packet[..piece]).map_err(|_| Broken)?;
            for _ in 1..used.len() {
                ring.take()?.ok_or(Broken)?;
            }
        }
        for (head, length) in used {
            ring.done(head, length)?;
        }
        self.held = 0;
        Ok(true)
    }

    fn receive(&mut self, ring: &mut Ring) -> Sound<()> {
        for _ in 0..TURN {
            if self.held == 0 {
                match self.tap.read(&mut self.packet) {
                    Ok(count) if count > HEADER => {
                        self.held = count;
                        self.packet[BUFFERS..BUFFERS + 2].copy_from_slice(&1_u16.to_le_bytes());
                    }
                    Ok(_) => continue,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    // Nothing there; or a tap that was taken away, which a guest notices by silence.
                    Err(_) => return ring.tell(),
                }
            }
            if !self.give(ring)? && !ring.wait()? {
                return ring.tell();
            }
        }
        // The tap tells of what comes, not of what is left.
        ring.later();
        ring.tell()
    }

    fn send(&mut self, ring: &mut Ring) -> Sound<()> {
        let (tap, mut packet) = (&mut self.tap, [0; PACKET_MAX]);
        ring.serve(|mut request| {
            let length = request.reader.available_bytes();
            if !(HEADER..=PACKET_MAX).contains(&length) {
                return Err(Broken);
            }
            request.reader.read_exact(&mut packet[..length]).map_err(|_| Broken)?;
            // A packet that the host does not take is lost, as on a wire.
            let _ = tap.write(&packet[..length]);
            Ok(0)
        })
    }
}

impl Virtio for Net {
    fn kind(&self) -> u32 {
        VIRTIO_ID_NET
    }

    fn features(&self) -> u64 {
        [
            VIRTIO_NET_F_MAC,
            VIRTIO_NET_F_MRG_RXBUF,
            VIRTIO_NET_F_CSUM,
            VIRTIO_NET_F_GUEST_CSUM,
            VIRTIO_NET_F_HOST_TSO4,
            VIRTIO_NET_F_HOST_TSO6,
            VIRTIO_NET_F_GUEST_TSO4,
            VIRTIO_NET_F_GUEST_TSO6,
        ]
        .iter()
        .fold(0, |all, feature| all | 1 << feature)
    }

    fn queues(&self) -> &[u16] {
        &[QUEUE, QUEUE]
    }

    fn configuration(&self) -> &[u8] {
        &self.address
    }

    fn begin(&mut self, _: &crate::memory::GuestMemory, features: u64) {
        self.merges = features & 1 << VIRTIO_NET_F_MRG_RXBUF != 0;
    }

    fn serve(&mut self, which: usize, rings: &mut [Ring]) -> Sound<()> {
        match which {
            RECEIVED => self.receive(&mut rings[RECEIVED]),
            _ => self.send(&mut rings[SENT]),
        }
    }

    fn sources(&self) -> Vec<RawFd> {
        vec![self.tap.as_raw_fd()]
    }

    fn ready(&mut self, _: usize, rings: &mut [Ring]) -> Sound<()> {
        rings.get_mut(RECEIVED).map_or(Ok(()), |ring| self.receive(ring))
    }

    fn reset(&mut self) {
        self.held = 0;
        self.merges = false;
    }
}
