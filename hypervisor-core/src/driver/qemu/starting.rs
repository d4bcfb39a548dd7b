//! Starting a machine: a process, its sockets, and then the guest; or nothing.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use super::{
    Shared, Slot, altering,
    arguments::{self, Accel, CONSOLE, CONSOLE_LOG, CONTROL, Ready, disks},
    beside, bounds, bridges, console, devices, finding, firmware,
    folder::{ERRORS_LOG, Folder, Note},
    hugepages, pinning,
    process::Process,
    qmp::Client,
    running::{Besides, Running},
    seed, sharing, tpm,
    unit::{self, Unit},
    words,
};
use crate::driver::{DriverError, Launch};

/// How long QEMU may take until its sockets are there: it first looks at its disks.
const SOCKETS_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether they are: nothing tells.
const SOCKETS_LOOK: Duration = Duration::from_millis(10);
/// How long a process that was killed may take to be gone.
const END_MAX: Duration = Duration::from_secs(20);

/// Starts it. When `dropped` says that nobody wants it any more, it is undone.
pub(super) async fn start(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    launch: &Launch,
    dropped: oneshot::Receiver<()>,
) -> Result<(), DriverError> {
    if let Some(running) = finding::find(shared, slot, launch).await? {
        if running.expected().crashed.is_none() {
            return Err(DriverError::AlreadyRunning);
        }
        running.kill().await?;
    }
    let folder = Folder::new(&launch.folder);
    folder.clear();
    folder.close_to_others()?;
    bounded(&folder);

    let kvm = shared.kvm && !shared.kvm_failed.load(Ordering::Relaxed);
    let accel = if kvm { Accel::Kvm } else { Accel::Tcg };
    hugepages::check(&launch.definition)?;
    pinning::check(&launch.definition.cpu)?;
    seed::prepare(launch, &folder)?;
    let lent = launch.devices().await?;
    devices::check(&launch.definition, &lent)?;
    // systemd, which then starts it, hands on no descriptor.
    let taps = if shared.in_units { Vec::new() } else { bridges::taps(launch).await? };
    let ready = Ready {
        firmware: firmware::prepare(launch.definition.firmware, &folder)?,
        taps: taps.iter().map(|(name, tap)| (name.clone(), tap.as_raw_fd())).collect(),
        devices: lent,
        postcopy: false,
    };
    let words = arguments::arguments(launch, accel, &ready)?;
    let spawned = async {
        tpm::start(shared, launch, &folder).await?;
        sharing::start(shared, launch, &folder).await?;
        spawn(shared, launch, &words, (&ready, &taps), &folder).await
    };
    let process = match spawned.await {
        Ok(process) => Arc::new(process),
        Err(error) => {
            beside::end(&folder).await;
            return Err(error);
        }
    };
    // From now on they live by QEMU alone.
    drop(taps);
    tracing::info!(machine = %launch.id, pid = process.identity.pid, ?accel, "QEMU is started");

    let bring_up = bring_up(shared, slot, launch, &folder, &process, kvm);
    let brought_up = tokio::select! {
        biased;
        brought_up = bring_up => brought_up,
        _ = dropped => Err(DriverError::Unfit("the start was given up".into())),
    };
    let Err(error) = brought_up else { return Ok(()) };
    undo(&process, &folder).await;
    if matches!(error, DriverError::NotRunning) {
        let why = words::complaint(&folder.errors(), &words)
            .unwrap_or_else(|| words::vanished(process.how_it_ended(), "").0);
        return Err(DriverError::Unfit(why));
    }
    Err(error)
}

pub(super) async fn spawn(
    shared: &Shared,
    launch: &Launch,
    words: &[String],
    (ready, taps): (&Ready, &[(String, OwnedFd)]),
    folder: &Folder,
) -> Result<Process, DriverError> {
    let errors = folder.within(ERRORS_LOG);
    let mut bounds = bounds::of_qemu(&shared.program, launch, ready, folder, shared.in_units)?;
    bounds.is_one_of(shared.users);
    let spawned = if shared.in_units {
        let unit = Unit {
            what: "machine",
            program: &shared.program,
            words,
            properties: unit::HARDENED.map(String::from).to_vec(),
            bounds: shared.launcher.as_ref().map(|launcher| (launcher, &bounds)),
            folder,
            errors,
        };
        unit::spawn(launch.id, unit).await
    } else {
        let handed = taps.iter().map(|(_, tap)| tap.as_fd()).collect();
        Process::spawn(&shared.program, words, handed, folder.path(), &errors, Some(&bounds))
    };
    spawned.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound if !folder.path().is_dir() => {
            DriverError::Unfit(format!("its folder {} is not there", folder.path().display()))
        }
        io::ErrorKind::NotFound => DriverError::Unfit(format!(
            "{} is not installed (Debian package qemu-system-x86)",
            shared.program.display()
        )),
        _ => DriverError::system("starting QEMU", source),
    })
}

/// From a process to a guest that runs. [`DriverError::NotRunning`] if the process ends meanwhile.
async fn bring_up(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    launch: &Launch,
    folder: &Folder,
    process: &Arc<Process>,
    kvm: bool,
) -> Result<(), DriverError> {
    let note = Note { process: process.identity.clone(), adopted: None, reboots_until: None };
    folder.note(&note)?;
    let control = tokio::select! {
        connected = connect(folder, CONTROL) => connected?,
        _ = process.ended() => return Err(DriverError::NotRunning),
    };
    let (qmp, events) = Client::greet(control).await?;
    let console = folder
        .connect(CONSOLE)
        .await
        .map_err(|source| DriverError::system("connecting to the console", source))?;
    let console = Some(console::Console::new(console));
    for disk in launch.definition.disks.iter().filter(|disk| disk.limits.is_some()) {
        qmp.ask("block_set_io_throttle", Some(disks::throttle(disk))).await?;
    }
    pinning::pin(&qmp, &launch.definition.cpu).await?;
    let memory_mib = launch.definition.memory_mib;
    if memory_mib < launch.definition.memory_room_mib() {
        qmp.ask("balloon", Some(serde_json::json!({"value": memory_mib << 20}))).await?;
    }
    altering::links(&qmp, &launch.definition).await?;
    bridges::connect(launch).await?;
    if shared.in_units {
        bridges::join(launch).await?;
    }
    // Until now it was held still, so that those who follow the console miss nothing of it.
    qmp.ask("cont", None).await?;
    let kvm_failed = kvm.then(|| shared.kvm_failed.clone());
    let besides = Besides { console, ..Besides::default() };
    let running = Running::new(launch, process.clone(), qmp, kvm_failed, besides);
    shared.put(slot, running, events);
    Ok(())
}

/// Of what an earlier run left too much of the log, it is cut before anything reads it.
pub(super) fn bounded(folder: &Folder) {
    let log = folder.within(CONSOLE_LOG);
    if let Err(error) = console::bound(&log) {
        tracing::warn!(%error, log = %log.display(), "the console's log could not be cut");
    }
}

/// Connects as soon as there is something to connect to.
pub(super) async fn connect(folder: &Folder, name: &str) -> Result<tokio::net::UnixStream, DriverError> {
    let trying = async {
        loop {
            match folder.connect(name).await {
                Ok(stream) => return Ok(stream),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
                {
                    tokio::time::sleep(SOCKETS_LOOK).await;
                }
                Err(source) => return Err(DriverError::system("connecting to QEMU", source)),
            }
        }
    };
    timeout(SOCKETS_MAX, trying)
        .await
        .unwrap_or(Err(DriverError::TimedOut { what: "QEMU's start", limit: SOCKETS_MAX }))
}

/// Ends a process that was not brought up, or can no longer be reached. Nothing of it is left after.
pub(super) async fn undo(process: &Process, folder: &Folder) {
    if let Err(error) = process.kill() {
        tracing::error!(%error, pid = process.identity.pid, "a QEMU cannot be ended");
    }
    if timeout(END_MAX, process.ended()).await.is_err() {
        tracing::error!(pid = process.identity.pid, "a QEMU was killed and does not end");
    }
    beside::end(folder).await;
    folder.clear();
}
