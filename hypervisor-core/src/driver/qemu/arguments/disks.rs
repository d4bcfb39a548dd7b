//! Disks and CDs, for the command line and for what is plugged in later.
//!
//! The disk `data` is the block node `disk-data` and the device `dev-data`.

use serde::Serialize;
use serde_json::{Value, json};

use super::path;
use crate::{
    definition::{Boot, Bus, Cache, Definition, Disk, DiskFormat, Limits, Media},
    driver::DriverError,
};

/// What QEMU calls the SCSI controller, and its bus.
const SCSI: &str = "scsi";

/// Says all disks of a machine.
pub(super) fn say(definition: &Definition, say: &mut impl FnMut([&str; 2])) -> Result<(), DriverError> {
    if definition.disks.iter().any(|disk| disk.bus == Bus::Scsi) {
        let queues = queues(definition).map_or_else(String::new, |queues| format!(",num_queues={queues}"));
        say(["-device", &format!("virtio-scsi-pci,id={SCSI}{queues}")]);
    }
    let ordered = definition.disks.iter().any(|disk| disk.boot_order.is_some())
        || definition.nics.iter().any(|nic| nic.boot_order.is_some());
    let mut sata_ports = 0..;
    for (number, disk) in definition.disks.iter().enumerate() {
        say(["-blockdev", &block_device(disk)?]);
        // Without an order the first disk is tried first, as on most hardware.
        let first = (number == 0 && definition.boot == Boot::Disk && !ordered).then_some(1);
        let bus = match disk.bus {
            Bus::Virtio => {
                queues(definition).map_or_else(String::new, |queues| format!(",num-queues={queues}"))
            }
            Bus::Scsi => format!(",bus={SCSI}.0"),
            Bus::Sata => format!(",bus=ide.{}", sata_ports.next().unwrap_or(0)),
        };
        // QEMU counts from one.
        let order = disk.boot_order.map(|order| u64::from(order) + 1).or(first);
        let order = order.map_or_else(String::new, |order| format!(",bootindex={order}"));
        let cache = if disk.cache == Cache::Writethrough { ",write-cache=off" } else { "" };
        let (node, device) = (node(&disk.name), device(&disk.name));
        let model = model(disk);
        say(["-device", &format!("{model},drive={node},id={device}{bus}{cache}{order}")]);
    }
    Ok(())
}

/// As many queues as it may have processors: by itself QEMU takes as many as it has at its start, and where
/// it moves to it may start with more.
pub(super) fn queues(definition: &Definition) -> Option<u32> {
    definition.vcpus_max
}

/// The name of a disk's block node.
pub(in super::super) fn node(name: &str) -> String {
    format!("disk-{name}")
}

/// The name of a disk's device.
pub(in super::super) fn device(name: &str) -> String {
    format!("dev-{name}")
}

/// What the guest sees it as.
fn model(disk: &Disk) -> &'static str {
    match (disk.bus, disk.media) {
        (Bus::Virtio, Media::Disk | Media::Cd) => "virtio-blk-pci",
        (Bus::Scsi, Media::Disk) => "scsi-hd",
        (Bus::Scsi, Media::Cd) => "scsi-cd",
        (Bus::Sata, Media::Disk) => "ide-hd",
        (Bus::Sata, Media::Cd) => "ide-cd",
    }
}

/// What `block_set_io_throttle` is asked for a disk's limits: no limit is zero there.
pub(in super::super) fn throttle(disk: &Disk) -> Value {
    let Limits { iops, bytes_per_second } = disk.limits.unwrap_or_default();
    let (iops, bytes) = (iops.unwrap_or(0), bytes_per_second.unwrap_or(0));
    let device = device(&disk.name);
    let holder = match disk.bus {
        // The PCI device is only the outside of it.
        Bus::Virtio => format!("/machine/peripheral/{device}/virtio-backend"),
        Bus::Scsi | Bus::Sata => device,
    };
    json!({
        "id": holder,
        "bps": bytes, "bps_rd": 0, "bps_wr": 0,
        "iops": iops, "iops_rd": 0, "iops_wr": 0,
    })
}

/// A disk as QEMU's block layer wants it. JSON, because a path may hold commas; a type of its own, for
/// one order of the keys.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct BlockDevice<'a> {
    driver: DiskFormat,
    node_name: String,
    read_only: bool,
    discard: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<BlockCache>,
    file: BlockFile<'a>,
}

#[derive(Serialize)]
struct BlockFile<'a> {
    driver: &'static str,
    filename: &'a str,
    discard: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<BlockCache>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
struct BlockCache {
    direct: bool,
    no_flush: bool,
}

/// A disk as QEMU's block layer wants it, for `-blockdev` and `blockdev-add`.
pub(in super::super) fn block_device(disk: &Disk) -> Result<String, DriverError> {
    let discard = if disk.discard { "unmap" } else { "ignore" };
    let cache = match disk.cache {
        Cache::Writeback | Cache::Writethrough => None,
        Cache::None => Some(BlockCache { direct: true, no_flush: false }),
        Cache::Unsafe => Some(BlockCache { direct: false, no_flush: true }),
    };
    let device = BlockDevice {
        driver: disk.format,
        node_name: node(&disk.name),
        read_only: disk.read_only,
        discard,
        cache,
        file: BlockFile { driver: "file", filename: path(&disk.path)?, discard, cache },
    };
    serde_json::to_string(&device).map_err(|source| DriverError::system("describing a disk", source))
}
