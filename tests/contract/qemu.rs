//! The QEMU driver's bench: real guests, made by scripts/guest.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use hypervisor_core::{
    definition::{Boot, Definition, Disk, DiskFormat},
    driver::{
        Driver, Launch,
        qemu::{Acceleration, Config, Keeper, Qemu},
    },
    machine::MachineId,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::bench::{Act, Bench};

/// A folder, and the processes that have their files in it.
pub struct QemuBench {
    folder: TempDir,
    guest: PathBuf,
    machines: AtomicUsize,
    foreign: Mutex<Vec<Child>>,
}

impl QemuBench {
    pub fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            guest: guest(),
            machines: AtomicUsize::new(0),
            foreign: Mutex::default(),
        }
    }

    fn definition(&self) -> Definition {
        let boot = Boot::Kernel {
            kernel: self.guest.join("vmlinuz"),
            initrd: Some(self.guest.join("initrd.img")),
            cmdline: fs::read_to_string(self.guest.join("cmdline")).unwrap().trim().to_owned(),
        };
        Definition::new(1, 128, boot)
    }
}

/// The guest's folder; made if it is not there.
fn guest() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let made = Command::new(repository.join("scripts/guest")).status().unwrap();
    assert!(made.success(), "scripts/guest could not make the guest");
    repository.join("build/guest")
}

#[async_trait]
impl Bench for QemuBench {
    async fn driver(&self) -> Arc<dyn Driver> {
        let config = Config { acceleration: Acceleration::Auto, keeper: Keeper::Nobody, ..Config::default() };
        Arc::new(Qemu::new(config))
    }

    fn launch(&self) -> Launch {
        let name = format!("m{}", self.machines.fetch_add(1, Ordering::Relaxed));
        let folder = self.folder.path().join(&name);
        fs::create_dir(&folder).unwrap();
        Launch {
            id: MachineId::fresh(),
            name,
            definition: self.definition(),
            folder,
            own: Vec::new(),
            networks: hypervisor_core::driver::Networks::default(),
            devices: hypervisor_core::driver::Devices::default(),
        }
    }

    fn broken(&self) -> Launch {
        let mut launch = self.launch();
        let path = self.folder.path().join("there-is-no-such.qcow2");
        launch.definition.disks.push(Disk::new(path, DiskFormat::Qcow2));
        launch.definition.name_all();
        launch
    }

    fn ready_sign(&self) -> &str {
        "skerry guest ready"
    }

    fn typed(&self, act: Act<'_>) -> Vec<u8> {
        match act {
            Act::Halt => b"poweroff\n".to_vec(),
            Act::Reboot => b"reboot\n".to_vec(),
            Act::Write(bytes) => {
                let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
                format!("printf '{octal}'\n").into_bytes()
            }
        }
    }

    fn at_the_keyboard(&self, text: &str) -> String {
        // The keyboard writes on a terminal of its own, the screen's.
        format!("echo '{text}' >/dev/ttyS0\n")
    }

    async fn crash(&self, launch: &Launch) {
        let pids = processes_with(&launch.id.to_string());
        assert_eq!(pids.len(), 1, "one process has the machine's UUID");
        kill(pids[0], Signal::SIGKILL).unwrap();
    }

    async fn leftovers(&self, launch: &Launch) -> Vec<String> {
        let files = fs::read_dir(&launch.folder).unwrap().map(|entry| entry.unwrap().path());
        // The folder for disks that are made later stays, with whatever disks are in it.
        let files = files
            .filter(|path| path.extension().is_none_or(|kind| kind != "log") && !path.ends_with("disks"));
        let processes = processes_with(&launch.id.to_string());
        files
            .map(|path| path.display().to_string())
            .chain(processes.into_iter().map(|pid| format!("process {pid}")))
            .collect()
    }

    async fn foreign(&self) -> String {
        let name = format!("their-web-{}", MachineId::fresh());
        let Boot::Kernel { kernel, initrd, cmdline } = self.definition().boot else { unreachable!() };
        let console = self.folder.path().join("their-console.log");
        let child = Command::new("qemu-system-x86_64")
            .args(["-name", &name, "-nodefaults", "-display", "none", "-m", "128", "-machine", "q35"])
            .args(["-accel", "tcg", "-cpu", "max", "-qmp", "unix:their.qmp,server=on,wait=off", "-serial"])
            .arg(format!("file:{}", console.display()))
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd.unwrap())
            .args(["-append", &cmdline])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.foreign.lock().unwrap().push(child);
        // Not ours to be told: its starter looks at its log until the guest listens.
        let ready = async {
            while !fs::read_to_string(&console).unwrap_or_default().contains(self.ready_sign()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(self.patience(), ready).await.expect("their guest comes up");
        name
    }

    async fn another_host(&self) -> Arc<dyn Driver> {
        self.driver().await
    }

    fn fleet(&self) -> usize {
        4
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(120)
    }
}

impl Drop for QemuBench {
    fn drop(&mut self) {
        for child in self.foreign.lock().unwrap().iter_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // What works in our folder was started by the driver here, and by nobody else.
        for pid in processes_in(self.folder.path()) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// The processes that live (zombies do not).
fn processes() -> impl Iterator<Item = (Pid, PathBuf)> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| Some((Pid::from_raw(entry.file_name().to_str()?.parse().ok()?), entry.path())))
}

pub fn processes_with(word: &str) -> Vec<Pid> {
    let has = |path: &Path| {
        let words = fs::read(path.join("cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|one| one == word.as_bytes())
    };
    processes().filter(|(_, path)| has(path)).map(|(pid, _)| pid).collect()
}

fn processes_in(folder: &Path) -> Vec<Pid> {
    let within = |path: &Path| fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    processes().filter(|(_, path)| within(path)).map(|(pid, _)| pid).collect()
}
