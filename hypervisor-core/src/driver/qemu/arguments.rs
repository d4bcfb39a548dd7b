//! What QEMU is started with. Pure: a machine in, words out, no shell in between.
//!
//! Paths that QEMU itself creates are relative to the machine's folder, in which it runs: a unix
//! socket's path has 107 bytes at most, and the folder's may be longer.

use std::path::Path;

use serde::Serialize;

use crate::{
    definition::{Boot, Definition, Disk, DiskFormat},
    driver::{DriverError, Launch},
};

/// What QEMU calls the control socket: by it an agent knows its own kind.
pub(super) const CONTROL_ID: &str = "skerry-control";
/// The control socket, in the machine's folder.
pub(super) const CONTROL: &str = "qmp.sock";
/// The socket of the serial console.
pub(super) const CONSOLE: &str = "console.sock";
/// What the guest wrote to it.
pub(super) const CONSOLE_LOG: &str = "console.log";

/// Who executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accel {
    /// The processor.
    Kvm,
    /// QEMU, instruction by instruction.
    Tcg,
}

impl Accel {
    fn words(self) -> [&'static str; 4] {
        match self {
            Accel::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Accel::Tcg => ["-accel", "tcg", "-cpu", "max"],
        }
    }
}

/// The words after the program's name.
///
/// # Errors
/// [`DriverError::Unfit`] if the definition cannot be run.
pub(super) fn arguments(launch: &Launch, accel: Accel) -> Result<Vec<String>, DriverError> {
    let definition = &launch.definition;
    check(definition)?;
    let mut words: Vec<String> = Vec::new();
    let mut say = |pair: [&str; 2]| words.extend(pair.map(String::from));

    say(["-name", &format!("guest={},debug-threads=on", comma_doubled(&launch.name))]);
    say(["-uuid", &launch.id.to_string()]);
    // What QEMU may do, should a guest ever break into it: no other program, no other rights.
    say(["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]);
    say(["-machine", "q35"]);
    let [option, value, option_cpu, cpu] = accel.words();
    say([option, value]);
    say([option_cpu, cpu]);
    say(["-m", &format!("size={}M", definition.memory_mib)]);
    say(["-smp", &format!("cpus={}", definition.vcpus)]);
    say(["-rtc", "base=utc"]);
    say(["-display", "none"]);

    say(["-chardev", &format!("socket,id={CONTROL_ID},path={CONTROL},server=on,wait=off")]);
    say(["-mon", &format!("chardev={CONTROL_ID},mode=control")]);
    // The log is written by QEMU, so that nothing is missed while no agent runs, and appended to, so
    // that its beginning can be cut off under QEMU's hands: see console.rs.
    say([
        "-chardev",
        &format!(
            "socket,id=skerry-console,path={CONSOLE},server=on,wait=off,logfile={CONSOLE_LOG},logappend=on"
        ),
    ]);
    say(["-device", "isa-serial,chardev=skerry-console"]);
    // By which a guest says that its kernel panicked.
    say(["-device", "pvpanic"]);
    say(["-object", "rng-random,id=entropy,filename=/dev/urandom"]);
    say(["-device", "virtio-rng-pci,rng=entropy"]);

    for (number, disk) in definition.disks.iter().enumerate() {
        say(["-blockdev", &block_device(number, disk)?]);
        let boots = number == 0 && definition.boot == Boot::Disk;
        let order = if boots { ",bootindex=1" } else { "" };
        say(["-device", &format!("virtio-blk-pci,drive=disk{number},id=vd{number}{order}")]);
    }
    if let Boot::Kernel { kernel, initrd, cmdline } = &definition.boot {
        say(["-kernel", path(kernel)?]);
        if let Some(initrd) = initrd {
            say(["-initrd", path(initrd)?]);
        }
        say(["-append", cmdline]);
    }

    let mut all: Vec<String> = ["-no-user-config", "-nodefaults", "-S"].map(String::from).to_vec();
    all.append(&mut words);
    Ok(all)
}

/// A disk as QEMU's block layer wants it. JSON, because a path may hold commas; a type of its own, for
/// one order of the keys.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct BlockDevice<'a> {
    driver: DiskFormat,
    node_name: String,
    read_only: bool,
    discard: &'static str,
    file: BlockFile<'a>,
}

#[derive(Serialize)]
struct BlockFile<'a> {
    driver: &'static str,
    filename: &'a str,
    discard: &'static str,
}

fn block_device(number: usize, disk: &Disk) -> Result<String, DriverError> {
    let device = BlockDevice {
        driver: disk.format,
        node_name: format!("disk{number}"),
        read_only: disk.read_only,
        discard: "unmap",
        file: BlockFile { driver: "file", filename: path(&disk.path)?, discard: "unmap" },
    };
    serde_json::to_string(&device).map_err(|source| DriverError::system("describing a disk", source))
}

/// Refuses what QEMU would misunderstand, with a better sentence than QEMU's.
fn check(definition: &Definition) -> Result<(), DriverError> {
    let unfit = |sentence: String| Err(DriverError::Unfit(sentence));
    if !(1..=255).contains(&definition.vcpus) {
        return unfit(format!("a machine has 1 to 255 virtual processors, not {}", definition.vcpus));
    }
    if !(1..=16 << 20).contains(&definition.memory_mib) {
        return unfit(format!("a machine has 1 MiB to 16 TiB of memory, not {} MiB", definition.memory_mib));
    }
    if definition.boot == Boot::Disk && definition.disks.is_empty() {
        return unfit("it boots from its first disk, and has none".into());
    }
    if definition.disks.len() > DISKS_MAX {
        return unfit(format!("a machine has at most {DISKS_MAX} disks"));
    }
    if let Boot::Kernel { cmdline, .. } = &definition.boot
        && cmdline.contains('\0')
    {
        return unfit("the kernel's command line has a zero byte in it".into());
    }
    Ok(())
}

/// As many as the bus of a q35 has room for, beside the rest.
const DISKS_MAX: usize = 24;

/// A path as QEMU gets it. QEMU runs in the machine's folder: a relative one would mean another file.
fn path(path: &Path) -> Result<&str, DriverError> {
    let unfit = |what: &str| DriverError::Unfit(format!("the path {} {what}", path.display()));
    let text = path.to_str().ok_or_else(|| unfit("is not UTF-8"))?;
    if !path.is_absolute() {
        return Err(unfit("does not begin with /"));
    }
    if text.contains('\0') {
        return Err(unfit("has a zero byte in it"));
    }
    Ok(text)
}

/// QEMU's way of writing a comma within a value.
fn comma_doubled(text: &str) -> String {
    text.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use uuid::Uuid;

    use super::*;
    use crate::machine::MachineId;

    fn launch(definition: Definition) -> Launch {
        Launch {
            id: MachineId(Uuid::from_u128(7)),
            name: "web, 1".into(),
            definition,
            folder: "/var/lib/skerry/machines/7".into(),
        }
    }

    fn kernel() -> Definition {
        Definition {
            vcpus: 2,
            memory_mib: 256,
            boot: Boot::Kernel {
                kernel: "/k,1/vmlinuz".into(),
                initrd: Some("/k/initrd.img".into()),
                cmdline: "console=ttyS0 a=\"b c\"".into(),
            },
            disks: Vec::new(),
            note: None,
        }
    }

    fn from_disk() -> Definition {
        let disks = vec![
            Disk { path: "/d/a,b \"c\".qcow2".into(), format: DiskFormat::Qcow2, read_only: false },
            Disk { path: "/d/seed.img".into(), format: DiskFormat::Raw, read_only: true },
        ];
        Definition { vcpus: 1, memory_mib: 1024, boot: Boot::Disk, disks, note: None }
    }

    #[test]
    fn a_kernel_is_booted_directly() {
        let golden = "-no-user-config -nodefaults -S|-name guest=web,, 1,debug-threads=on|\
            -uuid 00000000-0000-0000-0000-000000000007|\
            -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny|\
            -machine q35|-accel tcg|-cpu max|-m size=256M|-smp cpus=2|-rtc base=utc|-display none|\
            -chardev socket,id=skerry-control,path=qmp.sock,server=on,wait=off|\
            -mon chardev=skerry-control,mode=control|\
            -chardev socket,id=skerry-console,path=console.sock,server=on,wait=off,\
            logfile=console.log,logappend=on|\
            -device isa-serial,chardev=skerry-console|-device pvpanic|\
            -object rng-random,id=entropy,filename=/dev/urandom|-device virtio-rng-pci,rng=entropy|\
            -kernel /k,1/vmlinuz|-initrd /k/initrd.img|-append console=ttyS0 a=\"b c\"";
        assert_eq!(spelled(&arguments(&launch(kernel()), Accel::Tcg).unwrap()), golden);
    }

    #[test]
    fn disks_are_virtio_and_the_first_one_boots() {
        let words = arguments(&launch(from_disk()), Accel::Kvm).unwrap();
        let spelled = spelled(&words);
        assert!(spelled.contains("|-accel kvm|-cpu host|"));
        let (_, disks) = spelled.split_once("rng=entropy|").unwrap();
        let golden = r#"-blockdev {"driver":"qcow2","node-name":"disk0","read-only":false,"discard":"unmap","file":{"driver":"file","filename":"/d/a,b \"c\".qcow2","discard":"unmap"}}|-device virtio-blk-pci,drive=disk0,id=vd0,bootindex=1|-blockdev {"driver":"raw","node-name":"disk1","read-only":true,"discard":"unmap","file":{"driver":"file","filename":"/d/seed.img","discard":"unmap"}}|-device virtio-blk-pci,drive=disk1,id=vd1"#;
        assert_eq!(disks, golden);
    }

    /// Options with their values, between bars.
    fn spelled(words: &[String]) -> String {
        words[..3].join(" ")
            + "|"
            + &words[3..].chunks(2).map(|pair| pair.join(" ")).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn what_cannot_run_is_refused_in_plain_words() {
        let refusal = |change: fn(&mut Definition)| {
            let mut definition = kernel();
            change(&mut definition);
            arguments(&launch(definition), Accel::Tcg).unwrap_err().to_string()
        };
        assert_eq!(refusal(|d| d.boot = Boot::Disk), "it boots from its first disk, and has none");
        assert_eq!(refusal(|d| d.vcpus = 0), "a machine has 1 to 255 virtual processors, not 0");
        let relative = Disk { path: "disk.img".into(), format: DiskFormat::Raw, read_only: false };
        let mut definition = kernel();
        definition.disks.push(relative);
        let error = arguments(&launch(definition), Accel::Tcg).unwrap_err();
        assert_eq!(error.to_string(), "the path disk.img does not begin with /");
        assert!(refusal(|d| d.memory_mib = 0).starts_with("a machine has 1 MiB"));
    }
}
