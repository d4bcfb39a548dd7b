//! Which QEMU is installed.

use std::{path::Path, process::Command};

/// The oldest QEMU that has all that is asked of it.
const VERSION_MIN: (u32, u32) = (6, 0);

/// The version of the program, or why it will not do.
pub(super) fn of(program: &Path) -> Result<String, String> {
    let said = Command::new(program).arg("--version").output();
    let program = program.display();
    let said = said.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("{program} is not installed (Debian package qemu-system-x86).")
        }
        _ => format!("{program} cannot be run: {error}."),
    })?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said
        .split_once("version ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .ok_or_else(|| format!("{program} does not say its version."))?;
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < VERSION_MIN {
        let (major, minor) = VERSION_MIN;
        return Err(format!("QEMU {version} is too old: at least {major}.{minor} is needed."));
    }
    Ok(version.to_owned())
}
