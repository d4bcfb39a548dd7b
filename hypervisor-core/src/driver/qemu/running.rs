//! A machine that runs: its process, its control socket, its console, and the task that watches it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tokio::{
    sync::{broadcast, watch},
    time::timeout,
};

use super::{
    console::Console,
    folder::{Adopted, Folder, Note},
    process::Process,
    qmp::{Client, Event, QmpError},
    words,
};
use crate::{
    driver::{DriverError, Launch, Observed, Plea, Power},
    lifecycle::Cause,
    machine::MachineId,
};

/// How long QEMU may take to end by itself, flushing its disks, before it is made to.
const QUIT_MAX: Duration = Duration::from_secs(5);
/// How long the kernel may take to clear away a process.
const END_MAX: Duration = Duration::from_secs(20);
/// How long a reset may take.
const RESET_MAX: Duration = Duration::from_secs(10);
/// What QEMU told of jobs and devices that may wait for those who asked for it.
const TOLD_MAX: usize = 64;
/// For how long a guest that shuts down is taken to answer an earlier wish for a reboot.
const REBOOT_MAX: Duration = Duration::from_secs(600);

/// A machine that runs.
pub(super) struct Running {
    pub(super) id: MachineId,
    pub(super) folder: Folder,
    pub(super) process: Arc<Process>,
    /// Set if somebody else started it.
    pub(super) adopted: Option<Adopted>,
    pub(super) qmp: Client,
    pub(super) console: Option<Console>,
    /// Set if KVM runs it: set to true when KVM turns out not to be able to.
    pub(super) kvm_failed: Option<Arc<AtomicBool>>,
    pub(super) expected: Mutex<Expected>,
    /// Held while it is held still or let run on, and while one is told from the other: an event is
    /// heard after what it tells of, when the next may be under way.
    pub(super) holding: tokio::sync::Mutex<()>,
    /// Held while its screen is looked at: the picture goes through one file.
    pub(super) looking: tokio::sync::Mutex<()>,
    /// What QEMU tells of jobs and devices.
    pub(super) told: broadcast::Sender<Event>,
    /// Held while its guest agent is talked with.
    pub(super) agent: tokio::sync::Mutex<()>,
    /// Its guest is asked for its memory now and then.
    pub(super) memory_asked: AtomicBool,
    /// How often it was reset.
    pub(super) resets: watch::Sender<u64>,
    /// True when it has ended and nothing of it is left.
    pub(super) gone: watch::Sender<bool>,
}

/// What is known of it, so that what we did ourselves is told apart from what others did.
#[derive(Default)]
pub(super) struct Expected {
    /// We cut its power.
    pub(super) killed: bool,
    /// It was asked to shut down; what it does about it, its end will tell.
    pub(super) shuts_down: bool,
    /// It is held still.
    pub(super) paused: bool,
    /// A snapshot holds it still for a moment, which is nobody's news.
    pub(super) snapped: bool,
    /// Until when a guest that shuts down does so to reboot, as we asked; seconds since 1970.
    pub(super) reboots_until: Option<u64>,
    /// Resets of our own that are still to be told.
    pub(super) own_resets: u32,
    /// When the guest last reset the machine.
    pub(super) reset_at: Option<Instant>,
    /// Why it is about to end, if that is known.
    pub(super) ending: Option<Ending>,
    /// It has crashed, which was told, and its process is there still.
    pub(super) crashed: Option<Cause>,
}

/// Why a machine is about to end.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// The guest shut itself down.
    Halted,
    /// Something else.
    Crashed(Cause),
}

/// What only some machines that run have.
#[derive(Default)]
pub(super) struct Besides {
    /// Set if somebody else started it.
    pub(super) adopted: Option<Adopted>,
    /// Not of one that somebody else started.
    pub(super) console: Option<Console>,
    /// What is expected of it from before.
    pub(super) expected: Expected,
}

impl Running {
    /// One that runs from now on as far as we are concerned. `kvm_failed` when KVM runs it.
    pub(super) fn new(
        launch: &Launch,
        process: Arc<Process>,
        qmp: Client,
        kvm_failed: Option<Arc<AtomicBool>>,
        besides: Besides,
    ) -> Self {
        let Besides { adopted, console, expected } = besides;
        Self {
            id: launch.id,
            folder: Folder::new(&launch.folder),
            process,
            adopted,
            qmp,
            console,
            kvm_failed,
            expected: Mutex::new(expected),
            holding: tokio::sync::Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            told: broadcast::Sender::new(TOLD_MAX),
            agent: tokio::sync::Mutex::default(),
            memory_asked: AtomicBool::default(),
            resets: watch::Sender::default(),
            gone: watch::Sender::default(),
        }
    }

    pub(super) fn expected(&self) -> MutexGuard<'_, Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn status(&self) -> Result<Value, QmpError> {
        self.qmp.ask("query-status", None).await
    }

    /// QEMU's word for what it does.
    pub(super) async fn status_word(&self) -> Result<String, QmpError> {
        Ok(self.status().await?["status"].as_str().unwrap_or_default().to_owned())
    }

    /// What it does.
    pub(super) async fn power(&self) -> Result<Power, QmpError> {
        Ok(words::power(&self.status().await?))
    }

    /// What it does and uses.
    pub(super) async fn observe(&self) -> Result<Observed, DriverError> {
        let power = match self.power().await {
            // Between the two halves of a reboot: the watching task sees to it.
            Ok(Power::Off) => Power::Running,
            Ok(power) => power,
            Err(QmpError::Closed) => {
                // Its process is about to end, or to be found ended: that is worth waiting for.
                self.wait_gone(END_MAX).await?;
                return Err(DriverError::NotRunning);
            }
            Err(error) => return Err(error.into()),
        };
        let usage = self
            .process
            .usage()
            .map_err(|source| DriverError::system("reading what QEMU's process uses", source))?;
        Ok(Observed {
            power,
            running_for: usage.as_ref().map(|usage| usage.running_for),
            cpu_time: usage.as_ref().map(|usage| usage.cpu_time),
            resident_bytes: usage.map(|usage| usage.resident_bytes),
        })
    }

    /// Presses the power button.
    pub(super) async fn shutdown(&self) -> Result<(), DriverError> {
        if self.reboot_wanted(None)?.is_some() {
            self.on_poweroff("poweroff").await?;
        }
        self.expected().shuts_down = true;
        self.qmp.ask("system_powerdown", None).await?;
        Ok(())
    }

    /// Presses the power button once more, if what it was pressed for has not come to pass.
    ///
    /// The button is a button: a press is an ACPI event that a guest hears if it listens, and its boot
    /// clears away what was pressed before. Nothing tells whether it listens. To a guest that is
    /// going down already another press is one more wish for the same: systemd and acpid have the
    /// shutdown under way and leave it at that, and so does Windows. A guest that takes the button for
    /// its owner's question what to do, as desktops do, is no worse off for being asked again.
    ///
    /// After a reboot it would be a wish for the end of what has just begun: then it is not pressed,
    /// and one that is too late by a moment finds firmware, which does not listen.
    pub(super) async fn ask_again(&self, plea: Plea) -> Result<(), DriverError> {
        let still = {
            let expected = self.expected();
            let reboots = expected.reboots_until.is_some_and(|until| now() < until);
            expected.ending.is_none()
                && match plea {
                    Plea::Shutdown => expected.shuts_down && !reboots,
                    Plea::Reboot => reboots,
                }
        };
        if still {
            self.qmp.ask("system_powerdown", None).await?;
        }
        Ok(())
    }

    /// Asks the guest to reboot. A machine has a button for power and none for a polite reboot, and
    /// ctrl-alt-del is often switched off or means something else: so the guest is asked to shut
    /// down, QEMU to hold it still then rather than to end, and the watching task resets it and lets
    /// it run on. To the guest it is a reboot; the process goes on.
    pub(super) async fn reboot(&self) -> Result<(), DriverError> {
        self.on_poweroff("pause").await?;
        self.expected().shuts_down = false;
        self.reboot_wanted(Some(now() + REBOOT_MAX.as_secs()))?;
        self.qmp.ask("system_powerdown", None).await?;
        Ok(())
    }

    /// What QEMU does when the guest has shut down: `poweroff` or `pause`.
    pub(super) async fn on_poweroff(&self, what: &str) -> Result<(), QmpError> {
        self.qmp.ask("set-action", Some(json!({"shutdown": what}))).await?;
        Ok(())
    }

    /// Notes until when a reboot is wanted, also for an agent that comes after this one; and says what
    /// was noted before.
    pub(super) fn reboot_wanted(&self, until: Option<u64>) -> Result<Option<u64>, DriverError> {
        let before = std::mem::replace(&mut self.expected().reboots_until, until);
        if before != until {
            self.note()?;
        }
        Ok(before)
    }

    /// Notes in its folder what the next agent must know of it.
    pub(super) fn note(&self) -> Result<(), DriverError> {
        self.folder.note(&Note {
            process: self.process.identity.clone(),
            adopted: self.adopted.clone(),
            reboots_until: self.expected().reboots_until,
        })
    }

    /// The second half of a reboot: the guest has shut down and is held still.
    pub(super) async fn reboot_on(&self) -> Result<(), QmpError> {
        {
            let mut expected = self.expected();
            expected.own_resets += 1;
            expected.paused = false;
        }
        self.on_poweroff("poweroff").await?;
        self.qmp.ask("system_reset", None).await?;
        self.qmp.ask("cont", None).await?;
        Ok(())
    }

    /// Presses reset, and waits until it is done.
    pub(super) async fn reset(&self) -> Result<(), DriverError> {
        let mut resets = self.resets.subscribe();
        resets.mark_unchanged();
        self.expected().own_resets += 1;
        self.qmp.ask("system_reset", None).await?;
        match timeout(RESET_MAX, resets.changed()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(DriverError::NotRunning),
            Err(_) => Err(DriverError::TimedOut { what: "the reset", limit: RESET_MAX }),
        }
    }

    /// Holds it still, or lets it run on.
    pub(super) async fn hold(&self, still: bool) -> Result<(), DriverError> {
        let _held = self.holding.lock().await;
        // Before it is asked: the event comes before the answer.
        let before = std::mem::replace(&mut self.expected().paused, still);
        let asked = self.qmp.ask(if still { "stop" } else { "cont" }, None).await;
        if asked.is_err() {
            self.expected().paused = before;
        }
        asked?;
        Ok(())
    }

    /// Cuts the power; nothing of it is left when this returns.
    pub(super) async fn kill(&self) -> Result<(), DriverError> {
        self.expected().killed = true;
        // QEMU's own way first: it writes down what its disks still hold in memory.
        let quit = async {
            match self.qmp.ask("quit", None).await {
                Ok(_) | Err(QmpError::Closed) => self.wait_gone(QUIT_MAX).await,
                Err(error) => Err(error.into()),
            }
        };
        if let Ok(Ok(())) = timeout(QUIT_MAX, quit).await {
            return Ok(());
        }
        tracing::warn!(machine = %self.id, "QEMU does not end by itself and is killed");
        self.process.kill().map_err(|source| DriverError::system("killing QEMU", source))?;
        self.wait_gone(END_MAX).await
    }

    async fn wait_gone(&self, limit: Duration) -> Result<(), DriverError> {
        let mut gone = self.gone.subscribe();
        match timeout(limit, gone.wait_for(|gone| *gone)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(DriverError::TimedOut { what: "the end of QEMU", limit }),
        }
    }

    /// Why the processor failed: KVM may be to blame, which is remembered for later starts.
    pub(super) fn processor_failed(&self) -> Cause {
        let Some(kvm_failed) = &self.kvm_failed else {
            return Cause("the guest's processor failed in QEMU (internal error)".into());
        };
        kvm_failed.store(true, Ordering::Relaxed);
        Cause(
            "KVM could not execute the guest (internal error); started again it will run without KVM, slower"
                .into(),
        )
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
