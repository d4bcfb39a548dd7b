//! Checks what a type cannot: ranges, paths, lengths. Looks at no file.

mod devices;
mod hardware;

use std::path::Path;

pub(crate) use self::devices::{is_device_name, is_interface};

use super::{
    Boot, Definition, DefinitionError, Firmware, Startup,
    error::{CMDLINE_BYTES_MAX, NOTE_BYTES_MAX, UEFI_MIB_MIN},
};

/// The longest path (Linux's PATH_MAX without its end).
const PATH_BYTES_MAX: usize = 4095;

impl Definition {
    /// Checks what a type cannot: ranges, paths, lengths. Looks at no file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), DefinitionError> {
        let Self { memory_mib, cpu, boot, disks, nics, cloud_init, startup, note, .. } = self;
        hardware::room(self)?;
        if self.firmware.is_uefi() && *memory_mib < UEFI_MIB_MIN {
            return Err(DefinitionError::UefiMemory(*memory_mib));
        }
        if startup.delay_seconds > Startup::DELAY_SECONDS_MAX {
            return Err(DefinitionError::Delay(startup.delay_seconds));
        }
        hardware::kept(&self.kept)?;
        hardware::cpu(cpu, self.vcpus_room())?;
        cloud_init.as_ref().map_or(Ok(()), hardware::cloud_init)?;
        if self.firmware == Firmware::SecureBoot && matches!(boot, Boot::Kernel { .. }) {
            return Err(DefinitionError::UncheckedKernel);
        }
        match boot {
            Boot::Kernel { kernel, initrd, cmdline } => {
                whole("kernel", kernel)?;
                initrd.as_deref().map_or(Ok(()), |initrd| whole("initrd", initrd))?;
                if cmdline.len() > CMDLINE_BYTES_MAX || cmdline.chars().any(char::is_control) {
                    return Err(DefinitionError::Cmdline);
                }
            }
            Boot::Disk if disks.is_empty() && nics.iter().all(|nic| nic.boot_order.is_none()) => {
                return Err(DefinitionError::NoBootDisk);
            }
            Boot::Disk => {}
        }
        devices::disks(disks)?;
        devices::nics(nics)?;
        devices::shares(&self.shares)?;
        devices::given(&self.devices)?;
        devices::together(self)?;
        devices::firewall(self)?;
        let odd =
            |note: &String| note.len() > NOTE_BYTES_MAX || note.chars().any(|c| c.is_control() && c != '\n');
        if note.as_ref().is_some_and(odd) { Err(DefinitionError::Note) } else { Ok(()) }
    }
}

fn whole(what: &'static str, path: &Path) -> Result<(), DefinitionError> {
    let text = path.to_string_lossy();
    if text.len() > PATH_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(DefinitionError::OddPath { what });
    }
    if path.is_absolute() { Ok(()) } else { Err(DefinitionError::Relative { what, path: path.into() }) }
}
