//! Taking a function from the host's driver, and giving it back: by `driver_override`, which names the one
//! driver that may have a device, whatever other drivers would have it (Linux'
//! Documentation/ABI/testing/sysfs-bus-pci).
//!
//! Nothing is changed of what is plugged in by USB: QEMU asks the kernel for its interfaces. Killed, it
//! leaves them without a driver, so the host's are asked to look at them again.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

use super::{
    PciAddress, Tree, UsbPort,
    choice::{Lent, Loan, VFIO},
    pretended,
    tree::led_to,
};

/// Why a function could not be taken from the host, or given back.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The driver that hands it over is not there.
    #[error(
        "this host's kernel has no vfio-pci loaded: modprobe vfio-pci, and for the next boot write it \
             to /etc/modules-load.d/vfio.conf"
    )]
    NoVfio,
    /// It may not be done.
    #[error(
        "the agent may not take {0} from its driver: run it as root with a /sys it can write to \
         (ProtectKernelTunables=no in its unit), or bind the device to vfio-pci beforehand (driverctl \
         set-override {0} vfio-pci)"
    )]
    NotAllowed(PciAddress),
    /// The file by which QEMU gets at it is not the agent's to open.
    #[error(
        "the agent may not open {file}, which is {what}: give it the right by a rule of udev, such as {rule}"
    )]
    Closed {
        /// The file.
        file: String,
        /// What is behind it.
        what: String,
        /// What gives the right.
        rule: String,
    },
    /// The kernel did not do it.
    #[error("{address} should have the driver {wanted} now, and has {found}")]
    Otherwise {
        /// Where.
        address: PciAddress,
        /// The driver that it should have.
        wanted: String,
        /// What it has.
        found: String,
    },
    /// The system said no.
    #[error("{what}")]
    System {
        /// What was being done.
        what: String,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl Tree {
    /// Gets a device ready to be handed over. Fine if it is.
    ///
    /// # Errors
    /// When it cannot be: then [`Tree::give_back`] undoes what was done.
    pub fn take(&self, lent: &Lent) -> Result<(), BindError> {
        match lent {
            Lent::Pci { address } => {
                self.bind(*address)?;
                let group = led_to(&self.pci(*address).join("iommu_group"));
                let group = group.and_then(|group| group.parse().ok()).unwrap_or_default();
                let rule = "SUBSYSTEM==\"vfio\", OWNER=\"skerry\"";
                open(&self.vfio(group), format!("the IOMMU group of {address}"), rule.into())
            }
            Lent::Usb { port, id } => {
                let seen = self.look().map_err(|source| system("looking at what is plugged in", source))?;
                let Some(usb) = seen.plugged(port) else { return Ok(()) };
                let rule = format!(
                    "SUBSYSTEM==\"usb\", ATTR{{idVendor}}==\"{:04x}\", ATTR{{idProduct}}==\"{:04x}\", \
                     OWNER=\"skerry\"",
                    id.vendor, id.product
                );
                open(&self.usb_file(usb), format!("{id} at the port {port}"), rule)
            }
        }
    }

    /// Gives a device back to the host's driver that had it. Fine if it has it, or if the device is gone. May
    /// take as long as another process has it open.
    ///
    /// # Errors
    /// When it cannot be given back.
    pub fn give_back(&self, loan: &Loan) -> Result<(), BindError> {
        match &loan.lent {
            Lent::Pci { address } => self.unbind(*address, loan.driver.as_deref()),
            Lent::Usb { port, .. } => {
                self.probe(port).map_err(|source| system(format!("giving {port} back"), source))
            }
        }
    }

    fn bind(&self, address: PciAddress) -> Result<(), BindError> {
        let device = self.pci(address);
        let driver = || led_to(&device.join("driver"));
        if driver().as_deref() == Some(VFIO) {
            return Ok(());
        }
        if !self.pci_driver(VFIO).is_dir() {
            return Err(BindError::NoVfio);
        }
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                BindError::NotAllowed(address)
            }
            _ => system(format!("taking {address} from its driver"), source),
        };
        self.write(&device.join("driver_override"), VFIO).map_err(failed)?;
        let at = address.to_string();
        if driver().is_some() {
            self.write(&device.join("driver/unbind"), &at).map_err(failed)?;
        }
        self.write(&self.root.join("sys/bus/pci/drivers_probe"), &at).map_err(failed)?;
        match driver() {
            Some(bound) if bound == VFIO => Ok(()),
            found => Err(BindError::Otherwise {
                address,
                wanted: VFIO.into(),
                found: found.unwrap_or_else(|| "none".into()),
            }),
        }
    }

    fn unbind(&self, address: PciAddress, before: Option<&str>) -> Result<(), BindError> {
        let device = self.pci(address);
        // It was taken out, or was the administrator's to hand over and is so still.
        if !device.is_dir() || before == Some(VFIO) {
            return Ok(());
        }
        let failed = |source| system(format!("giving {address} back"), source);
        let at = address.to_string();
        let said = fs::read_to_string(device.join("driver_override")).map_err(failed)?;
        if said.trim() == VFIO {
            self.write(&device.join("driver_override"), "\n").map_err(failed)?;
        }
        let driver = || led_to(&device.join("driver"));
        if driver().as_deref() == Some(VFIO) {
            self.write(&self.pci_driver(VFIO).join("unbind"), &at).map_err(failed)?;
        }
        let Some(before) = before.filter(|_| driver().is_none()) else { return Ok(()) };
        self.write(&self.root.join("sys/bus/pci/drivers_probe"), &at).map_err(failed)?;
        if driver().is_none() && self.pci_driver(before).is_dir() {
            self.write(&self.pci_driver(before).join("bind"), &at).map_err(failed)?;
        }
        Ok(())
    }

    /// Has the host's drivers look again at interfaces that none of them has.
    fn probe(&self, port: &UsbPort) -> io::Result<()> {
        let Ok(entries) = fs::read_dir(self.usb()) else { return Ok(()) };
        let of_port = format!("{port}:");
        for path in entries.flatten().map(|entry| entry.path()) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.starts_with(&of_port) && led_to(&path.join("driver")).is_none() {
                match self.write(&self.root.join("sys/bus/usb/drivers_probe"), name) {
                    // No driver of the host wants it, or it was pulled out just now.
                    Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => {}
                    Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => {}
                    written => written?,
                }
            }
        }
        Ok(())
    }

    /// One write, as sysfs wants it: an attribute is never made.
    fn write(&self, attribute: &Path, text: &str) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .truncate(self.is_pretended)
            .open(attribute)?
            .write_all(text.as_bytes())?;
        if self.is_pretended { pretended::obey(&self.root, attribute, text) } else { Ok(()) }
    }
}

/// QEMU has the agent's rights: what this may not open, that may not.
fn open(file: &Path, what: String, rule: String) -> Result<(), BindError> {
    let flags = nix::unistd::AccessFlags::R_OK | nix::unistd::AccessFlags::W_OK;
    nix::unistd::access(file, flags).map_err(|_| BindError::Closed {
        file: file.display().to_string(),
        what,
        rule,
    })
}

fn system(what: impl Into<String>, source: io::Error) -> BindError {
    BindError::System { what: what.into(), source }
}

#[cfg(test)]
#[path = "binding_tests.rs"]
mod tests;
