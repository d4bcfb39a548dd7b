//! What changes is stored first and told then, in the order it was stored.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hypervisor_core::machine::{MachineId, MachineName};
use tokio::sync::broadcast;
use uuid::Uuid;
use xmpp_parsers::jid::Jid;

use super::{Card, Machine, Record};
use crate::{
    agent::{Announcement, Event},
    journal::{self, Outcome},
    machines::Machines,
    store::{
        Store, StoreError, definitions,
        events::{self, Happening},
        machines as rows,
    },
};

/// Announcements a reader may be behind before it is told that it lags.
const LAG_MAX: usize = 2048;

/// What becomes of the row of a machine that leaves, when and by whose will.
pub(crate) type Leaving =
    fn(&rusqlite::Connection, MachineId, chrono::DateTime<chrono::Utc>, &str) -> Result<(), StoreError>;

/// Stores and tells.
pub(crate) struct Publisher {
    pub(crate) store: Store,
    pub(crate) machines: Arc<Machines>,
    announcements: broadcast::Sender<Announcement>,
}

/// What a change is called, and who asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Past tense: `machine.started`.
    pub(crate) what: &'static str,
    /// The same in a sentence.
    pub(crate) sentence: String,
    /// Who asked for it.
    pub(crate) by: Option<String>,
}

/// The end of a command, written down in one transaction with what it made of a machine: one sync less to
/// wait for.
pub(crate) struct Ending {
    /// Its entry in the journal.
    pub(crate) entry: Uuid,
    /// What is answered, when the machine is this.
    pub(crate) outcome: Box<dyn FnOnce(&Record) -> Outcome + Send + Sync>,
    /// Set when it is written.
    pub(crate) written: Arc<AtomicBool>,
}

impl Publisher {
    pub(crate) fn new(store: Store, machines: Arc<Machines>) -> Self {
        Self { store, machines, announcements: broadcast::channel(LAG_MAX).0 }
    }

    /// What is told from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Announcement> {
        self.announcements.subscribe()
    }

    /// A machine is now `next`: its generation grows by one, it is stored with its event, shown, told.
    pub(crate) async fn publish(
        &self,
        card: &Arc<Card>,
        next: Record,
        change: Change,
    ) -> Result<(), StoreError> {
        self.publish_ending(card, next, change, Vec::new()).await
    }

    /// The same, and these commands end with it.
    pub(crate) async fn publish_ending(
        &self,
        card: &Arc<Card>,
        mut next: Record,
        change: Change,
        endings: Vec<Ending>,
    ) -> Result<(), StoreError> {
        let before = card.record();
        next.generation = before.generation + 1;
        let next = Arc::new(next);
        let renamed_from = (next.name != before.name).then(|| before.name.clone());
        let redefined = next.definition != before.definition;
        let (who, what) = (change.by.clone().unwrap_or_default(), change.sentence.clone());
        let happening = happening(&next, change);
        let (stored, card) = (Arc::clone(&next), Arc::clone(card));
        let machines = Arc::clone(&self.machines);
        let (ends, written): (Vec<_>, Vec<_>) =
            endings.into_iter().map(|one| ((one.entry, (one.outcome)(&next)), one.written)).unzip();
        self.store_and_tell(
            happening,
            move |connection| {
                rows::update(connection, &stored)?;
                if redefined {
                    definitions::append(connection, stored.id, &who, &what, &stored.definition)?;
                }
                ends.iter().try_for_each(|(entry, outcome)| journal::close(connection, *entry, outcome))
            },
            move |tell| {
                written.iter().for_each(|written| written.store(true, Ordering::SeqCst));
                if let Some(from) = &renamed_from {
                    machines.rename(card.id, from, &next.name);
                }
                card.show(Arc::clone(&next));
                tell.machine(&next, renamed_from, false);
            },
        )
        .await
    }

    /// A machine is new here (created, adopted, out of the trash): `write` stores its row. It is
    /// reachable as soon as this answers.
    pub(crate) async fn welcome(
        &self,
        machine: Arc<Machine>,
        write: impl FnOnce(&rusqlite::Connection, &Record) -> Result<(), StoreError> + Send + 'static,
        change: Change,
    ) -> Result<(), StoreError> {
        let record = machine.record();
        let stored = Arc::clone(&record);
        let happening = happening(&record, change);
        let machines = Arc::clone(&self.machines);
        self.store_and_tell(
            happening,
            move |connection| write(connection, &stored),
            move |tell| {
                machines.insert(machine);
                tell.machine(&record, None, true);
            },
        )
        .await
    }

    /// A machine leaves, as `write` has it: into the trash, or for good.
    pub(crate) async fn farewell(
        &self,
        card: &Arc<Card>,
        write: Leaving,
        change: Change,
    ) -> Result<(), StoreError> {
        let (id, by) = (card.id, change.by.clone().unwrap_or_default());
        self.depart(card, move |connection| write(connection, id, chrono::Utc::now(), &by), change, None)
            .await
    }

    /// A machine is gone from here, to where `to` says, or had never quite come: `write` takes out its row.
    pub(crate) async fn depart(
        &self,
        card: &Arc<Card>,
        write: impl FnOnce(&rusqlite::Connection) -> Result<(), StoreError> + Send + 'static,
        change: Change,
        to: Option<Jid>,
    ) -> Result<(), StoreError> {
        let (record, id) = (card.record(), card.id);
        let machines = Arc::clone(&self.machines);
        self.store_and_tell(happening(&record, change), write, move |tell| {
            machines.remove(id);
            tell.gone(&record, to);
        })
        .await
    }

    /// Something happened that changes no machine.
    pub(crate) async fn note(&self, happening: Happening) -> Result<(), StoreError> {
        self.store_and_tell(happening, |_| Ok(()), |_| ()).await
    }

    /// Who may do what has changed.
    pub(crate) fn rights_changed(&self) {
        let _ = self.announcements.send(Announcement::Rights);
    }

    /// What is written and what happened are stored together; then others are told, of the event last.
    async fn store_and_tell(
        &self,
        happening: Happening,
        write: impl FnOnce(&rusqlite::Connection) -> Result<(), StoreError> + Send + 'static,
        tell_first: impl FnOnce(&Teller) + Send + 'static,
    ) -> Result<(), StoreError> {
        let tell = Teller(self.announcements.clone());
        self.store
            .run_then(
                move |connection| {
                    write(connection)?;
                    events::append(connection, happening)
                },
                move |event| {
                    tell_first(&tell);
                    tell.event(event);
                },
            )
            .await
            .map(drop)
    }
}

/// Tells from the store's thread. Nobody listening is no error.
struct Teller(broadcast::Sender<Announcement>);

impl Teller {
    fn machine(&self, record: &Record, renamed_from: Option<MachineName>, new: bool) {
        let _ = self.0.send(Announcement::Machine { seen: record.seen(), renamed_from, new });
    }

    fn gone(&self, record: &Record, to: Option<Jid>) {
        let _ = self.0.send(Announcement::Gone { seen: record.seen(), to });
    }

    fn event(&self, event: &Event) {
        let _ = self.0.send(Announcement::Event(event.clone()));
    }
}

fn happening(record: &Record, change: Change) -> Happening {
    Happening {
        what: change.what,
        machine: Some(record.name.to_string()),
        state: Some(record.state.word().into()),
        generation: Some(record.generation),
        by: change.by,
        sentence: change.sentence,
    }
}
