//! Disks: of a machine that runs through its control socket, of one that does not by `qemu-img`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::{sync::broadcast::error::RecvError, time::timeout};

use super::{
    Qemu,
    arguments::disks::{device, node, throttle},
    handing::Below,
    qmp::{Event, QmpError},
    running::Running,
};
use crate::{
    definition::{Bus, Disk, DiskFormat, Media},
    driver::{
        Beneath, DiskFile, DiskSeen, Disks, DriverError, Launch, Progress, disk,
        qcow2::{self, Image, Outside, beneath::beneath},
    },
    machine::MachineId,
};

/// How long a guest may take to let go of a disk. Linux takes tenths of a second, and a button's time
/// (five seconds) on buses of the native kind.
const LET_GO_MAX: Duration = Duration::from_secs(30);

impl Qemu {
    /// The machine, if it runs; an error if it runs and its devices are not ours to change.
    pub(super) fn ours(&self, id: MachineId) -> Result<Option<Arc<Running>>, DriverError> {
        match self.running(id) {
            Ok(running) if running.adopted.is_some() => Err(DriverError::Unfit(
                "it was started by somebody else, who names its disks: shut it down and start it here first"
                    .into(),
            )),
            Ok(running) => Ok(Some(running)),
            Err(DriverError::NotRunning) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Running {
    /// What QEMU says of a disk's file; `None` if it has none of that name.
    pub(super) async fn image(&self, name: &str) -> Result<Option<Image>, DriverError> {
        let found = self.described(name).await?;
        let image = found.map(|found| serde_json::from_value(found["image"].clone())).transpose();
        image.map_err(|source| DriverError::system("understanding QEMU's word on a disk", source))
    }

    /// The file a disk is in.
    pub(super) async fn file_of(&self, name: &str) -> Result<Option<PathBuf>, QmpError> {
        let (node, nodes) = (self.node_or_first(name).await?, self.nodes().await?);
        Ok(nodes.named(&node).and_then(|found| nodes.file(found)))
    }

    async fn described(&self, name: &str) -> Result<Option<Value>, QmpError> {
        let (node, nodes) = (self.node_or_first(name).await?, self.nodes().await?);
        Ok(nodes.named(&node).cloned())
    }

    async fn node_or_first(&self, name: &str) -> Result<String, QmpError> {
        Ok(self.node_of(name).await?.unwrap_or_else(|| node(name)))
    }

    /// The block node that the guest's disk of this name is: not the one it was started with any more,
    /// once it was moved.
    pub(super) async fn node_of(&self, name: &str) -> Result<Option<String>, QmpError> {
        let block = self.block(name).await?;
        Ok(block.and_then(|block| block["inserted"]["node-name"].as_str().map(str::to_owned)))
    }

    async fn block(&self, name: &str) -> Result<Option<Value>, QmpError> {
        let blocks = self.qmp.ask("query-block", None).await?;
        let device = device(name);
        let is = |block: &&Value| {
            block["qdev"].as_str().is_some_and(|path| path.split('/').any(|part| part == device))
        };
        Ok(blocks.as_array().and_then(|blocks| blocks.iter().find(is)).cloned())
    }

    /// Whether the guest has a disk of this name.
    pub(super) async fn plugged(&self, name: &str) -> Result<bool, QmpError> {
        Ok(self.block(name).await?.is_some())
    }

    /// A port that nothing is plugged into.
    async fn free_port(&self) -> Result<Option<String>, QmpError> {
        let buses = self.qmp.ask("query-pci", None).await?;
        let devices = buses.as_array().into_iter().flatten().filter_map(|bus| bus["devices"].as_array());
        let free = devices.flatten().find_map(|device| {
            let port = device["qdev_id"].as_str().filter(|id| id.starts_with("port"))?;
            let inside = device["pci_bridge"]["devices"].as_array();
            inside.is_none_or(Vec::is_empty).then(|| port.to_owned())
        });
        Ok(free)
    }

    async fn plug(&self, disk: &Disk) -> Result<(), DriverError> {
        if self.plugged(&disk.name).await? {
            return Ok(());
        }
        if disk.bus != Bus::Virtio || disk.media != Media::Disk {
            return Err(DriverError::Unfit("only a virtio disk can be attached while it runs".into()));
        }
        let Some(port) = self.free_port().await? else {
            return Err(DriverError::Unfit("it has no free port for a further disk while it runs".into()));
        };
        if self.image(&disk.name).await?.is_none() {
            self.add_node(&node(&disk.name), disk, Below::Named).await?;
        }
        let (id, drive) = (device(&disk.name), node(&disk.name));
        let words = json!({"driver": "virtio-blk-pci", "id": id, "drive": drive, "bus": port});
        if let Err(error) = self.qmp.ask("device_add", Some(words)).await {
            // It is the failure that is told.
            let _ = self.qmp.ask("blockdev-del", Some(json!({"node-name": drive}))).await;
            self.take_back_unused().await;
            return Err(unfit(error));
        }
        if disk.limits.is_some() {
            self.qmp.ask("block_set_io_throttle", Some(throttle(disk))).await.map_err(unfit)?;
        }
        Ok(())
    }

    async fn unplug(&self, name: &str) -> Result<(), DriverError> {
        let node = self.node_of(name).await?.unwrap_or_else(|| node(name));
        if self.plugged(name).await? {
            let mut told = self.told.subscribe();
            let id = device(name);
            if let Err(error) = self.qmp.ask("device_del", Some(json!({"id": id}))).await
                && !is_under_way(&error)
            {
                return Err(match error {
                    // Devices of the start sit on the root bus.
                    QmpError::Refused { sentence, .. } if sentence.contains("hotplug") => DriverError::Unfit(
                        "it was there when the machine started, and can only be detached when it is off"
                            .into(),
                    ),
                    error => unfit(error),
                });
            }
            let gone = self.told_of(&mut told, |event| event.about["device"] == id.as_str());
            match timeout(LET_GO_MAX, gone).await {
                Ok(Ok(event)) if event.name == "DEVICE_DELETED" => {}
                Ok(Err(error)) => return Err(error),
                Ok(Ok(_)) | Err(_) if !self.plugged(name).await? => {}
                Ok(Ok(_)) | Err(_) => {
                    return Err(DriverError::Unfit(
                        "its guest does not let go of it: unmount it there, or detach it when the machine is off"
                            .into(),
                    ));
                }
            }
        }
        if self.nodes().await?.named(&node).is_some() {
            self.qmp.ask("blockdev-del", Some(json!({"node-name": node}))).await?;
        }
        self.take_back_unused().await;
        Ok(())
    }

    /// The next event that is meant.
    pub(super) async fn told_of(
        &self,
        told: &mut tokio::sync::broadcast::Receiver<Event>,
        meant: impl Fn(&Event) -> bool,
    ) -> Result<Event, DriverError> {
        let mut gone = self.gone.subscribe();
        loop {
            tokio::select! {
                event = told.recv() => match event {
                    Ok(event) if meant(&event) => return Ok(event),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(DriverError::NotRunning),
                },
                _ = gone.wait_for(|gone| *gone) => return Err(DriverError::NotRunning),
            }
        }
    }
}

fn is_under_way(error: &QmpError) -> bool {
    matches!(error, QmpError::Refused { sentence, .. } if sentence.contains("in the process of unplug"))
}

/// What QEMU refuses here is for the caller to mend: a file that cannot be opened, mostly.
pub(super) fn unfit(error: QmpError) -> DriverError {
    match error {
        QmpError::Refused { sentence, .. } => DriverError::Unfit(sentence),
        error => error.into(),
    }
}

pub(super) fn named<'a>(launch: &'a Launch, name: &str) -> Result<&'a Disk, DriverError> {
    launch.definition.disk(name).ok_or_else(|| DriverError::Unfit(format!("it has no disk {name}")))
}

#[async_trait]
impl Disks for Qemu {
    async fn list(&self, launch: &Launch) -> Result<Vec<DiskSeen>, DriverError> {
        let running = self.running(launch.id).ok().filter(|running| running.adopted.is_none());
        let mut seen = Vec::new();
        for disk in &launch.definition.disks {
            let (mut image, mut plugged) = (None, false);
            if let Some(running) = &running {
                plugged = running.plugged(&disk.name).await?;
                image = running.image(&disk.name).await?;
            }
            if image.is_none() {
                image = qcow2::describe(&disk.path, disk.format).await.ok();
            }
            let file = image.map(|image| image.file());
            seen.push(DiskSeen { name: disk.name.clone(), file, plugged });
        }
        Ok(seen)
    }

    async fn file(&self, path: &Path, format: DiskFormat) -> Result<DiskFile, DriverError> {
        Ok(qcow2::describe(path, format).await?.file())
    }

    async fn create(&self, path: &Path, format: DiskFormat, size_bytes: u64) -> Result<(), DriverError> {
        qcow2::create(path, format, size_bytes).await
    }

    async fn attach(&self, launch: &Launch, disk: &Disk) -> Result<(), DriverError> {
        self.ours(launch.id)?.ok_or(DriverError::NotRunning)?.plug(disk).await
    }

    async fn detach(&self, launch: &Launch, name: &str) -> Result<(), DriverError> {
        self.ours(launch.id)?.ok_or(DriverError::NotRunning)?.unplug(name).await
    }

    async fn resize(&self, launch: &Launch, name: &str, size_bytes: u64) -> Result<(), DriverError> {
        let disk = named(launch, name)?;
        let running = self.ours(launch.id)?;
        let live = match &running {
            Some(running) => running.image(name).await?,
            None => None,
        };
        let before = match &live {
            Some(image) => image.file(),
            None => self.file(&disk.path, disk.format).await?,
        };
        if size_bytes < before.size_bytes {
            return Err(DriverError::Unfit("a disk is never made smaller".into()));
        }
        match (running, live) {
            (Some(running), Some(_)) => {
                let node = running.node_of(name).await?.unwrap_or_else(|| node(name));
                let words = json!({"node-name": node, "size": size_bytes});
                running.qmp.ask("block_resize", Some(words)).await.map_err(unfit)?;
                Ok(())
            }
            _ => qcow2::resize(disk, size_bytes).await,
        }
    }

    async fn overlay(&self, base: &Path, path: &Path) -> Result<(), DriverError> {
        disk::overlay(base, path).await
    }

    async fn copy(&self, disk: &Disk, path: &Path, progress: Progress<'_>) -> Result<(), DriverError> {
        qcow2::copy(disk, path, DiskFormat::Qcow2, progress).await
    }

    fn stands_alone(&self, path: &Path, format: DiskFormat) -> Result<(), DriverError> {
        if format == DiskFormat::Raw {
            return Ok(());
        }
        match qcow2::outside(path)? {
            Outside { backing: None, data: false, .. } => Ok(()),
            _ => Err(DriverError::Unfit(format!(
                "{} needs a further file: make one of both with qemu-img convert first",
                path.display()
            ))),
        }
    }

    fn backing(&self, path: &Path) -> Result<Option<PathBuf>, DriverError> {
        Ok(qcow2::outside(path)?.backing)
    }

    fn beneath(&self, disk: &Disk) -> Result<Vec<Beneath>, DriverError> {
        beneath(&disk.path, disk.format)
    }
}
