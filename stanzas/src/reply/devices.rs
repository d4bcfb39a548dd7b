//! What the commands about devices answer.

use super::Reply;
use crate::safe::safe_line;

/// Characters of what a device says of itself.
const SAID_CHARS_MAX: usize = 80;

reply! {
    /// A device of a host.
    DeviceLine {
        /// What it is called, if it is.
        name: Option<String>,
        /// pci or usb.
        bus: String,
        /// Where it is: its address on PCI, or its USB port.
        at: String,
        /// Vendor and product.
        id: String,
        /// What people call it, as far as is known.
        what: Option<String>,
        /// Which of its kind, if it says so.
        serial: Option<String>,
        /// The driver that has it on the host.
        driver: Option<String>,
        /// Its IOMMU group.
        group: Option<u32>,
        /// What else is in that.
        shares: Vec<String>,
        /// The machines that are to have it.
        machines: Vec<String>,
        /// The one that has it now.
        used_by: Option<String>,
    }
}
reply! {
    /// A name that means nothing that is here.
    DeviceMissing {
        /// The name.
        name: String,
        /// Why not.
        why: String,
        /// The machines that are to have it.
        machines: Vec<String>,
    }
}
reply! {
    /// The devices of a host.
    DeviceList {
        /// Those on PCI first, by address.
        devices: Vec<DeviceLine>,
        /// Names that mean nothing that is here.
        missing: Vec<DeviceMissing>,
        /// What a person should know besides.
        notes: Vec<String>,
    }
}
reply! {
    /// A device after a command about its name.
    DeviceChanged {
        /// Its name.
        name: String,
        /// What happened, in a sentence.
        sentence: String,
        /// What a person should know besides.
        notes: Vec<String>,
    }
}

fn line(device: &DeviceLine) -> String {
    let DeviceLine { name, bus, at, id, what, serial, driver, group, shares, machines, used_by } = device;
    let name = name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    let what = match what {
        Some(what) => format!("{} ({id})", safe_line(what, SAID_CHARS_MAX)),
        None => id.clone(),
    };
    let mut text = format!("- {name}{bus} {at}, {what}");
    if let Some(serial) = serial {
        text += &format!(", serial {}", safe_line(serial, SAID_CHARS_MAX));
    }
    if let Some(driver) = driver {
        text += &format!(", driver {driver}");
    }
    if let Some(group) = group {
        text += &format!(", group {group}");
    }
    if !shares.is_empty() {
        text += &format!(" with {}", shares.join(" "));
    }
    if !machines.is_empty() {
        text += &format!("; for {}", machines.join(", "));
    }
    if let Some(machine) = used_by {
        text += &format!("; {machine} has it");
    }
    text
}

impl Reply for DeviceList {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        if self.devices.is_empty() {
            lines.push("There are no devices that machines could be given.".to_owned());
        }
        lines.extend(self.devices.iter().map(line));
        for DeviceMissing { name, why, machines } in &self.missing {
            let machines =
                if machines.is_empty() { String::new() } else { format!("; for {}", machines.join(", ")) };
            lines.push(format!("- {name}: {}{machines}", safe_line(why, 3 * SAID_CHARS_MAX)));
        }
        if !self.devices.is_empty() && self.devices.iter().all(|device| device.name.is_none()) {
            lines.push("None has a name. Give one: device map key 1050:0407".to_owned());
        }
        lines.extend(self.notes.iter().map(|note| format!("Mind: {note}.")));
        lines.join("\n")
    }
}

impl Reply for DeviceChanged {
    fn text(&self) -> String {
        let notes = self.notes.iter().map(|note| format!("Mind: {note}."));
        std::iter::once(self.sentence.clone()).chain(notes).collect::<Vec<_>>().join("\n")
    }
}
