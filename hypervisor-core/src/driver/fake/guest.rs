//! One fake guest: what it does, and its console.

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::guest_agent::Within;
use crate::{
    driver::{Launch, Plea, Power},
    lifecycle::Cause,
};

/// How much of a console is kept, in bytes: a fleet of ten thousand must stay small.
const CONSOLE_BYTES_MAX: usize = 16 * 1024;
/// The longest line a guest listens to, in bytes.
const LINE_BYTES_MAX: usize = 256;
/// How many pieces of output a slow reader of a console may be behind.
const FOLLOWERS_BEHIND_MAX: usize = 256;

/// What the world keeps of one guest. What is skipped here does not outlive the process.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Guest {
    pub(super) life: Life,
    /// When its present run began, by the world's clock.
    pub(super) born_ms: u64,
    pub(super) memory_mib: u64,
    /// The most it can have in this run.
    #[serde(skip)]
    pub(super) room_mib: u64,
    /// So often it ignores shutdown and reboot, by its command line.
    pub(super) deaf_for: u32,
    /// The names of the disks it has.
    #[serde(default)]
    pub(super) disks: Vec<String>,
    /// What is inside it.
    #[serde(default)]
    pub(super) within: Within,
    /// How busy it is and was, in this process's time.
    #[serde(skip)]
    pub(super) work: super::numbers::Work,
    /// What it was asked to do and has not done.
    #[serde(skip)]
    pub(super) asked: Option<Plea>,
    /// It heard, and is about to do it.
    #[serde(skip)]
    pub(super) heard: bool,
    /// Grows with each start, so that what was meant for an earlier run does not reach a later one.
    #[serde(skip)]
    pub(super) run: u64,
    /// A start of it is under way: the run it will be.
    #[serde(skip)]
    pub(super) starting: Option<u64>,
    /// Whether its events are told: it was observed or started by the present driver.
    #[serde(skip)]
    pub(super) watched: bool,
    #[serde(skip)]
    console: Vec<u8>,
    #[serde(skip)]
    typed: Vec<u8>,
    #[serde(skip)]
    followers: Option<broadcast::Sender<Vec<u8>>>,
}

/// What a guest does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Life {
    #[default]
    Off,
    Running,
    Paused,
    Crashed(Cause),
}

impl Life {
    /// Whether there would be a process, if it were real.
    pub(super) fn on(&self) -> bool {
        match self {
            Life::Running | Life::Paused => true,
            Life::Off | Life::Crashed(_) => false,
        }
    }

    pub(super) fn power(&self) -> Power {
        match self {
            Life::Off => Power::Off,
            Life::Running => Power::Running,
            Life::Paused => Power::Paused,
            Life::Crashed(cause) => Power::Crashed(cause.clone()),
        }
    }
}

/// What somebody typed for the guest to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Halt,
    Reboot,
    Crash,
}

impl Guest {
    /// What it writes when it comes up.
    pub(super) fn greeting(launch: &Launch) -> String {
        let Launch { name, definition, .. } = launch;
        format!(
            "fake guest {name}: {} vcpus, {} MiB\r\n{}\r\n",
            definition.vcpus,
            definition.memory_mib,
            super::FakeWorld::READY
        )
    }

    /// Puts out: kept, bounded, and told to those who follow.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.console.extend_from_slice(bytes);
        let excess = self.console.len().saturating_sub(CONSOLE_BYTES_MAX);
        self.console.drain(..excess);
        if let Some(followers) = &self.followers
            && followers.send(bytes.to_vec()).is_err()
        {
            // Nobody follows any more.
            self.followers = None;
        }
    }

    /// Takes in what somebody typed; the lines it obeys are returned.
    pub(super) fn listen(&mut self, bytes: &[u8]) -> Vec<Told> {
        let mut told = Vec::new();
        for &byte in bytes {
            match byte {
                b'\r' | b'\n' => {
                    match self.typed.as_slice() {
                        b"halt" | b"poweroff" => told.push(Told::Halt),
                        b"reboot" => told.push(Told::Reboot),
                        b"crash" => told.push(Told::Crash),
                        _ => {}
                    }
                    self.typed.clear();
                }
                byte if self.typed.len() < LINE_BYTES_MAX => self.typed.push(byte),
                _ => {}
            }
        }
        told
    }

    pub(super) fn follow(&mut self) -> broadcast::Receiver<Vec<u8>> {
        self.followers.get_or_insert_with(|| broadcast::channel(FOLLOWERS_BEHIND_MAX).0).subscribe()
    }

    pub(super) fn tail(&self, bytes_max: usize) -> &[u8] {
        &self.console[self.console.len().saturating_sub(bytes_max)..]
    }

    /// It runs no longer: those who follow its console are told so, what was half typed is gone.
    pub(super) fn end(&mut self, life: Life) {
        self.life = life;
        self.followers = None;
        self.typed = Vec::new();
        self.did();
    }

    /// It has done what it was asked, or something else; either way that is over.
    pub(super) fn did(&mut self) {
        self.asked = None;
        self.heard = false;
    }
}
