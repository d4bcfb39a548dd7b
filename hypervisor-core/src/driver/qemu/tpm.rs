//! A machine's TPM: swtpm, a process of its own for each machine that has one.
//!
//! What it remembers is in the folder `tpm` of the machine, and goes with the machine.

use std::{fs, io, os::unix::fs::DirBuilderExt, path::Path, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    Shared, beside, bounds,
    folder::Folder,
    process::Process,
    unit::{self, Unit},
};
use crate::driver::{DriverError, Launch};

/// Its control socket, in the machine's folder.
pub(super) const SOCKET: &str = "tpm.sock";
/// Which process it is.
const NOTE: &str = "tpm.json";
/// What it remembers.
pub(super) const STATE: &str = "tpm";
/// What it complained of.
const LOG: &str = "tpm.log";
/// The program, of the package of the same name.
const PROGRAM: &str = "swtpm";
/// How long it may take to be there.
const START_MAX: Duration = Duration::from_secs(20);
/// How often it is looked whether it is: nothing tells, and who connects is taken for QEMU.
const LOOK: Duration = Duration::from_millis(10);

/// Starts it, if the machine is to have one. What an earlier start left of it is ended first.
pub(super) async fn start(shared: &Shared, launch: &Launch, folder: &Folder) -> Result<(), DriverError> {
    end(folder).await;
    if !launch.definition.tpm {
        return Ok(());
    }
    let failed = |source: io::Error| DriverError::system("starting its TPM", source);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.within(STATE)).map_err(failed)?;
    let words =
        ["socket", "--tpm2", "--tpmstate", "dir=tpm", "--ctrl", "type=unixio,path=tpm.sock", "--terminate"]
            .map(String::from);
    let log = folder.within(LOG);
    let program = Path::new(PROGRAM);
    let mut bounds = bounds::of_tpm(program, folder);
    bounds.is_one_of(shared.users);
    let spawned = if shared.in_units {
        let unit = Unit {
            what: "tpm",
            program,
            words: &words,
            properties: unit::HARDENED.map(String::from).to_vec(),
            bounds: shared.launcher.as_ref().map(|launcher| (launcher, &bounds)),
            folder,
            errors: log.clone(),
        };
        unit::spawn(launch.id, unit).await
    } else {
        Process::spawn(program, &words, Vec::new(), folder.path(), &log, Some(&bounds))
    };
    let spawned = spawned.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            DriverError::Unfit("it has a TPM, and swtpm is not installed (Debian package swtpm)".into())
        }
        _ => failed(source),
    })?;
    let process = beside::keep(spawned, &folder.within(NOTE)).map_err(failed)?;
    let there = async {
        while !folder.within(SOCKET).exists() {
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        there = timeout(START_MAX, there) => {
            there.map_err(|_| DriverError::TimedOut { what: "the start of its TPM", limit: START_MAX })
        }
        _ = process.ended() => {
            Err(DriverError::Unfit(format!("its TPM does not start: {}", beside::complaint(&log))))
        }
    }
}

/// The files of what it remembers, by their names in the machine's folder.
pub(super) fn remembered(folder: &Folder) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder.within(STATE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let names = entries.map(|entry| Ok(format!("{STATE}/{}", entry?.file_name().to_string_lossy())));
    let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
    names.retain(|name| is_remembered(name));
    names.sort_unstable();
    Ok(names)
}

/// Whether a name is that of a file of what it remembers: `tpm/tpm2-00.permall` and such.
pub(super) fn is_remembered(name: &str) -> bool {
    let file = name.strip_prefix(STATE).and_then(|rest| rest.strip_prefix('/'));
    file.is_some_and(|file| {
        file.starts_with("tpm2-") && file.bytes().all(|c| c.is_ascii_alphanumeric() || b"-.".contains(&c))
    })
}

/// Ends one that is left: QEMU does not run, or not yet.
pub(super) async fn end(folder: &Folder) {
    beside::end_noted(&folder.within(NOTE)).await;
    let _ = fs::remove_file(folder.within(SOCKET));
}
