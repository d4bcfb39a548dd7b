//! What has to outlive the agent: who is whose contact, who subscribed to which node, and which names
//! were given up. The server keeps none of it for a component.
//!
//! The faces know it all in memory; each change is written to the store behind them, in order.

use std::sync::Mutex;

use tokio::{sync::mpsc, task::JoinHandle};
use xmpp_parsers::jid::{BareJid, Jid};

use super::{entity::Entity, lock, nodes::Node};
use crate::store::{PresenceSubscription, PubsubSubscription, Store, StoreError, SubscriptionState};

/// How many changes may wait to be written.
const WAITING_MAX: usize = 4096;

/// One change.
#[derive(Debug)]
pub(crate) enum Change {
    /// Who sees whom: whether they see us, whether we see them. Neither means no contact.
    Contact(Entity, BareJid, bool, bool),
    /// Subscribed to a node, or no longer.
    Subscription(Entity, Node, BareJid, bool),
    /// This name was given up by this machine; with `None` it is in use again.
    Moved(String, Option<Entity>),
    /// All about this entity goes.
    Gone(Entity),
}

/// What was kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Entity, person, whether they see us, whether we see them.
    pub(crate) contacts: Vec<(Entity, BareJid, bool, bool)>,
    /// Who subscribed to what.
    pub(crate) subscriptions: Vec<(Entity, Node, Jid)>,
    /// Old names, and which machine had them.
    pub(crate) moved: Vec<(String, Entity)>,
}

/// Writes changes down.
#[derive(Debug)]
pub(crate) struct Ledger(Mutex<Option<(mpsc::Sender<Change>, JoinHandle<()>)>>);

impl Ledger {
    /// Reads what was kept, and starts to write what changes.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn open(store: Store) -> Result<(Self, Kept), StoreError> {
        let kept = kept(&store).await?;
        let (changes, mut waiting) = mpsc::channel(WAITING_MAX);
        let writer = tokio::spawn(async move {
            while let Some(change) = waiting.recv().await {
                if let Err(error) = apply(&store, change).await {
                    tracing::error!(%error, "a change of contacts could not be written down");
                }
            }
        });
        Ok((Self(Mutex::new(Some((changes, writer)))), kept))
    }

    /// Writes a change down, soon.
    pub(crate) fn note(&self, change: Change) {
        let sent = lock(&self.0).as_ref().is_some_and(|(changes, _)| changes.try_send(change).is_ok());
        if !sent {
            tracing::error!(
                "a change of contacts could not be written down: too much waits, or we are closing"
            );
        }
    }

    /// Writes what waits, and nothing more after it.
    pub(crate) async fn finish(&self) {
        let open = lock(&self.0).take();
        if let Some((changes, writer)) = open {
            drop(changes);
            if let Err(defect) = writer.await {
                tracing::error!(%defect, "the last changes of contacts were not written down");
            }
        }
    }
}

async fn apply(store: &Store, change: Change) -> Result<(), StoreError> {
    let kept = store.subscriptions();
    match change {
        Change::Contact(entity, person, false, false) => kept.remove_presence(&entity.key(), &person).await,
        Change::Contact(entity, jid, theirs, ours) => {
            let state = match (theirs, ours) {
                (true, true) => SubscriptionState::Both,
                (true, false) => SubscriptionState::From,
                (false, _) => SubscriptionState::To,
            };
            kept.set_presence(PresenceSubscription { target: entity.key(), jid, state }).await
        }
        Change::Subscription(entity, node, jid, subscribed) => {
            let one = PubsubSubscription { target: entity.key(), node: node.name().to_owned(), jid };
            match subscribed {
                true => kept.add_pubsub(one).await,
                false => kept.remove_pubsub(&one).await,
            }
        }
        Change::Moved(name, machine) => note_moved(store, name, machine).await,
        Change::Gone(entity) => {
            kept.retarget(&entity.key(), None).await?;
            let sql = "DELETE FROM moved_names WHERE machine = ?1";
            store.run(move |connection| Ok(connection.execute(sql, [entity.key()]).map(drop)?)).await
        }
    }
}

async fn note_moved(store: &Store, name: String, machine: Option<Entity>) -> Result<(), StoreError> {
    let work = move |connection: &rusqlite::Connection| match machine {
        Some(machine) => {
            let sql = "INSERT INTO moved_names VALUES (?1, ?2) ON CONFLICT DO UPDATE SET machine = ?2";
            Ok(connection.execute(sql, [name, machine.key()]).map(drop)?)
        }
        None => Ok(connection.execute("DELETE FROM moved_names WHERE name = ?1", [name]).map(drop)?),
    };
    store.run(work).await
}

/// Reads everything; a row that makes no sense any more is left out.
async fn kept(store: &Store) -> Result<Kept, StoreError> {
    let mut kept = Kept::default();
    for PresenceSubscription { target, jid, state } in store.subscriptions().presence().await? {
        let theirs = matches!(state, SubscriptionState::From | SubscriptionState::Both);
        let ours = matches!(state, SubscriptionState::To | SubscriptionState::Both);
        kept.contacts.extend(Entity::from_key(&target).map(|entity| (entity, jid, theirs, ours)));
    }
    for PubsubSubscription { target, node, jid } in store.subscriptions().pubsub().await? {
        let parsed = Entity::from_key(&target).zip(Node::named(&node));
        kept.subscriptions.extend(parsed.map(|(entity, node)| (entity, node, jid.into())));
    }
    let rows = store.run(|connection| {
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS moved_names (name TEXT PRIMARY KEY, machine TEXT NOT NULL) STRICT",
        )?;
        let mut rows = connection.prepare("SELECT name, machine FROM moved_names")?;
        let rows = rows.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<Vec<(String, String)>, _>>()?)
    });
    for (name, machine) in rows.await? {
        kept.moved.extend(Entity::from_key(&machine).map(|entity| (name, entity)));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use hypervisor_core::machine::MachineId;

    use super::*;

    #[tokio::test]
    async fn what_was_written_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state.db")).unwrap();
        let (ann, bob): (BareJid, BareJid) = ("ann@x.org".parse().unwrap(), "bob@x.org".parse().unwrap());
        let web = Entity::Machine(MachineId::fresh());
        let old = Entity::Machine(MachineId::fresh());
        let (ledger, kept_before) = Ledger::open(store.clone()).await.unwrap();
        assert!(kept_before.contacts.is_empty());
        ledger.note(Change::Contact(web, ann.clone(), true, false));
        ledger.note(Change::Contact(Entity::Host, bob.clone(), true, true));
        ledger.note(Change::Contact(Entity::Host, bob.clone(), false, false));
        ledger.note(Change::Contact(old, bob.clone(), true, true));
        ledger.note(Change::Subscription(Entity::Host, Node::Events, bob.clone(), true));
        ledger.note(Change::Subscription(Entity::Host, Node::Metrics, bob.clone(), true));
        ledger.note(Change::Subscription(Entity::Host, Node::Metrics, bob.clone(), false));
        ledger.note(Change::Moved("web0".into(), Some(web)));
        ledger.note(Change::Gone(old));
        ledger.finish().await;
        let kept = kept(&store).await.unwrap();
        assert_eq!(kept.contacts, [(web, ann, true, false)]);
        assert_eq!(kept.subscriptions, [(Entity::Host, Node::Events, bob.into())]);
        assert_eq!(kept.moved, [("web0".to_owned(), web)]);
    }
}
