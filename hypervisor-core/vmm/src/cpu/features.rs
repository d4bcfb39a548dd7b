//! What a guest's processors say they are (CPUID): the host's own, with their place among the guest's.
//!
//! Intel's manual, volume 2A, CPUID; AMD's, volume 3, appendix E.

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use kvm_ioctls::Kvm;

use crate::error::{Error, Result};

const HYPERVISOR: u32 = 1 << 31;
const DEADLINE_TIMER: u32 = 1 << 24;
const TOGETHER: u32 = 1 << 28;
/// Kinds of level in leaves 0xb and 0x1f.
const THREADS: u32 = 1;
const CORES: u32 = 2;

/// What this host's KVM offers to guests.
///
/// # Errors
/// What KVM says.
pub fn offered(kvm: &Kvm) -> Result<CpuId> {
    kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(Error::at("KVM does not say what processors it offers"))
}

/// Bits of an APIC number that tell `count` processors apart.
fn bits(count: u32) -> u32 {
    count.next_power_of_two().trailing_zeros()
}

/// What processor `which` of `count` says: one socket of so many cores, a thread each.
///
/// # Errors
/// When there are more leaves than KVM takes.
pub fn of(offered: &CpuId, which: u32, count: u32) -> Result<CpuId> {
    let mut entries = offered.as_slice().to_vec();
    // Sub-leaves that KVM does not list, of levels that there are: whoever asks for one gets its number.
    for leaf in [0xb, 0x1f] {
        if entries.iter().any(|entry| entry.function == leaf) {
            entries.retain(|entry| entry.function != leaf);
            entries.extend([(0, THREADS), (1, CORES), (2, 0)].map(|(index, kind)| kvm_cpuid_entry2 {
                function: leaf,
                index,
                flags: kvm_bindings::KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                eax: if kind == CORES { bits(count) } else { 0 },
                ebx: if kind == CORES { count } else { u32::from(kind == THREADS) },
                ecx: kind << 8 | index,
                edx: which,
                ..Default::default()
            }));
        }
    }
    for entry in &mut entries {
        match (entry.function, entry.index) {
            (1, _) => {
                entry.ecx |= HYPERVISOR | DEADLINE_TIMER;
                entry.edx = if count > 1 { entry.edx | TOGETHER } else { entry.edx & !TOGETHER };
                entry.ebx = entry.ebx & 0x0000_ffff | which << 24 | count.next_power_of_two() << 16;
            }
            // Caches: who shares them, and how many cores there are (Intel).
            (4, _) if entry.eax & 0x1f != 0 => {
                let shared_by = if entry.eax >> 5 & 7 == 3 { count.next_power_of_two() } else { 1 };
                entry.eax = entry.eax & 0x3fff
                    | ((shared_by - 1) & 0xfff) << 14
                    | ((count.next_power_of_two() - 1) & 0x3f) << 26;
            }
            (0x8000_0008, _) => entry.ecx = entry.ecx & !0xf0ff | bits(count) << 12 | (count - 1),
            // Caches (AMD).
            (0x8000_001d, _) if entry.eax & 0x1f != 0 => {
                let shared_by = if entry.eax >> 5 & 7 == 3 { count.next_power_of_two() } else { 1 };
                entry.eax = entry.eax & 0x3fff | ((shared_by - 1) & 0xfff) << 14;
            }
            (0x8000_001e, _) => {
                entry.eax = which;
                entry.ebx = which & 0xff;
                entry.ecx = 0;
            }
            _ => {}
        }
    }
    CpuId::from_entries(&entries).map_err(|_| Error::new("KVM has more to say of processors than it takes"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn leaf(said: &CpuId, function: u32, index: u32) -> kvm_cpuid_entry2 {
        *said.as_slice().iter().find(|entry| (entry.function, entry.index) == (function, index)).unwrap()
    }

    #[test]
    fn each_knows_its_number_and_how_many_there_are() {
        let entry = |function| kvm_cpuid_entry2 { function, eax: 0x21, ..Default::default() };
        let offered = CpuId::from_entries(&[1, 4, 0xb, 0x8000_0008, 0x8000_001e].map(entry)).unwrap();
        let third = of(&offered, 2, 6).unwrap();
        assert_eq!(leaf(&third, 1, 0).ebx >> 16, 2 << 8 | 8);
        assert_ne!(leaf(&third, 1, 0).edx & TOGETHER, 0);
        let (threads, cores) = (leaf(&third, 0xb, 0), leaf(&third, 0xb, 1));
        assert_eq!((threads.eax, threads.ebx, threads.edx), (0, 1, 2));
        assert_eq!((cores.eax, cores.ebx, cores.ecx, cores.edx), (3, 6, 0x201, 2));
        assert_eq!(leaf(&third, 0x8000_0008, 0).ecx, 3 << 12 | 5);
        assert_eq!(leaf(&third, 0x8000_001e, 0).eax, 2);
        let only = of(&offered, 0, 1).unwrap();
        assert_eq!(leaf(&only, 1, 0).edx & TOGETHER, 0);
        assert_eq!(leaf(&only, 4, 0).eax >> 14, 0);
    }
}
