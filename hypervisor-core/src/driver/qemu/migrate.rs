//! Moving a machine between QEMUs.
//!
//! The destination's QEMU is started with `-S` and `-incoming defer`: whatever comes, it stands still
//! until it is told to go on, and it touches no disk before (`late-block-activate`). Disks that go along
//! are mirrored to its NBD server; the mirrors end while the guest stands still (`pause-before-switchover`),
//! so that they and the memory are of one moment. The source's QEMU stays, stopped, until it is cleared.
//! Everything goes over TLS with keys of this migration alone.

mod incoming;
mod keys;
pub(super) mod luggage;
mod outgoing;
mod resting;

use std::{path::PathBuf, sync::Arc, time::Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::oneshot;

pub(super) use self::{luggage::FILE as LUGGAGE, resting::Resting};
use super::{
    Qemu,
    arguments::{self, Accel, Ready},
    finding,
    folder::Folder,
    running::Running,
};
use crate::{
    definition::DiskFormat,
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

    /// Why a QEMU that is started with its definition as it is now would not be like this one.
    async fn is_otherwise(&self, launch: &Launch) -> Result<Option<String>, DriverError> {
        let present = self.qmp.ask("query-cpus-fast", None).await?;
        let present = present.as_array().map_or(0, Vec::len);
        let vcpus = launch.definition.vcpus;
        if usize::try_from(vcpus).is_ok_and(|vcpus| vcpus != present) {
            return Ok(Some(format!("its guest has {present} processors still, and is to have {vcpus}")));
        }
        let line = std::fs::read(format!("/proc/{}/cmdline", self.process.identity.pid));
        let line = line.map_err(|source| DriverError::system("looking at its QEMU", source))?;
        let words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let words: Vec<String> = words.collect();
        let is_kvm = words.iter().any(|word| word == Accel::Kvm.words()[1]);
        let accel = if is_kvm { Accel::Kvm } else { Accel::Tcg };
        let now = arguments::arguments(launch, accel, &Ready::default())?;
        let why = "its definition says otherwise by now than when it was started: move it after its next start, or \
                   when it is off";
        Ok((hardware(&words) != hardware(&now)).then(|| why.into()))
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

/// What of QEMU's words has to be the same at both ends of a migration, in any order.
fn hardware(words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (option, value) in words.iter().zip(words.iter().skip(1)) {
        match option.as_str() {
            "-device" | "-m" | "-machine" | "-cpu" => found.push(format!("{option} {value}")),
            // How many there are may change while it runs; for how many there is room may not.
            "-smp" => found.push(value.split(',').skip(1).collect::<Vec<_>>().join(",")),
            _ => {}
        }
    }
    found.sort_unstable();
    found
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
            let running = self.moving(launch)?;
            if running.has_plugged().await? {
                let why = "what was attached to it while it ran has another place at its next start: detach it, or \
                           shut the machine down and start it anew";
                return Err(DriverError::Unfit(why.into()));
            }
            if let Some(why) = running.is_otherwise(launch).await? {
                return Err(DriverError::Unfit(why));
            }
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

    async fn go_on(&self, launch: &Launch, runs: bool) -> Result<Instant, DriverError> {
        let Some(running) = self.found(launch).await? else {
            resting::forget(&self.shared, launch.id);
            keys::remove(&Folder::new(&launch.folder));
            return Ok(Instant::now());
        };
        if runs {
            running.hold(false).await?;
        }
        // From here on the guest stands still for nobody.
        let since = Instant::now();
        running.drop_keys().await;
        resting::take_log(&self.shared, launch);
        Ok(since)
    }

    async fn discard(&self, launch: &Launch, copied: &[PathBuf]) -> Result<(), DriverError> {
        resting::forget(&self.shared, launch.id);
        // One that cannot be talked with any more can still be killed.
        let found = self.found(launch).await.map(drop);
        self.kill(launch.id).await?;
        keys::remove(&Folder::new(&launch.folder));
        luggage::remove(launch);
        remove(copied)?;
        found.or_else(|error| if matches!(error, DriverError::Unfit(_)) { Ok(()) } else { Err(error) })
    }

    async fn send(&self, departure: &Departure, passing: Passing<'_>) -> Result<(), DriverError> {
        if departure.live {
            resting::remember_log(&self.shared, departure);
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
        resting::forget(&self.shared, launch.id);
        match self.found(launch).await? {
            Some(running) => outgoing::call_off(&running, runs).await,
            None => {
                luggage::remove(launch);
                keys::remove(&Folder::new(&launch.folder));
                Ok(())
            }
        }
    }

    async fn clear(&self, launch: &Launch) -> Result<(), DriverError> {
        if let Some(running) = self.found(launch).await? {
            outgoing::wait_pulled(&running).await;
            resting::send_log(&self.shared, launch).await;
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
