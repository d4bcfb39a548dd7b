//! Finding a machine that runs already: one of an agent that ended, most often.
//!
//! Its control socket is asked, and the kernel says whose it is. Who answers must call itself by the
//! machine's UUID, so that a folder copied from elsewhere is never taken for the machine.

use std::{io, path::PathBuf, sync::Arc};

use serde_json::Value;
use tokio::{net::UnixStream, sync::mpsc};
use uuid::Uuid;

use super::{
    Shared, Slot,
    arguments::{CONSOLE, CONTROL},
    beside,
    console::Console,
    folder::{self, Adopted, Folder, Note},
    process::Process,
    qmp::{Client, Event},
    running::{Besides, Expected, Running},
    starting, watching, words,
};
use crate::driver::{DriverError, Launch, Power};

/// A QEMU that answers on its control socket.
pub(super) struct Answering {
    pub(super) process: Process,
    pub(super) qmp: Client,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) uuid: Uuid,
}

/// The machine, if it runs; what a run left behind that has ended is cleared away. The slot's gate is
/// held by the caller.
pub(super) async fn find(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    launch: &Launch,
) -> Result<Option<Arc<Running>>, DriverError> {
    if let Some(running) = slot.running() {
        return Ok(Some(running));
    }
    let folder = Folder::new(&launch.folder);
    let note = folder.noted();
    let (control, uuid): (PathBuf, Uuid) = match note.as_ref().and_then(|note| note.adopted.clone()) {
        Some(adopted) => (adopted.control, adopted.uuid),
        None => (folder.within(CONTROL), launch.id.0),
    };
    let stream = match folder::connect(&control).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            let left_behind = error.kind() == io::ErrorKind::ConnectionRefused;
            return unreachable(shared, slot, launch, folder, note.as_ref(), left_behind)
                .await
                .map(|()| None);
        }
        Err(source) => return Err(DriverError::system("connecting to QEMU", source)),
    };
    let answering = match answer(stream).await {
        Ok(answering) => answering,
        // It ended while it was asked.
        Err(DriverError::NotRunning) => {
            return unreachable(shared, slot, launch, folder, note.as_ref(), false).await.map(|()| None);
        }
        Err(error) => return Err(error),
    };
    if answering.uuid != uuid {
        return Err(DriverError::Unfit(format!(
            "another machine ({}) answers on {}",
            answering.uuid,
            control.display()
        )));
    }
    let (adopted, reboots_until) = note.map_or((None, None), |note| (note.adopted, note.reboots_until));
    let console = if adopted.is_some() { None } else { console(&folder).await };
    tracing::info!(machine = %launch.id, pid = answering.process.identity.pid, "found running");
    let expected = Expected { reboots_until, ..Default::default() };
    take(shared, slot, launch, answering, console, adopted, expected).await.map(Some)
}

/// Nobody answers: there is none, unless its process is there nevertheless. A QEMU that ends in its own
/// way, because its guest shut down, say, takes its sockets with it. One whose socket is `left_behind`
/// was killed or broke down, unless it went with the whole host.
async fn unreachable(
    shared: &Shared,
    slot: &Slot,
    launch: &Launch,
    folder: Folder,
    note: Option<&Note>,
    left_behind: bool,
) -> Result<(), DriverError> {
    let process = match note {
        Some(note) => Process::find(&note.process)
            .map_err(|source| DriverError::system("looking for QEMU's process", source))?,
        None => None,
    };
    let Some(process) = process else {
        let ours = note.filter(|note| left_behind && note.adopted.is_none());
        if ours.is_some_and(|note| note.process.is_of_this_boot()) {
            slot.inside().crashed = Some(words::vanished(None, &folder.errors()));
        }
        beside::end(&folder).await;
        folder.clear();
        return Ok(());
    };
    let pid = process.identity.pid;
    shared.trimming.begin(launch.id, &process, &folder);
    slot.inside().stray = Some((process, folder));
    Err(DriverError::Unfit(format!(
        "its process {pid} runs, but its control socket is gone; kill the machine to go on"
    )))
}

/// Who is at the other end, and that it is a QEMU.
pub(super) async fn answer(stream: UnixStream) -> Result<Answering, DriverError> {
    let failed = |source: io::Error| DriverError::system("looking at QEMU's process", source);
    let pid = stream.peer_cred().map_err(failed)?.pid().unwrap_or_default();
    let process = Process::open(pid).map_err(failed)?.ok_or(DriverError::NotRunning)?;
    let (qmp, events) = Client::greet(stream).await?;
    let uuid = qmp.ask("query-uuid", None).await?;
    let uuid = uuid["UUID"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
    Ok(Answering { process, qmp, events, uuid })
}

async fn console(folder: &Folder) -> Option<Console> {
    starting::bounded(folder);
    match folder.connect(CONSOLE).await {
        Ok(stream) => Some(Console::new(stream)),
        Err(error) => {
            tracing::warn!(%error, folder = %folder.path().display(), "its console cannot be reached");
            None
        }
    }
}

/// From now on it is ours to watch.
pub(super) async fn take(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    launch: &Launch,
    answering: Answering,
    console: Option<Console>,
    adopted: Option<Adopted>,
    expected: Expected,
) -> Result<Arc<Running>, DriverError> {
    let Answering { process, qmp, events, .. } = answering;
    let kvm = qmp.ask("query-kvm", None).await.unwrap_or(Value::Null)["enabled"] == true;
    let kvm_failed = kvm.then(|| shared.kvm_failed.clone());
    let besides = Besides { adopted, console, expected };
    let running = Running::new(launch, Arc::new(process), qmp, kvm_failed, besides);
    let power = running.power().await?;
    match &power {
        Power::Paused => running.expected().paused = true,
        Power::Crashed(cause) => running.expected().crashed = Some(cause.clone()),
        Power::Running | Power::Off => {}
    }
    running.note()?;
    let running = shared.put(slot, running, events);
    if power == Power::Off {
        // The guest shut down while no agent was there to see to it.
        watching::stands_shut_down(&running, &shared.teller).await;
    }
    Ok(running)
}
