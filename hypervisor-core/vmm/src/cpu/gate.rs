//! Whether processors run, are held still, or end: one word for all of them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Run,
    Hold,
    End,
}

#[derive(Debug)]
struct Standing {
    wanted: Wanted,
    /// Processors that wait here.
    held: usize,
    /// Processors that have ended.
    ended: usize,
}

/// What a machine's processors pass before they run on.
#[derive(Debug)]
pub struct Gate {
    count: usize,
    standing: Mutex<Standing>,
    changed: Condvar,
}

impl Gate {
    /// For so many processors; closed, so that nothing runs before all is there.
    pub fn new(count: usize) -> Self {
        let standing = Standing { wanted: Wanted::Hold, held: 0, ended: 0 };
        Self { count, standing: Mutex::new(standing), changed: Condvar::new() }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        // Nothing here leaves it half done.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want(&self, wanted: Wanted) {
        let mut standing = self.standing();
        if standing.wanted != Wanted::End {
            standing.wanted = wanted;
        }
        drop(standing);
        self.changed.notify_all();
    }

    /// A processor passes, or waits to: `false` when it is to end.
    pub fn pass(&self) -> bool {
        let mut standing = self.standing();
        if standing.wanted == Wanted::Hold {
            standing.held += 1;
            self.changed.notify_all();
            while standing.wanted == Wanted::Hold {
                standing = self.changed.wait(standing).unwrap_or_else(PoisonError::into_inner);
            }
            standing.held -= 1;
        }
        standing.wanted == Wanted::Run
    }

    /// A processor has ended, whatever for.
    pub fn ended(&self) {
        self.standing().ended += 1;
        self.changed.notify_all();
    }

    /// Lets them run.
    pub fn open(&self) {
        self.want(Wanted::Run);
    }

    /// Holds them still; `kick` makes those that run come here. All are here, or have ended, when it returns.
    pub fn close(&self, kick: impl FnOnce()) {
        self.want(Wanted::Hold);
        kick();
        let mut standing = self.standing();
        while standing.held + standing.ended < self.count && standing.wanted == Wanted::Hold {
            standing = self.changed.wait(standing).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends them, for good; `kick` as with [`Gate::close`].
    pub fn end(&self, kick: impl FnOnce()) {
        self.want(Wanted::End);
        kick();
    }

    /// Whether they may run.
    pub fn is_open(&self) -> bool {
        self.standing().wanted == Wanted::Run
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
        thread,
    };

    use super::*;

    #[test]
    fn nothing_runs_once_it_is_closed_and_nothing_stays_once_it_ended() {
        let (gate, turns) = (Arc::new(Gate::new(3)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (gate, turns) = (gate.clone(), turns.clone());
                thread::spawn(move || {
                    while gate.pass() {
                        turns.fetch_add(1, SeqCst);
                    }
                    gate.ended();
                })
            })
            .collect();
        gate.close(|| {});
        assert_eq!(turns.load(SeqCst), 0, "it begins closed");
        for _ in 0..200 {
            let before = turns.load(SeqCst);
            gate.open();
            while turns.load(SeqCst) == before {
                thread::yield_now();
            }
            gate.close(|| {});
            let held = turns.load(SeqCst);
            thread::yield_now();
            assert_eq!(turns.load(SeqCst), held);
        }
        gate.end(|| {});
        gate.open();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        gate.close(|| {});
    }
}
