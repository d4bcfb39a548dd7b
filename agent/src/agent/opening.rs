//! How an agent begins: what was remembered is read, what is there is looked at, and what an earlier
//! life left open is settled, before any request is let in.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, RwLock, Weak},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use hypervisor_core::{
    driver::{Driver, DriverEvent},
    lifecycle::{Cause, Event, State, next},
};
use tokio::sync::mpsc;

use super::{Agent, Inner};
use crate::{
    address::Addresses,
    alerts::{self, Alerts},
    approval::{self, Approvals},
    config::{Config, ConfigError},
    confirm::Confirmations,
    console::Keyboards,
    devices::{self, Devices},
    dispatch::{self, Jobs, Limits, Repeats},
    drivers::Drivers,
    folders::Folders,
    handler::{empty_trash, guest, house, quotas, tidy_exports},
    images::share::Shares,
    images::{Library, Places},
    journal::{self, refusals::Counter, resolve, trail::Trail},
    machine::{
        Machine, Order, Record,
        publisher::{Change, Publisher},
        restarts, task, wording,
    },
    machines::Machines,
    migration::Passages,
    networks::{self, Networks},
    numbers::{self, meter::Meter},
    pictures::Pictures,
    rights::Rights,
    signing::Signing,
    store::{Store, StoreError, machines as rows},
    viewer::Tickets,
};

/// Commands of one person that may be under way.
pub(super) const JOBS_PER_PERSON: usize = 64;
/// Commands of everybody that may be under way.
const JOBS_ALL: usize = 2048;
/// Questions of one person that may be under way; they are short.
const READS_PER_PERSON: usize = 1024;
/// Questions of everybody that may be under way.
const READS_ALL: usize = 4096;
/// Machines looked at at once.
const AT_ONCE: usize = 32;
/// How long a driver may take to look at one when the agent starts.
const LOOK_MAX: Duration = Duration::from_secs(20);
/// How often the trash is looked through.
const TRASH_EVERY: Duration = Duration::from_secs(600);
/// Journal entries whose chain is checked when the agent starts.
const VERIFY_ROWS: usize = 10_000;

/// Why an agent cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The agent's folder cannot be used.
    #[error("the folder {folder} cannot be used; make it writable for the agent, or set state to another")]
    Folder {
        /// Which.
        folder: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store cannot be used.
    #[error("{file}: {source}")]
    Store {
        /// The file.
        file: String,
        /// Why.
        source: StoreError,
    },
}

impl Agent {
    /// Begins: reads what was remembered, looks at every machine, settles what was left open. Machines
    /// that run are taken as they are; those meant to start with their host are started when the host
    /// was started since.
    ///
    /// # Errors
    /// When the configuration, the folder or the store cannot be used.
    pub async fn open(config: Config, drivers: Vec<Arc<dyn Driver>>) -> Result<Self, OpenError> {
        let (roles, policies, keys) = (config.roles()?, config.policies()?, config.signing_keys()?);
        let folder = config.state.display().to_string();
        let unusable = |source| OpenError::Folder { folder: folder.clone(), source };
        let folders = Folders::open(&config.state).map_err(unusable)?;
        folders.grounds.configure(&config);
        let file = config.state.join("state.db");
        let broken = |source| OpenError::Store { file: file.display().to_string(), source };
        let store = Store::open(&file).map_err(broken)?;
        store.run(|connection| journal::verify(connection, VERIFY_ROWS)).await.map_err(broken)?;
        let images = Library::open(&config.state, store.clone()).map_err(unusable)?;
        let machines = Arc::new(Machines::default());
        let inner = Arc::new(Inner {
            addresses: Addresses::new(&config.link),
            drivers: Drivers::new(drivers, config.drivers.preferred.clone()),
            folders,
            images,
            networks: Networks::new(store.clone(), Arc::clone(&machines), &config),
            devices: Devices::new(store.clone(), Arc::clone(&machines), &config),
            publisher: Arc::new(Publisher::new(store.clone(), Arc::clone(&machines))),
            machines,
            trail: Trail::new(store.clone(), &config.state),
            audit: Arc::default(),
            refusals: Counter::default(),
            confirmations: Confirmations::default(),
            approvals: Approvals::default(),
            signing: Signing::default(),
            repeats: Repeats::default(),
            going: Jobs::default(),
            jobs: Limits::new(JOBS_PER_PERSON, JOBS_ALL),
            reads: Limits::new(READS_PER_PERSON, READS_ALL),
            rooms: quotas::Rooms::default(),
            tallies: Mutex::new(BTreeMap::new()),
            meter: Meter::default(),
            alerts: Alerts::default(),
            keyboards: Keyboards::default(),
            guests: guest::Said::default(),
            freezes: guest::Freezes::default(),
            tickets: Tickets::default(),
            pictures: Pictures::default(),
            passages: Passages::default(),
            shares: Shares::default(),
            schedules: tokio::sync::Mutex::default(),
            started: Instant::now(),
            linked: Mutex::new(None),
            background: Mutex::default(),
            rights: RwLock::new(Arc::new(Rights { roles, ..Rights::default() })),
            ruling: tokio::sync::Mutex::default(),
            ruled: Arc::default(),
            config: RwLock::new(Arc::new(config)),
            store,
        });
        let agent = Self { inner };
        agent.inner.approvals.change_policies(|kept| kept.configured = policies);
        agent.inner.signing.change_keys(keys);
        agent.begin().await.map_err(broken)?;
        Ok(agent)
    }

    async fn begin(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        if let Err(error) = inner.trail.tidy().await {
            tracing::error!(%error, "what is left of an earlier life beside the store stays there");
        }
        self.tidy_folders().await?;
        let same_boot = self.note_boot().await?;
        let stored = inner.store.run(rows::all).await?;
        inner.devices.load().await?;
        let moving = self.moving().await?;
        let moves = |id| moving.iter().find(|row| row.machine == id);
        stream::iter(stored)
            .map(|stored| async {
                let machine = Arc::new(house(inner, stored));
                if moves(machine.card.id).is_some_and(|row| !row.standing.owns()) {
                    machine.card.hand_over();
                }
                observe(inner, &machine, same_boot, moves(machine.card.id).is_some()).await;
                inner.machines.insert(machine);
            })
            .buffer_unordered(AT_ONCE)
            .collect::<()>()
            .await;
        inner.images.tidy().await?;
        tidy_exports(&Places::of(&self.config()));
        self.read_rights().await?;
        // With which rights come and go.
        for row in moving {
            self.go_on_with(row);
        }
        resolve::settle(self).await?;
        self.take_up_requests().await?;
        inner.alerts.load(inner.store.run(crate::store::alerts::all).await?);
        dispatch::notes::tidy(inner);
        self.thaw_what_was_held().await;
        inner.devices.settle().await;
        self.keep(devices::keep(inner.devices.clone(), Arc::downgrade(&inner.publisher)));
        // Before a machine is started that is on one.
        if let Err(error) = inner.networks.make().await {
            tracing::error!(%error, "the networks of this host could not be made");
        }
        self.keep(networks::keep(inner.networks.clone(), Arc::downgrade(&inner.publisher)));
        self.listen_to_drivers();
        self.start_with_host().await?;
        inner.machines.all().iter().for_each(|machine| machine.send(Order::Resume));
        self.keep(purge(Arc::downgrade(inner)));
        self.keep(super::rights::lapse(Arc::downgrade(inner)));
        self.keep(approval::keep::keep(Arc::downgrade(inner)));
        self.keep(alerts::look_after(Arc::downgrade(inner), self.config().metrics.every));
        if self.config().metrics.history {
            self.keep(numbers::history::remember(Arc::downgrade(inner)));
        }
        self.keep(super::keeping::keep_schedules(Arc::downgrade(inner)));
        self.put_away().await;
        self.look_at_head().await;
        self.keep(super::audit::keep_trail(Arc::downgrade(inner)));
        Ok(())
    }

    /// Runs something until the agent ends.
    pub(crate) fn keep(&self, work: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(work).abort_handle();
        let mut kept = self.inner.background.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Not all of them last as long as the agent.
        kept.retain(|task| !task.is_finished());
        kept.push(task);
    }

    fn listen_to_drivers(&self) {
        for driver in self.inner.drivers.enabled() {
            if let Some(events) = driver.events() {
                self.keep(forward(events, Arc::clone(&self.inner.machines)));
            }
        }
    }

    /// The folders follow what the store says, also after a crash in between.
    async fn tidy_folders(&self) -> Result<(), StoreError> {
        for trashed in self.inner.store.run(rows::trash).await? {
            self.inner.folders.to_trash(trashed.stored.record.id).await;
        }
        for stored in self.inner.store.run(rows::all).await? {
            if let Err(refusal) = self.inner.folders.back_from_trash(stored.record.id).await {
                tracing::warn!(machine = %stored.record.name, %refusal, "its folder is still in the trash");
            }
        }
        Ok(())
    }
}

/// Looks at a machine and takes it as it is.
async fn observe(inner: &Inner, machine: &Machine, same_boot: bool, moves: bool) {
    let before = machine.record();
    let launch = machine.card.launch();
    let looked = tokio::time::timeout(LOOK_MAX, machine.card.driver.observe(&launch)).await;
    let state = match looked {
        Ok(Ok(seen)) => task::observed_state(&before.state, &seen),
        Ok(Err(error)) => State::Failed(Cause(wording::cause(&error))),
        Err(_) => State::Failed(Cause("its driver did not answer when the agent started".into())),
    };
    // What becomes of one that moves is decided by the hand-over.
    if moves {
        return;
    }
    // Nobody waits any more for a shutdown that was asked before: it runs.
    let state = if state == State::Stopping { State::Running } else { state };
    if state == before.state {
        return;
    }
    let event = Event::Observed(Box::new(state));
    let Ok(state) = next(&before.state, &event) else { return };
    let (what, mut sentence) = wording::happened(&before.name, &event, &state);
    let mut record = Record { state, ..Record::clone(&before) };
    // With its host everything stops: what comes back then is another rule's business.
    if same_boot {
        let at = chrono::Utc::now();
        record.restarts = restarts::after(&before, &event, false, &record, at);
        sentence.extend(restarts::told(&before, &record, at).map(|told| format!(" {told}")));
    }
    let change = Change { what, sentence, by: None };
    if let Err(error) = inner.publisher.publish(&machine.card, record, change).await {
        tracing::error!(machine = %before.name, %error, "what was seen could not be stored");
    }
}

/// Brings what a driver tells to the machine it is about.
async fn forward(mut events: mpsc::Receiver<DriverEvent>, machines: Arc<Machines>) {
    while let Some(DriverEvent { id, what }) = events.recv().await {
        match machines.get(id) {
            Some(machine) => machine.tell(what),
            None => tracing::debug!(%id, "an event of a machine that is not here"),
        }
    }
}

/// Empties the trash now and then, until the agent ends.
async fn purge(inner: Weak<Inner>) {
    let mut every = tokio::time::interval(TRASH_EVERY);
    loop {
        every.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        empty_trash(&inner).await;
    }
}
