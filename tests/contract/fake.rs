//! The fake driver's bench.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use hypervisor_core::{
    definition::{Boot, Definition},
    driver::{
        Driver, Launch,
        fake::{Fake, FakeWorld, Faults, StartFault},
    },
    machine::MachineId,
};
use tempfile::TempDir;

use crate::bench::{Act, Bench};

/// A world, in which the drivers come and go.
pub struct FakeBench {
    /// The world of the newest driver.
    world: Mutex<FakeWorld>,
    /// Whether a new driver reads the world from a file, as one in a new process does.
    kept: bool,
    folder: TempDir,
    machines: AtomicUsize,
}

impl FakeBench {
    pub fn in_memory() -> Self {
        let world = Mutex::new(FakeWorld::new());
        Self { world, kept: false, folder: TempDir::new().unwrap(), machines: AtomicUsize::new(0) }
    }

    pub fn in_a_file() -> Self {
        Self { kept: true, ..Self::in_memory() }
    }

    fn faults(&self) -> Faults {
        self.world.lock().unwrap().faults()
    }
}

fn definition() -> Definition {
    let boot = Boot::Kernel { kernel: "/boot/vmlinuz".into(), initrd: None, cmdline: String::new() };
    Definition::new(1, 64, boot)
}

#[async_trait]
impl Bench for FakeBench {
    async fn driver(&self) -> Arc<dyn Driver> {
        let mut world = self.world.lock().unwrap();
        if self.kept {
            *world = FakeWorld::persistent(&self.folder.path().join("world")).unwrap();
        }
        Arc::new(Fake::on(&world))
    }

    fn launch(&self) -> Launch {
        let name = format!("m{}", self.machines.fetch_add(1, Ordering::Relaxed));
        let folder = self.folder.path().join(&name);
        fs::create_dir(&folder).unwrap();
        Launch {
            id: MachineId::fresh(),
            name,
            definition: definition(),
            folder,
            own: Vec::new(),
            networks: hypervisor_core::driver::Networks::default(),
            devices: hypervisor_core::driver::Devices::default(),
        }
    }

    fn broken(&self) -> Launch {
        let launch = self.launch();
        for _ in 0..2 {
            self.faults().next_start(launch.id, StartFault::Fails("there is no such kernel".into()));
        }
        launch
    }

    fn ready_sign(&self) -> &str {
        FakeWorld::READY
    }

    fn typed(&self, act: Act<'_>) -> Vec<u8> {
        match act {
            Act::Halt => b"halt\n".to_vec(),
            Act::Reboot => b"reboot\n".to_vec(),
            // It echoes.
            Act::Write(bytes) => bytes.to_vec(),
        }
    }

    fn at_the_keyboard(&self, text: &str) -> String {
        format!("{text}\n")
    }

    async fn crash(&self, launch: &Launch) {
        assert!(self.faults().crash(launch.id, "the guest panicked"));
    }

    async fn leftovers(&self, launch: &Launch) -> Vec<String> {
        let inside = fs::read_dir(&launch.folder).unwrap();
        inside.map(|entry| entry.unwrap().path().display().to_string()).collect()
    }

    async fn another_host(&self) -> Arc<dyn Driver> {
        Arc::new(Fake::new())
    }

    async fn foreign(&self) -> String {
        self.faults().foreign("their-web", definition());
        "their-web".into()
    }
}
