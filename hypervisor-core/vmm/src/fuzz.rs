//! What a fuzzer feeds the monitor with, and what has to hold whatever it makes up: see `scripts/fuzz`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs::File,
    io::Write,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
};

use crate::{
    boot::{Boot, load},
    control::Ask,
    memory,
    plan::Plan,
    unpack::unpack,
    virtio::{
        Virtio,
        block::{Block, Raw},
        driver::Driver,
        entropy::Entropy,
        hostile,
        net::Net,
    },
};

fn scratch(bytes: &[u8]) -> File {
    let name = rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(name);
    file.write_all(bytes).unwrap();
    file
}

/// A disk that can be written, one that cannot, random numbers, a NIC without a wire.
pub(crate) fn devices() -> Vec<Box<dyn Virtio>> {
    let raw = |bytes: usize| Box::new(Raw::new(scratch(&vec![0; bytes])).unwrap());
    let (_, tap) = UnixDatagram::pair().unwrap();
    tap.set_nonblocking(true).unwrap();
    vec![
        Box::new(Block::new(raw(1 << 20), false, "")),
        Box::new(Block::new(raw(512), true, "")),
        Box::new(Entropy),
        Box::new(Net::new(File::from(OwnedFd::from(tap)), [2; 6])),
    ]
}

/// Whatever a guest's driver does with registers, queues and memory, a device answers or stops.
pub fn virtio(data: &[u8]) {
    let [which, rest @ ..] = data else { return };
    let mut all = devices();
    let mut device = Driver::idle(all.swap_remove(*which as usize % all.len()));
    let step = |bytes: &[u8]| {
        let place = u64::from_le_bytes(bytes[1..9].try_into().unwrap());
        (bytes[0], place, u32::from_le_bytes(bytes[9..].try_into().unwrap()))
    };
    let steps: Vec<_> = rest.chunks_exact(13).map(step).collect();
    hostile::drive(&mut device, &steps);
}

/// A kernel of any bytes is put into the guest's memory, or refused.
pub fn kernel(data: &[u8]) {
    let memory = memory::make(32 << 20).unwrap();
    let kernel = scratch(data);
    let _ = load(&memory, &Boot { kernel: &kernel, initrd: None, command_line: "quiet" });
    let _ = unpack(data);
}

/// A plan or a word of the control socket is read the same when it was written again, or refused.
pub fn control(data: &[u8]) {
    if let Ok(ask) = serde_json::from_slice::<Ask>(data) {
        let again = serde_json::to_vec(&ask).unwrap();
        assert_eq!(serde_json::from_slice::<Ask>(&again).unwrap(), ask);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(plan) = Plan::read(text) {
        let again = serde_json::to_string(&plan).unwrap();
        assert_eq!(Plan::read(&again).unwrap(), plan);
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn virtio() {
        replay("virtio", super::virtio, 2000);
    }

    #[test]
    fn kernel() {
        replay("kernel", super::kernel, 500);
    }

    #[test]
    fn control() {
        replay("control", super::control, 2000);
    }
}
