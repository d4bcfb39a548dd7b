//! Devices, driven as a guest drives them, and as none should.
#![allow(clippy::unwrap_used)]

use std::{
    fs::File,
    io::Write,
    os::{
        fd::OwnedFd,
        unix::{fs::FileExt, net::UnixDatagram},
    },
};

use proptest::prelude::*;
use virtio_bindings::{virtio_blk::*, virtio_mmio::*, virtio_net::VIRTIO_NET_F_MRG_RXBUF};

use super::{
    block::{Block, Raw},
    driver::Driver,
    entropy::Entropy,
    net::{HEADER, Net},
};

fn disk(bytes: &[u8], read_only: bool) -> (File, Driver) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let raw = Raw::new(file.try_clone().unwrap()).unwrap();
    (file, Driver::begin(Box::new(Block::new(Box::new(raw), read_only, "web1-disk0")), 0))
}

fn header(kind: u32, sector: u64) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(sector.to_le_bytes());
    bytes
}

const DONE: u8 = VIRTIO_BLK_S_OK as u8;
const FAILED: u8 = VIRTIO_BLK_S_IOERR as u8;
const UNKNOWN: u8 = VIRTIO_BLK_S_UNSUPP as u8;

#[test]
fn a_driver_finds_a_device_and_nothing_of_version_one() {
    let (_, mut disk) = disk(&[0; 4096], false);
    let seen = [VIRTIO_MMIO_MAGIC_VALUE, VIRTIO_MMIO_VERSION, VIRTIO_MMIO_DEVICE_ID].map(|at| disk.read(at));
    assert_eq!(seen, [0x7472_6976, 2, 2]);
    assert_eq!((disk.read(VIRTIO_MMIO_CONFIG), disk.read(VIRTIO_MMIO_CONFIG + 4)), (8, 0), "sectors");
    assert_eq!(disk.read(VIRTIO_MMIO_CONFIG + 0xe00), 0, "behind its configuration");
    disk.write(VIRTIO_MMIO_STATUS, 0);
    assert_eq!(disk.read(VIRTIO_MMIO_STATUS), 0);
    // A driver that does not know version 1 is not taken (6.1).
    disk.write(VIRTIO_MMIO_STATUS, 3);
    disk.write(VIRTIO_MMIO_STATUS, 11);
    assert_eq!(disk.read(VIRTIO_MMIO_STATUS), 3);
}

#[test]
fn sectors_are_written_and_read_again_and_the_driver_is_told() {
    let (file, mut disk) = disk(&[0; 1 << 16], false);
    let text = [b'x'; 1024];
    assert_eq!(disk.ask(0, &[&header(VIRTIO_BLK_T_OUT, 3), &text], &[1]).unwrap(), [DONE]);
    assert!(disk.was_interrupted());
    let mut on_disk = [0; 1026];
    file.read_exact_at(&mut on_disk, 3 * 512 - 1).unwrap();
    assert_eq!((on_disk[0], &on_disk[1..1025], on_disk[1025]), (0, &text[..], 0));
    let read = disk.ask(0, &[&header(VIRTIO_BLK_T_IN, 3)], &[512, 512, 1]).unwrap();
    assert_eq!((&read[..1024], read[1024]), (&text[..], DONE));
    assert_eq!(disk.ask(0, &[&header(VIRTIO_BLK_T_FLUSH, 0)], &[1]).unwrap(), [DONE]);
    let name = disk.ask(0, &[&header(VIRTIO_BLK_T_GET_ID, 0)], &[20, 1]).unwrap();
    assert_eq!(&name[..11], b"web1-disk0\0");
    assert_eq!(disk.ask(0, &[&header(77, 0)], &[1]).unwrap(), [UNKNOWN]);
}

#[test]
fn what_is_thrown_away_reads_as_zero_and_needs_no_place() {
    let (file, mut disk) = disk(&[1; 1 << 18], false);
    let mut extent = 8_u64.to_le_bytes().to_vec();
    extent.extend(256_u32.to_le_bytes());
    extent.extend(0_u32.to_le_bytes());
    for kind in [VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_DISCARD] {
        assert_eq!(disk.ask(0, &[&header(kind, 0), &extent], &[1]).unwrap(), [DONE]);
    }
    let mut bytes = vec![7; 1 << 18];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes[4096..4096 + 131_072].iter().all(|byte| *byte == 0));
    assert!(bytes[..4096].iter().chain(&bytes[4096 + 131_072..]).all(|byte| *byte == 1));
    use std::os::unix::fs::MetadataExt;
    assert!(file.metadata().unwrap().blocks() * 512 <= (1 << 18) - 131_072);
}

#[test]
fn nothing_outside_of_a_disk_is_reached_and_nothing_of_one_that_is_only_read_is_changed() {
    let (file, mut disk) = disk(&[5; 4096], false);
    let far = [(8, 512), (7, 1024), (u64::MAX, 512), (u64::MAX / 512, 512), (0, 500)];
    for (sector, length) in far {
        let bytes = vec![9; length];
        let out = disk.ask(0, &[&header(VIRTIO_BLK_T_OUT, sector), &bytes], &[1]).unwrap();
        assert_eq!(out, [FAILED], "{sector} {length}");
        let read = disk.ask(0, &[&header(VIRTIO_BLK_T_IN, sector)], &[length as u32, 1]).unwrap();
        assert_eq!(read.len(), 1, "{sector} {length}");
    }
    assert!(!disk.is_broken(), "a wrong sector is a driver's to handle");
    assert_eq!(file.metadata().unwrap().len(), 4096);
    let (file, mut disk) = self::disk(&[5; 4096], true);
    for kind in [VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES] {
        assert_eq!(disk.ask(0, &[&header(kind, 0), &[0; 512]], &[1]).unwrap(), [FAILED]);
    }
    let mut bytes = [0; 4096];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, [5; 4096]);
}

#[test]
fn a_request_that_makes_no_sense_stops_the_device_until_it_is_reset() {
    for (given, room) in [(&[&[0_u8; 16][..]][..], &[][..]), (&[&[0_u8; 7][..]][..], &[1][..])] {
        let (_, mut disk) = disk(&[0; 4096], false);
        assert_eq!(disk.ask(0, given, room), None);
        assert!(disk.is_broken());
        assert!(disk.was_interrupted());
        assert_eq!(disk.ask(0, &[&header(VIRTIO_BLK_T_FLUSH, 0)], &[1]), None, "it does nothing more");
        disk.write(VIRTIO_MMIO_STATUS, 0);
        assert!(!disk.is_broken());
    }
}

#[test]
fn random_numbers_are_given_as_asked_and_differ() {
    let mut entropy = Driver::begin(Box::new(Entropy), 0);
    let one = entropy.ask(0, &[], &[64]).unwrap();
    let other = entropy.ask(0, &[], &[64]).unwrap();
    assert_eq!((one.len(), other.len()), (64, 64));
    assert_ne!(one, other);
}

/// A wire: what is sent to one end is received by the other, packet by packet.
fn nic(without: u64) -> (UnixDatagram, Driver) {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    ours.set_nonblocking(true).unwrap();
    let tap = File::from(OwnedFd::from(theirs));
    (ours, Driver::begin(Box::new(Net::new(tap, [2, 0, 0, 0, 0, 7])), without))
}

#[test]
fn packets_go_both_ways_and_one_without_room_waits_for_it() {
    let (wire, mut nic) = nic(0);
    assert_eq!(nic.read(VIRTIO_MMIO_CONFIG), 2);
    let packet: Vec<u8> = (0..100).map(|byte| byte as u8).collect();
    let mut framed = vec![0; HEADER];
    framed.extend(&packet);
    nic.ask(1, &[&framed], &[]).unwrap();
    let mut got = [0; 200];
    assert_eq!(wire.recv(&mut got).unwrap(), HEADER + 100);
    assert_eq!(got[..HEADER + 100], framed[..]);
    wire.send(&framed).unwrap();
    nic.transport.ready(0);
    assert_eq!(nic.answer(0, 0), None, "there is no room yet");
    let received = nic.ask(0, &[], &[1526]).unwrap();
    assert_eq!((received.len(), received[10], &received[HEADER..]), (HEADER + 100, 1, &packet[..]));
}

#[test]
fn a_large_packet_takes_several_buffers_and_says_how_many() {
    let (wire, mut nic) = nic(0);
    let mut framed = vec![0; HEADER];
    framed.extend((0..2000).map(|byte| byte as u8));
    for _ in 0..3 {
        nic.put(0, &[], &[1024]);
    }
    wire.send(&framed).unwrap();
    nic.transport.ready(0);
    let first = nic.answer(0, 0).unwrap();
    assert_eq!((first.len(), first[10], &first[HEADER..]), (1024, 2, &framed[HEADER..1024]));
    assert_eq!(nic.answer(0, 0).unwrap(), framed[1024..]);
    assert_eq!(nic.answer(0, 0), None);
    // A driver that does not merge gives room for the largest; one that gave less has no such device.
    let (wire, mut nic) = self::nic(1 << VIRTIO_NET_F_MRG_RXBUF);
    nic.put(0, &[], &[1024]);
    wire.send(&framed).unwrap();
    nic.transport.ready(0);
    assert!(nic.is_broken());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]

    /// The whole life of a device with a driver that is mad.
    #[test]
    fn whatever_a_driver_does_a_device_answers_or_stops(
        seeds in proptest::collection::vec(any::<(u8, u64, u32)>(), 1..600),
    ) {
        for mut device in crate::fuzz::devices().into_iter().map(Driver::idle) {
            super::hostile::drive(&mut device, &seeds);
        }
    }
}
