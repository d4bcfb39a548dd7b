//! UEFI for guests (OVMF): found where Debian, Fedora, openSUSE and Arch put it. What a machine's UEFI
//! remembers is in a file of its own, copied from the package at the first start.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::folder::Folder;
use crate::{definition::Firmware, driver::DriverError};

/// What the machine's UEFI remembers, in its folder. One that checks signatures has its own: the keys
/// are in it.
const VARIABLES: &str = "uefi-vars.fd";
const SECURE_VARIABLES: &str = "uefi-secure-vars.fd";
/// Both, in a machine's folder.
pub(super) const REMEMBERED: [&str; 2] = [VARIABLES, SECURE_VARIABLES];

/// The program and what it remembers at first, the better ones first.
const UEFI: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"),
];
/// The same with signatures checked and the usual keys enrolled.
const SECURE: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/OVMF/OVMF_CODE.ms.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
    ("/usr/share/qemu/ovmf-x86_64-ms-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-ms-4m-vars.bin"),
];

/// The two files of a UEFI.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Files {
    /// The program, which is the host's.
    pub(super) code: PathBuf,
    /// What it remembers, which is the machine's.
    pub(super) variables: PathBuf,
}

/// Finds the firmware, and gives the machine a file for what it remembers if it has none. `None` for a
/// BIOS, which QEMU brings itself.
pub(super) fn prepare(firmware: Firmware, folder: &Folder) -> Result<Option<Files>, DriverError> {
    let (known, name) = match firmware {
        Firmware::Bios => return Ok(None),
        Firmware::Uefi => (UEFI, VARIABLES),
        Firmware::SecureBoot => (SECURE, SECURE_VARIABLES),
    };
    let there =
        |(code, variables): &&(&str, &str)| Path::new(code).is_file() && Path::new(variables).is_file();
    let Some((code, template)) = known.iter().find(there) else {
        return Err(DriverError::Unfit(format!(
            "there is no firmware for {} on this host (Debian package ovmf, Fedora edk2-ovmf)",
            firmware.word()
        )));
    };
    let variables = folder.within(name);
    if !variables.exists() {
        let beside = folder.within("uefi-vars.new");
        let copied = fs::copy(template, &beside)
            .and_then(|_| writable(&beside))
            .and_then(|()| fs::rename(&beside, &variables));
        copied.map_err(|source| DriverError::system(format!("writing {}", variables.display()), source))?;
    }
    Ok(Some(Files { code: code.into(), variables }))
}

/// A package's file may be read-only, and a copy is then, too.
fn writable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}
