//! Approval by others: what a policy names is not done when it is asked for, but becomes a request, which is
//! shown to all who can agree, and is carried out once enough of them have.
//!
//! A request is written down before its asker hears of it, and so is each consent; an agent that dies loses
//! none. It is bound to the hash of the exact command, to the machine and not its name, to a deadline. One
//! task ([`keep`]) carries out, ends and tells, so nothing is done twice. Rights are looked at when a consent
//! is given and again when the command runs: the asker's, and those of each who agreed.

mod asking;
mod carry;
mod consent;
pub(crate) mod group;
pub(crate) mod keep;
pub(crate) mod policy;
mod request;
mod told;
pub(crate) mod window;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use tokio::sync::{Notify, watch};
use xmpp_parsers::jid::BareJid;

pub(crate) use self::{
    carry::close,
    group::Gathering,
    policy::{Policies, Policy},
    request::{Request, Stage, hash},
};
use crate::journal::Outcome;

/// The most requests that wait on a host.
pub(crate) const ALL_MAX: usize = 512;
/// The most of one person.
pub(crate) const PER_PERSON_MAX: usize = 32;

/// A request that is not over, and who waits for its end.
#[derive(Clone)]
pub(crate) struct Open {
    pub(crate) request: Request,
    /// The words of a command with a secret, which is written down nowhere.
    pub(crate) words: Option<Vec<String>>,
    pub(crate) outcome: watch::Sender<Option<Outcome>>,
}

impl Open {
    pub(crate) fn new(request: Request, words: Option<Vec<String>>) -> Self {
        Self { request, words, outcome: watch::Sender::new(None) }
    }
}

/// The requests that are not over, by code, and the rules that ask for them.
#[derive(Default)]
pub(crate) struct Approvals {
    open: Mutex<BTreeMap<String, Open>>,
    /// Groups of requests to which more may come still, by code.
    gathering: Mutex<BTreeMap<String, Gathering>>,
    policies: RwLock<Arc<Policies>>,
    /// Held while a request changes, here and in the store.
    pub(crate) deciding: tokio::sync::Mutex<()>,
    /// A request changed: there may be something to do.
    pub(crate) changed: Arc<Notify>,
}

impl Approvals {
    pub(crate) fn open(&self) -> MutexGuard<'_, BTreeMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gathering(&self) -> MutexGuard<'_, BTreeMap<String, Gathering>> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one with a code.
    pub(crate) fn find(&self, code: &str) -> Option<Open> {
        self.open().get(&code.trim().to_lowercase()).cloned()
    }

    /// Changes one that is there; the new state of it.
    pub(crate) fn change(&self, code: &str, change: impl FnOnce(&mut Request)) -> Option<Request> {
        let mut open = self.open();
        let request = &mut open.get_mut(code)?.request;
        change(request);
        Some(request.clone())
    }

    /// The rules in force.
    pub(crate) fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where requests are shown besides.
    pub(crate) fn rooms(&self) -> Vec<BareJid> {
        self.policies().all().filter_map(|(policy, _)| policy.room.clone()).collect()
    }

    /// Changes the rules in force. What has to last is in the store before.
    pub(crate) fn change_policies(&self, change: impl FnOnce(&mut Policies)) {
        let mut policies = self.policies.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut policies));
    }
}
