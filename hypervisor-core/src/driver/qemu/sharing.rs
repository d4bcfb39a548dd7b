//! Folders shared by virtiofs: virtiofsd, a process of its own for each of them.
//!
//! It ends when QEMU lets go of it. What it can do to the host is bounded by the folder: it makes that its
//! root before it serves anything. One that is shared read-only is that for virtiofsd already, by a mount
//! that it alone sees, since not every virtiofsd has a word for it.
//!
//! There are two programs of the name: QEMU's own (in C, until QEMU 8; Debian 12), and the one that came
//! after it (in Rust). They are told the same in different words.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd},
    path::Path,
    process::Stdio,
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::{
    Shared, beside,
    folder::{self, Folder},
    process::{Spawning, begin_log},
    unit::{self, Unit},
};
use crate::{
    definition::{Share, Via},
    driver::{DriverError, Launch},
};

/// How its files in the machine's folder begin.
const PREFIX: &str = "share-";
/// Where the program may be.
const PROGRAMS: [(&str, Words); 5] = [
    ("/usr/libexec/virtiofsd", Words::Later),
    ("/usr/lib/virtiofsd", Words::Later),
    ("/usr/bin/virtiofsd", Words::Later),
    ("/usr/lib/qemu/virtiofsd", Words::First),
    ("/usr/lib/qemu-kvm/virtiofsd", Words::First),
];
/// How long it may take to listen, where it makes its own socket.
const START_MAX: Duration = Duration::from_secs(20);
/// How often it is looked whether it does: who connects is taken for QEMU.
const LOOK: Duration = Duration::from_millis(10);
/// The longest path of a socket, in bytes.
const SOCKET_BYTES_MAX: usize = 107;

/// How a virtiofsd is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    /// QEMU's own.
    First,
    /// The one that came after it.
    Later,
}

/// Its socket, in the machine's folder.
pub(super) fn socket(name: &str) -> String {
    format!("{PREFIX}{name}.sock")
}

/// Starts one for each folder that is shared so. What an earlier start left is ended first.
pub(super) async fn start(shared: &Shared, launch: &Launch, folder: &Folder) -> Result<(), DriverError> {
    end(folder).await;
    for share in launch.definition.shares.iter().filter(|share| share.via == Via::Virtiofs) {
        let unfit = |why: &str| {
            let name = &share.name;
            DriverError::Unfit(format!("its folder {name} is shared by virtiofs, and {why}; share it by 9p"))
        };
        if !nix::unistd::geteuid().is_root() {
            return Err(unfit("that takes an agent that is root"));
        }
        let Some((program, words)) = PROGRAMS.iter().find(|(program, _)| Path::new(program).exists()) else {
            return Err(unfit(
                "virtiofsd is not installed (Debian package virtiofsd, in Debian 12 qemu-system-common)",
            ));
        };
        if !share.path.is_dir() {
            let what = share.path.display();
            return Err(DriverError::Unfit(format!("it shares {what}, which is no folder of this host")));
        }
        let started = match shared.in_units {
            true => in_unit(launch, folder, share, Path::new(program), *words).await,
            false => by_itself(folder, share, Path::new(program), *words),
        };
        started?;
    }
    Ok(())
}

/// The words after the program's name; `way` is where it listens.
fn words(kind: Words, share: &Share, way: &str) -> Result<Vec<String>, DriverError> {
    let path = share
        .path
        .to_str()
        .ok_or_else(|| DriverError::Unfit(format!("the path {} is not UTF-8", share.path.display())))?;
    let words = match kind {
        // A backslash and a comma mean something there.
        Words::First => {
            let path = path.replace('\\', "\\\\").replace(',', "\\,");
            let source = format!("source={path}");
            vec!["-f".into(), way.into(), "-o".into(), source, "-o".into(), "modcaps=-mknod".into()]
        }
        Words::Later => vec![way.into(), format!("--shared-dir={path}"), "--modcaps=-mknod".into()],
    };
    Ok(words)
}

/// It listens before it is started, so nothing has to be waited for.
fn by_itself(folder: &Folder, share: &Share, program: &Path, kind: Words) -> Result<(), DriverError> {
    let failed = |source: io::Error| DriverError::system(format!("sharing {}", share.name), source);
    let listener = folder::listen(&folder.within(&socket(&share.name))).map_err(failed)?;
    let words = words(kind, share, &format!("--fd={}", listener.as_raw_fd()))?;
    let process = Spawning {
        program,
        words: &words,
        handed: vec![listener.as_fd()],
        input: Stdio::null(),
        folder: folder.path(),
        errors: begin_log(&log(folder, share)).map_err(failed)?,
        read_only: share.read_only.then_some(share.path.as_path()),
        // It makes the folder its root by mounts, which landlock would keep it from.
        bounds: None,
    };
    beside::keep(process.spawn().map_err(failed)?, &note(folder, share)).map_err(failed)?;
    Ok(())
}

/// systemd hands no descriptor on: it makes its socket itself, and notes of it by the socket's whole path.
async fn in_unit(
    launch: &Launch,
    folder: &Folder,
    share: &Share,
    program: &Path,
    kind: Words,
) -> Result<(), DriverError> {
    let failed = |source: io::Error| DriverError::system(format!("sharing {}", share.name), source);
    let socket = folder.within(&socket(&share.name));
    if socket.as_os_str().len() > SOCKET_BYTES_MAX {
        let text =
            format!("{} is too long a path for a socket: share {} by 9p", socket.display(), share.name);
        return Err(DriverError::Unfit(text));
    }
    let words = words(kind, share, &format!("--socket-path={}", socket.display()))?;
    let read_only = share.read_only.then(|| format!("ReadOnlyPaths={}", share.path.display()));
    let log = log(folder, share);
    let unit = Unit {
        what: &format!("{PREFIX}{}", share.name),
        program,
        words: &words,
        properties: read_only.into_iter().collect(),
        // As where we start it.
        bounds: None,
        folder,
        errors: log.clone(),
    };
    let process = unit::spawn(launch.id, unit).await;
    let process = beside::keep(process.map_err(failed)?, &note(folder, share)).map_err(failed)?;
    let there = async {
        while !socket.exists() {
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        there = timeout(START_MAX, there) => {
            there.map_err(|_| DriverError::TimedOut { what: "the start of virtiofsd", limit: START_MAX })
        }
        _ = process.ended() => {
            let why = beside::complaint(&log);
            Err(DriverError::Unfit(format!("its folder {} cannot be shared: {why}", share.name)))
        }
    }
}

fn note(folder: &Folder, share: &Share) -> std::path::PathBuf {
    folder.within(&format!("{PREFIX}{}.json", share.name))
}

fn log(folder: &Folder, share: &Share) -> std::path::PathBuf {
    folder.within(&format!("{PREFIX}{}.log", share.name))
}

/// Ends those that are left, also of folders that are shared no more, and takes their sockets away.
pub(super) async fn end(folder: &Folder) {
    let Ok(entries) = fs::read_dir(folder.path()) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if rest.ends_with(".json") {
            beside::end_noted(&path).await;
        } else if rest.ends_with(".sock") {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn both_programs_are_told_the_same() {
        let share =
            Share { name: "data".into(), path: "/srv/a, b".into(), read_only: true, via: Via::Virtiofs };
        assert_eq!(
            words(Words::First, &share, "--fd=7").unwrap().join("|"),
            "-f|--fd=7|-o|source=/srv/a\\, b|-o|modcaps=-mknod"
        );
        assert_eq!(
            words(Words::Later, &share, "--fd=7").unwrap().join("|"),
            "--fd=7|--shared-dir=/srv/a, b|--modcaps=-mknod"
        );
    }
}
