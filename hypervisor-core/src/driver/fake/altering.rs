//! What of a fake guest changes while it runs: all of it at once, within the memory it was started with.

use super::{FakeWorld, world::held};
use crate::{
    definition::Live,
    driver::{Altered, DriverError, Launch},
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
            Live::Vcpus | Live::Limits(_) | Live::Forwards(_) | Live::Link(_) => {}
        }
        inside.keep(launch.id);
        Ok(Altered::Now)
    }
}
