//! Disks (section 5.2): whole sectors, read, written, written out, thrown away.
//!
//! A disk has a thread of its own, which does one request after the other: what waits for the disk holds up
//! neither processors nor other devices.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::FileExt,
};

use rustix::fs::{FallocateFlags, fallocate};
use virtio_bindings::{virtio_blk::*, virtio_ids::VIRTIO_ID_BLOCK};
use vm_memory::{ByteValued, Le32, Le64};

use super::{
    Broken, Sound, Virtio,
    ring::{Request, Ring},
};
use crate::error::{Error, Result};

/// Bytes of a sector, whatever the disk's own are.
pub const SECTOR: u64 = 512;
/// Descriptors of one request: what is read or written may lie in so many pieces.
const SEGMENTS_MAX: u32 = 126;
/// Requests that wait.
const QUEUE: u16 = 256;
/// Bytes read or written by one system call.
const PIECE: usize = 64 << 10;
/// Sectors of one request that throws away, or writes zeroes; and how many of these a request has.
const DISCARD_MAX: u32 = 1 << 22;
const DISCARDS: u32 = 16;
/// Bytes of a disk's name.
const NAME: usize = VIRTIO_BLK_ID_BYTES as usize;

/// What is at the front of a request (5.2.6).
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Header {
    kind: Le32,
    _reserved: Le32,
    sector: Le64,
}

/// What is thrown away, or written with zeroes (5.2.6).
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Extent {
    sector: Le64,
    sectors: Le32,
    flags: Le32,
}

// SAFETY: both are plain numbers without padding between them.
#[allow(unsafe_code)]
unsafe impl ByteValued for Header {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl ByteValued for Extent {}

/// The configuration, as far as it is used (5.2.4): up to and with `write_zeroes_may_unmap`.
fn configuration(sectors: u64) -> Vec<u8> {
    let mut bytes = vec![0; 60];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &sectors.to_le_bytes());
    put(12, &SEGMENTS_MAX.to_le_bytes());
    put(20, &(SECTOR as u32).to_le_bytes());
    put(36, &DISCARD_MAX.to_le_bytes());
    put(40, &DISCARDS.to_le_bytes());
    put(44, &8_u32.to_le_bytes());
    put(48, &DISCARD_MAX.to_le_bytes());
    put(52, &DISCARDS.to_le_bytes());
    put(56, &[1]);
    bytes
}

/// What a disk's bytes are in.
pub trait Backend: Send {
    /// Bytes it has.
    fn length(&self) -> u64;
    /// Fills these from there on.
    fn read(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// Puts these there.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// What was written is there for good when this returns.
    fn flush(&mut self) -> io::Result<()>;
    /// So many bytes read as zero from now on, and need no place if they can do without.
    fn clear(&mut self, at: u64, length: u64, unmap: bool) -> io::Result<()>;
}

/// A file, or a device, that is the disk byte for byte.
#[derive(Debug)]
pub struct Raw {
    file: File,
    length: u64,
}

impl Raw {
    /// This file.
    ///
    /// # Errors
    /// When its length cannot be found.
    pub fn new(mut file: File) -> Result<Self> {
        // A block device says no length but where its end is.
        let length = io::Seek::seek(&mut file, io::SeekFrom::End(0)).map_err(Error::at("a disk"))?;
        Ok(Self { file, length })
    }
}

impl Backend for Raw {
    fn length(&self) -> u64 {
        self.length
    }

    fn read(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn clear(&mut self, at: u64, length: u64, unmap: bool) -> io::Result<()> {
        let how = if unmap { FallocateFlags::PUNCH_HOLE } else { FallocateFlags::ZERO_RANGE };
        let quick = fallocate(&self.file, how | FallocateFlags::KEEP_SIZE, at, length);
        if quick.is_ok() {
            return Ok(());
        }
        let zeroes = vec![0; PIECE];
        let mut done = 0;
        while done < length {
            let piece = (length - done).min(PIECE as u64);
            self.file.write_all_at(&zeroes[..piece as usize], at + done)?;
            done += piece;
        }
        Ok(())
    }
}

/// The device.
pub struct Block {
    backend: Box<dyn Backend>,
    configuration: Vec<u8>,
    read_only: bool,
    name: [u8; NAME],
    buffer: Vec<u8>,
}

/// How a request ended, in the word its driver reads.
enum End {
    Done,
    Failed,
    Unknown,
}

impl Block {
    /// A disk; `name` is what guests find it by (`/dev/disk/by-id/virtio-…`), its first 20 bytes.
    pub fn new(backend: Box<dyn Backend>, read_only: bool, name: &str) -> Self {
        let mut id = [0; NAME];
        id.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        let configuration = configuration(backend.length() / SECTOR);
        Self { backend, configuration, read_only, name: id, buffer: vec![0; PIECE] }
    }

    /// Where so many bytes from a sector on begin, if the disk has them all.
    fn place(&self, sector: u64, length: u64) -> Option<u64> {
        let at = sector.checked_mul(SECTOR)?;
        let end = at.checked_add(length)?;
        (length.is_multiple_of(SECTOR) && end <= self.backend.length() / SECTOR * SECTOR).then_some(at)
    }

    fn read(&mut self, sector: u64, to: &mut virtio_queue::Writer<'_>) -> io::Result<End> {
        let Some(mut at) = self.place(sector, to.available_bytes() as u64) else { return Ok(End::Failed) };
        while to.available_bytes() > 0 {
            let piece = to.available_bytes().min(PIECE);
            self.backend.read(at, &mut self.buffer[..piece])?;
            to.write_all(&self.buffer[..piece])?;
            at += piece as u64;
        }
        Ok(End::Done)
    }

    fn write(&mut self, sector: u64, from: &mut virtio_queue::Reader<'_>) -> io::Result<End> {
        let Some(mut at) = self.place(sector, from.available_bytes() as u64) else { return Ok(End::Failed) };
        while from.available_bytes() > 0 {
            let piece = from.available_bytes().min(PIECE);
            from.read_exact(&mut self.buffer[..piece])?;
            self.backend.write(at, &self.buffer[..piece])?;
            at += piece as u64;
        }
        Ok(End::Done)
    }

    fn clear(&mut self, from: &mut virtio_queue::Reader<'_>, discard: bool) -> io::Result<End> {
        let extents = from.available_bytes() / size_of::<Extent>();
        if !from.available_bytes().is_multiple_of(size_of::<Extent>()) || extents > DISCARDS as usize {
            return Ok(End::Failed);
        }
        for _ in 0..extents {
            let extent: Extent = from.read_obj()?;
            let sectors = extent.sectors.to_native();
            let length = u64::from(sectors) * SECTOR;
            let place = self.place(extent.sector.to_native(), length);
            let (Some(at), true) = (place, sectors <= DISCARD_MAX) else { return Ok(End::Failed) };
            if length > 0 {
                self.backend.clear(at, length, discard || extent.flags.to_native() & 1 != 0)?;
            }
        }
        Ok(End::Done)
    }

    /// Does a request: how many bytes were written for it.
    fn request(&mut self, request: Request<'_>) -> Sound<u32> {
        let Request { mut reader, writer: mut answer } = request;
        let header: Header = reader.read_obj().map_err(|_| Broken)?;
        // The last byte is for how it ended (5.2.6).
        let room = answer.available_bytes().checked_sub(1).ok_or(Broken)?;
        let mut status = answer.split_at(room).map_err(|_| Broken)?;
        let sector = header.sector.to_native();
        let kind = header.kind.to_native();
        let writes = matches!(kind, VIRTIO_BLK_T_OUT | VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES);
        let end = match kind {
            _ if writes && self.read_only => Ok(End::Failed),
            VIRTIO_BLK_T_IN => self.read(sector, &mut answer),
            VIRTIO_BLK_T_OUT => self.write(sector, &mut reader),
            VIRTIO_BLK_T_FLUSH => self.backend.flush().map(|()| End::Done),
            VIRTIO_BLK_T_DISCARD => self.clear(&mut reader, true),
            VIRTIO_BLK_T_WRITE_ZEROES => self.clear(&mut reader, false),
            VIRTIO_BLK_T_GET_ID if room >= NAME => answer.write_all(&self.name).map(|()| End::Done),
            _ => Ok(End::Unknown),
        };
        let word = match end {
            Ok(End::Done) => VIRTIO_BLK_S_OK,
            Ok(End::Failed) | Err(_) => VIRTIO_BLK_S_IOERR,
            Ok(End::Unknown) => VIRTIO_BLK_S_UNSUPP,
        };
        let written = answer.bytes_written() as u32;
        status.write_all(&[word as u8]).map_err(|_| Broken)?;
        Ok(written + 1)
    }
}

impl Virtio for Block {
    fn kind(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        let offered = [VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH];
        let writes = [VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES];
        let more: &[u32] = if self.read_only { &[VIRTIO_BLK_F_RO] } else { &writes };
        offered.iter().chain(more).fold(0, |all, feature| all | 1 << feature)
    }

    fn queues(&self) -> &[u16] {
        &[QUEUE]
    }

    fn configuration(&self) -> &[u8] {
        &self.configuration
    }

    fn serve(&mut self, which: usize, rings: &mut [Ring]) -> Sound<()> {
        rings[which].serve(|request| self.request(request))
    }
}
