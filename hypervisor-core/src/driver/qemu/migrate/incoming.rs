//! The destination of a machine that runs: a QEMU that waits for it.

use std::{net::IpAddr, os::fd::AsRawFd, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{sync::oneshot, time::timeout};

use super::super::{
    Shared, Slot, altering,
    arguments::{
        self, Accel, CONSOLE, CONTROL, Ready,
        disks::{self, node},
    },
    bridges, console, firmware,
    folder::{Folder, Note},
    hugepages, pinning,
    process::Process,
    qmp::{Client, QmpError},
    running::{Besides, Expected, Running},
    seed, starting, tpm, words,
};
use super::{TLS, keys, resting};
use crate::driver::{
    DriverError,
    migrate::{Arrival, Copied, Place, TLS_NAME, remove},
    qcow2,
};

/// How often it is looked how far it is, should an event be missed.
const LOOK: Duration = Duration::from_millis(500);

/// Makes room for it, and waits. When `dropped` says that nobody wants it any more, it is undone.
pub(super) async fn prepare(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    arrival: &Arrival,
    dropped: oneshot::Receiver<()>,
) -> Result<Place, DriverError> {
    if slot.running().is_some() {
        return Err(DriverError::AlreadyRunning);
    }
    let launch = &arrival.launch;
    let folder = Folder::new(&launch.folder);
    folder.clear();
    folder.close_to_others()?;
    hugepages::check(&launch.definition)?;
    pinning::check(&launch.definition.cpu)?;
    let files: Vec<_> = arrival.copied.iter().map(|copied| copied.disk.path.clone()).collect();
    let made = async {
        for Copied { disk, size_bytes } in &arrival.copied {
            qcow2::create(&disk.path, disk.format, *size_bytes).await?;
        }
        seed::prepare(launch, &folder)?;
        let taps = if shared.in_units { Vec::new() } else { bridges::taps(launch).await? };
        let ready = Ready {
            firmware: firmware::prepare(launch.definition.firmware, &folder)?,
            taps: taps.iter().map(|(name, tap)| (name.clone(), tap.as_raw_fd())).collect(),
            // One that has any is not moved while it runs.
            devices: Vec::new(),
            postcopy: arrival.postcopy,
        };
        keys::put(&folder, &arrival.keys, true)?;
        let accel = if shared.kvm { Accel::Kvm } else { Accel::Tcg };
        let mut words = arguments::arguments(launch, accel, &ready)?;
        words.extend(["-incoming", "defer"].map(String::from));
        // What it remembers comes with the rest of the machine.
        tpm::start(shared, launch, &folder).await?;
        let process = starting::spawn(shared, launch, &words, (&ready, &taps), &folder).await?;
        Ok((Arc::new(process), words))
    };
    let (process, words) = match made.await {
        Ok(made) => made,
        Err(error) => {
            tpm::end(&folder).await;
            keys::remove(&folder);
            // It is the failure that is told.
            let _ = remove(&files);
            return Err(error);
        }
    };
    tracing::info!(machine = %launch.id, pid = process.identity.pid, "QEMU waits for a machine to come");
    let brought_up = tokio::select! {
        biased;
        brought_up = bring_up(shared, slot, arrival, &folder, &process) => brought_up,
        _ = dropped => Err(DriverError::Unfit("it was given up".into())),
    };
    let error = match brought_up {
        Ok(mut place) => {
            place.disks.extend(resting::wait_for_log(shared, arrival).await);
            return Ok(place);
        }
        Err(error) => error,
    };
    starting::undo(&process, &folder).await;
    keys::remove(&folder);
    let _ = remove(&files);
    let ended = matches!(error, DriverError::NotRunning);
    match words::complaint(&folder.errors(), &words).filter(|_| ended) {
        Some(why) => Err(DriverError::Unfit(why)),
        None => Err(error),
    }
}

async fn bring_up(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    arrival: &Arrival,
    folder: &Folder,
    process: &Arc<Process>,
) -> Result<Place, DriverError> {
    let launch = &arrival.launch;
    folder.note(&Note { process: process.identity.clone(), adopted: None, reboots_until: None })?;
    let control = tokio::select! {
        connected = starting::connect(folder, CONTROL) => connected?,
        _ = process.ended() => return Err(DriverError::NotRunning),
    };
    let (qmp, events) = Client::greet(control).await?;
    let stream = folder.connect(CONSOLE).await;
    let stream = stream.map_err(|source| DriverError::system("connecting to the console", source))?;
    let console = Some(console::Console::new(stream));
    for disk in launch.definition.disks.iter().filter(|disk| disk.limits.is_some()) {
        qmp.ask("block_set_io_throttle", Some(disks::throttle(disk))).await?;
    }
    pinning::pin(&qmp, &launch.definition.cpu).await?;
    altering::links(&qmp, &launch.definition).await?;
    bridges::connect(launch).await?;
    if shared.in_units {
        bridges::join(launch).await?;
    }
    let expected = Expected { paused: true, ..Expected::default() };
    let kvm_failed = shared.kvm.then(|| shared.kvm_failed.clone());
    let running =
        Running::new(launch, process.clone(), qmp, kvm_failed, Besides { adopted: None, console, expected });
    let place = listen(&running, arrival).await?;
    shared.put(slot, running, events);
    Ok(place)
}

/// Opens its doors, to whoever has the keys.
async fn listen(running: &Running, arrival: &Arrival) -> Result<Place, DriverError> {
    running.take_keys(true).await?;
    let postcopy = arrival.postcopy;
    running.can(&[("late-block-activate", true), ("events", true), ("postcopy-ram", postcopy)]).await?;
    let tls = json!({"tls-creds": TLS, "tls-hostname": TLS_NAME});
    running.qmp.ask("migrate-set-parameters", Some(tls)).await?;
    let (address, mut ports) = (arrival.listen, arrival.ports.0..=arrival.ports.1);
    let mut place = Place { address, memory_port: None, disks: vec![] };
    if !arrival.copied.is_empty() {
        let port = first_free(&mut ports, |port| serve_disks(running, address, port)).await?;
        for Copied { disk, .. } in &arrival.copied {
            let name = node(&disk.name);
            let words = json!({
                "type": "nbd", "id": format!("export-{name}"), "node-name": name, "name": name, "writable": true,
            });
            running.qmp.ask("block-export-add", Some(words)).await?;
            place.disks.push((disk.name.clone(), port));
        }
    }
    let port = first_free(&mut ports, |port| {
        let words = json!({"uri": uri(address, port)});
        async move { running.qmp.ask("migrate-incoming", Some(words)).await.map(drop) }
    });
    place.memory_port = Some(port.await?);
    Ok(place)
}

async fn serve_disks(running: &Running, address: IpAddr, port: u16) -> Result<(), QmpError> {
    let inet = json!({"host": address.to_string(), "port": port.to_string()});
    let words = json!({"addr": {"type": "inet", "data": inet}, "tls-creds": TLS});
    running.qmp.ask("nbd-server-start", Some(words)).await.map(drop)
}

/// The first port that nobody has.
async fn first_free<F: Future<Output = Result<(), QmpError>>>(
    ports: &mut impl Iterator<Item = u16>,
    mut open: impl FnMut(u16) -> F,
) -> Result<u16, DriverError> {
    for port in ports {
        match open(port).await {
            Ok(()) => return Ok(port),
            Err(QmpError::Refused { sentence, .. }) if sentence.contains("in use") => {}
            Err(error) => return Err(super::super::disks::unfit(error)),
        }
    }
    Err(DriverError::Unfit("no port is free for it: see migration.ports in the agent's file".into()))
}

/// An address and a port, as QEMU writes it.
pub(super) fn uri(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) => format!("tcp:{address}:{port}"),
        IpAddr::V6(address) => format!("tcp:[{address}]:{port}"),
    }
}

/// Waits until all has come.
pub(super) async fn received(running: &Running) -> Result<(), DriverError> {
    let mut told = running.told.subscribe();
    loop {
        let migration = running.migration().await?;
        let still = running.status_word().await?;
        match migration["status"].as_str().unwrap_or_default() {
            "completed" if still != "inmigrate" => break,
            // The processor's state is there, the rest is fetched when it is needed.
            "postcopy-active" if still == "paused" => break,
            "failed" => {
                let why = migration["error-desc"].as_str().unwrap_or("it broke off");
                return Err(DriverError::Unfit(why.to_owned()));
            }
            // An agent that came later has no more to see than that it stands still.
            "" | "none" if still == "paused" => break,
            _ => {}
        }
        let news = running.told_of(&mut told, |event| event.name == "MIGRATION");
        if let Ok(gone) = timeout(LOOK, news).await {
            gone?;
        }
    }
    // Nobody writes to its disks any more but it itself.
    match running.qmp.ask("nbd-server-stop", None).await {
        // There was none.
        Ok(_) | Err(QmpError::Refused { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
