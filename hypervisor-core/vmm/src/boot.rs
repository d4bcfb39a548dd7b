//! A kernel into a guest's memory, with its initial file system and its command line.
//!
//! Three ways in: an uncompressed kernel is mapped and entered by PVH, where its notes say how, and else in
//! 64-bit mode; a `bzImage` unpacks itself, which is most of a boot, so that it is better unpacked beforehand
//! ([`crate::unpack`]).

use std::fs::File;

use linux_loader::loader::{BzImage, KernelLoader};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use self::elf::{Elf, Segment};
use crate::{
    devices::power,
    error::{Error, Result},
    layout,
    memory::{self, GuestMemory, PAGE},
};

pub mod elf;
mod linux;
mod pvh;
#[cfg(test)]
mod tests;

/// How the first processor is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// In 32-bit mode, without pages, with `hvm_start_info` at [`layout::START_INFO`].
    Pvh(u32),
    /// In 64-bit mode, with `boot_params` at [`layout::ZERO_PAGE`].
    Long(u64),
}

/// What is booted.
#[derive(Debug)]
pub struct Boot<'a> {
    /// The kernel.
    pub kernel: &'a File,
    /// Its initial file system.
    pub initrd: Option<&'a File>,
    /// Its command line.
    pub command_line: &'a str,
}

/// Where the initial file system is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Initrd {
    at: u64,
    length: u64,
}

/// What of the address space is memory that a kernel may use, and what is kept: start, length, whether
/// usable.
fn map(memory: &GuestMemory) -> Vec<(u64, u64, bool)> {
    let mut map = vec![(0, layout::LOW_END, true), (layout::ACPI, layout::HIGH - layout::ACPI, false)];
    for region in memory.iter() {
        let start = vm_memory::Address::raw_value(&vm_memory::GuestMemoryRegion::start_addr(region));
        let end = start + vm_memory::GuestMemoryRegion::len(region);
        let start = start.max(layout::HIGH);
        map.push((start, end - start, true));
    }
    map
}

/// Puts a kernel's piece in place: whole pages are mapped, what is left at either end is read.
fn place(memory: &GuestMemory, kernel: &File, segment: &Segment) -> Result<()> {
    if segment.at < layout::HIGH || !memory.check_range(GuestAddress(segment.at), segment.in_memory as usize)
    {
        return Err(Error::new("the kernel does not fit into the machine's memory: give it more"));
    }
    let (start, end) = (segment.at, segment.at + segment.in_file);
    let (first, last) = (start.next_multiple_of(PAGE), end / PAGE * PAGE);
    let copy = |from: u64, to: u64| -> Result<()> {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; to.saturating_sub(from) as usize];
        kernel
            .read_exact_at(&mut bytes, segment.offset + (from - start))
            .map_err(Error::at("reading the kernel"))?;
        memory.write_slice(&bytes, GuestAddress(from)).map_err(Error::at("the kernel"))
    };
    if segment.offset % PAGE != start % PAGE || first >= last {
        return copy(start, end);
    }
    copy(start, first)?;
    memory::map(memory, first, kernel, segment.offset + (first - start), last - first)?;
    copy(last, end)
}

/// Puts the initial file system as high as it goes: where the kernel unpacks itself to is far below.
fn initrd(memory: &GuestMemory, file: Option<&File>) -> Result<Initrd> {
    use vm_memory::GuestMemoryRegion;
    let Some(file) = file else { return Ok(Initrd::default()) };
    let length = file.metadata().map_err(Error::at("the initial file system"))?.len();
    let below = memory.iter().next().map_or(0, |region| region.len());
    let at = below.checked_sub(length.next_multiple_of(PAGE)).map(|at| at / PAGE * PAGE);
    let at = at.filter(|at| *at >= layout::HIGH * 2);
    let at =
        at.ok_or_else(|| Error::new("the initial file system does not fit into the machine's memory"))?;
    let whole = length / PAGE * PAGE;
    if whole > 0 {
        memory::map(memory, at, file, 0, whole)?;
    }
    let mut rest = vec![0; (length - whole) as usize];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut rest, whole)
        .map_err(Error::at("the initial file system"))?;
    memory.write_slice(&rest, GuestAddress(at + whole)).map_err(Error::at("the initial file system"))?;
    Ok(Initrd { at, length })
}

/// All that there is of a BIOS: `mov dx, port; mov al, RESET; out dx, al; hlt`, in real mode. Linux reboots a
/// machine whose ACPI is hardware-reduced by EFI, and where there is none by jumping to a BIOS: nothing else
/// is tried.
fn reset_vector() -> [u8; 9] {
    let port = (layout::SLEEP_PORT + power::RESETS) as u16;
    let [low, high] = port.to_le_bytes();
    [0xba, low, high, 0xb0, power::RESET, 0xee, 0xf4, 0xeb, 0xfd]
}

/// Puts all of it into memory that nothing has written to yet.
///
/// # Errors
/// When it does not fit; when the kernel is none that can be started here; when a file cannot be read.
pub fn load(memory: &GuestMemory, boot: &Boot<'_>) -> Result<Entry> {
    let line = boot.command_line.as_bytes();
    if line.len() >= layout::COMMAND_LINE_MAX || line.contains(&0) {
        return Err(Error::new("the kernel's command line is too long"));
    }
    memory.write_slice(line, GuestAddress(layout::COMMAND_LINE)).map_err(Error::at("the command line"))?;
    memory.write_slice(&reset_vector(), GuestAddress(layout::RESET_VECTOR)).map_err(Error::at("the BIOS"))?;
    if let Some(elf) = Elf::read(boot.kernel)? {
        for segment in &elf.segments {
            place(memory, boot.kernel, segment)?;
        }
        let initrd = initrd(memory, boot.initrd)?;
        if let Some(entry) = elf.pvh_entry {
            pvh::write(memory, initrd)?;
            return Ok(Entry::Pvh(entry));
        }
        linux::write(memory, None, initrd, line.len())?;
        return Ok(Entry::Long(elf.entry));
    }
    let mut kernel = boot.kernel;
    let high = Some(GuestAddress(layout::HIGH));
    let loaded = BzImage::load(memory, None, &mut kernel, high)
        .map_err(Error::at("the kernel is neither an ELF file nor a bzImage that can be loaded"))?;
    let initrd = initrd(memory, boot.initrd)?;
    linux::write(memory, loaded.setup_header, initrd, line.len())?;
    // The 64-bit entry of the boot protocol, from its version 2.12 on.
    Ok(Entry::Long(loaded.kernel_load.0 + 0x200))
}
