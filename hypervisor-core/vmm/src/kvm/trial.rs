//! A guest of a few instructions, and what running it shows.
#![allow(unsafe_code)]

use std::{cell::UnsafeCell, io, time::Duration};

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Cap, Kvm, VcpuExit, VcpuFd, VmFd};
use nix::time::{ClockId, clock_gettime};

use super::{Figures, Verdict};

/// How often the loop is gone through.
pub(super) const TURNS: u32 = 20_000;

/// Guest memory from address 0: page tables, code, and one operand, a page each.
const MEMORY: usize = 16 * PAGE;
const PAGE: usize = 4096;
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const PD: u64 = 0x3000;
const CODE: u64 = 0x8000;
/// Not memory: a write there leaves the guest, and says how far it came.
const DOORBELL: u64 = 0x10_0000;

/// Loops in kernel mode, rings; does a 16-byte exchange, rings again.
const PROGRAM: [u8; 36] = {
    let [a, b, c, d] = TURNS.to_le_bytes();
    [
        0xb9, a, b, c, d, // mov ecx, TURNS
        0xff, 0xc9, // dec ecx
        0x75, 0xfc, // jnz to the dec
        0xc6, 0x04, 0x25, 0x00, 0x00, 0x10, 0x00, 0x01, // mov byte [DOORBELL], 1
        0xf0, 0x48, 0x0f, 0xc7, 0x0c, 0x25, 0x00, 0x90, 0x00, 0x00, // lock cmpxchg16b [0x9000]
        0xc6, 0x04, 0x25, 0x00, 0x00, 0x10, 0x00, 0x02, // mov byte [DOORBELL], 2
        0xf4, // hlt
    ]
};

/// What Linux guests and their VMMs rely on.
const NEEDED: [(Cap, &str); 7] = [
    (Cap::UserMemory, "user memory"),
    (Cap::Irqchip, "an interrupt controller"),
    (Cap::Irqfd, "irqfd"),
    (Cap::Ioeventfd, "ioeventfd"),
    (Cap::SetTssAddr, "set-tss-addr"),
    (Cap::ExtCpuid, "cpuid"),
    (Cap::ImmediateExit, "immediate-exit"),
];

/// Runs it all.
///
/// # Errors
/// The verdict, where it is found before anything could be measured.
pub(super) fn run() -> Result<Figures, Verdict> {
    let kvm = Kvm::new().map_err(|error| Verdict::Absent(why_absent(error.errno())))?;
    if kvm.get_api_version() != 12 {
        return Err(Verdict::Lacking(vec!["API version 12"]));
    }
    let lacking: Vec<_> =
        NEEDED.iter().filter(|(cap, _)| !kvm.check_extension(*cap)).map(|(_, name)| *name).collect();
    if !lacking.is_empty() {
        return Err(Verdict::Lacking(lacking));
    }
    measure(&kvm).map_err(|error| Verdict::Failed(io::Error::from_raw_os_error(error.errno()).to_string()))
}

fn why_absent(errno: i32) -> String {
    match errno {
        nix::libc::ENOENT => "there is no /dev/kvm".into(),
        nix::libc::EACCES => "this user may not open /dev/kvm; members of the group kvm may".into(),
        _ => format!("/dev/kvm: {}", io::Error::from_raw_os_error(errno)),
    }
}

fn measure(kvm: &Kvm) -> Result<Figures, kvm_ioctls::Error> {
    let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?;
    let hidden = hidden(&cpuid, &std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default());
    // Declared before the machine, so dropped after it.
    let memory = Memory::new();
    let machine = kvm.create_vm()?;
    memory.give_to(&machine)?;
    let mut vcpu = machine.create_vcpu(0)?;
    vcpu.set_cpuid2(&cpuid)?;
    prepare(&vcpu)?;

    // Processor time, so that a busy host is not taken for a slow KVM: a guest's is its thread's.
    let start = thread_time();
    if !rings(&mut vcpu, 1)? {
        return Err(kvm_ioctls::Error::new(nix::libc::EIO));
    }
    let loop_time = thread_time().saturating_sub(start);
    let cmpxchg16b = rings(&mut vcpu, 2)?;
    Ok(Figures { hidden, loop_time, cmpxchg16b })
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Whether the guest comes to its doorbell with this number.
fn rings(vcpu: &mut VcpuFd, number: u8) -> Result<bool, kvm_ioctls::Error> {
    loop {
        match vcpu.run() {
            Ok(VcpuExit::MmioWrite(DOORBELL, written)) => return Ok(written == [number]),
            Ok(VcpuExit::Intr) => {}
            Ok(_) => return Ok(false),
            Err(error) if error.errno() == nix::libc::EINTR => {}
            Err(error) => return Err(error),
        }
    }
}

/// Puts the virtual processor into 64-bit kernel mode, at the program.
fn prepare(vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    let flat = |selector, type_, long| kvm_segment {
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        s: 1,
        l: long,
        db: 1 - long,
        g: 1,
        ..Default::default()
    };
    let mut system = vcpu.get_sregs()?;
    system.cs = flat(8, 11, 1);
    let data_segment = flat(16, 3, 0);
    system.ds = data_segment;
    system.es = data_segment;
    system.fs = data_segment;
    system.gs = data_segment;
    system.ss = data_segment;
    system.cr3 = PML4;
    system.cr4 = 1 << 5; // PAE
    system.cr0 = 0x8000_0033; // PG, NE, ET, MP, PE
    system.efer = 0x500; // LMA, LME
    vcpu.set_sregs(&system)?;
    let mut registers = vcpu.get_regs()?;
    registers.rip = CODE;
    registers.rflags = 2;
    vcpu.set_regs(&registers)
}

/// Of the features Linux is compiled to use, those that the host has and KVM does not offer.
fn hidden(cpuid: &CpuId, cpuinfo: &str) -> Vec<&'static str> {
    let host: Vec<&str> = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("flags"))
        .map(|flags| flags.split_whitespace().collect())
        .unwrap_or_default();
    let leaf = |number| cpuid.as_slice().iter().find(|entry| entry.function == number);
    let basic = leaf(1).map_or(0, |entry| entry.ecx);
    let extended = leaf(0x8000_0001).map_or(0, |entry| entry.edx);
    [
        ("pni", basic, 0),
        ("cx16", basic, 13),
        ("popcnt", basic, 23),
        ("xsave", basic, 26),
        ("rdtscp", extended, 27),
    ]
    .into_iter()
    .filter(|(name, register, bit)| host.contains(name) && register >> bit & 1 == 0)
    .map(|(name, ..)| name)
    .collect()
}

#[repr(C, align(4096))]
struct Pages([u8; MEMORY]);

/// The guest's memory. The guest writes to it behind the compiler's back, hence the cell; nothing
/// here reads it once it was given away.
struct Memory(Box<UnsafeCell<Pages>>);

impl Memory {
    /// With the program, and tables that map the first 2 MiB to themselves.
    fn new() -> Self {
        let mut pages = Box::new(Pages([0; MEMORY]));
        let mut put = |at: u64, bytes: &[u8]| {
            let at = at as usize;
            pages.0[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(PML4, &(PDPT | 3).to_le_bytes()); // present, writable
        put(PDPT, &(PD | 3).to_le_bytes());
        put(PD, &0x83_u64.to_le_bytes()); // and of 2 MiB
        put(CODE, &PROGRAM);
        Self(Box::new(UnsafeCell::new(*pages)))
    }

    /// Makes it the memory of a virtual machine.
    fn give_to(&self, machine: &VmFd) -> Result<(), kvm_ioctls::Error> {
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY as u64,
            userspace_addr: self.0.get() as u64,
        };
        // SAFETY: the range is one allocation, aligned to pages and of whole pages by `Pages`; it is
        // freed after the machine, and nothing else reads or writes it.
        unsafe { machine.set_user_memory_region(region) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_of_the_host_that_are_not_offered_are_named() {
        let offered =
            kvm_bindings::kvm_cpuid_entry2 { function: 1, ecx: 1 << 13 | 1 << 26, ..Default::default() };
        let cpuid = CpuId::from_entries(&[offered]).expect("one entry fits");
        let cpuinfo = "processor\t: 0\nflags\t\t: fpu pni cx16 xsave popcnt\n";
        assert_eq!(hidden(&cpuid, cpuinfo), ["pni", "popcnt"]);
        assert!(hidden(&cpuid, "").is_empty());
    }
}
