//! Processes that a machine has beside QEMU: its TPM, those that share folders with it.
//!
//! Each ends when QEMU lets go of it, however that comes. A note in the machine's folder says which process
//! it is, for the case that an agent ended between its start and QEMU's.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    firmware,
    folder::Folder,
    process::{Identity, Process},
    sharing, tpm,
};

/// How long one that was killed may take to be gone.
const END_MAX: Duration = Duration::from_secs(20);

/// Notes a process that was just started; it is collected when it ends.
pub(super) fn keep(process: Process, note: &Path) -> io::Result<Arc<Process>> {
    let process = Arc::new(process);
    let collected = process.clone();
    tokio::spawn(async move {
        let _ = collected.ended().await;
        collected.how_it_ended();
    });
    fs::write(note, serde_json::to_vec(&process.identity)?)?;
    Ok(process)
}

/// What one complained of last.
pub(super) fn complaint(log: &Path) -> String {
    let said = fs::read_to_string(log).unwrap_or_default();
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    last.unwrap_or("it said nothing").trim().to_owned()
}

/// Ends the one of this note, if it is left: QEMU does not run, or not yet.
pub(super) async fn end_noted(note: &Path) {
    let noted = fs::read(note).ok().and_then(|note| serde_json::from_slice::<Identity>(&note).ok());
    if let Some(process) = noted.and_then(|noted| Process::find(&noted).ok().flatten()) {
        let pid = process.identity.pid;
        if let Err(error) = process.kill() {
            tracing::error!(%error, pid, note = %note.display(), "a process beside QEMU cannot be ended");
        }
        if timeout(END_MAX, process.ended()).await.is_err() {
            tracing::error!(pid, note = %note.display(), "a process beside QEMU was killed and does not end");
        }
    }
    let _ = fs::remove_file(note);
}

/// The files in which its UEFI and its TPM remember, by their names in its folder.
pub(super) fn remembered(folder: &Folder) -> io::Result<Vec<String>> {
    let uefi = firmware::REMEMBERED.into_iter().filter(|name| folder.within(name).is_file());
    Ok(uefi.map(str::to_owned).chain(tpm::remembered(folder)?).collect())
}

/// Ends all that are left of a machine that does not run.
pub(super) async fn end(folder: &Folder) {
    tpm::end(folder).await;
    sharing::end(folder).await;
}
