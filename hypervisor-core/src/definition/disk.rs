//! The disks of a machine.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

/// A disk, or a CD.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(from = "Written")]
pub struct Disk {
    /// What it is called in this machine: `[a-z][a-z0-9-]{0,15}`, unlike the others.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// How the file is written.
    pub format: DiskFormat,
    /// A disk or a CD.
    #[serde(skip_serializing_if = "Media::is_disk")]
    pub media: Media,
    /// The guest cannot write to it.
    pub read_only: bool,
    /// How the guest reaches it.
    pub bus: Bus,
    /// When what the guest writes is on the host's disk.
    pub cache: Cache,
    /// What the guest gives back makes the file smaller.
    pub discard: bool,
    /// How much the guest may ask of it; none is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Which one the firmware tries first, lowest first, among disks and NICs; without any, the first disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_order: Option<u32>,
}

/// As it may be written: what is left out has a default, that of the bus by what it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "Disk")]
struct Written {
    #[serde(default)]
    name: String,
    path: PathBuf,
    format: DiskFormat,
    #[serde(default)]
    media: Media,
    #[serde(default)]
    read_only: Option<bool>,
    #[serde(default)]
    bus: Option<Bus>,
    #[serde(default)]
    cache: Cache,
    #[serde(default = "yes")]
    discard: bool,
    #[serde(default)]
    limits: Option<Limits>,
    #[serde(default)]
    boot_order: Option<u32>,
}

fn yes() -> bool {
    true
}

impl From<Written> for Disk {
    fn from(written: Written) -> Self {
        let Written { name, path, format, media, read_only, bus, cache, discard, limits, boot_order } =
            written;
        let bus = bus.unwrap_or(match media {
            Media::Disk => Bus::Virtio,
            Media::Cd => Bus::Sata,
        });
        let read_only = read_only.unwrap_or(media == Media::Cd);
        Self { name, path, format, media, read_only, bus, cache, discard, limits, boot_order }
    }
}

impl Disk {
    /// The longest name, in bytes.
    pub const NAME_BYTES_MAX: usize = 16;

    /// A disk with the defaults. Its name is empty: see [`super::Definition::name_all`].
    pub fn new(path: impl Into<PathBuf>, format: DiskFormat) -> Self {
        Self {
            name: String::new(),
            path: path.into(),
            format,
            media: Media::Disk,
            read_only: false,
            bus: Bus::Virtio,
            cache: Cache::Writeback,
            discard: true,
            limits: None,
            boot_order: None,
        }
    }

    /// A CD with the defaults: an image of one, only read.
    pub fn cd(path: impl Into<PathBuf>) -> Self {
        Self { media: Media::Cd, read_only: true, bus: Bus::Sata, ..Self::new(path, DiskFormat::Raw) }
    }
}

/// What a disk is to the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Media {
    /// A disk.
    #[default]
    Disk,
    /// A CD or DVD: only read.
    Cd,
}

impl Media {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
    fn is_disk(&self) -> bool {
        *self == Media::Disk
    }
}

/// How a guest reaches a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// virtio-blk: the fastest, a PCI device each.
    #[default]
    Virtio,
    /// virtio-scsi: many disks on one PCI device.
    Scsi,
    /// AHCI: any guest knows it; six at most.
    Sata,
}

impl Bus {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Bus::Virtio => "virtio",
            Bus::Scsi => "scsi",
            Bus::Sata => "sata",
        }
    }
}

/// When what a guest writes is on the host's disk. A guest that flushes loses nothing with any of them
/// but `unsafe`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// In the host's page cache first, on the disk when the guest flushes: QEMU's own default.
    #[default]
    Writeback,
    /// Past the host's page cache.
    None,
    /// On the disk before the guest hears that it is written: slow, for guests that never flush.
    Writethrough,
    /// On the disk at some time, flushed or not: lost when the host falls. For what can be made again.
    Unsafe,
}

impl Cache {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Cache::Writeback => "writeback",
            Cache::None => "none",
            Cache::Writethrough => "writethrough",
            Cache::Unsafe => "unsafe",
        }
    }
}

/// How much a guest may ask of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Reads and writes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iops: Option<u64>,
    /// Bytes read and written a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

/// How a disk's file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// Byte for byte.
    Raw,
    /// QEMU's copy-on-write format, version 3.
    Qcow2,
}

impl DiskFormat {
    /// Every one.
    pub const ALL: [Self; 2] = [DiskFormat::Qcow2, DiskFormat::Raw];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        }
    }
}

/// Reads disks, and names those that have no name.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Disk>, D::Error> {
    let mut disks = Vec::deserialize(deserializer)?;
    name(&mut disks);
    Ok(disks)
}

/// Names those that have no name: `disk1`, or the first such name that is free.
pub(super) fn name(disks: &mut [Disk]) {
    super::fill_names("disk", disks, |disk| &mut disk.name);
}
