//! Layers of disks: of a machine that runs by `blockdev-snapshot` and `block-commit`, of one that does not by
//! `qemu-img`. docs/design/0010-external-snapshots.md says why so.

use std::path::Path;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    Qemu,
    disks::{named, unfit},
    handing::Below,
    live::{job, target},
    qmp::QmpError,
    running::Running,
};
use crate::{
    definition::{Disk, DiskFormat},
    driver::{
        DriverError, Launch, Progress,
        layers::{Layer, Layers, Merge},
        qcow2::{self, chain},
    },
};

impl Running {
    /// The node of a file that is open, as the format it is written in.
    async fn node_in(&self, file: &Path, format: DiskFormat) -> Result<Option<String>, QmpError> {
        let nodes = self.nodes().await?;
        let is = |node: &&Value| node["drv"] == format.word() && nodes.file(node).as_deref() == Some(file);
        Ok(nodes.iter().find(is).and_then(|node| node["node-name"].as_str().map(str::to_owned)))
    }

    /// The node the guest's disk is, and the one of this file below it, if the guest has it open.
    async fn open(
        &self,
        disk: &str,
        file: (&Path, DiskFormat),
    ) -> Result<Option<(String, String)>, DriverError> {
        let Some(top) = self.node_of(disk).await? else { return Ok(None) };
        Ok(self.node_in(file.0, file.1).await?.map(|node| (top, node)))
    }

    async fn layer(&self, launch: &Launch, tops: &[Layer]) -> Result<(), DriverError> {
        let mut actions = Vec::new();
        for (name, path) in tops {
            let disk = named(launch, name)?;
            let Some(below) = self.node_of(name).await? else {
                let text = format!("it has its disk {name} from its next start on: start it anew first");
                return Err(DriverError::Unfit(text));
            };
            let top = Disk { path: path.clone(), format: DiskFormat::Qcow2, ..disk.clone() };
            let node = target();
            // What it stands on is open already.
            self.add_node(&node, &top, Below::Nothing).await?;
            actions.push(json!({"type": "blockdev-snapshot", "data": {"node": below, "overlay": node}}));
        }
        self.qmp.ask("transaction", Some(json!({"actions": actions}))).await.map_err(unfit)?;
        Ok(())
    }

    /// Lets go of a file that nothing stands on any more.
    async fn close(&self, node: &str) {
        if let Err(error) = self.qmp.ask("blockdev-del", Some(json!({"node-name": node}))).await {
            // One that QEMU opened by itself it has closed by itself.
            tracing::debug!(machine = %self.id, %error, "a file of a disk was not let go of");
        }
        self.take_back_unused().await;
    }

    async fn merge(
        &self,
        merge: &Merge,
        (top, into): (String, String),
        progress: Progress<'_>,
    ) -> Result<(), DriverError> {
        let mut words = json!({
            "job-id": job(&merge.disk), "device": top, "base-node": into, "auto-dismiss": false,
        });
        if self.file_of(&merge.disk).await?.as_deref() == Some(&merge.from) {
            self.qmp.ask("block-commit", Some(words)).await.map_err(unfit)?;
            return self.until(progress, |job| job.is("ready")).await;
        }
        let Some(from) = self.node_in(&merge.from, DiskFormat::Qcow2).await? else {
            return Err(DriverError::Unfit(format!("it does not have {} open", merge.from.display())));
        };
        words["top-node"] = from.as_str().into();
        words["backing-file"] = merge.into.to_string_lossy().into();
        self.qmp.ask("block-commit", Some(words)).await.map_err(unfit)?;
        self.until(progress, |job| job.is("concluded")).await?;
        self.dismiss().await?;
        self.close(&from).await;
        Ok(())
    }

    /// The guest stands still from here on, so that what is written down of where its disk is can come after:
    /// whichever file that says meanwhile holds all there is.
    async fn turn(&self, merge: &Merge, from: &str) -> Result<(), DriverError> {
        let held = self.holding.lock().await;
        self.expected().snapped = true;
        let turned = async {
            self.qmp.ask("stop", None).await?;
            self.qmp.ask("job-complete", Some(json!({"id": job(&merge.disk)}))).await.map_err(unfit)?;
            self.until(&|_| {}, |job| job.is("concluded")).await?;
            self.dismiss().await
        };
        let turned = turned.await;
        drop(held);
        // What it did counts, not what it said of it; what cannot be known, nothing follows from.
        if self.file_of(&merge.disk).await?.as_deref() == Some(&merge.into) {
            self.close(from).await;
            return Ok(());
        }
        self.let_go_on().await?;
        turned.and(Err(DriverError::Unfit("QEMU did not change over to the file below".into())))
    }

    async fn let_go_on(&self) -> Result<(), DriverError> {
        let _held = self.holding.lock().await;
        let paused = self.expected().paused;
        let gone_on = match paused {
            true => Ok(Value::Null),
            false => self.qmp.ask("cont", None).await,
        };
        self.expected().snapped = false;
        gone_on.map(drop).map_err(DriverError::from)
    }
}

#[async_trait]
impl Layers for Qemu {
    async fn cover(
        &self,
        launch: &Launch,
        disk: &str,
        base: (&Path, DiskFormat),
        path: &Path,
    ) -> Result<(), DriverError> {
        let mut size_bytes = None;
        if let Some(running) = self.ours(launch.id)?
            && running.file_of(disk).await?.as_deref() == Some(base.0)
        {
            size_bytes = running.image(disk).await?.map(|image| image.file().size_bytes);
        }
        let size_bytes = match size_bytes {
            Some(size_bytes) => size_bytes,
            None => qcow2::describe(base.0, base.1).await?.file().size_bytes,
        };
        chain::cover(base, size_bytes, path).await
    }

    async fn layer(&self, launch: &Launch, tops: &[Layer]) -> Result<(), DriverError> {
        let Some(running) = self.ours(launch.id)? else { return Ok(()) };
        let layered = running.layer(launch, tops).await;
        if layered.is_err() {
            // It is the failure that is told.
            let _ = running.drop_targets().await;
        }
        layered
    }

    async fn merge(&self, launch: &Launch, merge: &Merge, progress: Progress<'_>) -> Result<(), DriverError> {
        if let Some(running) = self.ours(launch.id)?
            && let Some(nodes) = running.open(&merge.disk, (&merge.into, merge.format)).await?
        {
            return running.merge(merge, nodes, progress).await;
        }
        chain::merge(merge, progress).await
    }

    async fn turn(&self, launch: &Launch, merge: &Merge) -> Result<(), DriverError> {
        let Some(running) = self.ours(launch.id)? else { return Ok(()) };
        if running.file_of(&merge.disk).await?.as_deref() != Some(&merge.from) {
            return Ok(());
        }
        match running.node_of(&merge.disk).await? {
            Some(from) => running.turn(merge, &from).await,
            None => Ok(()),
        }
    }

    async fn go_on(&self, launch: &Launch) -> Result<(), DriverError> {
        match self.ours(launch.id)? {
            Some(running) if running.expected().snapped => running.let_go_on().await,
            _ => Ok(()),
        }
    }
}
