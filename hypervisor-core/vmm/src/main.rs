//! `skerry-vmm`: runs one machine. See the library.

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    os::{fd::AsRawFd, unix::net::UnixListener},
    path::Path,
    process::ExitCode,
};

use kvm_ioctls::Kvm;
use skerry_vmm::{
    calls::{self, Thread},
    console::{Console, Screen},
    descriptor,
    ending::Ending,
    error::{Error, Result},
    kvm,
    machine::Parts,
    monitor::Monitor,
    plan::Plan,
    unpack::unpack,
    wake::wake,
};

/// What is said on how it is called.
const USAGE: &str = "\
usage: skerry-vmm run PLAN          runs the machine that the file PLAN describes (`-`: standard input)
       skerry-vmm unpack IMAGE TO   writes the kernel that is packed in IMAGE
       skerry-vmm probe             says what the KVM of this host is worth

skerry-agent calls it; nobody else has to.";

fn text(from: &str) -> Result<String> {
    let mut text = String::new();
    match from {
        "-" => std::io::stdin().read_to_string(&mut text).map(|_| ()),
        path => File::open(path).and_then(|mut file| file.read_to_string(&mut text)).map(|_| ()),
    }
    .map_err(Error::at(format!("the plan {from}")))?;
    Ok(text)
}

fn open(path: &Path, how: &OpenOptions) -> Result<File> {
    how.open(path).map_err(Error::at(path.display()))
}

fn listen(path: &Path) -> Result<UnixListener> {
    // One that a run before this has left.
    let _ = fs::remove_file(path);
    UnixListener::bind(path).map_err(Error::at(path.display()))
}

/// Opens all that the machine needs, once.
fn parts(plan: &Plan) -> Result<Parts> {
    let read = OpenOptions::new().read(true).clone();
    let both = OpenOptions::new().read(true).write(true).clone();
    let mut parts = Parts {
        kvm: Kvm::new().map_err(Error::at("/dev/kvm"))?,
        processors: plan.processors,
        memory: plan.memory,
        kernel: open(&plan.kernel, &read)?,
        initrd: plan.initrd.as_ref().map(|initrd| open(initrd, &read)).transpose()?,
        command_line: plan.command_line.clone(),
        disks: Vec::new(),
        nics: Vec::new(),
    };
    for disk in &plan.disks {
        let file = open(&disk.file, if disk.read_only { &read } else { &both })?;
        parts.disks.push((file, disk.read_only, disk.serial.clone()));
    }
    for nic in &plan.nics {
        parts.nics.push((descriptor::inherited(nic.tap)?, nic.address));
    }
    Ok(parts)
}

fn run(plan: &str) -> Result<Ending> {
    let plan = Plan::read(&text(plan)?)?;
    let parts = parts(&plan)?;
    let log = open(&plan.log, OpenOptions::new().append(true).create(true))?;
    let (screen, typed) = (Screen::new()?, wake()?);
    let read = typed.try_clone().map_err(Error::at("an event"))?;
    let console = Console::new(screen.clone(), read, log, listen(&plan.console)?)?;
    let control = listen(&plan.control)?;
    debug_assert!(control.as_raw_fd() > 2);
    calls::bound(Thread::Monitor)?;
    Monitor::new(parts, screen, typed, console, control)?.run()
}

/// Writes the kernel of an image; one that is not packed as it is.
fn unpacked(image: &str, to: &str) -> Result<()> {
    let read = fs::read(image).map_err(Error::at(image))?;
    let kernel = unpack(&read)?.unwrap_or(read);
    fs::write(to, kernel).map_err(Error::at(to))
}

fn probe() -> Result<()> {
    let verdict = kvm::probe();
    println!("{verdict}");
    if verdict.usable() { Ok(()) } else { Err(Error::new("Linux guests cannot be run by KVM here")) }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["run", plan] => run(plan).and_then(Ending::well),
        ["unpack", image, to] => unpacked(image, to),
        ["probe"] => probe(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skerry-vmm: {error}");
            ExitCode::FAILURE
        }
    }
}
