//! What a kernel entered in 64-bit mode finds: the zero page of the
//! [boot protocol](https://docs.kernel.org/arch/x86/boot.html), and pages that map the first GiB as it is.

use linux_loader::{
    configurator::{BootConfigurator, BootParams, linux::LinuxBootConfigurator},
    loader::bootparam::{boot_e820_entry, boot_params, setup_header},
};
use vm_memory::{Bytes, GuestAddress};

use super::{Initrd, map};
use crate::{
    error::{Error, Result},
    layout,
    memory::{GuestMemory, PAGE},
};

/// "HdrS", and the mark of a boot sector.
const HEADER_MAGIC: u32 = 0x5372_6448;
const BOOT_FLAG: u16 = 0xaa55;
/// A loader that has no number of its own.
const LOADER: u8 = 0xff;
const USABLE: u32 = 1;
const RESERVED: u32 = 2;
/// A page's entry that is there and can be written; one of 2 MiB.
const PRESENT: u64 = 0b11;
const LARGE: u64 = 1 << 7;

pub(super) fn write(
    memory: &GuestMemory,
    header: Option<setup_header>,
    initrd: Initrd,
    command_line_length: usize,
) -> Result<()> {
    let mut zero = boot_params { hdr: header.unwrap_or_default(), ..Default::default() };
    zero.acpi_rsdp_addr = layout::ACPI;
    zero.hdr.type_of_loader = LOADER;
    zero.hdr.boot_flag = BOOT_FLAG;
    zero.hdr.header = HEADER_MAGIC;
    zero.hdr.cmd_line_ptr = layout::COMMAND_LINE as u32;
    zero.hdr.cmdline_size = command_line_length as u32;
    zero.hdr.kernel_alignment = zero.hdr.kernel_alignment.max(0x100_0000);
    zero.hdr.ramdisk_image = initrd.at as u32;
    zero.hdr.ramdisk_size = initrd.length as u32;
    let map = map(memory).into_iter().filter(|(_, length, _)| *length > 0);
    for (count, (addr, size, usable)) in map.enumerate() {
        let type_ = if usable { USABLE } else { RESERVED };
        zero.e820_table[count] = boot_e820_entry { addr, size, r#type: type_ };
        zero.e820_entries = count as u8 + 1;
    }
    LinuxBootConfigurator::write_bootparams(&BootParams::new(&zero, GuestAddress(layout::ZERO_PAGE)), memory)
        .map_err(Error::at("what the kernel starts with"))?;
    pages(memory).map_err(Error::at("the kernel's first pages"))
}

fn pages(memory: &GuestMemory) -> Result<(), vm_memory::GuestMemoryError> {
    let (top, upper, lower) =
        (layout::PAGE_TABLES, layout::PAGE_TABLES + PAGE, layout::PAGE_TABLES + 2 * PAGE);
    memory.write_obj(upper | PRESENT, GuestAddress(top))?;
    memory.write_obj(lower | PRESENT, GuestAddress(upper))?;
    for page in 0..512_u64 {
        memory.write_obj((page << 21) | PRESENT | LARGE, GuestAddress(lower + page * 8))?;
    }
    Ok(())
}
