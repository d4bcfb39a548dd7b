//! Devices of the host that a machine has: `vfio-pci` for those on PCI, `usb-host` for what is plugged in by
//! USB, which comes and goes while it runs. The device `gpu` is `device-gpu` to QEMU.

use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};

use super::{disks::unfit, running::Running};
use crate::{
    confine::Support,
    definition::Definition,
    device::{Id, Lent, UsbPort},
    driver::{
        Altered, DriverError, Launch,
        devices::{When, altered},
    },
};

/// How QEMU's names of them begin.
const PREFIX: &str = "device-";
/// Where the ports are for those on PCI, one function each: one place for all, that nothing else wants.
const SLOT: &str = "0x1a";
/// The chassis of the first of them: those of the ports for hot-plug are below.
const CHASSIS: usize = 32;
/// What a device's own memory may take besides the guest's, as libvirt reckons it too.
const BESIDES_MIB: u64 = 1024;

/// Says a port for each on PCI: a GPU's driver looks for the link that a card has. Before anything that
/// takes the first place that is free.
pub(super) fn ports(lent: &[(String, Lent)], say: &mut impl FnMut([&str; 2])) {
    for (nth, (name, _)) in lent.iter().filter(|(_, lent)| !lent.is_usb()).enumerate() {
        let first = if nth == 0 { ",multifunction=on" } else { "" };
        let place = format!("chassis={},addr={SLOT}.{nth}{first}", CHASSIS + nth);
        say(["-device", &format!("pcie-root-port,id=for-{name},{place}")]);
    }
}

/// Says those it was lent, and the controller of those by USB if it has none for its pointer.
pub(super) fn say(definition: &Definition, lent: &[(String, Lent)], say: &mut impl FnMut([&str; 2])) {
    if !definition.graphics && lent.iter().any(|(_, lent)| lent.is_usb()) {
        say(["-device", "qemu-xhci,id=usb"]);
    }
    for (name, lent) in lent {
        match lent {
            Lent::Pci { address } => {
                say(["-device", &format!("vfio-pci,host={address},id={PREFIX}{name},bus=for-{name}")]);
            }
            Lent::Usb { port, id: Id { vendor, product } } => {
                let place = format!("hostbus={},hostport={}", port.bus, port.path());
                let what = format!("vendorid=0x{vendor:04x},productid=0x{product:04x}");
                say(["-device", &format!("usb-host,id={PREFIX}{name},bus=usb.0,{place},{what}")]);
            }
        }
    }
}

/// A device on PCI writes to the guest's memory whenever it wants to: all of it is held in the host's, which
/// only root may without a bound.
pub(super) fn check(definition: &Definition, lent: &[(String, Lent)]) -> Result<(), DriverError> {
    let Some((name, _)) = lent.iter().find(|(_, lent)| !lent.is_usb()) else { return Ok(()) };
    let needs = (definition.memory_room_mib() + BESIDES_MIB) << 20;
    let may = getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX);
    if nix::unistd::geteuid().is_root() || may >= needs {
        return Ok(());
    }
    Err(DriverError::Unfit(format!(
        "with the device {name} all of its memory is locked, {} MiB with what the device has, and the agent may \
         lock {} MiB: raise that (LimitMEMLOCK=infinity in its unit)",
        needs >> 20,
        may >> 20
    )))
}

impl Running {
    /// The devices it has now, by name, and whether they are by USB.
    async fn devices(&self) -> Result<Vec<(String, bool)>, DriverError> {
        let all = self.qmp.ask("qom-list", Some(json!({"path": "/machine/peripheral"}))).await?;
        let one = |item: &Value| {
            let name = item["name"].as_str()?.strip_prefix(PREFIX)?;
            Some((name.to_owned(), item["type"] == "child<usb-host>"))
        };
        Ok(all.as_array().into_iter().flatten().filter_map(one).collect())
    }

    /// Whether it has any: they are the host's, and neither saved nor moved with it.
    pub(super) async fn has_devices(&self) -> Result<bool, DriverError> {
        Ok(!self.devices().await?.is_empty())
    }

    /// Plugs in and out what can be while it runs, as its definition has it.
    pub(super) async fn change_devices(&self, launch: &Launch) -> Result<Altered, DriverError> {
        let wanted = &launch.definition.devices;
        let names: Vec<String> = wanted.iter().map(|device| device.name.clone()).collect();
        let before = self.devices().await?;
        if names.is_empty() && before.is_empty() {
            return Ok(Altered::Now);
        }
        let lend = launch.devices.lend()?;
        for (name, _) in before.iter().filter(|(name, usb)| *usb && !names.contains(name)) {
            // There is no guest to be asked: it sees the device pulled out.
            self.qmp
                .ask("device_del", Some(json!({"id": format!("{PREFIX}{name}")})))
                .await
                .map_err(unfit)?;
        }
        let lent = lend.lend(launch.id, &names, When::Runs).await;
        let plugged = match lent {
            Ok(lent) => self.plug_in(&lent, &names, &before).await,
            Err(error) => Err(error),
        };
        let has: Vec<String> = self.devices().await?.into_iter().map(|(name, _)| name).collect();
        lend.keep(launch.id, &has).await?;
        if !plugged? {
            let why = "it was started without a device by USB, and reaches none until then";
            return Ok(Altered::NextStart(why.into()));
        }
        Ok(altered(wanted, &has))
    }

    /// Whether it may open devices by USB: one that was started with none is kept from all of them.
    fn reaches_usb(&self) -> bool {
        let line = std::fs::read(format!("/proc/{}/cmdline", self.process.identity.pid)).unwrap_or_default();
        let had = line.split(|byte| *byte == 0).any(|word| word.starts_with(b"usb-host,"));
        had || Support::of_host() == Support::Missing
    }

    /// False where it has to be started anew for them.
    async fn plug_in(
        &self,
        lent: &[(String, Lent)],
        wanted: &[String],
        before: &[(String, bool)],
    ) -> Result<bool, DriverError> {
        for (name, lent) in lent {
            let Lent::Usb { port, id } = lent else { continue };
            if wanted.contains(name) && !before.iter().any(|(other, _)| other == name) {
                if !self.reaches_usb() {
                    return Ok(false);
                }
                self.plug_in_usb(name, port, *id).await?;
            }
        }
        Ok(true)
    }

    async fn plug_in_usb(&self, name: &str, port: &UsbPort, id: Id) -> Result<(), DriverError> {
        let words = json!({
            "driver": "usb-host", "id": format!("{PREFIX}{name}"), "bus": "usb.0",
            "hostbus": port.bus, "hostport": port.path(), "vendorid": id.vendor, "productid": id.product,
        });
        match self.qmp.ask("device_add", Some(words)).await.map_err(unfit) {
            Ok(_) => Ok(()),
            Err(DriverError::Unfit(why)) if why.contains("'usb.0' not found") => {
                Err(DriverError::Unfit("it has a USB controller only then".into()))
            }
            Err(error) => Err(error),
        }
    }
}
