//! One machine: what is remembered of it, and the handle by which the rest of the agent reaches the
//! task that owns it.

mod grounds;
pub(crate) mod layers;
pub(crate) mod publisher;
pub(crate) mod queue;
mod reboots;
pub(crate) mod restarts;
pub(crate) mod start;
pub(crate) mod task;
pub(crate) mod wording;

use std::{
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use hypervisor_core::{
    definition::{Definition, Disk},
    driver::{Devices, Driver, GuestEvent, Launch, Networks},
    lifecycle::{Request, State, Wanted},
    machine::{MachineId, MachineName},
};
use skerry_stanzas::refusal::{Reason, Refusal};
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use self::{grounds::Grounds, publisher::Ending};
use self::{
    layers::{Layering, Layers},
    publisher::Change,
    restarts::Restarts,
};
use crate::{agent::Seen, folders::Folders, machines::Machines};

/// Orders that may wait for one machine.
pub(crate) const QUEUE_MAX: usize = 32;

/// All that is remembered of a machine. Replaced as a whole, by its task only, after it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: MachineId,
    pub(crate) name: MachineName,
    pub(crate) definition: Definition,
    pub(crate) driver: &'static str,
    pub(crate) wanted: Wanted,
    pub(crate) state: State,
    pub(crate) generation: u64,
    pub(crate) labels: Vec<String>,
    pub(crate) autostart: bool,
    pub(crate) protected: bool,
    /// How often it was started again lately by its policy.
    pub(crate) restarts: Restarts,
    /// Its external snapshots, and what its disks stand on.
    pub(crate) layers: Layers,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) created_by: String,
}

impl Record {
    /// Of a machine that is new here.
    pub(crate) fn new(
        id: MachineId,
        name: MachineName,
        definition: Definition,
        driver: &'static str,
        state: State,
        created_by: String,
    ) -> Self {
        Self {
            id,
            name,
            definition,
            driver,
            wanted: if state == State::Running { Wanted::Running } else { Wanted::Stopped },
            state,
            generation: 1,
            labels: vec![],
            autostart: false,
            protected: false,
            restarts: Restarts::default(),
            layers: Layers::default(),
            created_at: Utc::now(),
            created_by,
        }
    }

    /// The state in a short plain sentence, and what follows from it by itself.
    pub(crate) fn sentence(&self) -> String {
        let state = self.state.sentence();
        match self.restarts.sentence() {
            Some(again) => format!("{state}; {again}"),
            None => state,
        }
    }

    /// As the faces see it.
    pub(crate) fn seen(&self) -> Seen {
        Seen {
            id: self.id,
            name: self.name.clone(),
            state: self.state.clone(),
            sentence: self.sentence(),
            wanted: self.wanted,
            generation: self.generation,
            driver: self.driver,
            vcpus: self.definition.vcpus,
            memory_mib: self.definition.memory_mib,
            labels: self.labels.clone(),
        }
    }
}

/// What both the handle and the task hold: what the machine is now, and where.
pub(crate) struct Card {
    /// For life.
    pub(crate) id: MachineId,
    /// What runs it.
    pub(crate) driver: Arc<dyn Driver>,
    /// Its folder.
    pub(crate) folder: PathBuf,
    grounds: Arc<Grounds>,
    networks: Networks,
    devices: Devices,
    record: RwLock<Arc<Record>>,
    /// Held by a start, and by whatever works on its disks: neither comes between the other.
    storage: Arc<tokio::sync::Mutex<()>>,
    /// It is another host's, or may be: nothing is done to it here, and what it does is not ours to tell.
    elsewhere: AtomicBool,
    /// The guest did more than could be taken: its task is to look for itself. Once, however much it was.
    overlooked: Notify,
}

impl Card {
    pub(crate) fn new(
        record: Record,
        driver: Arc<dyn Driver>,
        folders: &Folders,
        networks: Networks,
        devices: Devices,
    ) -> Self {
        let folder = folders.machine(record.id);
        Self {
            id: record.id,
            driver,
            folder,
            grounds: Arc::clone(&folders.grounds),
            networks,
            devices,
            record: RwLock::new(Arc::new(record)),
            storage: Arc::default(),
            elsewhere: AtomicBool::new(false),
            overlooked: Notify::new(),
        }
    }

    /// What it is now.
    pub(crate) fn record(&self) -> Arc<Record> {
        Arc::clone(&self.record.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Refuses to open its disks where one stands on what is not its own to read.
    pub(crate) fn stands_on_its_own_ground(
        &self,
        record: &Record,
        machines: &Machines,
    ) -> Result<(), Refusal> {
        let all: Vec<_> = machines.all().iter().map(|machine| machine.record()).collect();
        self.grounds.check(self, record, all.iter().map(Arc::as_ref))
    }

    /// Takes hold of its storage, if nobody has.
    pub(crate) fn storage(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        Arc::clone(&self.storage).try_lock_owned().ok()
    }

    /// From now on it is another host's, or may be.
    pub(crate) fn hand_over(&self) {
        self.elsewhere.store(true, Ordering::SeqCst);
    }

    /// From now on it is this host's.
    pub(crate) fn take_over(&self) {
        self.elsewhere.store(false, Ordering::SeqCst);
    }

    /// Whether it is another host's, or may be.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.elsewhere.load(Ordering::SeqCst)
    }

    /// Shows what was stored. Called by the publisher, after the commit.
    fn show(&self, record: Arc<Record>) {
        *self.record.write().unwrap_or_else(PoisonError::into_inner) = record;
    }

    /// What the driver needs to know of it.
    pub(crate) fn launch(&self) -> Launch {
        let record = self.record();
        Launch {
            id: self.id,
            name: record.name.to_string(),
            definition: record.definition.clone(),
            folder: self.folder.clone(),
            own: record.layers.files().map(PathBuf::from).collect(),
            networks: self.networks.clone(),
            devices: self.devices.clone(),
        }
    }
}

/// The handle of a machine. Its task ends when the last one is gone; the guest runs on.
pub(crate) struct Machine {
    /// What it is.
    pub(crate) card: Arc<Card>,
    orders: mpsc::Sender<Box<Order>>,
    guest: mpsc::Sender<GuestEvent>,
}

/// What a machine's task can be told.
pub(crate) enum Order {
    /// To do something to the guest.
    Do(Do),
    /// To change what is remembered.
    Edit {
        /// What.
        edit: Edit,
        /// Who asked.
        by: Option<String>,
        /// The answer.
        reply: Reply,
    },
    /// The agent has begun: what is to be started again by its policy is waited for from now on.
    Resume,
    /// To forget the machine, which is somebody else's, and end.
    Release {
        /// Who asked.
        by: String,
        /// The answer.
        reply: Reply,
    },
    /// To put the machine into the trash and end.
    Retire {
        /// Who asked.
        by: String,
        /// The answer.
        reply: Reply,
    },
}

/// Something to do to the guest.
pub(crate) struct Do {
    /// What.
    pub(crate) request: Request,
    /// How long the guest may take.
    pub(crate) wait: Duration,
    /// Who asked.
    pub(crate) by: Option<String>,
    /// It took nothing away when it was asked for, so nobody was asked whether it is meant.
    pub(crate) unasked: bool,
    /// Where to say how it goes, when somebody wants to know.
    pub(crate) progress: Option<mpsc::Sender<String>>,
    /// The end of a command, where doing this is all of it.
    pub(crate) ending: Option<Ending>,
    /// The answer, when it is done.
    pub(crate) reply: Reply,
}

impl Do {
    /// A start that nobody watches.
    pub(crate) fn start(by: Option<String>, reply: Reply) -> Self {
        Self::unwatched(Request::Start, by, reply)
    }

    /// What nobody watches.
    pub(crate) fn unwatched(request: Request, by: Option<String>, reply: Reply) -> Self {
        Self { request, wait: task::WAIT, by, unasked: false, progress: None, ending: None, reply }
    }
}

/// A change of what is remembered.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// Another definition, what it was made of, and what is different about it, in words. Refused when it is
    /// something else by now: what came in between must not be lost.
    Define {
        /// What it was.
        before: Box<Definition>,
        /// What it is to be.
        after: Box<Definition>,
        /// What is different.
        what: String,
    },
    /// One of its disks, in another file.
    Move(String, PathBuf),
    /// What its disks stand on; what is different, in words.
    Layer(Layering, String),
    /// A further disk.
    Attach(Box<Disk>),
    /// Without the disk of this name.
    Detach(String),
    /// Another name.
    Rename(MachineName),
    /// Labels to add and to take away.
    Label {
        /// To add.
        add: Vec<String>,
        /// To take away.
        remove: Vec<String>,
    },
    /// Whether it starts with its host.
    Autostart(bool),
    /// Whether it is protected.
    Protect(bool),
    /// It begins to move, or has ended to: what it is from now on, and what that is called.
    Become(Box<State>, Change),
}

/// How an order ended.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// The machine after it.
    pub(crate) record: Arc<Record>,
    /// Whether there was nothing to do.
    pub(crate) already: bool,
}

/// Where the answer to an order goes.
pub(crate) type Reply = oneshot::Sender<Result<Report, Refusal>>;

impl Machine {
    /// What it is now.
    pub(crate) fn record(&self) -> Arc<Record> {
        self.card.record()
    }

    /// Gives an order and waits for its end. `order` makes it around the place for the answer.
    pub(crate) async fn order(&self, order: impl FnOnce(Reply) -> Order) -> Result<Report, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(Box::new(order(reply))).map_err(|full| self.unreached(&full))?;
        answer.await.map_err(|_| self.gone())?
    }

    /// Gives an order whose answer nobody waits for.
    pub(crate) fn send(&self, order: Order) {
        if self.orders.try_send(Box::new(order)).is_err() {
            tracing::warn!(machine = %self.record().name, "too many commands are waiting: one was dropped");
        }
    }

    /// Tells what the guest did. When too much of it is waiting, the task looks for itself instead.
    pub(crate) fn tell(&self, event: GuestEvent) {
        if self.guest.try_send(event).is_err() {
            self.card.overlooked.notify_one();
        }
    }

    fn unreached(&self, why: &mpsc::error::TrySendError<Box<Order>>) -> Refusal {
        match why {
            mpsc::error::TrySendError::Full(_) => Refusal::new(
                Reason::Limit,
                format!("Too many commands are waiting for {}.", self.record().name),
            )
            .hint("Wait until some of them are done."),
            mpsc::error::TrySendError::Closed(_) => self.gone(),
        }
    }

    fn gone(&self) -> Refusal {
        Refusal::new(Reason::Unavailable, format!("{} was taken away meanwhile.", self.record().name))
            .hint("\"list\" shows the machines there are.")
    }
}
