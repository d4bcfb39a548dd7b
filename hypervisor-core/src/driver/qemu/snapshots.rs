//! Snapshots, kept inside of qcow2 files: of a machine that runs as QEMU's jobs, of one that does not
//! by `qemu-img`. docs/design/ says why inside.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::DateTime;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::{Qemu, arguments::disks::node, disks::unfit, running::Running};
use crate::{
    definition::{Disk, DiskFormat},
    driver::{
        DriverError, Launch, SnapshotSeen, Snapshots,
        devices::NOT_KEPT,
        qcow2::{self, Act, Kept},
        snapshots::taking_part,
    },
};

/// How long QEMU may take to write or read a memory: it answers nothing else meanwhile.
const JOB_MAX: Duration = Duration::from_secs(900);

/// What a snapshot may be taken of, or why none may.
fn disks(launch: &Launch) -> Result<Vec<&Disk>, DriverError> {
    let disks: Vec<&Disk> = taking_part(&launch.definition).collect();
    match disks.iter().find(|disk| disk.format != DiskFormat::Qcow2) {
        Some(raw) => Err(DriverError::Unfit(format!(
            "its disk {} is {}, and only qcow2 keeps snapshots",
            raw.name,
            raw.format.word()
        ))),
        None if disks.is_empty() => Err(DriverError::Unfit("it has no disk that can be written to".into())),
        None => Ok(disks),
    }
}

/// While it lives, what QEMU tells of holding the guest still is not told on.
struct Snapped<'a>(&'a Running);

impl<'a> Snapped<'a> {
    fn begin(running: &'a Running) -> Self {
        running.expected().snapped = true;
        Self(running)
    }
}

impl Drop for Snapped<'_> {
    fn drop(&mut self) {
        self.0.expected().snapped = false;
    }
}

impl Running {
    /// Runs a job of QEMU's to its end.
    async fn job(&self, command: &'static str, mut words: Value) -> Result<(), DriverError> {
        let id = format!("skerry-{}", Uuid::now_v7());
        words["job-id"] = id.as_str().into();
        let mut told = self.told.subscribe();
        self.qmp.ask_within(JOB_MAX, command, Some(words)).await.map_err(unfit)?;
        let concluded = self.told_of(&mut told, |event| {
            event.about["id"] == id.as_str() && event.about["status"] == "concluded"
        });
        let limit = JOB_MAX;
        timeout(limit, concluded).await.map_err(|_| DriverError::TimedOut { what: command, limit })??;
        let jobs = self.qmp.ask("query-jobs", None).await?;
        let job = jobs.as_array().and_then(|jobs| jobs.iter().find(|job| job["id"] == id.as_str()));
        let error = job.and_then(|job| job["error"].as_str()).map(str::to_owned);
        self.qmp.ask("job-dismiss", Some(json!({"id": id}))).await?;
        error.map_or(Ok(()), |error| Err(DriverError::Unfit(error)))
    }

    /// The snapshots in a disk of it.
    async fn kept(&self, disk: &Disk) -> Result<Vec<Kept>, DriverError> {
        match self.image(&disk.name).await? {
            Some(image) => Ok(image.snapshots),
            None => Ok(qcow2::describe(&disk.path, disk.format).await?.snapshots),
        }
    }

    /// The disks that have it.
    async fn having(&self, launch: &Launch, name: &str) -> Result<Vec<String>, DriverError> {
        let mut having = Vec::new();
        for disk in taking_part(&launch.definition) {
            if self.kept(disk).await?.iter().any(|kept| kept.name == name) {
                having.push(self.node_of(&disk.name).await?.unwrap_or_else(|| node(&disk.name)));
            }
        }
        Ok(having)
    }

    /// All that a memory must find as it was: QEMU itself, memory, processors, and what sits where.
    async fn layout(&self) -> Result<String, DriverError> {
        let version = self.qmp.ask("query-version", None).await?;
        let kvm = self.qmp.ask("query-kvm", None).await?;
        let memory = self.qmp.ask("query-memory-size-summary", None).await?;
        let cpus = self.qmp.ask("query-cpus-fast", None).await?;
        let mut layout = format!(
            "qemu {} kvm {} memory {} cpus {}",
            version["qemu"],
            kvm["enabled"],
            memory["base-memory"],
            cpus.as_array().map_or(0, Vec::len)
        );
        let buses = self.qmp.ask("query-pci", None).await?;
        for bus in buses.as_array().into_iter().flatten() {
            sits(&mut layout, "", &bus["devices"]);
        }
        Ok(layout)
    }

    async fn take(&self, launch: &Launch, name: &str, memory: bool) -> Result<Option<String>, DriverError> {
        let mut nodes = Vec::new();
        for disk in disks(launch)? {
            let Some(image) = self.image(&disk.name).await? else {
                let text =
                    format!("it has its disk {} from its next start on: start it anew first", disk.name);
                return Err(DriverError::Unfit(text));
            };
            if image.snapshots.iter().any(|kept| kept.name == name) {
                return Err(there_already(name));
            }
            nodes.push(self.node_of(&disk.name).await?.unwrap_or_else(|| node(&disk.name)));
        }
        if !memory {
            let each = |node: &String| json!({"type": "blockdev-snapshot-internal-sync", "data": {"device": node, "name": name}});
            let actions: Vec<Value> = nodes.iter().map(each).collect();
            let words = json!({"actions": actions});
            self.qmp.ask_within(JOB_MAX, "transaction", Some(words)).await.map_err(unfit)?;
            return Ok(None);
        }
        let layout = self.layout().await?;
        let _held = self.holding.lock().await;
        let _snapped = Snapped::begin(self);
        self.job("snapshot-save", json!({"tag": name, "vmstate": nodes[0], "devices": nodes})).await?;
        Ok(Some(layout))
    }

    async fn revert(&self, launch: &Launch, name: &str, layout: Option<&str>) -> Result<(), DriverError> {
        let having = self.having(launch, name).await?;
        let Some(first) = having.first() else { return Err(there_is_none(name)) };
        let Some(layout) = layout else {
            return Err(DriverError::Unfit(format!("{name} has no memory: shut the machine down first")));
        };
        if self.layout().await? != layout {
            let text =
                "it is not made as it was then, and so cannot go on from that memory: shut it down first";
            return Err(DriverError::Unfit(text.into()));
        }
        let _held = self.holding.lock().await;
        let _snapped = Snapped::begin(self);
        self.job("snapshot-load", json!({"tag": name, "vmstate": first, "devices": having})).await
    }
}

/// What sits on a bus, and on the buses behind it.
fn sits(layout: &mut String, before: &str, devices: &Value) {
    for device in devices.as_array().into_iter().flatten() {
        let place = format!("{before}/{}.{}", device["slot"], device["function"]);
        layout.push_str(&format!(
            " {place} {} {}:{}",
            device["qdev_id"], device["id"]["vendor"], device["id"]["device"]
        ));
        sits(layout, &place, &device["pci_bridge"]["devices"]);
    }
}

fn there_already(name: &str) -> DriverError {
    DriverError::Unfit(format!("there is a snapshot {name} already"))
}

fn there_is_none(name: &str) -> DriverError {
    DriverError::Unfit(format!("there is no snapshot {name}"))
}

/// The disks of one that does not run, each with its snapshots.
async fn resting(launch: &Launch) -> Result<Vec<(&Disk, Vec<Kept>)>, DriverError> {
    let mut found = Vec::new();
    for disk in taking_part(&launch.definition) {
        found.push((disk, qcow2::describe(&disk.path, disk.format).await?.snapshots));
    }
    Ok(found)
}

async fn take_resting(launch: &Launch, name: &str) -> Result<(), DriverError> {
    disks(launch)?;
    let found = resting(launch).await?;
    if found.iter().any(|(_, kept)| kept.iter().any(|kept| kept.name == name)) {
        return Err(there_already(name));
    }
    for (at, (disk, _)) in found.iter().enumerate() {
        if let Err(error) = qcow2::snapshot(&disk.path, Act::Take, name).await {
            for (taken, _) in &found[..at] {
                // It is the failure that is told.
                let _ = qcow2::snapshot(&taken.path, Act::Delete, name).await;
            }
            return Err(error);
        }
    }
    Ok(())
}

#[async_trait]
impl Snapshots for Qemu {
    async fn list(&self, launch: &Launch) -> Result<Vec<SnapshotSeen>, DriverError> {
        let running: Option<Arc<Running>> = self.ours(launch.id)?;
        let mut found: Vec<SnapshotSeen> = Vec::new();
        for disk in taking_part(&launch.definition) {
            let kept = match &running {
                Some(running) => running.kept(disk).await?,
                None => qcow2::describe(&disk.path, disk.format).await?.snapshots,
            };
            for Kept { name, vm_state_size, date_sec, date_nsec } in kept {
                let memory_bytes = Some(vm_state_size).filter(|bytes| *bytes > 0);
                if let Some(seen) = found.iter_mut().find(|seen| seen.name == name) {
                    seen.memory_bytes = seen.memory_bytes.or(memory_bytes);
                    seen.disks.push(disk.name.clone());
                    continue;
                }
                let taken_at = DateTime::from_timestamp(date_sec, date_nsec).unwrap_or_default();
                found.push(SnapshotSeen { name, taken_at, memory_bytes, disks: vec![disk.name.clone()] });
            }
        }
        found.sort_by_key(|seen| seen.taken_at);
        Ok(found)
    }

    async fn take(&self, launch: &Launch, name: &str, memory: bool) -> Result<Option<String>, DriverError> {
        if memory && launch.definition.shares_memory() {
            let text = "a folder is shared with it by virtiofs, whose state cannot be kept with its memory: take \
                        the disks alone, or share it by 9p";
            return Err(DriverError::Unfit(text.into()));
        }
        match self.ours(launch.id)? {
            Some(running) if memory && running.has_devices().await? => {
                Err(DriverError::Unfit(NOT_KEPT.into()))
            }
            Some(running) => running.take(launch, name, memory).await,
            None if memory => Err(DriverError::NotRunning),
            None => take_resting(launch, name).await.map(|()| None),
        }
    }

    async fn revert(&self, launch: &Launch, name: &str, layout: Option<&str>) -> Result<(), DriverError> {
        if let Some(running) = self.ours(launch.id)? {
            return running.revert(launch, name, layout).await;
        }
        let mut found = resting(launch).await?;
        found.retain(|(_, kept)| kept.iter().any(|kept| kept.name == name));
        if found.is_empty() {
            return Err(there_is_none(name));
        }
        for (disk, _) in found {
            qcow2::snapshot(&disk.path, Act::Apply, name).await?;
        }
        Ok(())
    }

    async fn delete(&self, launch: &Launch, name: &str) -> Result<(), DriverError> {
        if let Some(running) = self.ours(launch.id)? {
            let having = running.having(launch, name).await?;
            if having.is_empty() {
                return Ok(());
            }
            return running.job("snapshot-delete", json!({"tag": name, "devices": having})).await;
        }
        for (disk, kept) in resting(launch).await? {
            if kept.iter().any(|kept| kept.name == name) {
                qcow2::snapshot(&disk.path, Act::Delete, name).await?;
            }
        }
        Ok(())
    }
}
