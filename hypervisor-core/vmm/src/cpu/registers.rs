//! How a guest's processors begin.
//!
//! The first as a kernel wants to be entered ([`Entry`]); all others wait for it to start them.

use kvm_bindings::{Msrs, kvm_msr_entry, kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;

use crate::{
    boot::Entry,
    error::{Error, Result},
    layout,
};

const PROTECTED: u64 = 1;
const EXTENSION: u64 = 1 << 4;
const PAGED: u64 = 1 << 31;
/// Physical addresses of more than 32 bits (CR4).
const LARGE_ADDRESSES: u64 = 1 << 5;
/// Long mode, asked for and there (EFER).
const LONG: u64 = 1 << 8 | 1 << 10;
/// A bit of FLAGS that is always set.
const FLAGS: u64 = 2;

const MISC_ENABLE: u32 = 0x1a0;
const FAST_STRINGS: u64 = 1;
const MTRR_DEFAULT: u32 = 0x2ff;
/// Write-back wherever nothing else is said; on.
const WRITE_BACK: u64 = 1 << 11 | 6;

/// Pins of a local APIC, and how what comes in by them is delivered.
const LINT0: usize = 0x350;
const LINT1: usize = 0x360;
const EXTERNAL: i32 = 0x700;
const NMI: i32 = 0x400;
const DELIVERY: i32 = 0x700;

fn flat(code: bool, long: bool) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector: if code { 0x08 } else { 0x10 },
        type_: if code { 0xb } else { 0x3 },
        present: 1,
        db: u8::from(!long || !code),
        s: 1,
        l: u8::from(long && code),
        g: 1,
        ..Default::default()
    }
}

/// Sets up the processor that begins.
///
/// # Errors
/// What KVM says.
pub fn enter(cpu: &VcpuFd, entry: Entry) -> Result<()> {
    let refused = || Error::at("KVM does not take how the processor begins");
    let mut special = cpu.get_sregs().map_err(refused())?;
    let long = matches!(entry, Entry::Long(_));
    special.cs = flat(true, long);
    let data = flat(false, long);
    (special.ds, special.es, special.fs, special.gs, special.ss) = (data, data, data, data, data);
    special.tr = kvm_segment { limit: 0x67, type_: 0xb, present: 1, selector: 0x18, ..Default::default() };
    special.cr0 = PROTECTED | EXTENSION;
    let mut registers = kvm_regs { rflags: FLAGS, ..Default::default() };
    match entry {
        Entry::Pvh(at) => {
            registers.rip = u64::from(at);
            registers.rbx = layout::START_INFO;
        }
        Entry::Long(at) => {
            special.cr0 |= PAGED;
            special.cr3 = layout::PAGE_TABLES;
            special.cr4 |= LARGE_ADDRESSES;
            special.efer |= LONG;
            registers.rip = at;
            registers.rsi = layout::ZERO_PAGE;
        }
    }
    cpu.set_sregs(&special).map_err(refused())?;
    cpu.set_regs(&registers).map_err(refused())
}

/// What all processors have: their model's registers, and the pins of their APIC.
///
/// # Errors
/// What KVM says.
pub fn common(cpu: &VcpuFd) -> Result<()> {
    let entry = |index, data| kvm_msr_entry { index, data, ..Default::default() };
    // One by one: that a KVM does not know one of them is no reason to have no other.
    for wanted in [entry(MISC_ENABLE, FAST_STRINGS), entry(MTRR_DEFAULT, WRITE_BACK)] {
        let list = Msrs::from_entries(&[wanted]).map_err(|_| Error::new("one register is too many"))?;
        cpu.set_msrs(&list).map_err(Error::at("KVM does not take a register of the processor"))?;
    }
    let mut apic = cpu.get_lapic().map_err(Error::at("KVM does not give the processor's APIC"))?;
    for (pin, delivery) in [(LINT0, EXTERNAL), (LINT1, NMI)] {
        let bytes = [0, 1, 2, 3].map(|byte| apic.regs[pin + byte] as u8);
        let bytes = (i32::from_le_bytes(bytes) & !DELIVERY | delivery).to_le_bytes();
        for (at, byte) in bytes.into_iter().enumerate() {
            apic.regs[pin + at] = byte as std::ffi::c_char;
        }
    }
    cpu.set_lapic(&apic).map_err(Error::at("KVM does not take the processor's APIC"))
}
