//! What QEMU is started with. Pure: a machine in, words out, no shell in between.
//!
//! Paths that QEMU itself creates are relative to the machine's folder, in which it runs: a unix
//! socket's path has 107 bytes at most, and the folder's may be longer.

pub(super) mod disks;
pub(super) mod nics;
mod uefi;

use std::{os::fd::RawFd, path::Path};

use super::{devices, firmware, seed, sharing, tpm};
use crate::{
    definition::{Boot, Definition, Share, Via},
    device::Lent,
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

/// The socket of the screen (VNC), where there is one.
pub(super) const SCREEN: &str = "vnc.sock";
/// The socket of the guest agent's port, where there is one.
pub(super) const AGENT: &str = "agent.sock";
/// Ports `port0` … for what is plugged in while it runs: the bus of a q35 itself takes nothing then.
pub(super) const HOT_PLUG_PORTS: usize = 8;
/// Where the ports are on the bus, one function each: one place for all, that nothing else wants.
const HOT_PLUG_SLOT: &str = "0x1c";

/// What QEMU calls the balloon, by which a guest says how much of its memory it uses.
pub(super) const BALLOON: &str = "balloon";
/// Where it is on the bus: one place for all machines, so that nothing else moves for it.
const BALLOON_SLOT: &str = "0x1b";

/// What QEMU calls the disk for cloud-init: no other disk's name is so short of a prefix.
const SEED_ID: &str = "cidata";

/// The disk that tells cloud-init what it is to do.
fn cloud_init(definition: &Definition, say: &mut impl FnMut([&str; 2])) {
    let node = format!(r#""driver":"raw","node-name":"{SEED_ID}","read-only":true"#);
    let file = format!(r#""file":{{"driver":"file","filename":"{}"}}"#, seed::SEED);
    say(["-blockdev", &format!("{{{node},{file}}}")]);
    let queues = disks::queues(definition).map_or_else(String::new, |queues| format!(",num-queues={queues}"));
    say(["-device", &format!("virtio-blk-pci,drive={SEED_ID},id={SEED_ID}{queues}")]);
}

/// Who executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accel {
    /// The processor.
    Kvm,
    /// QEMU, instruction by instruction.
    Tcg,
}

impl Accel {
    pub(super) fn words(self) -> [&'static str; 4] {
        match self {
            Accel::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Accel::Tcg => ["-accel", "tcg", "-cpu", "max"],
        }
    }
}

/// What was made ready in the machine's folder for this start.
#[derive(Clone, Debug, Default)]
pub(super) struct Ready {
    /// The files of its UEFI.
    pub(super) firmware: Option<firmware::Files>,
    /// The host's end of each NIC on a network, by its number here and in QEMU.
    pub(super) taps: Vec<(String, RawFd)>,
    /// What it has of the host's devices.
    pub(super) devices: Vec<(String, Lent)>,
    /// Its memory comes from another host when it runs here already.
    pub(super) postcopy: bool,
}

/// The words after the program's name.
///
/// # Errors
/// [`DriverError::Unfit`] if the definition cannot be run.
pub(super) fn arguments(launch: &Launch, accel: Accel, ready: &Ready) -> Result<Vec<String>, DriverError> {
    let definition = &launch.definition;
    check(definition)?;
    let mut words: Vec<String> = Vec::new();
    let mut say = |pair: [&str; 2]| words.extend(pair.map(String::from));

    say(["-name", &format!("guest={},debug-threads=on", comma_doubled(&launch.name))]);
    say(["-uuid", &launch.id.to_string()]);
    // What QEMU may do, should a guest ever break into it: no other program, no other rights.
    say(["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]);
    uefi::say(definition.firmware, ready.firmware.as_ref(), &mut say)?;
    processor(definition, accel, &mut say);
    memory(definition, &mut say);
    say(["-rtc", "base=utc"]);
    // The screen is drawn for those who connect to its socket, not here.
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

    say(["-device", &format!("virtio-balloon-pci,id={BALLOON},addr={BALLOON_SLOT}")]);
    hot_plug_ports(&mut say);
    devices::ports(&ready.devices, &mut say);
    if definition.graphics {
        screen(&mut say);
    }
    if definition.guest_agent {
        say(["-device", "virtio-serial-pci,id=serial"]);
        say(["-chardev", &format!("socket,id=skerry-agent,path={AGENT},server=on,wait=off")]);
        let name = "name=org.qemu.guest_agent.0";
        say(["-device", &format!("virtserialport,id=agent,bus=serial.0,chardev=skerry-agent,{name}")]);
    }
    trusted_platform(definition, &mut say);
    shares(definition, &mut say)?;
    if let Some(watchdog) = definition.watchdog {
        say(["-device", "i6300esb,id=watchdog"]);
        say(["-action", &format!("watchdog={}", watchdog.word())]);
    }
    disks::say(definition, &mut say)?;
    if definition.cloud_init.is_some() {
        cloud_init(definition, &mut say);
    }
    nics::say(launch, &ready.taps, &mut say);
    devices::say(definition, &ready.devices, &mut say);
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

/// A TPM, which is a process of its own: see tpm.rs.
fn trusted_platform(definition: &Definition, say: &mut impl FnMut([&str; 2])) {
    if definition.tpm {
        say(["-chardev", &format!("socket,id=tpm,path={}", tpm::SOCKET)]);
        say(["-tpmdev", "emulator,id=tpm,chardev=tpm"]);
        say(["-device", "tpm-crb,tpmdev=tpm"]);
    }
}

/// Folders of the host. What the guest says of owners and rights is kept beside the files: nothing it
/// makes there is the host's root's, and none of it is a program with rights of its own.
fn shares(definition: &Definition, say: &mut impl FnMut([&str; 2])) -> Result<(), DriverError> {
    for Share { name, path: folder, read_only, via } in &definition.shares {
        if *via == Via::Virtiofs {
            say(["-chardev", &format!("socket,id=share-{name},path={}", sharing::socket(name))]);
            say(["-device", &format!("vhost-user-fs-pci,chardev=share-{name},tag={name}")]);
            continue;
        }
        let folder = comma_doubled(path(folder)?);
        let access = if *read_only { ",readonly=on" } else { "" };
        let model = "security_model=mapped-xattr,multidevs=remap";
        say(["-fsdev", &format!("local,id=share-{name},path={folder},{model}{access}")]);
        say(["-device", &format!("virtio-9p-pci,fsdev=share-{name},mount_tag={name}")]);
    }
    Ok(())
}

/// Places for what comes while it runs.
fn hot_plug_ports(say: &mut impl FnMut([&str; 2])) {
    for number in 0..HOT_PLUG_PORTS {
        let first = if number == 0 { ",multifunction=on" } else { "" };
        let place = format!("chassis={},addr={HOT_PLUG_SLOT}.{number}{first}", number + 1);
        say(["-device", &format!("pcie-root-port,id=port{number},{place}")]);
    }
}

/// A screen, a pointer and what they are reached by.
fn screen(say: &mut impl FnMut([&str; 2])) {
    // Any guest and any firmware can draw on it. The keyboard is the q35's own.
    say(["-device", "VGA,id=screen"]);
    say(["-vnc", &format!("unix:{SCREEN}")]);
    say(["-device", "qemu-xhci,id=usb"]);
    // Says where the pointer is, not how far it went: a viewer's and the guest's are then one.
    say(["-device", "usb-tablet,id=pointer,bus=usb.0"]);
}

/// Its memory: all it may ever have, of which the balloon takes what it is not to have now.
fn memory(definition: &Definition, say: &mut impl FnMut([&str; 2])) {
    let room_mib = definition.memory_room_mib();
    say(["-m", &format!("size={room_mib}M")]);
    let mut special = String::new();
    if definition.shares_memory() {
        special += ",share=on";
    }
    if definition.hugepages {
        special += ",hugetlb=on,prealloc=on";
    }
    if !special.is_empty() {
        say(["-object", &format!("memory-backend-memfd,id=memory,size={room_mib}M{special}")]);
        say(["-machine", "memory-backend=memory"]);
    }
}

/// Who executes the guest's instructions, and what they seem to be to it.
fn processor(definition: &Definition, accel: Accel, say: &mut impl FnMut([&str; 2])) {
    let [option, value, option_cpu, model] = accel.words();
    say([option, value]);
    say([option_cpu, definition.cpu.model.as_deref().unwrap_or(model)]);
    let (vcpus, room) = (definition.vcpus, definition.vcpus_room());
    let topology = definition.cpu.topology(room).map(|(sockets, cores, threads)| {
        format!(",sockets={sockets},dies=1,cores={cores},threads={threads},maxcpus={room}")
    });
    let room = definition.vcpus_max.map(|_| format!(",maxcpus={room}"));
    say(["-smp", &format!("cpus={vcpus}{}", topology.or(room).unwrap_or_default())]);
}

/// Refuses what QEMU would misunderstand, with a better sentence than QEMU's.
fn check(definition: &Definition) -> Result<(), DriverError> {
    if !definition.kept.is_empty() {
        return Err(DriverError::Unfit(format!(
            "somebody else started it with what is not known here ({}): start it there again, or take \"kept\" \
             out of its definition to start it here without",
            definition.kept.join(" ")
        )));
    }
    definition.check().map_err(|error| DriverError::Unfit(error.to_string()))
}

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
mod tests;
