//! Which driver the lab's hosts use, and the guest its machines run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{DriverKind, program};

/// What `scripts/guest` makes: a kernel, its initial file system, its command line.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
    pub(super) cmdline: String,
}

/// The driver the lab's hosts use.
#[derive(Clone, Debug)]
pub(super) enum Driver {
    /// Real guests.
    Qemu(Guest),
    /// Guests in memory only.
    Fake,
}

impl Driver {
    /// The word of the agent's configuration.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Driver::Qemu(_) => "qemu",
            Driver::Fake => "fake",
        }
    }

    /// Chooses: what was asked for or an error; with `auto` what is possible here, and why not more.
    pub(super) fn choose(asked: DriverKind, guest: Option<&Path>) -> Result<(Self, Option<String>)> {
        match (asked, Self::qemu(guest)) {
            (DriverKind::Fake, _) => Ok((Driver::Fake, None)),
            (_, Ok(driver)) => Ok((driver, None)),
            (DriverKind::Qemu, Err(obstacle)) => Err(obstacle),
            // Auto: a guest folder that was named and is not there is a mistake, not a circumstance.
            (DriverKind::Auto, Err(obstacle)) if guest.is_some() => Err(obstacle),
            (DriverKind::Auto, Err(obstacle)) => {
                Ok((Driver::Fake, Some(format!("{obstacle:#}; the machines of this lab are pretended ones"))))
            }
        }
    }

    fn qemu(guest: Option<&Path>) -> Result<Self> {
        program("qemu-system-x86_64")
            .context("QEMU is not installed here (apt install qemu-system-x86 qemu-utils)")?;
        Ok(Driver::Qemu(Guest::find(guest)?))
    }
}

impl Guest {
    /// Looks in the folder that was named, else in `build/guest` here and beside the build this
    /// program is from.
    fn find(named: Option<&Path>) -> Result<Self> {
        let mut places: Vec<PathBuf> = Vec::new();
        match named {
            Some(dir) => places.push(dir.to_owned()),
            None => {
                places.push("build/guest".into());
                let executable = std::env::current_exe().unwrap_or_default();
                places.extend(executable.ancestors().skip(3).take(2).map(|dir| dir.join("build/guest")));
            }
        }
        for place in &places {
            if let Ok(cmdline) = std::fs::read_to_string(place.join("cmdline")) {
                let place = std::path::absolute(place)?;
                return Ok(Guest {
                    kernel: place.join("vmlinuz"),
                    initrd: place.join("initrd.img"),
                    cmdline: cmdline.trim().to_owned(),
                });
            }
        }
        bail!("there is no guest in {} (scripts/guest makes one)", places[0].display())
    }

    /// What a pretended machine is made from: the fake driver looks at no byte of it.
    pub(super) fn pretended(dir: &Path) -> Result<Self> {
        let guest =
            Guest { kernel: dir.join("vmlinuz"), initrd: dir.join("initrd.img"), cmdline: String::new() };
        super::site::make_dir(dir)?;
        for file in [&guest.kernel, &guest.initrd] {
            super::site::write(file, "No guest: the fake driver runs nothing.\n")?;
        }
        Ok(guest)
    }
}
