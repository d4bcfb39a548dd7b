//! Long work on the disks of a machine, as QEMU's jobs: `blockdev-backup` for copies of one moment,
//! `blockdev-mirror` for a move.
//!
//! The jobs and the nodes of their targets have names of ours, by which a later agent finds and ends them:
//! QEMU goes on with them when the agent has ended.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::{
    Qemu,
    disks::{named, unfit},
    handing::Below,
    qmp::QmpError,
    running::Running,
};
use crate::{
    definition::{Disk, DiskFormat},
    driver::{
        DriverError, Launch, Progress,
        live::{Copy, LiveDisks},
        qcow2,
    },
};

/// How the names of our jobs begin.
const JOB: &str = "skerry-copy-";
/// How the names of the nodes begin that they write to.
const NODE: &str = "copy-";
/// How often it is looked how far they are.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long QEMU may take to end a job: what it has begun to write, it writes.
const END_MAX: Duration = Duration::from_secs(60);

/// A job, as QEMU lists it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Job {
    id: String,
    status: String,
    current_progress: u64,
    total_progress: u64,
    #[serde(default)]
    error: Option<String>,
}

impl Job {
    /// Whether this is what it does.
    pub(super) fn is(&self, status: &str) -> bool {
        self.status == status
    }
}

/// The name of the job that is about this disk.
pub(super) fn job(name: &str) -> String {
    format!("{JOB}{name}")
}

/// A name for a node that no earlier one has.
pub(super) fn target() -> String {
    let unique = Uuid::new_v4().simple().to_string();
    format!("{NODE}{}", unique.get(..12).unwrap_or(&unique))
}

impl Running {
    async fn copies(&self) -> Result<Vec<Job>, DriverError> {
        let jobs = self.qmp.ask("query-jobs", None).await?;
        let jobs: Vec<Job> = serde_json::from_value(jobs)
            .map_err(|source| DriverError::system("understanding QEMU's jobs", source))?;
        Ok(jobs.into_iter().filter(|job| job.id.starts_with(JOB)).collect())
    }

    /// Waits until all of ours are as far as is wanted.
    pub(super) async fn until(
        &self,
        progress: Progress<'_>,
        is: fn(&Job) -> bool,
    ) -> Result<(), DriverError> {
        let mut told = self.told.subscribe();
        loop {
            let jobs = self.copies().await?;
            if let Some(why) = jobs.iter().find_map(|job| job.error.clone()) {
                return Err(DriverError::Unfit(format!("QEMU could not copy it: {why}")));
            }
            if jobs.is_empty() {
                return Err(DriverError::Unfit("somebody else ended the copy".into()));
            }
            let done: u64 = jobs.iter().map(|job| job.current_progress).sum();
            let of: u64 = jobs.iter().map(|job| job.total_progress).sum();
            let percent = u128::from(done.min(of)) * 100 / u128::from(of.max(1));
            progress(u8::try_from(percent).unwrap_or(100));
            if jobs.iter().all(is) {
                // Of nothing there is no part to count.
                progress(100);
                return Ok(());
            }
            // What is told may be of a job, and may be missed: it is looked again soon in any case.
            let _ = timeout(LOOK_EVERY, told.recv()).await;
        }
    }

    /// A new file, and the node for it.
    async fn add_target(&self, disk: &Disk, size_bytes: u64) -> Result<String, DriverError> {
        qcow2::create(&disk.path, disk.format, size_bytes).await?;
        let node = target();
        self.add_node(&node, disk, Below::Nothing).await?;
        Ok(node)
    }

    /// The node and the size of a disk that the guest has.
    async fn source(&self, name: &str) -> Result<(String, u64), DriverError> {
        let (Some(node), Some(image)) = (self.node_of(name).await?, self.image(name).await?) else {
            return Err(DriverError::Unfit(format!("it has its disk {name} from its next start on")));
        };
        Ok((node, image.file().size_bytes))
    }

    /// Forgets the jobs that have ended.
    pub(super) async fn dismiss(&self) -> Result<(), DriverError> {
        for job in self.copies().await?.iter().filter(|job| job.status == "concluded") {
            self.qmp.ask("job-dismiss", Some(json!({"id": job.id}))).await?;
        }
        Ok(())
    }

    /// Lets go of what was written to, unless the guest uses it.
    pub(super) async fn drop_targets(&self) -> Result<(), DriverError> {
        let nodes = self.nodes().await?;
        let names = nodes.iter().filter_map(|node| node["node-name"].as_str());
        for name in names.filter(|name| name.starts_with(NODE)) {
            match self.qmp.ask("blockdev-del", Some(json!({"node-name": name}))).await {
                // The guest's, since a move.
                Ok(_) | Err(QmpError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.take_back_unused().await;
        Ok(())
    }

    async fn begin(&self, launch: &Launch, copies: &[Copy]) -> Result<(), DriverError> {
        let mut actions = Vec::new();
        for (name, path) in copies {
            let (source, size_bytes) = self.source(name).await?;
            let disk = Disk { read_only: false, limits: None, ..Disk::new(path, DiskFormat::Qcow2) };
            named(launch, name)?;
            let node = self.add_target(&disk, size_bytes).await?;
            actions.push(json!({"type": "blockdev-backup", "data": {
                "job-id": job(name), "device": source, "target": node, "sync": "full",
                "auto-dismiss": false,
            }}));
        }
        let words = json!({"actions": actions, "properties": {"completion-mode": "grouped"}});
        self.qmp.ask("transaction", Some(words)).await.map_err(unfit)?;
        Ok(())
    }

    async fn end_copies(&self) -> Result<(), DriverError> {
        let until = Instant::now() + END_MAX;
        let mut told = self.told.subscribe();
        loop {
            let jobs = self.copies().await?;
            let going: Vec<&Job> = jobs.iter().filter(|job| job.status != "concluded").collect();
            if going.is_empty() {
                break;
            }
            for job in going {
                let words = json!({"device": job.id, "force": true});
                match self.qmp.ask("block-job-cancel", Some(words)).await {
                    // It is ending already.
                    Ok(_) | Err(QmpError::Refused { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if Instant::now() > until {
                return Err(DriverError::TimedOut { what: "the end of a copy", limit: END_MAX });
            }
            let _ = timeout(LOOK_EVERY, told.recv()).await;
        }
        self.dismiss().await?;
        self.drop_targets().await
    }
}

#[async_trait]
impl LiveDisks for Qemu {
    async fn begin_copies(&self, launch: &Launch, copies: &[Copy]) -> Result<(), DriverError> {
        let running = self.ours(launch.id)?.ok_or(DriverError::NotRunning)?;
        let begun = running.begin(launch, copies).await;
        if begun.is_err() {
            // It is the failure that is told.
            let _ = running.end_copies().await;
        }
        begun
    }

    async fn follow_copies(&self, launch: &Launch, progress: Progress<'_>) -> Result<(), DriverError> {
        let running = self.ours(launch.id)?.ok_or(DriverError::NotRunning)?;
        running.until(progress, |job| job.status == "concluded").await?;
        running.dismiss().await?;
        running.drop_targets().await
    }

    async fn mirror(
        &self,
        launch: &Launch,
        name: &str,
        to: &Path,
        progress: Progress<'_>,
    ) -> Result<(), DriverError> {
        let disk = named(launch, name)?;
        let Some(running) = self.ours(launch.id)? else {
            return qcow2::copy(disk, to, disk.format, progress).await;
        };
        let (source, size_bytes) = running.source(name).await?;
        let there = Disk { path: to.to_owned(), ..disk.clone() };
        let node = running.add_target(&there, size_bytes).await?;
        // Blocking: once it is whole, no write is done before it is done in both.
        let words = json!({
            "job-id": job(name), "device": source, "target": node, "sync": "full",
            "copy-mode": "write-blocking", "auto-dismiss": false,
        });
        running.qmp.ask("blockdev-mirror", Some(words)).await.map_err(unfit)?;
        running.until(progress, |job| job.status == "ready").await
    }

    async fn switch(&self, launch: &Launch, name: &str, to: &Path) -> Result<(), DriverError> {
        let Some(running) = self.ours(launch.id)? else { return Ok(()) };
        let before = running.node_of(name).await?;
        running.qmp.ask("job-complete", Some(json!({"id": job(name)}))).await.map_err(unfit)?;
        running.until(&|_| {}, |job| job.status == "concluded").await?;
        running.dismiss().await?;
        if running.file_of(name).await?.as_deref() != Some(to) {
            return Err(DriverError::Unfit("QEMU did not change over to the copy".into()));
        }
        if let Some(before) = before
            && let Err(error) = running.qmp.ask("blockdev-del", Some(json!({"node-name": before}))).await
        {
            tracing::warn!(machine = %launch.id, %error, "QEMU holds on to the file a disk was in");
        }
        running.take_back_unused().await;
        Ok(())
    }

    async fn is_in(&self, launch: &Launch, name: &str, file: &Path) -> Result<Option<bool>, DriverError> {
        let Some(running) = self.ours(launch.id)? else { return Ok(None) };
        Ok(Some(running.file_of(name).await?.as_deref() == Some(file)))
    }

    async fn abandon(&self, launch: &Launch) -> Result<(), DriverError> {
        match self.ours(launch.id)? {
            Some(running) => running.end_copies().await,
            None => Ok(()),
        }
    }
}
