//! The machine itself and its firmware, which hang together.

use super::path;
use crate::{
    definition::Firmware,
    driver::{DriverError, qemu::firmware::Files},
};

/// Says the machine, with the flash chips of a UEFI where it has one.
pub(super) fn say(
    firmware: Firmware,
    files: Option<&Files>,
    say: &mut impl FnMut([&str; 2]),
) -> Result<(), DriverError> {
    let Some(files) = files else {
        say(["-machine", "q35"]);
        return Ok(());
    };
    for (node, file, read_only) in [("uefi", &files.code, true), ("uefi-vars", &files.variables, false)] {
        let description = serde_json::json!({
            "driver": "raw",
            "node-name": node,
            "read-only": read_only,
            "file": { "driver": "file", "filename": path(file)? },
        });
        say(["-blockdev", &description.to_string()]);
    }
    let chips = "q35,pflash0=uefi,pflash1=uefi-vars";
    if firmware == Firmware::SecureBoot {
        // Only the firmware itself may write to what it remembers, or the keys in it would say nothing.
        say(["-machine", &format!("{chips},smm=on")]);
        say(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
        say(["-global", "ICH9-LPC.disable_s3=1"]);
    } else {
        say(["-machine", chips]);
    }
    Ok(())
}
