//! What of a fake guest changes while it runs: all of it at once, within the memory it was started with.

use super::{Fake, FakeWorld, world::held};
use crate::{
    definition::Live,
    driver::{
        Altered, DriverError, Launch,
        devices::{When, altered},
    },
};

impl FakeWorld {
    pub(super) fn alter(&self, launch: &Launch, what: Live) -> Result<Altered, DriverError> {
        let mut inside = held(&self.0.inside);
        let guest = inside.on(launch.id)?;
        let wanted_mib = launch.definition.memory_mib;
        match what {
            // One that another process started has the room it had there, which is not kept.
            Live::Memory if guest.room_mib != 0 && wanted_mib > guest.room_mib => {
                let room_mib = guest.room_mib;
                return Ok(Altered::NextStart(format!("it was started with room for {room_mib}M")));
            }
            Live::Memory => guest.memory_mib = wanted_mib,
            Live::Vcpus | Live::Limits(_) | Live::Forwards(_) | Live::Link(_) | Live::Devices => {}
        }
        inside.keep(launch.id);
        Ok(Altered::Now)
    }
}

impl Fake {
    /// What is plugged in comes and goes; what is on PCI stays until it is off.
    pub(super) async fn change_devices(&self, launch: &Launch) -> Result<Altered, DriverError> {
        held(&self.world.0.inside).on(launch.id)?;
        let wanted = &launch.definition.devices;
        let names: Vec<String> = wanted.iter().map(|device| device.name.clone()).collect();
        // A host that lends nothing has lent nothing.
        let Ok(lend) = launch.devices.lend() else { return Ok(Altered::Now) };
        let mut has = lend.lend(launch.id, &names, When::Runs).await?;
        has.retain(|(name, lent)| names.contains(name) || !lent.is_usb());
        let has: Vec<String> = has.into_iter().map(|(name, _)| name).collect();
        lend.keep(launch.id, &has).await?;
        Ok(altered(wanted, &has))
    }
}
