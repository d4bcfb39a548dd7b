//! Which processors of the host a machine's run on: its threads are told, one by one.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::qmp::Client;
use crate::{definition::Cpu, driver::DriverError};

/// The processors a machine may be told to run on: those that we may.
fn allowed() -> Result<Vec<u32>, DriverError> {
    let set = sched_getaffinity(Pid::from_raw(0))
        .map_err(|source| DriverError::system("asking which processors there are", source))?;
    Ok((0..CpuSet::count())
        .filter(|n| set.is_set(*n).unwrap_or(false))
        .filter_map(|n| n.try_into().ok())
        .collect())
}

/// Refuses processors that this host does not have.
pub(super) fn check(cpu: &Cpu) -> Result<(), DriverError> {
    if cpu.pin.is_empty() {
        return Ok(());
    }
    let allowed = allowed()?;
    let Some(missing) = cpu.pin.iter().find(|wanted| !allowed.contains(wanted)) else { return Ok(()) };
    let there: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    let text = format!(
        "it is to run on processor {missing} of the host, which has {}: change cpu.pin",
        there.join(", ")
    );
    Err(DriverError::Unfit(text))
}

/// Tells each of its processors where to run: the first where the first of `pin` says, and round again.
pub(super) async fn pin(qmp: &Client, cpu: &Cpu) -> Result<(), DriverError> {
    if cpu.pin.is_empty() {
        return Ok(());
    }
    let vcpus = qmp.ask("query-cpus-fast", None).await?;
    for vcpu in vcpus.as_array().into_iter().flatten() {
        let number = |key: &str| vcpu[key].as_u64().and_then(|number| usize::try_from(number).ok());
        let (Some(index), Some(thread)) = (number("cpu-index"), number("thread-id")) else { continue };
        let host = cpu.pin[index % cpu.pin.len()];
        let failed = |source| DriverError::system("telling a virtual processor where to run", source);
        let mut set = CpuSet::new();
        set.set(host.try_into().unwrap_or(usize::MAX)).map_err(failed)?;
        let thread = Pid::from_raw(thread.try_into().unwrap_or_default());
        sched_setaffinity(thread, &set).map_err(failed)?;
    }
    Ok(())
}
