//! Where things are in a guest's address space.
//!
//! ```text
//! 0            0x0500 .. 0xa000    what the kernel is started with (gone as soon as it runs)
//! 0x2_0000 .. 0x3_0000             the command line
//! 0xe_0000 .. 0x10_0000            ACPI tables, where kernels look for them
//! 0x10_0000 .. 3 GiB               memory
//! 0xd000_0000 ..                   virtio devices, a page each
//! 0xfec0_0000, 0xfee0_0000         IOAPIC, local APICs
//! 4 GiB ..                         the rest of the memory
//! ```

/// Where memory below 1 MiB ends: the rest belongs to firmware on a PC.
pub const LOW_END: u64 = 0xa_0000;
/// `hvm_start_info` of PVH, with its list of modules and its map of the memory behind it.
pub const START_INFO: u64 = 0x6000;
/// Linux' `boot_params`, the zero page.
pub const ZERO_PAGE: u64 = 0x7000;
/// Page tables for an entry in 64-bit mode: three pages.
pub const PAGE_TABLES: u64 = 0x9000;
/// The command line.
pub const COMMAND_LINE: u64 = 0x2_0000;
/// Bytes the command line may have, its final zero among them.
pub const COMMAND_LINE_MAX: usize = 0x1_0000;
/// The root of the ACPI tables, and the tables behind it.
pub const ACPI: u64 = 0xe_0000;
/// Where a PC begins after a reset, as real mode has it: `ffff:0000`.
pub const RESET_VECTOR: u64 = 0xf_fff0;
/// Where memory goes on above what is a PC's own.
pub const HIGH: u64 = 0x10_0000;
/// Where memory below 4 GiB ends.
pub const GAP: u64 = 0xc000_0000;
/// Where memory goes on.
pub const GAP_END: u64 = 0x1_0000_0000;
/// The first virtio device.
pub const VIRTIO: u64 = 0xd000_0000;
/// How much of the address space each has.
pub const VIRTIO_EACH: u64 = 0x1000;
/// Three pages that KVM needs on processors of Intel.
pub const TSS: u64 = 0xfffb_d000;
/// One page that KVM needs for the same reason.
pub const IDENTITY_MAP: u64 = 0xfffb_c000;
/// The IOAPIC.
pub const IOAPIC: u32 = 0xfec0_0000;
/// The local APICs.
pub const LOCAL_APIC: u32 = 0xfee0_0000;

/// Interrupt of the serial port, as on any PC.
pub const SERIAL_GSI: u32 = 4;
/// Interrupt of what ACPI is told by: the power button.
pub const EVENTS_GSI: u32 = 5;
/// The first interrupt of a virtio device.
pub const VIRTIO_GSI: u32 = 6;
/// How many inputs KVM's IOAPIC has.
pub const GSIS: u32 = 24;
/// How many virtio devices there can be: one for each interrupt left.
pub const VIRTIO_MAX: usize = (GSIS - VIRTIO_GSI) as usize;

/// The first serial port.
pub const SERIAL_PORT: u64 = 0x3f8;
/// The keyboard controller, which kernels reset a machine by.
pub const I8042_PORT: u64 = 0x60;
/// Sleep control, sleep status and reset of a machine without the hardware of old PCs (ACPI 6.5, 4.8.3.7).
pub const SLEEP_PORT: u64 = 0x600;
/// What happened, for the interrupt of [`EVENTS_GSI`].
pub const EVENTS_PORT: u64 = 0x608;
/// Where a guest's kernel tells that it panicked (QEMU's docs/specs/pvpanic).
pub const PANIC_PORT: u64 = 0x505;
