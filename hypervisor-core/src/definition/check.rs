//! Checks what a type cannot: ranges, paths, lengths. Looks at no file.

mod devices;
mod hardware;

use std::path::Path;

use super::{
    Boot, Definition, DefinitionError, Startup,
    error::{CMDLINE_BYTES_MAX, MEMORY_MIB_MAX, MEMORY_MIB_MIN, NOTE_BYTES_MAX, VCPUS_MAX},
};

/// The longest path (Linux's PATH_MAX without its end).
const PATH_BYTES_MAX: usize = 4095;

impl Definition {
    /// Checks what a type cannot: ranges, paths, lengths. Looks at no file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), DefinitionError> {
        let Self { vcpus, memory_mib, cpu, boot, disks, nics, cloud_init, startup, note, .. } = self;
        if !(1..=VCPUS_MAX).contains(vcpus) {
            return Err(DefinitionError::Vcpus(*vcpus));
        }
        if !(MEMORY_MIB_MIN..=MEMORY_MIB_MAX).contains(memory_mib) {
            return Err(DefinitionError::Memory(*memory_mib));
        }
        if startup.delay_seconds > Startup::DELAY_SECONDS_MAX {
            return Err(DefinitionError::Delay(startup.delay_seconds));
        }
        hardware::cpu(cpu, *vcpus)?;
        cloud_init.as_ref().map_or(Ok(()), hardware::cloud_init)?;
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
        devices::together(self)?;
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
