//! What a kernel entered by PVH finds ([the ABI](https://xenbits.xen.org/docs/unstable/misc/pvh.html)).

use linux_loader::{
    configurator::{BootConfigurator, BootParams, pvh::PvhBootConfigurator},
    loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info},
};
use vm_memory::GuestAddress;

use super::{Initrd, map};
use crate::{
    error::{Error, Result},
    layout,
    memory::GuestMemory,
};

/// `XEN_HVM_START_MAGIC_VALUE`.
const MAGIC: u32 = 0x336e_c578;
/// What Xen calls memory, and what is kept (those of E820).
const USABLE: u32 = 1;
const RESERVED: u32 = 2;

pub(super) fn write(memory: &GuestMemory, initrd: Initrd) -> Result<()> {
    let modules = layout::START_INFO + size_of::<hvm_start_info>() as u64;
    let table = modules + size_of::<hvm_modlist_entry>() as u64;
    let entry = |(addr, size, usable): (u64, u64, bool)| hvm_memmap_table_entry {
        addr,
        size,
        type_: if usable { USABLE } else { RESERVED },
        reserved: 0,
    };
    let map: Vec<_> = map(memory).into_iter().filter(|(_, length, _)| *length > 0).map(entry).collect();
    let info = hvm_start_info {
        magic: MAGIC,
        version: 1,
        nr_modules: u32::from(initrd.length > 0),
        modlist_paddr: if initrd.length > 0 { modules } else { 0 },
        cmdline_paddr: layout::COMMAND_LINE,
        rsdp_paddr: layout::ACPI,
        memmap_paddr: table,
        memmap_entries: map.len() as u32,
        ..Default::default()
    };
    let module = hvm_modlist_entry { paddr: initrd.at, size: initrd.length, ..Default::default() };
    let mut parameters = BootParams::new(&info, GuestAddress(layout::START_INFO));
    parameters.set_modules(&[module], GuestAddress(modules));
    parameters.set_sections(&map, GuestAddress(table));
    PvhBootConfigurator::write_bootparams(&parameters, memory)
        .map_err(Error::at("what the kernel starts with"))
}
