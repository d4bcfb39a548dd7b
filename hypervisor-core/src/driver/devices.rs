//! How a machine gets devices of its host: by whoever starts it, since a driver knows of no device but by
//! name.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::{Altered, DriverError, Launch};
use crate::{definition::Device, device::Lent, machine::MachineId};

/// When a machine is to have devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// From its start on.
    Start,
    /// While it runs: only what can be plugged in then. The rest it has from its next start on.
    Runs,
}

/// Lends a machine devices of its host, each to one at a time.
#[async_trait]
pub trait Lend: Send + Sync {
    /// Gets these devices ready for it, and keeps them for it until it no longer runs. All that it has by
    /// then, also from before. [`DriverError::Unfit`] if one of them cannot be had: then it has none of
    /// those that are new.
    async fn lend(
        &self,
        id: MachineId,
        names: &[String],
        when: When,
    ) -> Result<Vec<(String, Lent)>, DriverError>;

    /// It has no others any more than these: what else it had is the host's again.
    async fn keep(&self, id: MachineId, names: &[String]) -> Result<(), DriverError>;
}

/// The devices of a host; by default it lends none.
#[derive(Clone, Default)]
pub struct Devices(Option<Arc<dyn Lend>>);

impl Devices {
    /// These.
    pub fn new(lend: Arc<dyn Lend>) -> Self {
        Self(Some(lend))
    }

    /// Who lends them.
    ///
    /// # Errors
    /// [`DriverError::Unfit`] when nobody does.
    pub fn lend(&self) -> Result<&dyn Lend, DriverError> {
        self.0.as_deref().ok_or_else(|| DriverError::Unfit("this host lends no devices".into()))
    }
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Devices" } else { "no Devices" })
    }
}

impl Launch {
    /// Gets what it is to have of its host from its start on.
    ///
    /// # Errors
    /// When one of the devices cannot be had.
    pub async fn devices(&self) -> Result<Vec<(String, Lent)>, DriverError> {
        if self.definition.devices.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = self.definition.devices.iter().map(|device| device.name.clone()).collect();
        let mut lent = self.devices.lend()?.lend(self.id, &names, When::Start).await?;
        // In the order of its definition, which is that in which the guest finds them.
        lent.retain(|(name, _)| names.contains(name));
        lent.sort_by_key(|(name, _)| names.iter().position(|other| other == name));
        Ok(lent)
    }
}

/// Why a memory is not kept.
pub(super) const NOT_KEPT: &str = "it has devices of its host, whose state cannot be kept with its memory: take \
                                   the disks alone, or detach them first";

/// What became of a change of a machine's devices, of which it `has` these now.
pub(super) fn altered(wanted: &[Device], has: &[String]) -> Altered {
    let names = |all: Vec<&str>| all.join(", ");
    let coming = wanted.iter().map(|device| device.name.as_str());
    let coming: Vec<&str> = coming.filter(|name| !has.iter().any(|other| other == name)).collect();
    if !coming.is_empty() {
        return Altered::NextStart(format!("on PCI, it gets {} only then", names(coming)));
    }
    let is_wanted = |name: &str| wanted.iter().any(|device| device.name == name);
    let going: Vec<&str> = has.iter().map(String::as_str).filter(|name| !is_wanted(name)).collect();
    if going.is_empty() {
        return Altered::Now;
    }
    Altered::NextStart(format!("on PCI, it has {} until it is off", names(going)))
}
