//! Processor and first settings.

use crate::definition::{
    CloudInit, Cpu, Definition, DefinitionError,
    error::{MEMORY_MIB_MAX, MEMORY_MIB_MIN, VCPUS_MAX},
};

/// The longest name of a processor model, in bytes.
const MODEL_BYTES_MAX: usize = 64;
/// The longest of the texts for cloud-init, in bytes, and the most and longest keys.
const TEXT_BYTES_MAX: usize = 32 * 1024;
const KEYS_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 8 * 1024;

/// The highest number of a processor of the host that can be said (Linux's usual `CPU_SETSIZE`).
const HOST_CPU_MAX: u32 = 1023;

/// Memory and processors, now and at most.
pub(super) fn room(definition: &Definition) -> Result<(), DefinitionError> {
    let &Definition { vcpus, vcpus_max, memory_mib, memory_max_mib, memory_min_mib, .. } = definition;
    for vcpus in [Some(vcpus), vcpus_max].into_iter().flatten() {
        if !(1..=VCPUS_MAX).contains(&vcpus) {
            return Err(DefinitionError::Vcpus(vcpus));
        }
    }
    for memory_mib in [Some(memory_mib), memory_max_mib, memory_min_mib].into_iter().flatten() {
        if !(MEMORY_MIB_MIN..=MEMORY_MIB_MAX).contains(&memory_mib) {
            return Err(DefinitionError::Memory(memory_mib));
        }
    }
    if let Some(max) = vcpus_max.filter(|max| *max < vcpus) {
        return Err(DefinitionError::VcpusOver { vcpus, max });
    }
    let (min, max) = (memory_min_mib.unwrap_or(0), memory_max_mib.unwrap_or(u64::MAX));
    if (min..=max).contains(&memory_mib) {
        return Ok(());
    }
    let (what, bound_mib) = if memory_mib < min { ("memory_min_mib", min) } else { ("memory_max_mib", max) };
    Err(DefinitionError::MemoryRange { memory_mib, what, bound_mib })
}

/// The most words of somebody else's that are kept, and the longest.
const KEPT_MAX: usize = 256;
const KEPT_BYTES_MAX: usize = 4096;

pub(super) fn kept(kept: &[String]) -> Result<(), DefinitionError> {
    let odd = |words: &String| words.len() > KEPT_BYTES_MAX || words.chars().any(char::is_control);
    if kept.len() > KEPT_MAX || kept.iter().any(odd) { Err(DefinitionError::Kept) } else { Ok(()) }
}

pub(super) fn cpu(cpu: &Cpu, vcpus: u32) -> Result<(), DefinitionError> {
    if let Some(model) = &cpu.model {
        let fine = (1..=MODEL_BYTES_MAX).contains(&model.len())
            && model.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c));
        if !fine {
            return Err(DefinitionError::CpuModel(model.chars().take(40).collect()));
        }
    }
    if let Some(odd) = cpu.pin.iter().find(|host| **host > HOST_CPU_MAX) {
        return Err(DefinitionError::Pin(*odd));
    }
    let Some((sockets, cores, threads)) = cpu.topology(vcpus) else { return Ok(()) };
    let product = [sockets, cores, threads].into_iter().map(u64::from).fold(1, u64::saturating_mul);
    if product == u64::from(vcpus) {
        return Ok(());
    }
    Err(DefinitionError::Topology { sockets, cores, threads, vcpus })
}

pub(super) fn cloud_init(wanted: &CloudInit) -> Result<(), DefinitionError> {
    let CloudInit { ssh_keys, user_data, network } = wanted;
    let odd_key =
        |key: &String| key.is_empty() || key.len() > KEY_BYTES_MAX || key.chars().any(char::is_control);
    if ssh_keys.len() > KEYS_MAX || ssh_keys.iter().any(odd_key) {
        return Err(DefinitionError::SshKeys);
    }
    let long = [user_data, network].into_iter().flatten().any(|text| text.len() > TEXT_BYTES_MAX);
    if long { Err(DefinitionError::CloudInit) } else { Ok(()) }
}
