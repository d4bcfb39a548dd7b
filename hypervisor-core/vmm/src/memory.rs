//! A guest's memory.
//!
//! It is the monitor's own, private and unreserved: a page exists once the guest has touched it, and the
//! kernel's image is mapped in place rather than copied, so that guests of one kernel share it until they
//! write to it.

#![allow(unsafe_code)]

use std::{fs::File, os::fd::AsRawFd};

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use crate::{
    error::{Error, Result},
    layout,
};

/// A guest's memory, as vm-memory has it.
pub type GuestMemory = vm_memory::GuestMemoryMmap<()>;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// The pieces of the address space that so many bytes of memory take.
fn pieces(bytes: u64) -> Vec<(GuestAddress, usize)> {
    let below = bytes.min(layout::GAP);
    let mut pieces = vec![(GuestAddress(0), below as usize)];
    if bytes > below {
        pieces.push((GuestAddress(layout::GAP_END), (bytes - below) as usize));
    }
    pieces
}

/// Memory of so many bytes, whole pages.
///
/// # Errors
/// When the host has not got so much address space.
pub fn make(bytes: u64) -> Result<GuestMemory> {
    GuestMemory::from_ranges(&pieces(bytes)).map_err(Error::at("memory for the guest"))
}

/// Tells KVM where the memory is.
///
/// # Errors
/// What KVM says.
pub fn give(memory: &GuestMemory, vm: &VmFd) -> Result<()> {
    for (slot, region) in memory.iter().enumerate() {
        let address = region.get_host_address(vm_memory::MemoryRegionAddress(0));
        let piece = kvm_userspace_memory_region {
            slot: slot as u32,
            flags: 0,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: address.map_err(Error::at("memory of the guest"))? as u64,
        };
        // SAFETY: the region is mapped, and stays so for as long as the machine: both are dropped with it,
        // the machine's KVM first.
        unsafe { vm.set_user_memory_region(piece) }.map_err(Error::at("KVM does not take the memory"))?;
    }
    Ok(())
}

/// Maps pages of a file into the guest's memory, in place of what was there; what is written to them stays
/// the guest's own. All three are whole pages.
///
/// # Errors
/// When the guest has no memory there, in one piece; what the system says.
pub fn map(memory: &GuestMemory, at: u64, file: &File, offset: u64, length: u64) -> Result<()> {
    let whole = [at, offset, length].iter().all(|number| number % PAGE == 0);
    let slice = memory
        .get_slice(GuestAddress(at), length as usize)
        .map_err(Error::at("the kernel does not fit into the memory"))?;
    if !whole || length == 0 {
        return Err(Error::new("only whole pages are mapped"));
    }
    let place = slice.ptr_guard_mut().as_ptr();
    // SAFETY: the pages are the guest's memory, checked above, which is a private mapping of this process
    // that nothing holds references into; what replaces it is one as well, readable and writable like it.
    let mapped = unsafe {
        rustix::mm::mmap(
            place.cast(),
            length as usize,
            rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
            rustix::mm::MapFlags::PRIVATE | rustix::mm::MapFlags::FIXED | rustix::mm::MapFlags::NORESERVE,
            file,
            offset,
        )
    };
    mapped.map_err(Error::at(format!("mapping descriptor {} into the guest", file.as_raw_fd())))?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use vm_memory::Bytes;

    use super::*;

    #[test]
    fn memory_leaves_room_for_devices_below_4_gib() {
        assert_eq!(pieces(64 << 20), [(GuestAddress(0), 64 << 20)]);
        assert_eq!(pieces(3 << 30), [(GuestAddress(0), 3 << 30)]);
        assert_eq!(pieces(8 << 30), [(GuestAddress(0), 3 << 30), (GuestAddress(layout::GAP_END), 5 << 30)]);
    }

    #[test]
    fn what_is_mapped_is_read_and_written_to_nobody_else() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 3 * PAGE as usize]).unwrap();
        let memory = make(1 << 20).unwrap();
        map(&memory, 0x8000, &file, PAGE, 2 * PAGE).unwrap();
        assert_eq!(memory.read_obj::<u8>(GuestAddress(0x9fff)).unwrap(), 7);
        assert_eq!(memory.read_obj::<u8>(GuestAddress(0xa000)).unwrap(), 0);
        memory.write_obj(9_u8, GuestAddress(0x8000)).unwrap();
        let other = make(1 << 20).unwrap();
        map(&other, 0x8000, &file, PAGE, 2 * PAGE).unwrap();
        assert_eq!(other.read_obj::<u8>(GuestAddress(0x8000)).unwrap(), 7);
    }

    #[test]
    fn what_is_not_the_guests_is_not_replaced() {
        let file = tempfile::tempfile().unwrap();
        let memory = make(1 << 20).unwrap();
        for (at, length) in [
            (1 << 20, PAGE),
            ((1 << 20) - PAGE, 2 * PAGE),
            (0x8001, PAGE),
            (0x8000, 0),
            (u64::MAX - 4095, PAGE),
        ] {
            assert!(map(&memory, at, &file, 0, length).is_err(), "{at:#x} {length:#x}");
        }
    }
}
