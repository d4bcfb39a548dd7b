//! Real guests, by QEMU: a process each, reached through QMP on a unix socket in the machine's folder.
//!
//! The process is not the agent's: it goes on when the agent ends, and is found again by its socket.
//! KVM runs the guests where it works ([`crate::kvm`]), QEMU itself where it does not.
//!
//! | in the folder | what |
//! |---|---|
//! | `qmp.sock`, `console.sock` | control and serial console, while it runs |
//! | `vnc.sock`, `agent.sock` | the screen and the guest agent's port, while it runs, where it has them |
//! | `qemu.json` | which process it is, while it runs |
//! | `console.log` | what the guest wrote, run after run, bounded ([`console`]) |
//! | `uefi-vars.fd`, `uefi-secure-vars.fd` | what its UEFI remembers, for its life |
//! | `cidata.img` | what cloud-init is told, made at each start ([`seed`]) |
//! | `tpm/`, `tpm.sock`, `tpm.json` | what its TPM remembers; its socket and process, while it runs |
//! | `share-NAME.sock`, `share-NAME.json` | of a folder by virtiofs: socket and process, while it runs |
//! | `qemu.log` | what QEMU complained of in the last run, bounded like the console's |

mod adopting;
mod altering;
mod arguments;
mod beside;
mod bounds;
mod bridges;
mod config;
mod console;
mod devices;
mod disks;
mod finding;
mod firmware;
mod folder;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod guest_agent;
mod handing;
mod hugepages;
mod layers;
mod live;
mod migrate;
mod numbers;
mod pinning;
pub(super) mod process;
mod qmp;
mod running;
mod screen;
mod seed;
mod sharing;
mod snapshots;
mod starting;
mod tpm;
mod trimmer;
mod trimming;
mod unit;
mod version;
mod watching;
mod words;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::AbortHandle,
};

use self::{
    arguments::CONSOLE_LOG, folder::Folder, process::Process, running::Running, trimmer::Trimming,
    watching::Teller,
};
pub use self::{
    config::{Acceleration, Config, Keeper},
    trimmer::Trimmer,
    trimming::trim_logs,
    unit::{Launcher, run_confined},
};
use crate::{
    confine::{self, Support, Users},
    driver::{
        Adopt, Alter, Capability, Console, Disks, Driver, DriverError, DriverEvent, Foreign, GuestAgent,
        Launch, Migrate, Numbers, Observed, Pause, Picture, Plea, Power, Probe, Reading, Reset, Screen,
        Snapshots,
        screen::{Viewing, keys::Chord},
    },
    kvm,
    lifecycle::Cause,
    machine::MachineId,
};

/// Events that wait to be taken.
const EVENTS_MAX: usize = 4096;
/// How long the log may be waited for, so that it has what those who follow were told.
const LOG_WAIT_MAX: Duration = Duration::from_secs(2);

/// The driver.
pub struct Qemu {
    shared: Arc<Shared>,
    probe: Probe,
    events: Mutex<Option<mpsc::Receiver<DriverEvent>>>,
}

/// What the tasks of a driver share.
struct Shared {
    program: PathBuf,
    kvm: bool,
    /// KVM failed a guest at run time: it is not used again.
    kvm_failed: Arc<AtomicBool>,
    in_units: bool,
    launcher: Option<Launcher>,
    users: Option<Users>,
    /// Its version, as it says it.
    version: String,
    slots: Mutex<HashMap<MachineId, Arc<Slot>>>,
    /// What waits for the disks of machines that come without running.
    resting: Mutex<HashMap<MachineId, migrate::Resting>>,
    trimming: Arc<Trimming>,
    teller: Teller,
}

/// The place of one machine.
#[derive(Default)]
struct Slot {
    /// Held by what starts, finds or adopts it: one at a time.
    gate: Arc<tokio::sync::Mutex<()>>,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    /// With the task that watches it.
    running: Option<(Arc<Running>, AbortHandle)>,
    /// How the last run ended, if it crashed.
    crashed: Option<Cause>,
    /// Its process, where that runs and cannot be reached: it can only be killed.
    stray: Option<(Process, Folder)>,
}

impl Slot {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> Option<Arc<Running>> {
        self.inside().running.as_ref().map(|(running, _)| running.clone())
    }

    /// It has ended.
    fn left(&self, running: &Arc<Running>, crashed: Option<Cause>) {
        let mut inside = self.inside();
        if inside.running.as_ref().is_some_and(|(present, _)| Arc::ptr_eq(present, running)) {
            inside.running = None;
            inside.crashed = crashed;
        }
    }
}

impl Shared {
    fn slots(&self) -> MutexGuard<'_, HashMap<MachineId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, id: MachineId) -> Arc<Slot> {
        self.slots().entry(id).or_default().clone()
    }

    /// From now on it is watched. Its console's followers and the events live as long as it runs.
    fn put(&self, slot: &Arc<Slot>, running: Running, events: mpsc::Receiver<qmp::Event>) -> Arc<Running> {
        let running = Arc::new(running);
        // Of one that somebody else started there is nothing of ours to bound.
        if running.console.is_some() {
            self.trimming.begin(running.id, &running.process, &running.folder);
        }
        let mut inside = slot.inside();
        let watching = watching::watch(running.clone(), events, self.teller.clone(), slot.clone());
        let task = tokio::spawn(watching).abort_handle();
        *inside = Inside { running: Some((running.clone(), task)), ..Inside::default() };
        running
    }
}

impl Drop for Qemu {
    /// The machines run on; their sockets are let go, for whoever comes next.
    fn drop(&mut self) {
        self.shared.trimming.let_go();
        for slot in self.shared.slots().values() {
            if let Some((_, task)) = slot.inside().running.take() {
                task.abort();
            }
        }
    }
}

impl Qemu {
    /// Looks at what this host can do; blocks for some 50 ms.
    pub fn new(config: Config) -> Self {
        let (kvm, how) = match config.acceleration {
            Acceleration::Kvm => (true, "KVM is used without trying it, as configured".to_owned()),
            Acceleration::Tcg => (false, "TCG is used, slower, as configured".to_owned()),
            Acceleration::Auto => {
                let verdict = kvm::probe();
                let slower = if verdict.usable() { "" } else { ": using TCG, slower" };
                (verdict.usable(), format!("{verdict}{slower}"))
            }
        };
        let in_units = match config.keeper {
            Keeper::Auto => unit::fits(),
            Keeper::Systemd => true,
            Keeper::Nobody => false,
        };
        let version = version::of(&config.program);
        // Those that systemd starts take their users themselves, with rights that we need not have.
        let users = || match in_units {
            true => "\"skerry-agent check\" says whether each has a user of its own.".into(),
            false => confine::of_users(config.users, &config.machines),
        };
        let probe = match &version {
            Ok(version) => Probe {
                usable: true,
                why: format!("QEMU {version}. {how}. {} {}", Support::of_host(), users()),
                capabilities: Capability::ALL.into(),
            },
            Err(why) => Probe { usable: false, why: why.clone(), capabilities: Vec::new() },
        };
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let shared = Shared {
            program: config.program,
            kvm,
            kvm_failed: Arc::default(),
            in_units,
            launcher: config.launcher,
            users: config.users,
            version: version.unwrap_or_default(),
            slots: Mutex::default(),
            resting: Mutex::default(),
            trimming: Trimming::new(config.trimmer),
            teller: Teller(tell),
        };
        Self { shared: Arc::new(shared), probe, events: Mutex::new(Some(events)) }
    }

    fn running(&self, id: MachineId) -> Result<Arc<Running>, DriverError> {
        let slot = self.shared.slots().get(&id).cloned();
        slot.and_then(|slot| slot.running()).ok_or(DriverError::NotRunning)
    }

    fn can<'a, T: ?Sized>(&self, it: &'a T) -> Option<&'a T> {
        self.probe.usable.then_some(it)
    }
}

#[async_trait]
impl Driver for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn probe(&self) -> &Probe {
        &self.probe
    }

    async fn observe(&self, launch: &Launch) -> Result<Observed, DriverError> {
        let slot = self.shared.slot(launch.id);
        let _gate = slot.gate.lock().await;
        if let Some(running) = finding::find(&self.shared, &slot, launch).await? {
            match running.observe().await {
                // It ended just now.
                Err(DriverError::NotRunning) => {}
                observed => return observed,
            }
        }
        let power = slot.inside().crashed.clone().map_or(Power::Off, Power::Crashed);
        Ok(Observed { power, running_for: None, cpu_time: None, resident_bytes: None })
    }

    async fn start(&self, launch: &Launch) -> Result<(), DriverError> {
        // A task of its own, told when nobody waits any more: whatever happens, it ends with a machine
        // that runs, or with nothing of it left.
        let (_wanted, dropped) = oneshot::channel::<()>();
        let slot = self.shared.slot(launch.id);
        // Held from here on: whoever comes after a start that was dropped waits for its end.
        let gate = slot.gate.clone().lock_owned().await;
        let shared = self.shared.clone();
        let launch = launch.clone();
        let start = tokio::spawn(async move {
            let started = starting::start(&shared, &slot, &launch, dropped).await;
            drop(gate);
            started
        });
        start.await.map_err(|error| DriverError::system("starting it", error))?
    }

    async fn shutdown(&self, id: MachineId) -> Result<(), DriverError> {
        self.running(id)?.shutdown().await
    }

    async fn reboot(&self, id: MachineId) -> Result<(), DriverError> {
        self.running(id)?.reboot().await
    }

    async fn ask_again(&self, id: MachineId, plea: Plea) -> Result<(), DriverError> {
        self.running(id)?.ask_again(plea).await
    }

    async fn kill(&self, id: MachineId) -> Result<(), DriverError> {
        let Some(slot) = self.shared.slots().get(&id).cloned() else { return Ok(()) };
        // A start that was dropped is being undone: that is waited for.
        let _gate = slot.gate.lock().await;
        if let Some(running) = slot.running() {
            running.kill().await?;
        }
        let stray = slot.inside().stray.take();
        if let Some((process, folder)) = stray {
            starting::undo(&process, &folder).await;
        }
        slot.inside().crashed = None;
        Ok(())
    }

    async fn forget(&self, id: MachineId) -> Result<(), DriverError> {
        let Some(slot) = self.shared.slots().get(&id).cloned() else { return Ok(()) };
        let _gate = slot.gate.lock().await;
        if slot.running().is_some() {
            return Err(DriverError::AlreadyRunning);
        }
        self.shared.slots().remove(&id);
        self.shared.trimming.forget(id);
        Ok(())
    }

    fn remembered(&self, folder: &Path) -> io::Result<Vec<String>> {
        beside::remembered(&Folder::new(folder))
    }

    fn events(&self) -> Option<mpsc::Receiver<DriverEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn reset(&self) -> Option<&dyn Reset> {
        self.can(self as &dyn Reset)
    }

    fn pause(&self) -> Option<&dyn Pause> {
        self.can(self as &dyn Pause)
    }

    fn console(&self) -> Option<&dyn Console> {
        self.can(self as &dyn Console)
    }

    fn adopt(&self) -> Option<&dyn Adopt> {
        self.can(self as &dyn Adopt)
    }

    fn screen(&self) -> Option<&dyn Screen> {
        self.can(self as &dyn Screen)
    }

    fn disks(&self) -> Option<&dyn Disks> {
        self.can(self as &dyn Disks)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.can(self as &dyn Snapshots)
    }

    fn guest_agent(&self) -> Option<&dyn GuestAgent> {
        self.can(self as &dyn GuestAgent)
    }

    fn alter(&self) -> Option<&dyn Alter> {
        self.can(self as &dyn Alter)
    }

    fn numbers(&self) -> Option<&dyn Numbers> {
        self.can(self as &dyn Numbers)
    }

    fn migrate(&self) -> Option<&dyn Migrate> {
        self.can(self as &dyn Migrate)
    }
}

#[async_trait]
impl Reset for Qemu {
    async fn reset(&self, id: MachineId) -> Result<(), DriverError> {
        self.running(id)?.reset().await
    }
}

#[async_trait]
impl Pause for Qemu {
    async fn pause(&self, id: MachineId) -> Result<(), DriverError> {
        self.running(id)?.hold(true).await
    }

    async fn resume(&self, id: MachineId) -> Result<(), DriverError> {
        self.running(id)?.hold(false).await
    }
}

#[async_trait]
impl Console for Qemu {
    async fn tail(&self, launch: &Launch, bytes_max: usize) -> Result<Vec<u8>, DriverError> {
        if let Ok(running) = self.running(launch.id) {
            // QEMU gives a byte to those who follow before it writes it down, both in one go: once it
            // has answered anything, all that was followed so far is in the log.
            let _ = tokio::time::timeout(LOG_WAIT_MAX, running.power()).await;
        }
        console::tail(&Folder::new(&launch.folder).within(CONSOLE_LOG), bytes_max)
    }

    async fn send(&self, id: MachineId, bytes: &[u8]) -> Result<(), DriverError> {
        let running = self.running(id)?;
        running.console.as_ref().ok_or_else(no_console)?.send(bytes).await
    }

    async fn follow(&self, id: MachineId) -> Result<broadcast::Receiver<Vec<u8>>, DriverError> {
        let running = self.running(id)?;
        running.console.as_ref().ok_or_else(no_console)?.follow()
    }
}

fn no_console() -> DriverError {
    DriverError::Unfit("its console is not in our hands: it was started by somebody else".into())
}

#[async_trait]
impl Screen for Qemu {
    async fn picture(&self, id: MachineId) -> Result<Picture, DriverError> {
        screen::picture(self.running(id)?).await
    }

    async fn press(&self, id: MachineId, chords: &[Chord]) -> Result<(), DriverError> {
        screen::press(&*self.running(id)?, chords).await
    }

    async fn view(&self, id: MachineId) -> Result<Box<dyn Viewing>, DriverError> {
        screen::view(&*self.running(id)?).await
    }
}

#[async_trait]
impl Numbers for Qemu {
    async fn read(&self, launch: &Launch) -> Result<Reading, DriverError> {
        self.running(launch.id)?.read(launch).await
    }
}

#[async_trait]
impl Adopt for Qemu {
    async fn foreign(&self) -> Result<Vec<Foreign>, DriverError> {
        adopting::foreign(&self.shared)
    }

    async fn adopt(&self, name: &str, launch: &Launch) -> Result<(), DriverError> {
        adopting::adopt(&self.shared, name, launch).await
    }

    fn is_adopted(&self, launch: &Launch) -> bool {
        self.running(launch.id).is_ok_and(|running| running.adopted.is_some())
    }

    async fn release(&self, id: MachineId) -> Result<(), DriverError> {
        adopting::release(&self.shared, id).await;
        Ok(())
    }
}
