//! The agent without its wires: machines, roles, journal. The front doors ask it; it knows no stanza.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use hypervisor_core::{
    lifecycle::{State, Wanted},
    machine::{MachineId, MachineName},
};
use skerry_stanzas::command::Declaration;
use tokio::sync::{broadcast, mpsc};
use xmpp_parsers::jid::{BareJid, Jid};

use crate::asked::{Answer, Asked, Door, Target};

/// The agent without its wires. Cheap to clone.
#[derive(Clone)]
pub struct Agent {
    inner: Arc<()>,
}

/// A machine as the faces see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// For life.
    pub id: MachineId,
    /// Now.
    pub name: MachineName,
    /// What it is.
    pub state: State,
    /// The state in a short plain sentence: a contact list's status line.
    pub sentence: String,
    /// What it should be.
    pub wanted: Wanted,
    /// Grows by one with every change of state.
    pub generation: u64,
    /// The driver.
    pub driver: &'static str,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Labels.
    pub labels: Vec<String>,
}

/// Something the world should know. Sent after it is stored.
#[derive(Clone, Debug)]
pub enum Announcement {
    /// A machine's state, name, labels or definition changed, or it is new: the whole of it.
    Machine {
        /// The machine.
        seen: Seen,
        /// The name it had before, if it was renamed.
        renamed_from: Option<MachineName>,
        /// Whether it is new here.
        new: bool,
    },
    /// A machine is gone from this host (deleted).
    Gone {
        /// The machine as it was.
        seen: Seen,
    },
    /// Something happened: the next entry of the host's event log.
    Event(Event),
}

/// One entry of the host's event log: carries the whole new state. `sequence` has no gaps.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Event {
    /// 1, 2, 3 …, for the life of the host.
    pub sequence: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// Past tense: `machine.started`, `machine.created`.
    pub what: String,
    /// The machine, when it is about one.
    pub machine: Option<String>,
    /// Its state after it.
    pub state: Option<String>,
    /// Its generation after it.
    pub generation: Option<u64>,
    /// Who asked for it (bare address), when somebody did.
    pub by: Option<String>,
    /// The same in a sentence.
    pub sentence: String,
}

impl Agent {
    /// Carries a command out: permit, parse, confirm, journal, run. `progress` gets short lines
    /// meanwhile ("web1 is starting"); whoever does not read them misses them.
    pub async fn ask(&self, _asked: Asked, _progress: Option<mpsc::Sender<String>>) -> Answer {
        unreachable!("spine")
    }

    /// "Yes" to a [`crate::asked::Confirmation`]. Without a code: to the caller's only pending one in that chat;
    /// with several pending the answer asks which.
    pub async fn confirm(
        &self,
        _caller: &Jid,
        _target: &Target,
        _code: Option<&str>,
        _door: Door,
        _key: Option<String>,
        _progress: Option<mpsc::Sender<String>>,
    ) -> Answer {
        unreachable!("spine")
    }

    /// "No": forgets the caller's pending confirmation(s) for this target; true if there was one.
    pub fn decline(&self, _caller: &Jid, _target: &Target, _code: Option<&str>) -> bool {
        unreachable!("spine")
    }

    /// Whether this person may see anything of this target at all: a stranger may not.
    pub fn knows(&self, _person: &BareJid, _target: &Target) -> bool {
        unreachable!("spine")
    }

    /// The commands this person can give this target now: permitted, within the driver's
    /// capabilities, and sensible in the machine's state.
    pub fn offered(&self, _person: &BareJid, _target: &Target) -> Vec<&'static Declaration> {
        unreachable!("spine")
    }

    /// Real choices for an argument (images, drivers, machines in the trash), empty when it is free.
    pub async fn choices(
        &self,
        _declaration: &'static Declaration,
        _argument: &str,
        _target: &Target,
    ) -> Vec<String> {
        unreachable!("spine")
    }

    /// The present value of an argument, where a form should show it (define: memory and so on).
    pub async fn present(
        &self,
        _declaration: &'static Declaration,
        _argument: &str,
        _target: &Target,
    ) -> Option<String> {
        unreachable!("spine")
    }

    /// All machines, by name.
    pub fn machines(&self) -> Vec<Seen> {
        unreachable!("spine")
    }

    /// One machine.
    pub fn machine(&self, _name: &MachineName) -> Option<Seen> {
        unreachable!("spine")
    }

    /// What is announced from now on. A reader that lags is told so, and starts over from
    /// [`Agent::machines`] and [`Agent::events_after`].
    pub fn announcements(&self) -> broadcast::Receiver<Announcement> {
        unreachable!("spine")
    }

    /// The event log after `sequence`, at most `limit`, oldest first.
    pub async fn events_after(&self, _sequence: u64, _limit: usize) -> Vec<Event> {
        let _ = &self.inner;
        unreachable!("spine")
    }
}
