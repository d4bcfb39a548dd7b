//! Devices of the host: what there is, what it is called, and which machine is given it.

use chrono::Utc;
use hypervisor_core::{
    definition::{Definition, Device},
    device::{Id, Loan, Mapping, Names, Pci, PciAddress, Seen, Usb, UsbPort},
};
use skerry_stanzas::{
    command::{host, machine},
    refusal::{Reason, Refusal},
    reply::{Defined, DeviceChanged, DeviceLine, DeviceList, DeviceMissing, Redefined},
    safe::safe_line,
    words::nearest,
};

use super::{Handle, define};
use crate::{
    agent::Agent,
    crash,
    devices::Devices,
    dispatch::Job,
    reference,
    store::devices::{self as rows, Stored},
};

/// The longest serial that is written down, in characters.
const SERIAL_CHARS_MAX: usize = 128;
/// The longest account of what the host does with a device, in characters.
const USES_CHARS_MAX: usize = 400;
/// What is different for a machine with a device on PCI.
const LOCKED: &str =
    "all of its memory is locked: whatever its guest gives back of it, the host does not have again";

impl Handle<host::DeviceList> for Agent {
    async fn handle(&self, _job: &Job, _command: host::DeviceList) -> Result<DeviceList, Refusal> {
        let devices = &self.inner.devices;
        // What a machine had that ended this moment is not its any more.
        devices.settle().await;
        let (all, loans, seen) = (devices.all().await?, devices.loans().await, self.seen_devices().await?);
        let names = {
            let seen = seen.clone();
            tokio::task::spawn_blocking(move || Names::of(&seen)).await.unwrap_or_default()
        };
        let on_pci = seen.pci.iter().map(|pci| of_pci(devices, pci, &seen, &names, &all, &loans));
        let by_usb = seen.usb.iter().map(|usb| of_usb(devices, usb, &seen, &all, &loans));
        let missing = all.iter().filter_map(|stored| {
            let why = match &stored.mapping {
                Mapping::Pci { address, id } => stored.mapping.function(*address, *id, &seen).err(),
                Mapping::Usb { .. } => stored.mapping.plugged(&seen).err(),
            };
            let (name, machines) = (stored.name.clone(), devices.users(&stored.name));
            why.map(|why| DeviceMissing { name, why: why.to_string(), machines })
        });
        let apart = seen.pci.is_empty() || seen.pci.iter().any(|pci| pci.group.is_some());
        let note = "this host has no IOMMU switched on, so nothing on PCI can be handed to a machine (VT-d or \
                    AMD-Vi in its firmware; intel_iommu=on for its kernel)";
        Ok(DeviceList {
            devices: on_pci.chain(by_usb).collect(),
            missing: missing.collect(),
            notes: (!apart).then(|| note.to_owned()).into_iter().collect(),
        })
    }
}

fn of_pci(
    devices: &Devices,
    pci: &Pci,
    seen: &Seen,
    names: &Names,
    all: &[Stored],
    loans: &[Loan],
) -> DeviceLine {
    let name = all.iter().find(|stored| stored.mapping.is_at(pci)).map(|stored| stored.name.clone());
    let at = pci.address.to_string();
    DeviceLine {
        machines: name.as_ref().map(|name| devices.users(name)).unwrap_or_default(),
        name,
        bus: "pci".into(),
        used_by: holder(devices, loans, &format!("pci {at}")),
        at,
        id: pci.id.to_string(),
        what: names.name(pci.id).map(str::to_owned),
        serial: None,
        driver: pci.driver.clone(),
        group: pci.group,
        shares: seen.group_of(pci).map(|other| other.address.to_string()).collect(),
    }
}

fn of_usb(devices: &Devices, usb: &Usb, seen: &Seen, all: &[Stored], loans: &[Loan]) -> DeviceLine {
    let found = all.iter().find(|stored| stored.mapping.is_plugged(usb, seen));
    let name = found.map(|stored| stored.name.clone());
    let at = usb.port.to_string();
    DeviceLine {
        machines: name.as_ref().map(|name| devices.users(name)).unwrap_or_default(),
        name,
        bus: "usb".into(),
        used_by: holder(devices, loans, &format!("usb {at}")),
        at,
        id: usb.id.to_string(),
        what: usb.name.clone(),
        serial: usb.serial.clone(),
        driver: None,
        group: None,
        shares: Vec::new(),
    }
}

fn holder(devices: &Devices, loans: &[Loan], at: &str) -> Option<String> {
    let loan = loans.iter().find(|loan| loan.lent.to_string() == at);
    loan.map(|loan| devices.called(loan.machine))
}

impl Handle<host::DeviceMap> for Agent {
    async fn handle(&self, job: &Job, command: host::DeviceMap) -> Result<DeviceChanged, Refusal> {
        let name = command.name.trim().to_owned();
        if !Device::is_name(&name) {
            let shown = safe_line(&name, 40);
            let text = format!("{shown:?} cannot be the name of a device.");
            return Err(Refusal::new(Reason::BadRequest, text)
                .field("name")
                .hint("Use 1 to 16 of a-z, 0-9 and -, a letter first, such as gpu."));
        }
        let seen = self.seen_devices().await?;
        let mapping = meant(&command, &seen)?;
        let all = self.inner.devices.all().await?;
        let before = all.iter().find(|stored| stored.name == name);
        let even_in_use = command.even_in_use;
        if before.is_some_and(|stored| stored.mapping == mapping && stored.even_in_use == even_in_use) {
            let sentence = format!("The device {name} is {mapping} already.");
            return Ok(DeviceChanged { name, sentence, notes: vec![] });
        }
        self.not_lent(&name).await?;
        if let Some(other) =
            all.iter().find(|stored| stored.name != name && same(&stored.mapping, &mapping, &seen))
        {
            let text = format!("That device is called {} already.", other.name);
            return Err(Refusal::new(Reason::Conflict, text).field("device"));
        }
        let lost = self.lost_to_the_host(&command, &mapping, &seen).await?;
        let sentence = format!("The device {name} is {mapping} now.");
        let (made_at, made_by) = (Utc::now(), job.by());
        let stored = Stored { name: name.clone(), mapping: mapping.clone(), even_in_use, made_at, made_by };
        self.inner.store.run(move |connection| rows::map(connection, &stored)).await?;
        crash::point("device-mapped");
        self.note(job, "device.mapped", &sentence).await?;
        Ok(DeviceChanged { name, sentence, notes: lost.into_iter().chain(notes(&mapping, &seen)).collect() })
    }
}

/// What a person means by a device, and what that is now.
fn meant(command: &host::DeviceMap, seen: &Seen) -> Result<Mapping, Refusal> {
    let text = command.device.trim();
    let serial = command.serial.as_ref().map(|serial| safe_line(serial.trim(), SERIAL_CHARS_MAX));
    let none = |what: &str| {
        Refusal::new(Reason::NotFound, format!("There is no device {what} here."))
            .field("device")
            .hint("\"device list\" shows what there is.")
    };
    if let Ok(address) = text.parse::<PciAddress>() {
        if serial.is_some() {
            let text = "A device on PCI has no serial to be told by.";
            return Err(Refusal::new(Reason::BadRequest, text).field("serial"));
        }
        let found = seen.at(address).ok_or_else(|| none(&address.to_string()))?;
        return Ok(Mapping::Pci { address, id: found.id });
    }
    if let Ok(port) = text.parse::<UsbPort>() {
        let found = seen.plugged(&port).ok_or_else(|| none(&port.to_string()))?;
        if serial.is_some() && serial != found.serial {
            return Err(none(&format!("of that serial at {port}")));
        }
        return Ok(Mapping::Usb { id: found.id, serial: found.serial.clone(), port: Some(port) });
    }
    let id: Id = text.parse().map_err(|_| {
        let text = format!("{:?} is no device.", safe_line(text, 40));
        Refusal::new(Reason::BadRequest, text)
            .field("device")
            .hint("Such as 0000:01:00.0 on PCI, or 1050:0407 or 1-2 by USB (see: device list).")
    })?;
    let mapping = Mapping::Usb { id, serial, port: None };
    let found = mapping.plugged(seen).map_err(|why| {
        let text = format!("{}.", safe_line(&why.to_string(), 200));
        Refusal::new(Reason::NotFound, text).field("device").hint("\"device list\" shows what there is.")
    })?;
    // What says which of its kind it is, is that one from now on.
    Ok(Mapping::Usb { id, serial: found.serial.clone(), port: None })
}

/// Whether two names would mean one device.
fn same(one: &Mapping, other: &Mapping, seen: &Seen) -> bool {
    match (one, other) {
        (Mapping::Pci { address, .. }, Mapping::Pci { address: other, .. }) => address == other,
        (Mapping::Usb { .. }, Mapping::Usb { .. }) => {
            one == other || one.plugged(seen).is_ok_and(|usb| other.is_plugged(usb, seen))
        }
        _ => false,
    }
}

/// What a person should know who calls it so.
fn notes(mapping: &Mapping, seen: &Seen) -> Vec<String> {
    let Mapping::Pci { address, .. } = mapping else { return Vec::new() };
    let Some(pci) = seen.at(*address) else { return Vec::new() };
    let mut notes = Vec::new();
    if pci.group.is_none() {
        notes.push(
            "this host has no IOMMU switched on, without which it cannot be handed to a machine".into(),
        );
    }
    if let Some(driver) = pci.driver.as_deref().filter(|driver| *driver != "vfio-pci") {
        notes.push(format!("the host uses it by {driver}, and does without while a machine has it"));
    }
    let others: Vec<String> = seen.group_of(pci).map(|other| other.address.to_string()).collect();
    if !others.is_empty() {
        notes.push(format!(
            "it comes together with {}: a machine has to be given all of them that the host \
                            uses",
            others.join(", ")
        ));
    }
    notes
}

impl Handle<host::DeviceUnmap> for Agent {
    async fn handle(&self, job: &Job, command: host::DeviceUnmap) -> Result<DeviceChanged, Refusal> {
        let Stored { name, .. } = self.device(&command.name).await?;
        let users = self.inner.devices.users(&name);
        if !users.is_empty() {
            let text = format!("The device {name} is to be had by {}.", users.join(", "));
            return Err(Refusal::new(Reason::Conflict, text)
                .field("name")
                .hint(format!("Take it from them first: {} device detach {name}", users[0])));
        }
        self.not_lent(&name).await?;
        let gone = name.clone();
        self.inner.store.run(move |connection| rows::unmap(connection, &gone)).await?;
        crash::point("device-row-gone");
        let sentence = format!("No device is called {name} any more.");
        self.note(job, "device.unmapped", &sentence).await?;
        Ok(DeviceChanged { name, sentence, notes: vec![] })
    }
}

impl Agent {
    /// The device of this name.
    async fn device(&self, name: &str) -> Result<Stored, Refusal> {
        let all = self.inner.devices.all().await?;
        let found = all.iter().find(|stored| stored.name == name.trim());
        found.cloned().ok_or_else(|| unknown(name, &all))
    }

    /// The names of all devices.
    pub(crate) async fn device_names(&self) -> Vec<String> {
        let all = self.inner.devices.all().await.unwrap_or_default();
        all.into_iter().map(|stored| stored.name).collect()
    }

    /// What has no name yet, by what it could be mapped by.
    pub(crate) async fn nameless_devices(&self) -> Vec<String> {
        let all = self.inner.devices.all().await.unwrap_or_default();
        let seen = self.inner.devices.look().await.unwrap_or_default();
        let pci = seen.pci.iter().filter(|pci| !all.iter().any(|stored| stored.mapping.is_at(pci)));
        let usb =
            seen.usb.iter().filter(|usb| !all.iter().any(|stored| stored.mapping.is_plugged(usb, &seen)));
        let usb = usb.map(|usb| match seen.usb.iter().filter(|other| other.id == usb.id).count() {
            1 => usb.id.to_string(),
            _ => usb.port.to_string(),
        });
        pci.map(|pci| pci.address.to_string()).chain(usb).collect()
    }

    /// What the host loses when a machine is given what it uses itself. Refused, unless that is meant.
    async fn lost_to_the_host(
        &self,
        command: &host::DeviceMap,
        mapping: &Mapping,
        seen: &Seen,
    ) -> Result<Option<String>, Refusal> {
        let Some(lent) = mapping.lent(seen) else { return Ok(None) };
        let place = lent.to_string();
        let uses = self.inner.devices.host_uses(lent).await.map_err(|error| {
            reference::internal("What the host does with that device could not be looked at", &error)
        })?;
        let Some(first) = uses.first() else { return Ok(None) };
        let all: Vec<String> = uses.iter().map(ToString::to_string).collect();
        let (used, loss) = (safe_line(&all.join("; "), USES_CHARS_MAX), first.loss());
        if command.even_in_use {
            return Ok(Some(format!("the host itself uses it: {used}. {}", loss.trim_end_matches('.'))));
        }
        let text = format!("The host itself uses {place}: {used}. {loss}");
        let (name, device) = (command.name.trim(), command.device.trim());
        Err(Refusal::new(Reason::Conflict, text)
            .field("device")
            .hint(format!("If that is meant: device map {name} {device} --even-in-use")))
    }

    async fn seen_devices(&self) -> Result<Seen, Refusal> {
        let seen = self.inner.devices.look().await;
        seen.map_err(|error| reference::internal("The devices of this host could not be looked at", &error))
    }

    /// Refuses another meaning of a name while a machine has the device.
    async fn not_lent(&self, name: &str) -> Result<(), Refusal> {
        self.inner.devices.settle().await;
        let loans = self.inner.devices.loans().await;
        let Some(loan) = loans.iter().find(|loan| loan.name == name) else { return Ok(()) };
        let machine = self.inner.devices.called(loan.machine);
        let text = format!("{machine} has the device {name} now.");
        Err(Refusal::new(Reason::Conflict, text)
            .field("name")
            .hint("It can be mapped otherwise when that is off."))
    }

    /// Refuses devices that are called nothing here, but for those that a machine was to have before.
    pub(super) async fn check_devices(
        &self,
        before: &Definition,
        definition: &Definition,
    ) -> Result<(), Refusal> {
        let new: Vec<&Device> =
            definition.devices.iter().filter(|device| !before.devices.contains(device)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let all = self.inner.devices.all().await?;
        match new.into_iter().find(|device| !all.iter().any(|stored| stored.name == device.name)) {
            Some(device) => Err(unknown(&device.name, &all)),
            None => Ok(()),
        }
    }
}

fn unknown(name: &str, all: &[Stored]) -> Refusal {
    let text = format!("No device of this host is called {:?}.", safe_line(name, 40));
    let refusal = Refusal::new(Reason::NotFound, text).field("name");
    let names: Vec<&str> = all.iter().map(|stored| stored.name.as_str()).collect();
    match nearest(name, names.iter().copied()) {
        Some(near) => refusal.hint(format!("Did you mean {near}?")),
        None if names.is_empty() => {
            refusal.hint("None has a name yet: device map gives one (see: device list).")
        }
        None => refusal.hint(format!("There is: {}.", names.join(", "))),
    }
}

impl Handle<machine::DeviceAttach> for Agent {
    async fn handle(&self, job: &Job, command: machine::DeviceAttach) -> Result<Defined, Refusal> {
        let Stored { name, mapping, .. } = self.device(&command.name).await?;
        let record = job.machine()?.record();
        let mut definition = record.definition.clone();
        let device = Device::new(name);
        if definition.devices.contains(&device) {
            return again(job, &record, format!("it has the device {} already", device.name)).await;
        }
        definition.devices.push(device);
        define::checked(&definition)?;
        let mut defined = define::define(job, &record, definition).await?;
        if matches!(mapping, Mapping::Pci { .. }) {
            defined
                .changed
                .push(Redefined { what: LOCKED.into(), effective: "as long as it has that".into() });
        }
        Ok(defined)
    }
}

impl Handle<machine::DeviceDetach> for Agent {
    async fn handle(&self, job: &Job, command: machine::DeviceDetach) -> Result<Defined, Refusal> {
        let record = job.machine()?.record();
        let mut definition = record.definition.clone();
        let name = command.name.trim();
        if !definition.devices.iter().any(|device| device.name == name) {
            let names: Vec<&str> = definition.devices.iter().map(|device| device.name.as_str()).collect();
            let text = format!("{} has no device {:?}.", record.name, safe_line(name, 40));
            let hint = match names.as_slice() {
                [] => "It is given one by \"device attach\".".to_owned(),
                names => format!("It has: {}.", names.join(", ")),
            };
            return Err(Refusal::new(Reason::NotFound, text).field("name").hint(hint));
        }
        definition.devices.retain(|device| device.name != name);
        define::define(job, &record, definition).await
    }
}

/// It is asked for once more: whatever was in the way may be so no longer.
async fn again(job: &Job, record: &crate::machine::Record, what: String) -> Result<Defined, Refusal> {
    let effective = define::live::again(&job.machine()?.card, record.state.has_guest()).await;
    Ok(define::shown(record, &record.definition, vec![Redefined { what, effective }]))
}
