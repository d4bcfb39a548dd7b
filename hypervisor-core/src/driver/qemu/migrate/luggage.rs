//! What a machine has besides its memory and its disks: of one that does not run, what its UEFI and its
//! TPM remember; of any, the log of its console. One file that holds them, sent as one more disk; of a
//! machine that runs, when it runs on at the destination already.
//!
//! A line of JSON that says which files there are and how long each is, then these, one after the other.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::super::{arguments::CONSOLE_LOG, console, firmware, folder::Folder, tpm};
use crate::{
    definition::{Disk, DiskFormat},
    driver::{DriverError, Launch, migrate::Copied},
};

/// What it is called among the disks, where none can be called so.
const NAME: &str = "+luggage";
/// The file, on either side, while it is sent.
pub(in super::super) const FILE: &str = "luggage.raw";
/// What it has room for: a UEFI remembers half a MiB, the log is at most one.
const BYTES_MAX: u64 = 8 << 20;
/// The longest first line.
const INDEX_BYTES_MAX: usize = 16 << 10;
/// As much of the console's log as goes along.
const LOG_BYTES_MAX: usize = 512 << 10;

/// One of the files.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    bytes: usize,
}

fn failed(source: io::Error) -> DriverError {
    DriverError::system("packing what goes along with its disks", source)
}

fn unfit() -> DriverError {
    DriverError::Unfit("what came along with its disks makes no sense".into())
}

fn file(launch: &Launch) -> PathBuf {
    launch.folder.join(FILE)
}

/// What is sent, and where it comes to.
pub(super) fn as_disk(launch: &Launch) -> Copied {
    let mut disk = Disk::new(file(launch), DiskFormat::Raw);
    disk.name = NAME.into();
    Copied { disk, size_bytes: BYTES_MAX }
}

/// Packs it. What one that runs remembers goes another way; of it this is the log alone.
pub(super) fn pack(launch: &Launch, runs: bool) -> Result<(), DriverError> {
    let folder = Folder::new(&launch.folder);
    let mut packed: Vec<(String, Vec<u8>)> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    if !runs {
        names.extend(firmware::REMEMBERED.map(String::from));
        names.extend(tpm::remembered(&folder).map_err(failed)?);
    }
    for name in names {
        if let Some(bytes) = read(folder.within(&name)).map_err(failed)? {
            packed.push((name, bytes));
        }
    }
    let log = console::tail(&folder.within(CONSOLE_LOG), LOG_BYTES_MAX)?;
    if !log.is_empty() {
        packed.push((CONSOLE_LOG.into(), log));
    }
    let index: Vec<Entry> =
        packed.iter().map(|(name, bytes)| Entry { name: name.clone(), bytes: bytes.len() }).collect();
    let mut text = serde_json::to_vec(&index).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    let bytes = text.len() + packed.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    if bytes as u64 > BYTES_MAX || text.len() > INDEX_BYTES_MAX {
        return Err(DriverError::Unfit("what its UEFI and its TPM remember is too much to go along".into()));
    }
    let write = || -> io::Result<()> {
        let mut file = new(file(launch))?;
        file.write_all(&text)?;
        for (_, bytes) in &packed {
            file.write_all(bytes)?;
        }
        file.set_len(BYTES_MAX)
    };
    write().map_err(failed)
}

/// Makes room for it.
pub(super) fn make_room(launch: &Launch) -> Result<(), DriverError> {
    new(file(launch)).and_then(|file| file.set_len(BYTES_MAX)).map_err(failed)
}

/// Puts everything where it belongs, and syncs it. Nothing is written but what a machine remembers.
/// Of one that runs here by now the log is what it said before.
pub(in super::super) fn unpack(launch: &Launch, runs: bool) -> Result<(), DriverError> {
    let folder = Folder::new(&launch.folder);
    let packed = read(file(launch)).map_err(failed)?.ok_or_else(unfit)?;
    let end = packed.iter().take(INDEX_BYTES_MAX).position(|byte| *byte == b'\n').ok_or_else(unfit)?;
    let index: Vec<Entry> = serde_json::from_slice(&packed[..end]).map_err(|_| unfit())?;
    let mut rest = &packed[end + 1..];
    for Entry { name, bytes } in index {
        let is_log = name == CONSOLE_LOG;
        let is_remembered = firmware::REMEMBERED.contains(&name.as_str())
            || (launch.definition.tpm && tpm::is_remembered(&name));
        if !(is_log || is_remembered && !runs) || bytes > rest.len() {
            return Err(unfit());
        }
        let (its, others) = rest.split_at(bytes);
        rest = others;
        let path = folder.within(if is_log && runs { console::EARLIER } else { name.as_str() });
        let put = || -> io::Result<()> {
            let parent = path.parent().unwrap_or(folder.path());
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            let mut file = new(path.clone())?;
            file.write_all(its)?;
            file.sync_all()?;
            File::open(parent)?.sync_all()
        };
        put().map_err(failed)?;
    }
    remove(launch);
    Ok(())
}

/// It has been sent, or will not be.
pub(super) fn remove(launch: &Launch) {
    let _ = fs::remove_file(file(launch));
}

/// A file of the owner's alone, in place of what was there.
fn new(path: PathBuf) -> io::Result<File> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// `None` if there is none.
fn read(path: PathBuf) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::{
        definition::{Boot, Definition},
        driver::Networks,
        machine::MachineId,
    };

    fn launch(place: &tempfile::TempDir, name: &str, tpm: bool) -> Launch {
        let folder = place.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut definition = Definition::new(1, 128, Boot::Disk);
        definition.tpm = tpm;
        let id = MachineId(uuid::Uuid::from_u128(7));
        Launch {
            id,
            name: "web1".into(),
            definition,
            folder,
            own: Vec::new(),
            networks: Networks::default(),
            devices: Default::default(),
        }
    }

    #[test]
    fn what_was_remembered_is_remembered_there() {
        let place = tempfile::tempdir().unwrap();
        let (one, two) = (launch(&place, "one", true), launch(&place, "two", true));
        fs::create_dir(one.folder.join("tpm")).unwrap();
        let files = [
            ("uefi-vars.fd", &b"boot order"[..]),
            ("tpm/tpm2-00.permall", b"seeds\n\0"),
            ("console.log", b"login: \n"),
        ];
        for (name, bytes) in files {
            fs::write(one.folder.join(name), bytes).unwrap();
        }
        fs::write(one.folder.join("tpm/.lock"), "").unwrap();
        pack(&one, false).unwrap();
        make_room(&two).unwrap();
        fs::copy(file(&one), file(&two)).unwrap();
        unpack(&two, false).unwrap();
        for (name, bytes) in files {
            assert_eq!(fs::read(two.folder.join(name)).unwrap(), bytes, "{name}");
        }
        assert!(!two.folder.join("tpm/.lock").exists() && !file(&two).exists());
        // A machine that has none of it has an empty one.
        let (none, there) = (launch(&place, "none", false), launch(&place, "there", false));
        pack(&none, false).unwrap();
        fs::copy(file(&none), file(&there)).unwrap();
        unpack(&there, false).unwrap();
        assert_eq!(fs::read_dir(&there.folder).unwrap().count(), 0);
    }

    #[test]
    fn another_host_writes_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let index = |name: &str| format!("[{{\"name\":\"{name}\",\"bytes\":1}}]\nx");
        for text in [
            index("qemu.json"),
            index("../console.log"),
            index("tpm/../qemu.json"),
            index("tpm/.lock"),
            index("/etc/passwd"),
            "[{\"name\":\"console.log\",\"bytes\":9}]\nx".into(),
            "[]".into(),
        ] {
            let launch = launch(&place, "there", true);
            fs::write(file(&launch), &text).unwrap();
            assert!(unpack(&launch, false).is_err(), "{text}");
            assert_eq!(fs::read_dir(&launch.folder).unwrap().count(), 1, "{text}");
        }
        // Who has no TPM is given none.
        let launch = launch(&place, "there", false);
        fs::write(file(&launch), index("tpm/tpm2-00.permall")).unwrap();
        assert!(unpack(&launch, false).is_err());
        // And nothing that runs is changed.
        fs::write(file(&launch), index("uefi-vars.fd")).unwrap();
        assert!(unpack(&launch, true).is_err());
    }

    #[test]
    fn what_one_that_runs_had_said_comes_before_what_it_says() {
        let place = tempfile::tempdir().unwrap();
        let (one, two) = (launch(&place, "one", false), launch(&place, "two", false));
        fs::write(one.folder.join("console.log"), "before\n").unwrap();
        fs::write(one.folder.join("uefi-vars.fd"), "boot order").unwrap();
        pack(&one, true).unwrap();
        fs::copy(file(&one), file(&two)).unwrap();
        let log = two.folder.join("console.log");
        fs::write(&log, "after\n").unwrap();
        unpack(&two, true).unwrap();
        assert_eq!(console::tail(&log, 100).unwrap(), b"before\nafter\n");
        assert_eq!(console::tail(&log, 9).unwrap(), b"re\nafter\n");
        assert!(!two.folder.join("uefi-vars.fd").exists());
        // When it has said enough here, that is let go.
        fs::write(&log, vec![b'x'; 600 << 10]).unwrap();
        console::bound(&log).unwrap();
        assert!(!two.folder.join(console::EARLIER).exists());
    }
}
