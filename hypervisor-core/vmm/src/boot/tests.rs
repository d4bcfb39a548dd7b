//! Kernels, good and broken.
#![allow(clippy::unwrap_used)]

use std::{fs::File, io::Write};

use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress};

use super::{Boot, Entry, elf::Elf, load};
use crate::{
    layout,
    memory::{self, GuestMemory},
};

const MEMORY: u64 = 64 << 20;

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// An ELF file with one segment, which lies `skew` bytes from where its page begins, and perhaps PVH's note.
fn kernel(at: u64, content: &[u8], in_memory: u64, skew: u64, entry: Option<u32>) -> Vec<u8> {
    let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let start = 0x1000 + skew;
    let mut note = Vec::new();
    if let Some(entry) = entry {
        note.extend([4_u32, 4, 18].iter().flat_map(|word| word.to_le_bytes()));
        note.extend(b"Xen\0");
        note.extend(entry.to_le_bytes());
    }
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    elf.extend(words(&[0x100_0000, 64, 0]));
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
    let length = content.len() as u64;
    elf.extend(words(&[1 | 7 << 32, start, at, at, length, in_memory, 0x1000]));
    elf.extend(words(&[4, start + length, 0, 0, note.len() as u64, note.len() as u64, 4]));
    elf.resize(start as usize, 0xee);
    elf.extend(content);
    elf.extend(note);
    elf
}

fn boot(kernel: &[u8], initrd: Option<&[u8]>, line: &str) -> (GuestMemory, crate::error::Result<Entry>) {
    let memory = memory::make(MEMORY).unwrap();
    let (kernel, initrd) = (file(kernel), initrd.map(file));
    let boot = Boot { kernel: &kernel, initrd: initrd.as_ref(), command_line: line };
    let entry = load(&memory, &boot);
    (memory, entry)
}

fn read(memory: &GuestMemory, at: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    memory.read_slice(&mut bytes, GuestAddress(at)).unwrap();
    bytes
}

#[test]
fn a_kernel_is_where_it_wants_to_be_byte_for_byte_however_it_lies() {
    let content: Vec<u8> = (0..20_000_u32).map(|byte| (byte % 251) as u8).collect();
    for (at, skew) in [(0x100_0000, 0), (0x100_0123, 0x123), (0x100_0123, 0x10), (0x100_0fff, 0xfff)] {
        let image = kernel(at, &content, 30_000, skew, Some(0x100_0040));
        let (memory, entry) = boot(&image, None, "quiet");
        assert_eq!(entry.unwrap(), Entry::Pvh(0x100_0040));
        assert_eq!(read(&memory, at, content.len()), content, "{at:#x} {skew:#x}");
        assert_eq!(read(&memory, at - 1, 1), [0]);
        assert_eq!(read(&memory, at + 20_000, 10_000), [0; 10_000]);
        assert_eq!(read(&memory, layout::COMMAND_LINE, 6), b"quiet\0");
    }
}

#[test]
fn without_a_note_it_is_entered_in_64_bit_mode_with_pages_that_map_it() {
    let (memory, entry) = boot(&kernel(0x100_0000, &[0x90; 64], 64, 0, None), None, "");
    assert_eq!(entry.unwrap(), Entry::Long(0x100_0000));
    let word = |at: u64| u64::from_le_bytes(read(&memory, at, 8).try_into().unwrap());
    let (upper, lower) = (word(layout::PAGE_TABLES) & !0xfff, word(layout::PAGE_TABLES + 0x1000) & !0xfff);
    assert_eq!((upper, lower), (layout::PAGE_TABLES + 0x1000, layout::PAGE_TABLES + 0x2000));
    assert_eq!(word(lower + 8 * 8), 0x100_0000 | 0x83);
    assert_eq!(read(&memory, layout::ZERO_PAGE + 0x202, 4), b"HdrS");
    assert_eq!(word(layout::ZERO_PAGE + 0x70), layout::ACPI);
}

#[test]
fn its_initial_file_system_is_at_the_end_of_the_memory_and_named() {
    let initrd: Vec<u8> = (0..10_000_u32).map(|byte| (byte % 13) as u8).collect();
    let image = kernel(0x100_0000, &[0x90; 64], 64, 0, Some(0x100_0000));
    let (memory, entry) = boot(&image, Some(&initrd), "");
    entry.unwrap();
    let word = |at: u64| u64::from_le_bytes(read(&memory, at, 8).try_into().unwrap());
    let module = word(layout::START_INFO + 16);
    let (at, length) = (word(module), word(module + 8));
    assert_eq!((at, length), (MEMORY - 0x3000, 10_000));
    assert_eq!(read(&memory, at, 10_000), initrd);
    let (_, entry) = boot(&image, Some(&vec![1; MEMORY as usize]), "");
    assert!(entry.unwrap_err().to_string().contains("does not fit"));
}

#[test]
fn what_cannot_be_a_kernel_is_refused_in_words() {
    let fits = kernel(0x100_0000, &[0x90; 64], 64, 0, Some(0x100_0000));
    let mut other = fits.clone();
    other[18] = 183;
    let cases = [
        (b"nothing at all".to_vec(), "neither an ELF file nor a bzImage"),
        (other, "not for x86-64"),
        (fits[..100].to_vec(), "reading the kernel"),
        (kernel(0x100_0000, &[0x90; 64], 10, 0, None), "larger than its place"),
        (kernel(0x8_0000, &[0x90; 64], 64, 0, None), "does not fit"),
        (kernel(MEMORY - 32, &[0x90; 64], 64, 0, None), "does not fit"),
        (kernel(u64::MAX - 10, &[0x90; 64], 64, 0, None), "not in the file"),
        (kernel(0xd000_0000, &[0x90; 64], 64, 0, None), "does not fit"),
    ];
    for (image, why) in cases {
        let error = boot(&image, None, "").1.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(boot(&fits, None, &"x".repeat(1 << 16)).1.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is in the header of a file, it is read, refused, or taken within the guest's memory.
    #[test]
    fn a_header_of_anything_is_taken_or_refused(
        changes in proptest::collection::vec((0_usize..0x1100, any::<u8>()), 0..12),
    ) {
        let mut image = kernel(0x100_0000, &[0x90; 64], 64, 0, Some(0x100_0000));
        for (at, byte) in changes {
            let at = at % image.len();
            image[at] = byte;
        }
        let _ = Elf::read(&file(&image));
        let _ = boot(&image, None, "").1;
    }
}
