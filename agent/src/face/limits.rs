//! How much is done at once: for everybody together, and for each caller. Over it is a refusal, not a
//! queue: memory stays bounded whatever comes in.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use xmpp_parsers::jid::BareJid;

/// The most requests of one caller under way.
pub(crate) const CALLER_MAX: usize = 128;
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
pub(crate) struct Limits(Arc<Mutex<HashMap<BareJid, usize>>>);

/// A request under way: over when dropped.
struct Place {
    limits: Limits,
    caller: BareJid,
}

impl Limits {
    fn lock(&self) -> MutexGuard<'_, HashMap<BareJid, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, caller: &BareJid) -> Result<Place, Refused> {
        let mut callers = self.lock();
        if callers.values().sum::<usize>() >= EVERYBODY_MAX {
            return Err(Refused::Everybody);
        }
        let count = callers.entry(caller.clone()).or_default();
        if *count >= CALLER_MAX {
            return Err(Refused::Caller);
        }
        *count += 1;
        Ok(Place { limits: self.clone(), caller: caller.clone() })
    }

    /// Runs `work`: at once as far as it gets without waiting, so that what comes in order is begun in
    /// order and most requests need no task; the rest in a task of its own.
    pub(crate) async fn run(
        &self,
        caller: &BareJid,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Refused> {
        let place = self.enter(caller)?;
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
        let mut callers = self.limits.lock();
        if let Some(count) = callers.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                callers.remove(&self.caller);
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
            limits.run(&caller(0), async move { *done.lock().unwrap() += 1 }).await.unwrap();
        }
        assert_eq!(*done.lock().unwrap(), CALLER_MAX * 10);
        assert!(limits.lock().is_empty());
    }

    #[tokio::test]
    async fn each_caller_and_all_together_are_limited() {
        let limits = Limits::default();
        let mut gates = Vec::new();
        let mut begin = async |n: usize| {
            let (gate, open) = oneshot::channel::<()>();
            gates.push(gate);
            limits.run(&caller(n), async move { drop(open.await) }).await
        };
        for _ in 0..CALLER_MAX {
            assert_eq!(begin(0).await, Ok(()));
        }
        assert_eq!(begin(0).await, Err(Refused::Caller));
        for n in 0..EVERYBODY_MAX - CALLER_MAX {
            assert_eq!(begin(1 + n / CALLER_MAX).await, Ok(()));
        }
        assert_eq!(begin(99).await, Err(Refused::Everybody));
        drop(gates);
        while !limits.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(limits.run(&caller(0), async {}).await, Ok(()));
    }
}
