//! The XMPP faces of the agent: how the host and its machines look, and answer, to others.
//!
//! ```text
//! link ─ stanza ─▸ router ─┬─▸ disco, caps, simple, presence, pubsub
//!                          └─▸ adhoc, chat ─▸ Asked ─▸ Agent
//! Agent ─ announcement ─▸ announce ─▸ presence, pubsub or pep ─▸ link
//! ```
//! Nothing here decides what a person may do: that is [`Agent::knows`] and what is behind
//! [`Agent::ask`].

mod adhoc;
mod announce;
mod audit;
mod avatar;
mod bob;
mod bytestream;
mod caps;
mod chat;
mod contacts;
mod disco;
mod entity;
mod handover;
mod large;
mod ledger;
mod limits;
mod nodes;
mod payloads;
mod pep;
mod picture;
mod presence;
mod pubsub;
mod rooms;
mod router;
mod serve;
mod session;
mod share;
mod simple;
mod stanza;
mod turned_away;
mod upload;
mod wire;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hypervisor_core::machine::{MachineId, MachineName};
use minidom::Element;
use skerry_link::SendError;
use tokio::time::Instant;
use xmpp_parsers::jid::Jid;

pub use serve::{Ended, ROUND_MAX};
pub use wire::Wire;

use self::{
    avatar::Avatar, contacts::Contacts, entity::Entity, ledger::Ledger, limits::Limits, pubsub::Subscriptions,
};
use crate::{
    address::Addresses,
    agent::{Agent, Seen},
    asked::Target,
    store::StoreError,
};

/// All faces of one agent on one link.
pub struct Face {
    agent: Agent,
    wire: Arc<dyn Wire>,
    addresses: RwLock<Addresses>,
    host_name: String,
    begun: Instant,
    /// When the loop last went round.
    round: Mutex<Instant>,
    caps: caps::Own,
    peers: Mutex<caps::Peers>,
    contacts: Mutex<Contacts>,
    subscriptions: Mutex<Subscriptions>,
    ledger: Ledger,
    /// The name of each machine, to find one by its identity.
    names: Mutex<HashMap<MachineId, MachineName>>,
    /// Names that were given up, and by which machine.
    moved: Mutex<HashMap<String, Entity>>,
    pictures: Mutex<HashMap<Entity, String>>,
    /// What the host's presence said last.
    shown: Mutex<String>,
    last_event: AtomicU64,
    pep: pep::Pep,
    limits: Limits,
    sessions: session::Sessions,
    talks: chat::Talks,
    lives: chat::Lives,
    streams: bytestream::Streams,
    upload: upload::Upload,
    rooms: rooms::Rooms,
    groups: rooms::Groups,
    own_said: rooms::Own,
    /// What is used is being measured, to be published.
    measuring: AtomicBool,
}

impl Face {
    /// The faces of this agent; nothing is sent yet.
    ///
    /// # Errors
    /// What is kept of contacts and subscriptions cannot be read.
    pub async fn new(agent: Agent, wire: Arc<dyn Wire>) -> Result<Arc<Self>, StoreError> {
        let (ledger, kept) = Ledger::open(agent.inner.store.clone()).await?;
        let (addresses, host_name) = (agent.addresses().clone(), agent.config().name.clone());
        let mut contacts = Contacts::default();
        for (entity, person, theirs, ours) in &kept.contacts {
            contacts.set(*entity, person, *theirs, *ours);
        }
        let mut subscriptions = Subscriptions::default();
        for (entity, node, jid) in kept.subscriptions {
            subscriptions.add(entity, node, jid);
        }
        let names = agent.machines().into_iter().map(|seen| (seen.id, seen.name)).collect();
        let face = Self {
            caps: caps::Own::new(addresses.is_component()),
            agent,
            wire,
            addresses: RwLock::new(addresses),
            host_name,
            begun: Instant::now(),
            round: Mutex::new(Instant::now()),
            peers: Mutex::default(),
            contacts: Mutex::new(contacts),
            subscriptions: Mutex::new(subscriptions),
            ledger,
            names: Mutex::new(names),
            moved: Mutex::new(kept.moved.into_iter().collect()),
            pictures: Mutex::default(),
            shown: Mutex::default(),
            last_event: AtomicU64::new(0),
            pep: pep::Pep::default(),
            limits: Limits::default(),
            sessions: session::Sessions::default(),
            talks: chat::Talks::default(),
            lives: chat::Lives::default(),
            streams: bytestream::Streams::default(),
            upload: upload::Upload::default(),
            rooms: rooms::Rooms::default(),
            groups: rooms::Groups::default(),
            own_said: rooms::Own::default(),
            measuring: AtomicBool::new(false),
        };
        face.find_last_event().await;
        let face = Arc::new(face);
        let uploads: Weak<Self> = Arc::downgrade(&face);
        face.agent.uploads_by(uploads);
        let peers: Weak<Self> = Arc::downgrade(&face);
        face.agent.peers_by(peers);
        let messages: Weak<Self> = Arc::downgrade(&face);
        face.agent.messages_by(messages);
        Ok(face)
    }

    /// Writes down what still waits to be. Nothing is kept after it.
    pub async fn close(&self) {
        self.ledger.finish().await;
    }

    /// Whether the loop of [`Face::serve`] went round lately: an agent that hangs is better restarted.
    pub fn went_round_within(&self, limit: std::time::Duration) -> bool {
        lock(&self.round).elapsed() < limit
    }

    /// Sends a stanza. What cannot be sent is gone: after a break everything that matters is sent anew.
    async fn say(&self, stanza: impl Into<Element>) {
        if let Err(error) = self.wire.send(stanza.into()).await {
            tracing::debug!(%error, "a stanza was not sent");
        }
    }

    /// Gives an answer. One that no server would take is given shorter, or else refused: who asked waits
    /// for something. `iq` is the question, as far as [`stanza::refuse`] needs it.
    async fn give(&self, answer: Element, iq: &Element) {
        let shorter = large::without_repetition(&answer);
        match self.wire.send(answer).await {
            Err(SendError::Unsendable { why }) => tracing::info!(why, "an answer is too large"),
            Err(error) => return tracing::debug!(%error, "an answer was not sent"),
            Ok(()) => return,
        }
        if let Some(shorter) = shorter {
            match self.wire.send(shorter).await {
                Err(SendError::Unsendable { .. }) => {}
                _ => return,
            }
        }
        self.say(stanza::refuse(iq, &large::refusal())).await;
    }

    fn addresses(&self) -> Addresses {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn contacts(&self) -> MutexGuard<'_, Contacts> {
        lock(&self.contacts)
    }

    fn peers(&self) -> MutexGuard<'_, caps::Peers> {
        lock(&self.peers)
    }

    fn subscriptions(&self) -> MutexGuard<'_, Subscriptions> {
        lock(&self.subscriptions)
    }

    /// Who is behind a target; `None` when there is no such machine.
    fn entity(&self, target: &Target) -> Option<Entity> {
        match target {
            Target::Host => Some(Entity::Host),
            Target::Machine(name) => self.agent.machine(name).map(|seen| Entity::Machine(seen.id)),
        }
    }

    /// Where an entity is found now; `None` when it is no more.
    fn target(&self, entity: Entity) -> Option<Target> {
        match entity {
            Entity::Host => Some(Target::Host),
            Entity::Machine(id) => lock(&self.names).get(&id).cloned().map(Target::Machine),
        }
    }

    /// A machine by its identity.
    fn seen(&self, entity: Entity) -> Option<Seen> {
        match self.target(entity)? {
            Target::Host => None,
            Target::Machine(name) => self.agent.machine(&name),
        }
    }

    /// The address a machine has now that was once called so, here or on another host.
    fn moved(&self, name: &MachineName) -> Option<Jid> {
        let renamed = self.renamed(name).map(|target| self.addresses().of(&target));
        renamed.or_else(|| self.agent.moved_away(name))
    }

    /// Where a machine is that moved to this address: at it, or named by the host that it is of.
    fn whereabouts(&self, address: &Jid) -> String {
        match self.agent.is_peer(&address.to_bare()) {
            true => format!("on the host {}", address.to_bare()),
            false => address.to_string(),
        }
    }

    /// The machine that had this name, which nobody has now.
    fn renamed(&self, name: &MachineName) -> Option<Target> {
        let entity = lock(&self.moved).get(name.as_str()).copied()?;
        self.target(entity)
    }

    /// The picture of an entity.
    fn avatar(&self, entity: Entity) -> Avatar {
        avatar::of(entity, self.addresses().host().domain().as_str())
    }

    /// Its hash, which is in every presence.
    fn avatar_hash(&self, entity: Entity) -> String {
        if let Some(hash) = lock(&self.pictures).get(&entity) {
            return hash.clone();
        }
        let hash = self.avatar(entity).hash;
        lock(&self.pictures).insert(entity, hash.clone());
        hash
    }

    /// The number of the newest event.
    fn last_event(&self) -> u64 {
        self.last_event.load(Ordering::Relaxed)
    }

    /// Reads on in the event log to its end.
    async fn find_last_event(&self) {
        loop {
            let events = self.agent.events_after(self.last_event(), 1000).await;
            match events.last() {
                Some(last) => self.last_event.store(last.sequence, Ordering::Relaxed),
                None => return,
            }
        }
    }
}

/// Locks; a panic elsewhere while it was held spoils nothing that the next announcement would not mend.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
