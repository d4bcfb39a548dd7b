//! How much is done at once: for everybody together, for those without any right together, and for each
//! caller, who gets the less the more others want. Over it is a refusal, not a queue: memory stays bounded
//! whatever comes in.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use xmpp_parsers::jid::BareJid;

use crate::dispatch::share;

/// The most requests of one caller under way.
pub(crate) const CALLER_MAX: usize = 128;
/// The most requests of those without any right here: there may be as many of them as somebody makes up.
pub(crate) const STRANGERS_MAX: usize = 128;
/// The most requests under way.
pub(crate) const EVERYBODY_MAX: usize = 1024;

/// Over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The caller's.
    Caller,
    /// The host's.
    Everybody,
}

/// Requests under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits(Arc<Mutex<UnderWay>>);

#[derive(Debug, Default)]
struct UnderWay {
    callers: HashMap<BareJid, usize>,
    strangers: usize,
    all: usize,
}

/// A request under way: over when dropped.
struct Place {
    limits: Limits,
    caller: BareJid,
    known: bool,
}

impl Limits {
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, caller: &BareJid, known: bool) -> Result<Place, Refused> {
        let mut under_way = self.lock();
        let free = EVERYBODY_MAX - under_way.all;
        if free == 0 || (!known && under_way.strangers >= STRANGERS_MAX) {
            return Err(Refused::Everybody);
        }
        let count = under_way.callers.get(caller).copied().unwrap_or(0);
        if count >= share(CALLER_MAX, free) {
            return Err(Refused::Caller);
        }
        under_way.callers.insert(caller.clone(), count + 1);
        under_way.strangers += usize::from(!known);
        under_way.all += 1;
        Ok(Place { limits: self.clone(), caller: caller.clone(), known })
    }

    /// Runs `work`: at once as far as it gets without waiting, so that what comes in order is begun in
    /// order and most requests need no task; the rest in a task of its own. `known`: the caller has some
    /// right here.
    pub(crate) async fn run(
        &self,
        (caller, known): (&BareJid, bool),
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Refused> {
        let place = self.enter(caller, known)?;
        let mut work: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(work);
        let first = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        if first.is_pending() {
            tokio::spawn(async move {
                work.await;
                drop(place);
            });
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.limits.lock();
        under_way.all -= 1;
        under_way.strangers -= usize::from(!self.known);
        if let Some(count) = under_way.callers.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                under_way.callers.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use tokio::sync::oneshot;

    use super::*;

    fn caller(n: usize) -> BareJid {
        format!("user{n}@example.org").parse().unwrap()
    }

    #[tokio::test]
    async fn what_needs_no_waiting_is_done_at_once() {
        let limits = Limits::default();
        let done = Arc::new(Mutex::new(0));
        for _ in 0..CALLER_MAX * 10 {
            let done = Arc::clone(&done);
            limits.run((&caller(0), true), async move { *done.lock().unwrap() += 1 }).await.unwrap();
        }
        assert_eq!(*done.lock().unwrap(), CALLER_MAX * 10);
        assert!(limits.lock().callers.is_empty());
    }

    #[tokio::test]
    async fn each_caller_strangers_and_all_together_are_limited() {
        let limits = Limits::default();
        let mut gates = Vec::new();
        let mut begin = async |n: usize, known: bool| {
            let (gate, open) = oneshot::channel::<()>();
            gates.push(gate);
            limits.run((&caller(n), known), async move { drop(open.await) }).await
        };
        for _ in 0..CALLER_MAX {
            assert_eq!(begin(0, true).await, Ok(()));
        }
        assert_eq!(begin(0, true).await, Err(Refused::Caller));
        for n in 0..STRANGERS_MAX {
            assert_eq!(begin(10_000 + n, false).await, Ok(()));
        }
        assert_eq!(begin(20_000, false).await, Err(Refused::Everybody));
        // A few who take what they can get leave something; only very many fill the place.
        for n in (1..20).cycle().take(20 * CALLER_MAX) {
            assert_ne!(begin(n, true).await, Err(Refused::Everybody));
        }
        let mut others = 0;
        while begin(100 + others, true).await == Ok(()) {
            others += 1;
        }
        assert!((20..EVERYBODY_MAX).contains(&others), "{others}");
        assert_eq!(begin(99_999, true).await, Err(Refused::Everybody));
        drop(gates);
        while !limits.lock().callers.is_empty() {
            tokio::task::yield_now().await;
        }
        let (all, strangers) = {
            let it = limits.lock();
            (it.all, it.strangers)
        };
        assert_eq!((all, strangers), (0, 0));
        assert_eq!(limits.run((&caller(0), true), async {}).await, Ok(()));
    }
}
