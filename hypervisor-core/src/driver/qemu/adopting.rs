//! Machines that somebody else started: found by their command lines, driven through the control
//! socket they were started with.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Shared,
    finding::{self, Answering},
    folder::{self, Adopted},
    running::Expected,
};
use crate::{
    definition::{Boot, Definition, Disk, DiskFormat},
    driver::{DriverError, Foreign, Launch},
    machine::MachineId,
};

/// A QEMU of somebody else.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    pid: i32,
    name: String,
    control: PathBuf,
    definition: Definition,
}

/// Those that can be adopted, by name.
pub(super) fn foreign(shared: &Arc<Shared>) -> Result<Vec<Foreign>, DriverError> {
    let found = found(shared)?;
    Ok(found.into_iter().map(|found| Foreign { name: found.name, definition: found.definition }).collect())
}

/// Takes one over.
pub(super) async fn adopt(shared: &Arc<Shared>, name: &str, launch: &Launch) -> Result<(), DriverError> {
    let slot = shared.slot(launch.id);
    let _gate = slot.gate.lock().await;
    if slot.running().is_some() {
        return Err(DriverError::AlreadyRunning);
    }
    let unfit = |what: &str| DriverError::Unfit(format!("{name} {what}"));
    let found = found(shared)?
        .into_iter()
        .find(|found| found.name == name)
        .ok_or_else(|| unfit("is not among the machines that could be adopted"))?;
    let stream = folder::connect(&found.control).await.map_err(|source| {
        DriverError::system(format!("connecting to {}", found.control.display()), source)
    })?;
    let answering: Answering = match finding::answer(stream).await {
        Err(DriverError::TimedOut { .. }) => {
            return Err(unfit("does not answer: somebody else may hold its control socket"));
        }
        answered => answered?,
    };
    if answering.process.identity.pid != found.pid {
        return Err(unfit("is not what answers on its control socket"));
    }
    let folder = folder::Folder::new(&launch.folder);
    folder.close_to_others()?;
    let adopted = Adopted { control: found.control, uuid: answering.uuid };
    tracing::info!(machine = %launch.id, name, pid = found.pid, "adopted");
    let taken =
        finding::take(shared, &slot, launch, answering, None, Some(adopted), Expected::default()).await;
    taken.map(drop)
}

/// Gives one back: its control socket is let go, and it is among the foreign again.
pub(super) async fn release(shared: &Arc<Shared>, id: MachineId) {
    let Some(slot) = shared.slots().get(&id).cloned() else { return };
    let _gate = slot.gate.lock().await;
    if slot.running().is_none_or(|running| running.adopted.is_none()) {
        return;
    }
    if let Some((_, watching)) = slot.inside().running.take() {
        watching.abort();
    }
    shared.slots().remove(&id);
    tracing::info!(machine = %id, "released");
}

/// Looks through the processes. Two of one name are told apart by their numbers.
fn found(shared: &Arc<Shared>) -> Result<Vec<Found>, DriverError> {
    let ours: Vec<i32> = shared
        .slots()
        .values()
        .filter_map(|slot| slot.running())
        .map(|running| running.process.identity.pid)
        .collect();
    let entries = fs::read_dir("/proc").map_err(|source| DriverError::system("reading /proc", source))?;
    let mut all: Vec<Found> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| !ours.contains(pid))
        .filter_map(look_at)
        .collect();
    all.sort_by_key(|found| found.pid);
    let mut named: HashMap<String, u32> = HashMap::new();
    for found in &all {
        *named.entry(found.name.clone()).or_default() += 1;
    }
    for found in &mut all {
        if named[&found.name] > 1 {
            found.name = format!("{}-{}", found.name, found.pid);
        }
    }
    Ok(all)
}

/// One process, if it is a QEMU of this user's that can be reached and is not of an agent.
fn look_at(pid: i32) -> Option<Found> {
    let proc = Path::new("/proc").join(pid.to_string());
    let line = fs::read(proc.join("cmdline")).ok()?;
    let words: Vec<String> =
        line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let program = Path::new(words.first()?).file_name()?.to_str()?;
    if !program.starts_with("qemu-system-") {
        return None;
    }
    let user = nix::unistd::geteuid();
    if !user.is_root() && fs::metadata(&proc).ok()?.uid() != user.as_raw() {
        return None;
    }
    let folder = fs::read_link(proc.join("cwd")).ok()?;
    understand(pid, &words, &folder)
}

/// What a command line says of a machine; `None` if nobody but its starter can reach it.
fn understand(pid: i32, words: &[String], folder: &Path) -> Option<Found> {
    let mut name = format!("qemu-{pid}");
    let (mut control, mut kernel, mut initrd, mut cmdline) = (None, None, None, String::new());
    let (mut vcpus, mut memory_mib) = (1, 128);
    let mut disks = Vec::new();
    let mut sockets: HashMap<String, String> = HashMap::new();
    let mut monitor = None;
    for pair in words.windows(2) {
        let [option, value] = pair else { continue };
        let settings = Settings::parse(value);
        // QEMU takes one dash and two.
        match option.strip_prefix("--").or(option.strip_prefix('-')).unwrap_or_default() {
            "name" => name = settings.get_or_first("guest")?.to_owned(),
            "qmp" => {
                control = control.or(value.strip_prefix("unix:").map(|_| settings.bare()[5..].to_owned()));
            }
            "chardev" if settings.bare() == "socket" => {
                if let (Some(id), Some(path)) = (settings.get("id"), settings.get("path")) {
                    sockets.insert(id.to_owned(), path.to_owned());
                }
            }
            "mon" if settings.get("mode") == Some("control") => {
                monitor = settings.get_or_first("chardev").map(str::to_owned);
            }
            "m" => memory_mib = settings.get_or_first("size").and_then(mebibytes).unwrap_or(memory_mib),
            "smp" => {
                vcpus = settings.get_or_first("cpus").and_then(|n| n.parse().ok()).unwrap_or(vcpus);
            }
            "kernel" => kernel = Some(folder.join(value)),
            "initrd" => initrd = Some(folder.join(value)),
            "append" => cmdline.clone_from(value),
            "drive" => disks.extend(settings.disk(folder, "file", "format")),
            "blockdev" => disks.extend(settings.disk(folder, "file.filename", "driver")),
            "hda" => disks.push(Disk::new(folder.join(value), format_of(None, value))),
            _ => {}
        }
    }
    // A machine of an agent, perhaps of another one, is that agent's.
    if monitor.as_deref() == Some(super::arguments::CONTROL_ID) {
        return None;
    }
    let control = control.or_else(|| sockets.remove(&monitor?))?;
    let boot = kernel.map_or(Boot::Disk, |kernel| Boot::Kernel { kernel, initrd, cmdline });
    // What else it has stays as it is as long as it runs, and is kept for then.
    let bare = Definition { graphics: false, guest_agent: false, ..Definition::new(vcpus, memory_mib, boot) };
    let kept = unknown(words);
    let mut definition = Definition { disks, kept, ..bare };
    definition.name_all();
    Some(Found { pid, name, control: folder.join(control), definition })
}

/// Options that are in the definition, or that say how their QEMU runs and not what the guest has.
const KNOWN: &[&str] = &[
    "name",
    "qmp",
    "chardev",
    "mon",
    "m",
    "smp",
    "kernel",
    "initrd",
    "append",
    "drive",
    "blockdev",
    "hda",
    "nodefaults",
    "no-user-config",
    "nodefconfig",
    "display",
    "nographic",
    "daemonize",
    "S",
    "accel",
    "enable-kvm",
    "cpu",
    "machine",
    "M",
    "uuid",
    "rtc",
    "pidfile",
    "D",
    "d",
    "msg",
    "sandbox",
    "runas",
    "no-reboot",
    "no-shutdown",
    "action",
    "monitor",
    "serial",
    "overcommit",
    "no-hpet",
    "boot",
    "L",
    "vga",
    "vnc",
    "spice",
];
/// What a disk is plugged into the guest by: that is said with the disk.
const DISK_DEVICES: &[&str] = &["virtio-blk", "scsi-hd", "scsi-cd", "ide-hd", "ide-cd", "virtio-scsi"];

/// What a command line gives a guest that a definition cannot say: the word of the option and its value.
fn unknown(words: &[String]) -> Vec<String> {
    let option = |word: &str| word.strip_prefix("--").or(word.strip_prefix('-')).map(str::to_owned);
    let mut kept = Vec::new();
    for (nth, word) in words.iter().enumerate().skip(1) {
        let Some(name) = option(word).filter(|name| !KNOWN.contains(&name.as_str())) else { continue };
        // A value may begin with a dash as well, but none of those that follow these options does.
        let value = words.get(nth + 1).filter(|value| !value.starts_with('-') && !value.is_empty());
        let of_disk = |value: &&String| DISK_DEVICES.iter().any(|device| value.starts_with(device));
        if name == "device" && value.is_some_and(|value| of_disk(&value)) {
            continue;
        }
        kept.push(value.map_or_else(|| format!("-{name}"), |value| format!("-{name} {value}")));
    }
    kept
}

/// `first,key=value,…` as QEMU writes it (a comma in a value is doubled), or the same as JSON.
struct Settings(Vec<(String, String)>);

impl Settings {
    fn parse(text: &str) -> Self {
        if let Ok(serde_json::Value::Object(map)) = serde_json::from_str(text) {
            return Self::of_json("", &map);
        }
        let undoubled = text.replace(",,", "\0");
        let settings = undoubled.split(',').map(|setting| {
            let (key, value) = setting.split_once('=').unwrap_or(("", setting));
            (key.to_owned(), value.replace('\0', ","))
        });
        Self(settings.collect())
    }

    fn of_json(above: &str, map: &serde_json::Map<String, serde_json::Value>) -> Self {
        let mut all = Vec::new();
        for (key, value) in map {
            let key = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
            match value {
                serde_json::Value::Object(inner) => all.extend(Self::of_json(&key, inner).0),
                serde_json::Value::String(text) => all.push((key, text.clone())),
                other => all.push((key, other.to_string())),
            }
        }
        Self(all)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The first one, if it has no key.
    fn bare(&self) -> &str {
        self.0.first().filter(|(key, _)| key.is_empty()).map_or("", |(_, value)| value.as_str())
    }

    fn get_or_first(&self, key: &str) -> Option<&str> {
        self.get(key).or(Some(self.bare()).filter(|first| !first.is_empty()))
    }

    fn disk(&self, folder: &Path, file: &str, format: &str) -> Option<Disk> {
        let path = self.get(file)?;
        let read_only =
            ["readonly", "read-only"].iter().any(|key| matches!(self.get(key), Some("on" | "true")));
        Some(Disk { read_only, ..Disk::new(folder.join(path), format_of(self.get(format), path)) })
    }
}

fn format_of(said: Option<&str>, path: &str) -> DiskFormat {
    match said {
        Some("qcow2") => DiskFormat::Qcow2,
        Some(_) => DiskFormat::Raw,
        None if path.ends_with("qcow2") => DiskFormat::Qcow2,
        None => DiskFormat::Raw,
    }
}

/// QEMU's way of writing an amount of memory: MiB if nothing else is said.
fn mebibytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match text[digits.len()..].to_ascii_lowercase().chars().next() {
        None | Some('m') => Some(number),
        Some('k') => Some(number / 1024),
        Some('g') => number.checked_mul(1024),
        Some('t') => number.checked_mul(1024 * 1024),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn understood(line: &str) -> Option<Found> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        understand(77, &words, Path::new("/srv/vm"))
    }

    #[test]
    fn a_command_line_written_by_hand_is_understood() {
        let line = "qemu-system-x86_64 -name their-web,process=x -m 2G -smp 4,sockets=1 \
            -drive file=web,,1.qcow2,if=virtio,format=qcow2 -drive file=/seed.img,format=raw,readonly=on \
            -qmp unix:run/web.qmp,server=on,wait=off";
        let found = understood(line).unwrap();
        assert_eq!((found.name.as_str(), found.pid), ("their-web", 77));
        assert_eq!(found.control, Path::new("/srv/vm/run/web.qmp"));
        assert_eq!((found.definition.vcpus, found.definition.memory_mib), (4, 2048));
        assert_eq!(found.definition.boot, Boot::Disk);
        let disks = found.definition.disks;
        assert_eq!(disks[0].path, Path::new("/srv/vm/web,1.qcow2"));
        assert_eq!((disks[0].format, disks[0].read_only), (DiskFormat::Qcow2, false));
        assert_eq!((disks[1].format, disks[1].read_only), (DiskFormat::Raw, true));
    }

    #[test]
    fn what_a_definition_cannot_say_is_kept() {
        let line = "qemu-system-x86_64 -name web -m 1G -qmp unix:q,server -netdev tap,id=n,ifname=tap7 \
            --device virtio-net-pci,netdev=n,mac=52:54:00:00:00:01 -device virtio-blk-pci,drive=d -usb \
            -device vfio-pci,host=01:00.0 -drive file=/d.img,id=d,if=none -display none";
        let kept = understood(line).unwrap().definition.kept;
        let expected = [
            "-netdev tap,id=n,ifname=tap7",
            "-device virtio-net-pci,netdev=n,mac=52:54:00:00:00:01",
            "-usb",
            "-device vfio-pci,host=01:00.0",
        ];
        assert_eq!(kept, expected);
    }

    #[test]
    fn so_is_one_written_by_a_program() {
        let line = "qemu-system-x86_64 -name guest=db,debug-threads=on -m size=1048576k \
            -chardev socket,id=charmonitor,path=/run/db/monitor.sock,server=on,wait=off \
            -mon chardev=charmonitor,id=monitor,mode=control -kernel /k/vmlinuz -append quiet \
            -blockdev {\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"/d/db.qcow2\"}}";
        let found = understood(line).unwrap();
        assert_eq!(found.name, "db");
        assert_eq!(found.control, Path::new("/run/db/monitor.sock"));
        assert_eq!(found.definition.memory_mib, 1024);
        let kernel = Boot::Kernel { kernel: "/k/vmlinuz".into(), initrd: None, cmdline: "quiet".into() };
        assert_eq!(found.definition.boot, kernel);
        assert_eq!(found.definition.disks[0].path, Path::new("/d/db.qcow2"));
    }

    #[test]
    fn one_that_cannot_be_reached_or_is_an_agents_is_left_alone() {
        assert_eq!(understood("qemu-system-x86_64 -m 1G -qmp stdio"), None);
        assert_eq!(understood("qemu-system-x86_64 -qmp tcp:localhost:4444,server"), None);
        assert_eq!(
            understood(
                "qemu-system-x86_64 -chardev socket,id=skerry-control,path=qmp.sock \
                 -mon chardev=skerry-control,mode=control"
            ),
            None
        );
    }
}
