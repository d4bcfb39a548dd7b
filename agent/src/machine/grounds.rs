//! What the disks of a machine may stand on. Whoever breaks out of a guest can write into the header of its
//! own disk that it stands on any file of the host, or has its content there; and the next start would open
//! that file, as would a copy. So headers are believed only where they name what we, or a definition, would
//! have.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use hypervisor_core::{
    definition::Disk,
    driver::{Beneath, DriverError},
};
use skerry_stanzas::refusal::{Reason, Refusal};

use super::{Card, Record};
use crate::{config::Config, reference};

/// The places of one host.
pub(crate) struct Grounds {
    state: PathBuf,
    images: PathBuf,
    bases: PathBuf,
    /// Files that the configuration has for images, and folders whose files a definition may name.
    configured: RwLock<Vec<PathBuf>>,
}

impl Grounds {
    /// Of the agent's folder, without links.
    pub(crate) fn new(state: &Path) -> Self {
        Self {
            state: state.to_owned(),
            images: state.join("images"),
            bases: state.join("bases"),
            configured: RwLock::default(),
        }
    }

    /// What the configuration says from now on.
    pub(crate) fn configure(&self, config: &Config) {
        let images = config.images.values().filter_map(|image| image.disk.as_deref());
        let all = images.chain(config.files.allow.iter().map(PathBuf::as_path)).filter_map(really).collect();
        *self.configured.write().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// Refuses a machine with a disk that stands on what is not its own to read. `others` are all machines.
    pub(crate) fn check<'a>(
        &self,
        card: &Card,
        record: &Record,
        others: impl Iterator<Item = &'a Record> + Clone,
    ) -> Result<(), Refusal> {
        let Some(disks) = card.driver.disks() else { return Ok(()) };
        for disk in &record.definition.disks {
            let beneath = disks.beneath(disk).map_err(|error| match error {
                DriverError::Unfit(why) => odd(disk, &format!("{why}.")),
                error => reference::internal("What a disk stands on could not be looked at", &error),
            })?;
            for one in &beneath {
                let others = others.clone().filter(|other| other.id != record.id);
                if !self.may_stand_on(card, record, one, others) {
                    let text = format!(
                        "The header of {} names {}, which is not the machine's to read.",
                        one.by.display(),
                        one.path.display()
                    );
                    return Err(odd(disk, &text));
                }
            }
        }
        Ok(())
    }

    fn may_stand_on<'a>(
        &self,
        card: &Card,
        record: &Record,
        one: &Beneath,
        mut others: impl Iterator<Item = &'a Record>,
    ) -> bool {
        // Nothing is opened that is not there.
        let Some(real) = really(&one.path) else { return true };
        let is_its = |path: &Path| really(path).is_some_and(|path| path == real);
        let mut its =
            record.layers.files().chain(record.definition.disks.iter().map(|disk| disk.path.as_path()));
        if really(&card.folder).is_some_and(|folder| real.starts_with(folder)) || its.any(is_its) {
            return true;
        }
        // Neither of these is written to by a guest; a base may stand on another.
        if one.data_of.is_none() && real.starts_with(&self.images) {
            return true;
        }
        if one.data_of.is_none() && real.starts_with(&self.bases) {
            let name = real.file_name().unwrap_or_default().to_string_lossy();
            return name.contains(&card.id.to_string())
                || really(&one.by).is_some_and(|by| by.starts_with(&self.bases));
        }
        let configured = self.configured.read().unwrap_or_else(PoisonError::into_inner);
        let is_anothers = |other: &Record| {
            let mut written = other.definition.disks.iter().filter(|disk| !disk.read_only);
            written.any(|disk| is_its(&disk.path)) || other.layers.files().any(is_its)
        };
        !real.starts_with(&self.state)
            && configured.iter().any(|place| real.starts_with(place))
            && !others.any(is_anothers)
    }
}

fn really(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok()
}

fn odd(disk: &Disk, text: &str) -> Refusal {
    Refusal::new(Reason::Conflict, text).hint(format!(
        "Somebody may have broken out of its guest: look at the disk {} before anything else. If it is as it is to \
         be, \"[files] allow\" in the agent's configuration names what disks may stand on.",
        disk.name
    ))
}
