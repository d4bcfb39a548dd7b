//! Whether what a machine is given of its host is called so on this host as well.

use hypervisor_core::definition::Definition;
use skerry_stanzas::payload::migration::Offer;

use super::{Agent, reasons::Reasons};

impl Agent {
    /// A guest that runs has its devices where they are; one that is off can have others of their names.
    pub(super) async fn lends(&self, definition: &Definition, offer: &Offer, reasons: &mut Reasons) {
        if definition.devices.is_empty() {
            return;
        }
        let Ok(all) = self.inner.devices.all().await else {
            return reasons.add("what its own devices are called cannot be read");
        };
        for device in &definition.devices {
            let name = &device.name;
            if offer.live {
                reasons
                    .add(format!("its guest has the device {name} of its host: it can move when it is off"));
            } else if !all.iter().any(|stored| stored.name == *name) {
                reasons.add(format!("it calls no device {name} (\"device map {name}\" there does)"));
            }
        }
    }
}
