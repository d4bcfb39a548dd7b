//! Who may see whose presence, and who listens to which pubsub node. A component has no roster of its
//! own, so this is it.

use rusqlite::Connection;
use xmpp_parsers::jid::BareJid;

use super::{Store, StoreError};

/// How far a presence subscription has come (RFC 6121 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubscriptionState {
    /// They see us.
    From,
    /// They see us, and we see them.
    Both,
    /// We asked to see them and wait for the answer.
    Asked,
    /// We see them.
    To,
}

impl SubscriptionState {
    const ALL: [Self; 4] = [Self::From, Self::Both, Self::Asked, Self::To];

    const fn word(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::Both => "both",
            Self::Asked => "asked",
            Self::To => "to",
        }
    }
}

/// One presence subscription.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PresenceSubscription {
    /// Ours: the bare address of the host or of a machine, or its id, as the writer chose.
    pub target: String,
    /// Theirs.
    pub jid: BareJid,
    /// How far it has come.
    pub state: SubscriptionState,
}

/// One subscription of a pubsub node (XEP-0060).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PubsubSubscription {
    /// Ours: whose node.
    pub target: String,
    /// Which node.
    pub node: String,
    /// Who listens.
    pub jid: BareJid,
}

/// The subscriptions in the store. Each change is on the disk when it answers.
#[derive(Clone)]
pub struct Subscriptions {
    store: Store,
}

impl Store {
    /// The presence and pubsub subscriptions.
    pub fn subscriptions(&self) -> Subscriptions {
        Subscriptions { store: self.clone() }
    }
}

impl Subscriptions {
    /// Every presence subscription.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn presence(&self) -> Result<Vec<PresenceSubscription>, StoreError> {
        self.store.run(all_presence).await
    }

    /// Adds a presence subscription, or sets its state.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn set_presence(&self, one: PresenceSubscription) -> Result<(), StoreError> {
        let sql = "INSERT INTO presence_subscriptions (target, jid, state) VALUES (?1, ?2, ?3)
                   ON CONFLICT DO UPDATE SET state = ?3";
        self.write(sql, [one.target, one.jid.to_string(), one.state.word().into()]).await
    }

    /// Takes a presence subscription away.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn remove_presence(&self, target: &str, jid: &BareJid) -> Result<(), StoreError> {
        let sql = "DELETE FROM presence_subscriptions WHERE target = ?1 AND jid = ?2";
        self.write(sql, [target.into(), jid.to_string()]).await
    }

    /// Every pubsub subscription.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn pubsub(&self) -> Result<Vec<PubsubSubscription>, StoreError> {
        self.store.run(all_pubsub).await
    }

    /// Adds a pubsub subscription.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn add_pubsub(&self, one: PubsubSubscription) -> Result<(), StoreError> {
        let sql = "INSERT INTO pubsub_subscriptions (target, node, jid) VALUES (?1, ?2, ?3)
                   ON CONFLICT DO NOTHING";
        self.write(sql, [one.target, one.node, one.jid.to_string()]).await
    }

    /// Takes a pubsub subscription away.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn remove_pubsub(&self, one: &PubsubSubscription) -> Result<(), StoreError> {
        let sql = "DELETE FROM pubsub_subscriptions WHERE target = ?1 AND node = ?2 AND jid = ?3";
        self.write(sql, [one.target.clone(), one.node.clone(), one.jid.to_string()]).await
    }

    /// Takes everything of a target away (it is gone), or gives it to another (it was renamed).
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn retarget(&self, target: &str, to: Option<&str>) -> Result<(), StoreError> {
        let (target, to) = (target.to_owned(), to.map(str::to_owned));
        self.store
            .run(move |connection| {
                for table in ["presence_subscriptions", "pubsub_subscriptions"] {
                    if let Some(to) = &to {
                        let sql = format!("UPDATE OR REPLACE {table} SET target = ?2 WHERE target = ?1");
                        connection.execute(&sql, [&target, to])?;
                    } else {
                        connection.execute(&format!("DELETE FROM {table} WHERE target = ?1"), [&target])?;
                    }
                }
                Ok(())
            })
            .await
    }

    async fn write<const N: usize>(&self, sql: &'static str, values: [String; N]) -> Result<(), StoreError> {
        self.store
            .run(move |connection| {
                connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(&values))?;
                Ok(())
            })
            .await
    }
}

fn all_presence(connection: &Connection) -> Result<Vec<PresenceSubscription>, StoreError> {
    let mut query = connection.prepare_cached("SELECT target, jid, state FROM presence_subscriptions")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.map(|row| {
        let (target, bare, word): (String, String, String) = row?;
        let state = SubscriptionState::ALL.into_iter().find(|state| state.word() == word);
        let state = state.ok_or_else(|| StoreError::Unreadable(format!("subscription state {word}")))?;
        Ok(PresenceSubscription { target, jid: jid(&bare)?, state })
    })
    .collect()
}

fn all_pubsub(connection: &Connection) -> Result<Vec<PubsubSubscription>, StoreError> {
    let mut query = connection.prepare_cached("SELECT target, node, jid FROM pubsub_subscriptions")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
    rows.map(|row| {
        let (target, node, bare) = row?;
        Ok(PubsubSubscription { target, node, jid: jid(&bare)? })
    })
    .collect()
}

fn jid(text: &str) -> Result<BareJid, StoreError> {
    BareJid::new(text).map_err(|error| StoreError::Unreadable(format!("{text}: {error}")))
}
