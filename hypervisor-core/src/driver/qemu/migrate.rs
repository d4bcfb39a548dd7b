//! Moving a machine between QEMUs.
//!
//! The destination's QEMU is started with `-S` and `-incoming defer`: whatever comes, it stands still
//! until it is told to go on, and it touches no disk before (`late-block-activate`). Disks that go along
//! are mirrored to its NBD server; the mirrors end while the guest stands still (`pause-before-switchover`),
//! so that they and the memory are of one moment. The source's QEMU stays, stopped, until it is cleared.
//! Everything goes over TLS with keys of this migration alone.

mod incoming;
mod keys;
mod outgoing;
mod resting;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::oneshot;

pub(super) use self::resting::Resting;
use super::{Qemu, finding, folder::Folder, running::Running};
use crate::{
    definition::{DiskFormat, Firmware},
    driver::{
        Driver, DriverError, Launch, Migrate, SnapshotSeen, Snapshots,
        migrate::{Arrival, Copied, Departure, Passing, Place, Sent, remove},
    },
};

/// What QEMU calls the keys of a migration.
const TLS: &str = "migration-tls";

/// The block node a disk is mirrored to, and the job that does it.
fn mirror(name: &str) -> String {
    format!("migration-{name}")
}

impl Running {
    /// How its migration stands.
    async fn migration(&self) -> Result<Value, DriverError> {
        Ok(self.qmp.ask("query-migrate", None).await?)
    }

    /// Switches capabilities of a migration.
    async fn can(&self, which: &[(&str, bool)]) -> Result<(), DriverError> {
        let all: Vec<Value> =
            which.iter().map(|(name, on)| json!({"capability": name, "state": on})).collect();
        self.qmp.ask("migrate-set-capabilities", Some(json!({"capabilities": all}))).await?;
        Ok(())
    }

    /// Whether something sits on a port for what comes while it runs: a QEMU started with the same definition
    /// has it elsewhere.
    async fn has_plugged(&self) -> Result<bool, DriverError> {
        let buses = self.qmp.ask("query-pci", None).await?;
        let devices = buses.as_array().into_iter().flatten().filter_map(|bus| bus["devices"].as_array());
        Ok(devices.flatten().any(|device| {
            let port = device["qdev_id"].as_str().is_some_and(|id| id.starts_with("port"));
            port && device["pci_bridge"]["devices"].as_array().is_some_and(|inside| !inside.is_empty())
        }))
    }

    /// Reads its keys.
    async fn take_keys(&self, server: bool) -> Result<(), DriverError> {
        let endpoint = if server { "server" } else { "client" };
        let words = json!({
            "qom-type": "tls-creds-x509", "id": TLS, "endpoint": endpoint,
            "dir": keys::FOLDER, "verify-peer": true,
        });
        self.qmp.ask("object-add", Some(words)).await?;
        Ok(())
    }

    /// Forgets its keys; fine if it has none.
    async fn drop_keys(&self) {
        let unset = json!({"tls-creds": "", "tls-hostname": ""});
        let _ = self.qmp.ask("migrate-set-parameters", Some(unset)).await;
        // Refused if there are none.
        let _ = self.qmp.ask("object-del", Some(json!({"id": TLS}))).await;
        keys::remove(&self.folder);
    }
}

impl Qemu {
    /// The machine, if it runs, also where an earlier agent left it.
    async fn found(&self, launch: &Launch) -> Result<Option<Arc<Running>>, DriverError> {
        let slot = self.shared.slot(launch.id);
        let _gate = slot.gate.lock().await;
        finding::find(&self.shared, &slot, launch).await
    }

    fn moving(&self, launch: &Launch) -> Result<Arc<Running>, DriverError> {
        self.ours(launch.id)?.ok_or(DriverError::NotRunning)
    }
}

#[async_trait]
impl Migrate for Qemu {
    fn processor(&self, launch: &Launch) -> String {
        let mut version = self.shared.version.split('.');
        let machine = format!("q35 {}.{}", version.next().unwrap_or("?"), version.next().unwrap_or("?"));
        let by = if self.shared.kvm { "KVM" } else { "TCG" };
        match &launch.definition.cpu.model {
            Some(model) => format!("{machine}, {by}, {model}"),
            None if self.shared.kvm => format!("{machine}, {by}, {}", host_processor()),
            None => format!("{machine}, {by}"),
        }
    }

    async fn movable(&self, launch: &Launch, live: bool, copied: &[Copied]) -> Result<(), DriverError> {
        if live {
            if self.moving(launch)?.has_plugged().await? {
                let why = "what was attached to it while it ran has another place at its next start: detach it, or \
                           shut the machine down and start it anew";
                return Err(DriverError::Unfit(why.into()));
            }
        } else if launch.definition.firmware != Firmware::Bios {
            let why = "what its UEFI remembers only goes along while it runs: start it, and move it then";
            return Err(DriverError::Unfit(why.into()));
        }
        if !copied.iter().any(|copied| copied.disk.format == DiskFormat::Qcow2) {
            return Ok(());
        }
        let snapshots: Vec<SnapshotSeen> = Snapshots::list(self, launch).await?;
        let goes = |seen: &SnapshotSeen| copied.iter().any(|copied| seen.disks.contains(&copied.disk.name));
        match snapshots.iter().find(|seen| goes(seen)) {
            Some(seen) => Err(DriverError::Unfit(format!(
                "its snapshot {} would not go along with its disks: delete its snapshots first",
                seen.name
            ))),
            None => Ok(()),
        }
    }

    async fn prepare(&self, arrival: &Arrival) -> Result<Place, DriverError> {
        if !arrival.live {
            return resting::prepare(&self.shared, arrival).await;
        }
        // As a start: a task of its own, which undoes it if nobody waits any more.
        let (_wanted, dropped) = oneshot::channel::<()>();
        let slot = self.shared.slot(arrival.launch.id);
        let gate = slot.gate.clone().lock_owned().await;
        let (shared, arrival) = (self.shared.clone(), arrival.clone());
        let prepare = tokio::spawn(async move {
            let prepared = incoming::prepare(&shared, &slot, &arrival, dropped).await;
            drop(gate);
            prepared
        });
        prepare.await.map_err(|error| DriverError::system("preparing for it", error))?
    }

    async fn received(&self, launch: &Launch) -> Result<(), DriverError> {
        incoming::received(&*self.found(launch).await?.ok_or(DriverError::NotRunning)?).await
    }

    async fn settled(&self, launch: &Launch) -> Result<(), DriverError> {
        resting::settled(&self.shared, launch).await
    }

    async fn go_on(&self, launch: &Launch, runs: bool) -> Result<(), DriverError> {
        resting::forget(&self.shared, launch.id);
        let Some(running) = self.found(launch).await? else {
            keys::remove(&Folder::new(&launch.folder));
            return Ok(());
        };
        if runs {
            running.hold(false).await?;
        }
        running.drop_keys().await;
        Ok(())
    }

    async fn discard(&self, launch: &Launch, copied: &[PathBuf]) -> Result<(), DriverError> {
        resting::forget(&self.shared, launch.id);
        // One that cannot be talked with any more can still be killed.
        let found = self.found(launch).await.map(drop);
        self.kill(launch.id).await?;
        keys::remove(&Folder::new(&launch.folder));
        remove(copied)?;
        found.or_else(|error| if matches!(error, DriverError::Unfit(_)) { Ok(()) } else { Err(error) })
    }

    async fn send(&self, departure: &Departure, passing: Passing<'_>) -> Result<(), DriverError> {
        if departure.live {
            outgoing::send(&*self.moving(&departure.launch)?, departure, passing).await
        } else {
            resting::send(departure, passing).await
        }
    }

    async fn hold(&self, launch: &Launch, live: bool) -> Result<Sent, DriverError> {
        match self.found(launch).await? {
            Some(running) if live => outgoing::hold(&running).await,
            None if !live => Ok(Sent::default()),
            _ => Err(DriverError::Unfit("it is not as it was when it began to move".into())),
        }
    }

    async fn call_off(&self, launch: &Launch, runs: bool) -> Result<(), DriverError> {
        match self.found(launch).await? {
            Some(running) => outgoing::call_off(&running, runs).await,
            None => {
                keys::remove(&Folder::new(&launch.folder));
                Ok(())
            }
        }
    }

    async fn clear(&self, launch: &Launch) -> Result<(), DriverError> {
        if let Some(running) = self.found(launch).await? {
            outgoing::wait_pulled(&running).await;
        }
        self.kill(launch.id).await?;
        keys::remove(&Folder::new(&launch.folder));
        Ok(())
    }
}

/// What a guest sees of this host's processor, when it sees it as it is.
fn host_processor() -> String {
    use sha2::{Digest, Sha256};
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim()).to_owned()
    };
    let flags: String =
        Sha256::digest(field("flags")).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{} {flags}", field("model name"))
}
