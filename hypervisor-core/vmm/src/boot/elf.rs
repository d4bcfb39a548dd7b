//! The little of ELF that a kernel needs: where its pieces go, and where it wants to be entered.
//!
//! [ELF-64 object file format](https://uclibc.org/docs/elf-64-gen.pdf);
//! the note is [PVH's](https://xenbits.xen.org/docs/unstable/misc/pvh.html).

use std::{fs::File, os::unix::fs::FileExt};

use crate::error::{Error, Result};

/// How the header begins: 64 bits, least byte first, version 1.
const MAGIC: [u8; 7] = [0x7f, b'E', b'L', b'F', 2, 1, 1];
const HEADER: usize = 64;
const SEGMENT: usize = 56;
/// Segments that are looked at; kernels have five.
const SEGMENTS_MAX: usize = 64;
const LOAD: u32 = 1;
const NOTE: u32 = 4;
/// Bytes of notes that are looked at; kernels have some hundreds.
const NOTES_MAX: usize = 64 << 10;
/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const PHYS32_ENTRY: u32 = 18;

/// A piece of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it is in the file.
    pub offset: u64,
    /// Where it goes in the guest's memory.
    pub at: u64,
    /// Bytes of it in the file.
    pub in_file: u64,
    /// Bytes of it in memory; those that are not in the file are zero.
    pub in_memory: u64,
}

/// A kernel's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// What is put into memory.
    pub segments: Vec<Segment>,
    /// Where it is entered in 64-bit mode (Linux' `startup_64`), as an address of the guest's memory.
    pub entry: u64,
    /// Where it is entered in 32-bit mode by PVH, when it says.
    pub pvh_entry: Option<u32>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<u64> {
    let piece = at.checked_add(N).and_then(|end| bytes.get(at..end));
    let piece = piece.ok_or_else(|| Error::new("the kernel's ELF header is cut short"))?;
    Ok(piece.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn read(file: &File, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset).map_err(Error::at("reading the kernel"))?;
    Ok(bytes)
}

/// The entry that notes name, if any does.
fn pvh_entry(notes: &[u8]) -> Option<u32> {
    let aligned = |length: u64| usize::try_from(length.checked_next_multiple_of(4)?).ok();
    let mut at = 0_usize;
    loop {
        let name_length = number::<4>(notes, at).ok()?;
        let value_length = number::<4>(notes, at + 4).ok()?;
        let kind = number::<4>(notes, at + 8).ok()?;
        let name = at + 12;
        let value = name.checked_add(aligned(name_length)?)?;
        if kind == u64::from(PHYS32_ENTRY) && notes.get(name..name + 4) == Some(b"Xen\0") {
            // Four bytes or eight: an address below 4 GiB in either case.
            return u32::try_from(if value_length >= 8 {
                number::<8>(notes, value).ok()?
            } else {
                number::<4>(notes, value).ok()?
            })
            .ok();
        }
        at = value.checked_add(aligned(value_length)?)?;
    }
}

impl Elf {
    /// Reads the plan of a kernel. `None` when the file is no ELF.
    ///
    /// # Errors
    /// When it is one that is broken, or not for this processor; when it cannot be read.
    pub fn read(file: &File) -> Result<Option<Self>> {
        let length = file.metadata().map_err(Error::at("the kernel"))?.len();
        if length < HEADER as u64 {
            return Ok(None);
        }
        let header = read(file, 0, HEADER)?;
        if !header.starts_with(&MAGIC) {
            return Ok(None);
        }
        if number::<2>(&header, 18)? != 62 {
            return Err(Error::new("the kernel is not for x86-64"));
        }
        let (table, each) = (number::<8>(&header, 32)?, number::<2>(&header, 54)? as usize);
        let count = number::<2>(&header, 56)? as usize;
        if each != SEGMENT || count > SEGMENTS_MAX {
            return Err(Error::new("the kernel's ELF header has a table of segments that none has"));
        }
        let table = read(file, table, each * count)?;
        let entry = number::<8>(&header, 24)?;
        let mut elf = Elf { segments: Vec::new(), entry, pvh_entry: None };
        for header in table.chunks_exact(SEGMENT) {
            let segment = Segment {
                offset: number::<8>(header, 8)?,
                at: number::<8>(header, 24)?,
                in_file: number::<8>(header, 32)?,
                in_memory: number::<8>(header, 40)?,
            };
            let ends = segment.offset.checked_add(segment.in_file);
            if ends.is_none_or(|end| end > length) || segment.at.checked_add(segment.in_memory).is_none() {
                return Err(Error::new("the kernel's ELF header names what is not in the file"));
            }
            match number::<4>(header, 0)? as u32 {
                LOAD if segment.in_memory < segment.in_file => {
                    return Err(Error::new("the kernel's ELF header has a segment larger than its place"));
                }
                LOAD if segment.in_memory > 0 => elf.segments.push(segment),
                NOTE if segment.in_file <= NOTES_MAX as u64 => {
                    let notes = read(file, segment.offset, segment.in_file as usize)?;
                    elf.pvh_entry = elf.pvh_entry.or(pvh_entry(&notes));
                }
                _ => {}
            }
        }
        if elf.segments.is_empty() {
            return Err(Error::new("the kernel's ELF file has nothing to load"));
        }
        Ok(Some(elf))
    }
}
