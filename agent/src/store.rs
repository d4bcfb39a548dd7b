//! What the agent remembers: one SQLite file, owned by one thread.
//!
//! Work for it goes through a bounded queue. What waits together is written together: one transaction,
//! one sync, each piece of work in a savepoint of its own, so that a thousand machines starting at
//! once cost a few syncs and one failing write spoils no other. Nobody gets an answer before the
//! commit, and what must be told in the order it was stored ([`Store::run_then`]) is told by the
//! thread itself, right after it.

pub(crate) mod alerts;
pub(crate) mod approvals;
pub(crate) mod definitions;
pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod grants;
pub(crate) mod images;
pub(crate) mod machines;
pub(crate) mod networks;
pub(crate) mod samples;
pub(crate) mod schema;
pub mod subscriptions;

use std::{path::Path, sync::Arc, thread};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};

pub use subscriptions::{PresenceSubscription, PubsubSubscription, SubscriptionState, Subscriptions};

/// Pieces of work that may wait; whoever comes then waits to queue.
const QUEUE_MAX: usize = 1024;
/// Pieces of work in one transaction.
const BATCH_MAX: usize = 128;

/// Why the store could not do it. Nothing of the work is left when this is the answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room left.
    #[error("the disk that holds the agent's state is full")]
    Full,
    /// The file is damaged.
    #[error("the agent's state is damaged ({0}); put a good copy of state.db back")]
    Damaged(String),
    /// A later agent wrote it.
    #[error("the agent's state was written by a later version (schema {found}, this one knows {known})")]
    Newer {
        /// The version found.
        found: u32,
        /// The newest version this agent knows.
        known: u32,
    },
    /// There is more of something than there may be.
    #[error("{0}")]
    TooMuch(&'static str),
    /// A name that must be unique is taken.
    #[error("that name is taken")]
    Taken,
    /// The store was closed.
    #[error("the agent is shutting down")]
    Closed,
    /// Anything else SQLite or the system said.
    #[error("the agent's state could not be read or written")]
    Sql(#[source] Arc<rusqlite::Error>),
    /// What was read is not what was ever written.
    #[error("the agent's state holds something unreadable: {0}")]
    Unreadable(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            Some(ErrorCode::ConstraintViolation) => Self::Taken,
            _ => Self::Sql(Arc::new(error)),
        }
    }
}

/// What is left to do once it is known whether the transaction was committed.
type After = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Work on the open transaction (or the reason there is none): whether to keep it, and what is left.
type Work = Box<dyn FnOnce(Result<&Connection, StoreError>) -> (bool, After) + Send>;

/// What the thread is told.
enum Told {
    Work(Work),
    /// To close the file and end.
    Close(oneshot::Sender<()>),
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    queue: mpsc::Sender<Told>,
}

impl Store {
    /// Opens the file, making or migrating it when needed, and starts the thread.
    ///
    /// # Errors
    /// When it cannot be read or written, is damaged, or was written by a later version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = schema::open(path)?;
        let (queue, told) = mpsc::channel(QUEUE_MAX);
        thread::Builder::new()
            .name("store".into())
            .spawn(move || serve(connection, told))
            .map_err(|error| StoreError::Unreadable(format!("no thread for it: {error}")))?;
        Ok(Self { queue })
    }

    /// Does `work` in a transaction and answers when it is committed.
    ///
    /// # Errors
    /// What went wrong; then nothing of `work` is left.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run_then(work, |_| {}).await
    }

    /// As [`Store::run`]; and right after the commit, in the order of the commits, `then` is called on
    /// the store's thread.
    ///
    /// # Errors
    /// What went wrong; then nothing of `work` is left and `then` was not called.
    pub async fn run_then<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |transaction| {
            let done = transaction.and_then(work);
            let keep = done.is_ok();
            let after = move |committed: Result<(), StoreError>| {
                let done = committed.and(done);
                if let Ok(value) = &done {
                    then(value);
                }
                let _ = reply.send(done);
            };
            (keep, Box::new(after))
        });
        self.queue.send(Told::Work(work)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Waits until what was queued is written and the file is closed. What comes later is refused.
    pub(crate) async fn close(&self) {
        let (closed, wait) = oneshot::channel();
        if self.queue.send(Told::Close(closed)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

/// The thread: takes what waits, until it is told to end or nobody can tell it anything any more.
fn serve(connection: Connection, mut queue: mpsc::Receiver<Told>) {
    let mut closed = None;
    while closed.is_none()
        && let Some(first) = queue.blocking_recv()
    {
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(told) = next.take() {
            match told {
                Told::Work(work) => batch.push(work),
                Told::Close(reply) => closed = Some(reply),
            }
            if batch.len() < BATCH_MAX && closed.is_none() {
                next = queue.try_recv().ok();
            }
        }
        commit(&connection, batch);
    }
    drop(connection);
    if let Some(closed) = closed {
        let _ = closed.send(());
    }
}

/// One transaction for a batch.
fn commit(connection: &Connection, batch: Vec<Work>) {
    let mut afters: Vec<(bool, After)> = Vec::with_capacity(batch.len());
    let mut outcome = connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::from);
    for work in batch {
        outcome = outcome.and_then(|()| Ok(connection.execute_batch("SAVEPOINT work")?));
        let (keep, after) = work(outcome.clone().map(|()| connection));
        afters.push((keep, after));
        if outcome.is_err() {
            continue;
        }
        let end = if keep { "RELEASE work" } else { "ROLLBACK TO work; RELEASE work" };
        // On a full disk SQLite may roll the whole transaction back by itself.
        outcome = match connection.is_autocommit() {
            true => Err(StoreError::Full),
            false => connection.execute_batch(end).map_err(StoreError::from),
        };
    }
    let outcome = outcome.and_then(|()| connection.execute_batch("COMMIT").map_err(StoreError::from));
    if outcome.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    for (keep, after) in afters {
        after(if keep { outcome.clone() } else { Ok(()) });
    }
}

#[cfg(test)]
mod tests;
