//! The fake driver's disks: small text files, in which their size and their snapshots stand.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Fake;
use crate::{
    definition::{Disk, DiskFormat},
    driver::{
        Beneath, DiskFile, DiskSeen, Disks, DriverError, Launch, Progress, SnapshotSeen, Snapshots,
        devices::NOT_KEPT, snapshots::taking_part,
    },
};

/// What stands in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) size_bytes: u64,
    pub(super) backing: Option<PathBuf>,
    #[serde(default)]
    pub(super) snapshots: Vec<Kept>,
    /// A guest went on with it while it ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) in_use: bool,
}

/// A snapshot, as it stands in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    name: String,
    taken_at: DateTime<Utc>,
    size_bytes: u64,
    memory_bytes: Option<u64>,
}

impl Written {
    /// Of this size, with nothing else.
    fn new(size_bytes: u64, backing: Option<PathBuf>) -> Self {
        Self { size_bytes, backing, snapshots: vec![], in_use: false }
    }

    /// A whole copy of it.
    pub(super) fn alone(&self) -> Self {
        Self::new(self.size_bytes, None)
    }

    pub(super) fn read(path: &Path) -> Result<Self, DriverError> {
        let failed = |why: String| DriverError::Unfit(format!("{} {why}", path.display()));
        let text = std::fs::read(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
        serde_json::from_slice(&text).map_err(|_| failed("is no disk of the fake driver".into()))
    }

    /// Beside it first, and then in its place: killed at any moment, there is a whole one.
    pub(super) fn write(&self, path: &Path) -> Result<(), DriverError> {
        let beside = path.with_extension("new");
        serde_json::to_vec(self)
            .map_err(std::io::Error::from)
            .and_then(|text| std::fs::write(&beside, text))
            .and_then(|()| std::fs::rename(&beside, path))
            .map_err(|source| DriverError::system(format!("writing {}", path.display()), source))
    }

    pub(super) fn write_new(&self, path: &Path) -> Result<(), DriverError> {
        if path.exists() {
            return Err(DriverError::Unfit(format!("{} is there already", path.display())));
        }
        self.write(path)
    }
}

impl Fake {
    /// How it is laid out: what a memory must find again.
    fn layout(&self, launch: &Launch) -> Option<String> {
        let mut disks = self.world.disks(launch.id)?;
        disks.sort();
        Some(format!("{} MiB, {}", launch.definition.memory_mib, disks.join(", ")))
    }
}

pub(super) fn named<'a>(launch: &'a Launch, name: &str) -> Result<&'a Disk, DriverError> {
    let found = launch.definition.disks.iter().find(|disk| disk.name == name);
    found.ok_or_else(|| DriverError::Unfit(format!("it has no disk {name}")))
}

#[async_trait]
impl Disks for Fake {
    async fn list(&self, launch: &Launch) -> Result<Vec<DiskSeen>, DriverError> {
        self.slowly().await;
        let plugged = self.world.disks(launch.id).unwrap_or_default();
        let seen = launch.definition.disks.iter().map(|disk| DiskSeen {
            name: disk.name.clone(),
            file: Written::read(&disk.path).ok().map(|written| file(&written)),
            plugged: plugged.contains(&disk.name),
        });
        Ok(seen.collect())
    }

    async fn file(&self, path: &Path, _format: DiskFormat) -> Result<DiskFile, DriverError> {
        self.slowly().await;
        Ok(file(&Written::read(path)?))
    }

    async fn create(&self, path: &Path, _format: DiskFormat, size_bytes: u64) -> Result<(), DriverError> {
        self.slowly().await;
        Written::new(size_bytes, None).write_new(path)
    }

    async fn attach(&self, launch: &Launch, disk: &Disk) -> Result<(), DriverError> {
        self.slowly().await;
        let mut disks = self.world.disks(launch.id).ok_or(DriverError::NotRunning)?;
        Written::read(&disk.path)?;
        if !disks.contains(&disk.name) {
            disks.push(disk.name.clone());
            self.world.set_disks(launch.id, disks);
        }
        Ok(())
    }

    async fn detach(&self, launch: &Launch, name: &str) -> Result<(), DriverError> {
        self.slowly().await;
        let mut disks = self.world.disks(launch.id).ok_or(DriverError::NotRunning)?;
        disks.retain(|disk| disk != name);
        self.world.set_disks(launch.id, disks);
        Ok(())
    }

    async fn resize(&self, launch: &Launch, name: &str, size_bytes: u64) -> Result<(), DriverError> {
        self.slowly().await;
        let disk = named(launch, name)?;
        let mut written = Written::read(&disk.path)?;
        if size_bytes < written.size_bytes {
            return Err(DriverError::Unfit("a disk is never made smaller".into()));
        }
        written.size_bytes = size_bytes;
        written.write(&disk.path)
    }

    async fn overlay(&self, base: &Path, path: &Path) -> Result<(), DriverError> {
        self.slowly().await;
        let size_bytes = Written::read(base)?.size_bytes;
        Written::new(size_bytes, Some(base.into())).write_new(path)
    }

    async fn copy(&self, disk: &Disk, path: &Path, progress: Progress<'_>) -> Result<(), DriverError> {
        self.slowly().await;
        Written::read(&disk.path)?.alone().write_new(path)?;
        progress(100);
        Ok(())
    }

    fn stands_alone(&self, path: &Path, _format: DiskFormat) -> Result<(), DriverError> {
        match Written::read(path)?.backing {
            None => Ok(()),
            Some(_) => Err(DriverError::Unfit(format!("{} needs a further file", path.display()))),
        }
    }

    fn backing(&self, path: &Path) -> Result<Option<PathBuf>, DriverError> {
        Ok(Written::read(path)?.backing)
    }

    fn beneath(&self, disk: &Disk) -> Result<Vec<Beneath>, DriverError> {
        let (mut all, mut by) = (Vec::new(), disk.path.clone());
        // A raw file, or an image that is none of ours, stands on nothing.
        while let Some(path) = Written::read(&by).ok().and_then(|written| written.backing) {
            let format = disk.format;
            all.push(Beneath { path: path.clone(), format, by, data_of: None });
            by = path;
        }
        Ok(all)
    }
}

fn file(written: &Written) -> DiskFile {
    let used_bytes = serde_json::to_vec(written).map_or(0, |text| text.len() as u64);
    DiskFile { size_bytes: written.size_bytes, used_bytes, backing: written.backing.clone() }
}

#[async_trait]
impl Snapshots for Fake {
    async fn list(&self, launch: &Launch) -> Result<Vec<SnapshotSeen>, DriverError> {
        self.slowly().await;
        let mut found: Vec<SnapshotSeen> = Vec::new();
        for disk in taking_part(&launch.definition) {
            for Kept { name, taken_at, memory_bytes, .. } in Written::read(&disk.path)?.snapshots {
                match found.iter_mut().find(|seen| seen.name == name) {
                    Some(seen) => {
                        seen.memory_bytes = seen.memory_bytes.or(memory_bytes);
                        seen.disks.push(disk.name.clone());
                    }
                    None => found.push(SnapshotSeen {
                        name,
                        taken_at,
                        memory_bytes,
                        disks: vec![disk.name.clone()],
                    }),
                }
            }
        }
        found.sort_by_key(|seen| seen.taken_at);
        Ok(found)
    }

    async fn take(&self, launch: &Launch, name: &str, memory: bool) -> Result<Option<String>, DriverError> {
        self.slowly().await;
        if memory && !launch.definition.devices.is_empty() {
            return Err(DriverError::Unfit(NOT_KEPT.into()));
        }
        let layout = if memory { Some(self.layout(launch).ok_or(DriverError::NotRunning)?) } else { None };
        let mut disks: Vec<(&Disk, Written)> = Vec::new();
        for disk in taking_part(&launch.definition) {
            let written = Written::read(&disk.path)?;
            if written.snapshots.iter().any(|kept| kept.name == name) {
                return Err(DriverError::Unfit(format!("there is a snapshot {name} already")));
            }
            disks.push((disk, written));
        }
        if disks.is_empty() {
            return Err(DriverError::Unfit("it has no disk that can be written to".into()));
        }
        let (taken_at, mut memory_bytes) = (Utc::now(), memory.then_some(launch.definition.memory_mib << 20));
        for (disk, mut written) in disks {
            let (name, size_bytes) = (name.to_owned(), written.size_bytes);
            // Of one disk, as QEMU does it.
            written.snapshots.push(Kept { name, taken_at, size_bytes, memory_bytes: memory_bytes.take() });
            written.write(&disk.path)?;
        }
        Ok(layout)
    }

    async fn revert(&self, launch: &Launch, name: &str, layout: Option<&str>) -> Result<(), DriverError> {
        self.slowly().await;
        if let Some(now) = self.layout(launch)
            && layout != Some(now.as_str())
        {
            return Err(DriverError::Unfit("it is not made as it was then".into()));
        }
        let mut any = false;
        for disk in taking_part(&launch.definition) {
            let mut written = Written::read(&disk.path)?;
            let Some(kept) = written.snapshots.iter().find(|kept| kept.name == name) else { continue };
            written.size_bytes = kept.size_bytes;
            written.write(&disk.path)?;
            any = true;
        }
        if any { Ok(()) } else { Err(DriverError::Unfit(format!("there is no snapshot {name}"))) }
    }

    async fn delete(&self, launch: &Launch, name: &str) -> Result<(), DriverError> {
        self.slowly().await;
        for disk in taking_part(&launch.definition) {
            let mut written = Written::read(&disk.path)?;
            written.snapshots.retain(|kept| kept.name != name);
            written.write(&disk.path)?;
        }
        Ok(())
    }
}
