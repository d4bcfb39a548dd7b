//! Requests that are under way, so that a repetition waits for the first answer instead of running.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use skerry_stanzas::{
    command::{COMMANDS, Effect},
    refusal::Refusal,
};
use tokio::sync::watch;
use xmpp_parsers::jid::Jid;

use super::jobs::Going;
use crate::{
    agent::Agent,
    asked::Answer,
    journal::{self, Accepted, Outcome},
};

/// What to wait for: the outcome, and meanwhile how it goes.
#[derive(Clone)]
pub(crate) struct Running {
    pub(super) outcome: watch::Receiver<Option<Outcome>>,
    pub(super) going: Arc<Going>,
}

type Table = Arc<Mutex<HashMap<Same, Running>>>;

/// What makes two requests the same one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Same {
    caller: String,
    key: String,
    /// The key alone is not enough: clients that number their stanzas begin again at 1.
    words: String,
}

/// The requests under way that can be repeated.
#[derive(Default)]
pub(crate) struct Repeats {
    running: Table,
}

/// The first one's claim: whoever comes with the same request waits for it. Given up when dropped.
pub(crate) struct Claim {
    table: Table,
    same: Option<Same>,
    outcome: watch::Sender<Option<Outcome>>,
    going: Arc<Going>,
}

impl Repeats {
    /// The claim to a request; or, when it is under way, what to wait for.
    pub(crate) fn claim(&self, accepted: &Accepted, going: &Arc<Going>) -> Result<Claim, Running> {
        let (outcome, running) = watch::channel(None);
        let running = Running { outcome: running, going: Arc::clone(going) };
        let same = accepted.key.as_ref().map(|key| Same {
            caller: accepted.caller.clone(),
            key: key.clone(),
            words: format!("{} {:?} {}", accepted.permission, accepted.name, accepted.args),
        });
        if let Some(same) = &same {
            let mut table = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(running) = table.get(same) {
                return Err(running.clone());
            }
            table.insert(same.clone(), running);
        }
        Ok(Claim { table: Arc::clone(&self.running), same, outcome, going: Arc::clone(going) })
    }
}

impl Repeats {
    /// What to wait for when this caller's request of this key is under way, whatever its words.
    pub(crate) fn of_key(&self, caller: &str, key: &str) -> Option<Running> {
        let table = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = table.iter().filter(|(same, _)| same.caller == caller && same.key == key);
        running.next().map(|(_, running)| running.clone())
    }
}

impl Claim {
    /// What to wait for.
    pub(crate) fn running(&self) -> Running {
        Running { outcome: self.outcome.subscribe(), going: Arc::clone(&self.going) }
    }

    /// It has ended so.
    pub(crate) fn ended(self, outcome: Outcome) {
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(same) = &self.same {
            self.table.lock().unwrap_or_else(PoisonError::into_inner).remove(same);
        }
    }
}

impl Agent {
    /// What became of a "yes" that was said before with the same key.
    pub(crate) async fn confirmed_before(
        &self,
        caller: &Jid,
        key: Option<String>,
        patience: Duration,
    ) -> Option<Answer> {
        let (caller, key) = (caller.to_string(), key?);
        if let Some(running) = self.inner.repeats.of_key(&caller, &key) {
            return Some(super::wait_on(running, patience).await);
        }
        let destroys = |earlier: &Accepted| {
            COMMANDS.iter().any(|d| d.effect == Effect::Destroy && d.permission() == earlier.permission)
        };
        let look = move |connection: &_| journal::earlier(connection, &caller, &key, destroys);
        self.inner.store.run(look).await.ok().flatten().map(super::before)
    }

    pub(super) async fn answered_before(&self, accepted: &Accepted) -> Result<Option<Answer>, Refusal> {
        if accepted.key.is_none() {
            return Ok(None);
        }
        let accepted = accepted.clone();
        let found = self.inner.store.run(move |connection| journal::repeated(connection, &accepted)).await?;
        Ok(found.map(super::before))
    }

    /// The answer to a request that was accepted before: it is heard also when there is no room for more.
    pub(super) async fn heard_again(
        &self,
        accepted: &Accepted,
        patience: Duration,
    ) -> Option<Result<Answer, Refusal>> {
        let running = self.inner.repeats.of_key(&accepted.caller, accepted.key.as_ref()?);
        match running {
            Some(running) => Some(Ok(super::wait_on(running, patience).await)),
            None => self.answered_before(accepted).await.transpose(),
        }
    }
}
