//! Processor and first settings.

use crate::definition::{CloudInit, Cpu, DefinitionError};

/// The longest name of a processor model, in bytes.
const MODEL_BYTES_MAX: usize = 64;
/// The longest of the texts for cloud-init, in bytes, and the most and longest keys.
const TEXT_BYTES_MAX: usize = 32 * 1024;
const KEYS_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 8 * 1024;

pub(super) fn cpu(cpu: &Cpu, vcpus: u32) -> Result<(), DefinitionError> {
    if let Some(model) = &cpu.model {
        let fine = (1..=MODEL_BYTES_MAX).contains(&model.len())
            && model.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c));
        if !fine {
            return Err(DefinitionError::CpuModel(model.chars().take(40).collect()));
        }
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
