//! A libvirt of our own: the daemon of a session, of an ordinary user, in a folder of its own. Nothing of a
//! libvirt of the host's is touched, and it ends with the bench.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// An ordinary user there is on every Debian: nobody. Root has no session of its own in libvirt.
const NOBODY: u32 = 65_534;
/// What virsh answers to `uri`, which is asked after each command of a shell: it says where its answer ends.
const DONE: &str = "qemu:///session";

/// The daemon of a session, which virsh starts with the first command.
pub struct Libvirt {
    folder: PathBuf,
    cmdline: String,
}

impl Libvirt {
    /// In a folder below this one, with a copy of the guest's files that an ordinary user may read.
    pub fn begin(folder: &Path, guest: &Path) -> Result<Self> {
        super::open_to_all(folder)?;
        let folder = super::open_to_all(&folder.join("libvirt"))?;
        for part in ["run", "config", "config/libvirt", "cache", "data", "guest"] {
            super::open_to_all(&folder.join(part))?;
        }
        for file in ["vmlinuz", "initrd.img"] {
            std::fs::copy(guest.join(file), folder.join("guest").join(file))?;
        }
        // No second daemon for logs.
        std::fs::write(folder.join("config/libvirt/qemu.conf"), "stdio_handler = \"file\"\n")?;
        if nix::unistd::geteuid().is_root() {
            for part in ["", "run", "config", "config/libvirt", "cache", "data"] {
                chown(folder.join(part), Some(NOBODY), Some(NOBODY))?;
            }
        }
        let cmdline = std::fs::read_to_string(guest.join("cmdline"))?.trim().to_owned();
        let libvirt = Self { folder, cmdline };
        libvirt.timed(&["uri"]).context("libvirt: install libvirt-daemon-driver-qemu and libvirt-clients")?;
        Ok(libvirt)
    }

    fn virsh(&self) -> Command {
        let mut command = match nix::unistd::geteuid().is_root() {
            true => {
                let mut command = Command::new("setpriv");
                let user =
                    [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()];
                command.args(user).arg("virsh");
                command
            }
            false => Command::new("virsh"),
        };
        command
            .args(["-q", "-c", "qemu:///session"])
            .env("HOME", &self.folder)
            .env("XDG_RUNTIME_DIR", self.folder.join("run"))
            .env("XDG_CONFIG_HOME", self.folder.join("config"))
            .env("XDG_CACHE_HOME", self.folder.join("cache"))
            .env("XDG_DATA_HOME", self.folder.join("data"))
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }

    /// One virsh, from its start to its end.
    pub fn timed(&self, words: &[&str]) -> Result<Duration> {
        let begun = Instant::now();
        let output = self.virsh().args(words).output()?;
        ensure!(output.status.success(), "virsh {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(begun.elapsed())
    }

    /// A machine as ours are: the same memory, processor, console, screen and balloon.
    pub fn define(&self, name: &str) -> Result<()> {
        let (folder, cmdline) = (self.folder.display(), &self.cmdline);
        let xml = format!(
            "<domain type='qemu'><name>{name}</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{folder}/guest/vmlinuz</kernel>\
             <initrd>{folder}/guest/initrd.img</initrd><cmdline>{cmdline}</cmdline></os>\
             <features><acpi/></features><cpu mode='maximum'/><devices>\
             <serial type='unix'><source mode='bind' path='{folder}/run/{name}.sock'/></serial>\
             <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\
             <interface type='user'><model type='virtio'/></interface>\
             <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\
             <input type='tablet' bus='usb'/><memballoon model='virtio'/>\
             <graphics type='vnc' socket='{folder}/run/{name}-vnc.sock'/>\
             <video><model type='vga'/></video><panic model='isa'/></devices></domain>"
        );
        let file = self.folder.join("run").join(format!("{name}.xml"));
        std::fs::write(&file, xml)?;
        self.timed(&["define", &file.display().to_string()]).map(drop)
    }

    /// A command within one virsh that is connected already; another one after it, which is not timed.
    pub fn timed_within(&self, timed: &str, after: &str) -> Result<Duration> {
        let mut shell = Shell::open(self)?;
        let time = shell.run(timed)?;
        shell.run(after)?;
        shell.close()?;
        Ok(time)
    }

    /// The same many times: the median.
    pub fn each_within(&self, command: &str, times: usize) -> Result<Duration> {
        let mut shell = Shell::open(self)?;
        let all = (0..times).map(|_| shell.run(command)).collect::<Result<Vec<_>>>()?;
        shell.close()?;
        Ok(super::median(all))
    }
}

impl Drop for Libvirt {
    /// The daemon ends; guests it still had would end with the bench's folder, so they are ended first.
    fn drop(&mut self) {
        let _ = self.virsh().args(["destroy", "web1"]).output();
        let file = self.folder.join("run/libvirt/libvirtd.pid");
        let pid = std::fs::read_to_string(file).ok().and_then(|pid| pid.trim().parse().ok());
        if let Some(pid) = pid {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
    }
}

/// A virsh that takes one command after another.
struct Shell {
    child: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Shell {
    fn open(libvirt: &Libvirt) -> Result<Self> {
        let mut child = libvirt.virsh().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let answers = BufReader::new(child.stdout.take().context("no answers")?);
        let mut shell = Self { child, answers };
        // Connects with the first command.
        shell.run("")?;
        Ok(shell)
    }

    fn run(&mut self, command: &str) -> Result<Duration> {
        let begun = Instant::now();
        let commands = self.child.stdin.as_mut().context("virsh is closed")?;
        writeln!(commands, "{command}\nuri")?;
        commands.flush()?;
        let mut line = String::new();
        while line.trim_end() != DONE {
            line.clear();
            ensure!(self.answers.read_line(&mut line)? > 0, "virsh left at {command}");
            ensure!(!line.starts_with("error:"), "virsh {command}: {line}");
        }
        Ok(begun.elapsed())
    }

    fn close(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.child.wait().map(drop).map_err(Into::into)
    }
}
