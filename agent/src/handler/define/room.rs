//! How much a machine may have while it runs, given one by one.

use hypervisor_core::definition::Definition;
use skerry_stanzas::refusal::Refusal;

/// Says it in `asked`; what is given as it is `now` says nothing, and what it has anyway needs no room.
pub(super) fn say(
    asked: &mut Definition,
    now: &Definition,
    memory_max: Option<&str>,
    vcpus_max: Option<u32>,
) -> Result<(), Refusal> {
    let memory_max = memory_max.map(super::memory_mib).transpose().map_err(|no| no.field("memory-max"))?;
    if let Some(mib) = memory_max.filter(|mib| *mib != now.memory_room_mib()) {
        asked.memory_max_mib = Some(mib).filter(|mib| *mib != asked.memory_mib);
    }
    if let Some(max) = vcpus_max.filter(|max| *max != now.vcpus_room()) {
        asked.vcpus_max = Some(max).filter(|max| *max != asked.vcpus);
    }
    Ok(())
}
