//! The agent without its wires: machines, roles, journal. The front doors ask it; it knows no stanza.

mod audit;
mod keeping;
mod offers;
mod opening;
mod rights;
mod startup;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use hypervisor_core::{
    lifecycle::{State, Wanted},
    machine::{MachineId, MachineName},
};
use tokio::{
    sync::{broadcast, mpsc},
    task::AbortHandle,
};
use xmpp_parsers::jid::{BareJid, Jid};

pub use self::opening::OpenError;
use crate::{
    address::Addresses,
    alerts::Alerts,
    approval::Approvals,
    asked::{Answer, Asked, Target},
    config::{Config, ConfigError},
    confirm::Confirmations,
    console::Keyboards,
    devices::Devices,
    dispatch::{Jobs, Limits, Repeats},
    drivers::Drivers,
    folders::Folders,
    handler,
    images::Library,
    images::share::Shares,
    journal::{Outcome, refusals::Counter, trail::Trail},
    machine::publisher::Publisher,
    machines::Machines,
    migration::Passages,
    networks::Networks,
    numbers::{Tally, meter::Meter},
    pictures::{Pictures, Uploads},
    rights::Rights,
    signing::Signing,
    store::{Store, Subscriptions, events},
    viewer::Tickets,
};

/// The agent without its wires. Cheap to clone.
#[derive(Clone)]
pub struct Agent {
    pub(crate) inner: Arc<Inner>,
}

/// What all clones share.
pub(crate) struct Inner {
    config: RwLock<Arc<Config>>,
    rights: RwLock<Arc<Rights>>,
    /// Held while a rule is changed, here and in the store.
    pub(crate) ruling: tokio::sync::Mutex<()>,
    /// A rule changed: when the next one ends may have, too.
    pub(crate) ruled: Arc<tokio::sync::Notify>,
    addresses: Addresses,
    pub(crate) drivers: Drivers,
    pub(crate) folders: Folders,
    pub(crate) images: Library,
    pub(crate) networks: Networks,
    pub(crate) devices: Devices,
    pub(crate) store: Store,
    /// The journal, with what of it is in files.
    pub(crate) trail: Trail,
    /// Its head, and who waits for the next.
    pub(crate) audit: Arc<audit::Audit>,
    /// What was refused lately.
    pub(crate) refusals: Counter,
    pub(crate) machines: Arc<Machines>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) confirmations: Confirmations,
    /// What waits for the consent of others.
    pub(crate) approvals: Approvals,
    /// Whose keys are known, and what may be signed.
    pub(crate) signing: Signing,
    pub(crate) repeats: Repeats,
    /// What is under way.
    pub(crate) going: Jobs,
    /// What changes something.
    pub(crate) jobs: Limits,
    /// What only looks.
    pub(crate) reads: Limits,
    /// Room in quotas, held for what is being made.
    pub(crate) rooms: handler::quotas::Rooms,
    pub(crate) tallies: Mutex<BTreeMap<String, Tally>>,
    /// What the host and its machines use.
    pub(crate) meter: Meter,
    /// What people want to be told of.
    pub(crate) alerts: Alerts,
    /// Who types on which console.
    pub(crate) keyboards: Keyboards,
    /// What guests said of themselves lately.
    pub(crate) guests: handler::guest::Said,
    /// Guests whose disks hold still.
    pub(crate) freezes: handler::guest::Freezes,
    /// For viewers of screens.
    pub(crate) tickets: Tickets,
    /// Machines on their way to and from other hosts.
    pub(crate) passages: Passages,
    /// Images on their way to other hosts and from them.
    pub(crate) shares: Shares,
    /// Held while schedules of snapshots are changed.
    pub(crate) schedules: tokio::sync::Mutex<()>,
    /// Of screens, shown lately.
    pub(crate) pictures: Pictures,
    pub(crate) started: Instant,
    linked: Mutex<Option<Instant>>,
    background: Mutex<Vec<AbortHandle>>,
}

impl Inner {
    /// The configuration now in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn end_background(&self) {
        for task in self.background.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end_background();
        self.machines.clear();
    }
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
    /// A machine is gone from this host (deleted, or moved).
    Gone {
        /// The machine as it was.
        seen: Seen,
        /// Its address now, if it moved.
        to: Option<Jid>,
    },
    /// Something happened: the next entry of the host's event log.
    Event(Event),
    /// Who may do what has changed.
    Rights,
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
    pub async fn ask(&self, asked: Asked, progress: Option<mpsc::Sender<String>>) -> Answer {
        self.dispatch(asked, progress, false).await.unwrap_or_else(Answer::Refused)
    }

    /// Puts a reason to a question that is open, before it is answered with yes. `because` is a word of the
    /// one grammar; without one the reason that was given at first stays.
    pub(crate) fn explain(&self, person: &BareJid, target: &Target, code: &str, because: Option<String>) {
        if let Some(because) = because {
            self.inner.confirmations.explain(person, target, code, because, Utc::now());
        }
    }

    /// "No": forgets the caller's pending confirmation(s) for this target; true if there was one.
    pub fn decline(&self, caller: &Jid, target: &Target, code: Option<&str>) -> bool {
        self.inner.confirmations.drop_for(&caller.to_bare(), target, code, Utc::now())
    }

    /// All machines, by name.
    pub fn machines(&self) -> Vec<Seen> {
        self.inner.machines.all().iter().map(|machine| machine.record().seen()).collect()
    }

    /// The machines this person may see, by name.
    pub fn machines_for(&self, person: &BareJid) -> Vec<Seen> {
        self.seen_by(person).iter().map(|machine| machine.record().seen()).collect()
    }

    /// How many machines there are, and how many of them run. Asked for with every change of any of
    /// them, so nothing is copied.
    pub fn tally(&self) -> (usize, usize) {
        let machines = self.inner.machines.all();
        let running = machines.iter().filter(|machine| machine.record().state == State::Running).count();
        (machines.len(), running)
    }

    /// One machine.
    pub fn machine(&self, name: &MachineName) -> Option<Seen> {
        self.inner.machines.named(name).map(|machine| machine.record().seen())
    }

    /// What is announced from now on. A reader that lags is told so, and starts over from
    /// [`Agent::machines`] and [`Agent::events_after`].
    pub fn announcements(&self) -> broadcast::Receiver<Announcement> {
        self.inner.publisher.listen()
    }

    /// The event log after `sequence`, at most `limit`, oldest first.
    pub async fn events_after(&self, sequence: u64, limit: usize) -> Vec<Event> {
        let found = self.inner.store.run(move |connection| events::after(connection, sequence, limit)).await;
        found.unwrap_or_else(|error| {
            tracing::error!(%error, "the event log could not be read");
            Vec::new()
        })
    }

    /// The addresses of the host and its machines.
    pub fn addresses(&self) -> &Addresses {
        &self.inner.addresses
    }

    /// The configuration now in force.
    pub fn config(&self) -> Arc<Config> {
        self.inner.config()
    }

    /// Who sees whose presence and who listens to which node, kept in the store.
    pub fn subscriptions(&self) -> Subscriptions {
        self.inner.store.subscriptions()
    }

    pub(crate) fn count(&self, permission: &str, outcome: &Outcome) {
        let mut tallies = self.inner.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.entry(permission.to_owned()).or_default().count(outcome);
    }

    /// Says that the link to the server is up, or down: for `uptime`.
    pub fn linked(&self, up: bool) {
        let mut linked = self.inner.linked.lock().unwrap_or_else(PoisonError::into_inner);
        match (up, *linked) {
            (true, None) => {
                *linked = Some(Instant::now());
                // What could not be told before can be now.
                self.inner.approvals.changed.notify_one();
            }
            (true, Some(_)) => {}
            (false, _) => *linked = None,
        }
    }

    /// From now on pictures are uploaded by this, as long as it is there.
    pub fn uploads_by(&self, uploads: std::sync::Weak<dyn Uploads>) {
        self.inner.pictures.uploaded_by(uploads);
    }

    pub(crate) fn linked_for(&self) -> Option<Duration> {
        self.inner.linked.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since.elapsed())
    }

    /// Takes over what may change while the agent runs: roles, images, how long the trash is kept. The
    /// rest takes a restart; the keys that would are returned.
    ///
    /// # Errors
    /// When the configuration is wrong; then the old one stays in force.
    pub fn reload(&self, new: Config) -> Result<Vec<&'static str>, ConfigError> {
        new.check()?;
        let (roles, policies, keys) = (new.roles()?, new.policies()?, new.signing_keys()?);
        let old = self.config();
        let waits = old.differs(&new);
        let live = Config {
            roles: new.roles,
            approval: new.approval,
            images: new.images,
            catalogues: new.catalogues,
            trash: new.trash,
            files: new.files,
            peers: new.peers,
            migration: new.migration,
            audit: new.audit,
            ..Config::clone(&old)
        };
        // First, since a consent may not count any more by them.
        self.inner.signing.change_keys(keys);
        self.change_rights(|rights| rights.roles = roles);
        self.inner.approvals.change_policies(|kept| kept.configured = policies);
        self.inner.folders.grounds.configure(&live);
        *self.inner.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
        tracing::info!("the configuration was read again");
        Ok(waits)
    }

    /// Ends the agent cleanly: what was queued for the store is written. Guests run on.
    pub async fn close(&self) {
        self.inner.end_background();
        self.inner.machines.clear();
        self.write_counted().await;
        self.inner.store.close().await;
    }
}

#[cfg(test)]
mod tests;
