//! How long to wait before the next try.

use std::time::Duration;

use rand::RngExt as _;

/// Two series: one for a network or server that is away, one for a server that does not want us.
#[derive(Debug)]
pub(crate) struct Backoff {
    /// Tries in a row that were of no use.
    failures: u32,
    refusals: u32,
}

const BROKEN_FIRST: Duration = Duration::from_millis(250);
const BROKEN_MAX: Duration = Duration::from_secs(60);
const REFUSED_FIRST: Duration = Duration::from_secs(5);
const REFUSED_MAX: Duration = Duration::from_secs(600);
/// No series of tries is faster than this, however the dice fall.
const LEAST: Duration = Duration::from_millis(50);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { failures: 0, refusals: 0 }
    }

    /// There was progress: a session that stayed, or one that was resumed.
    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }

    /// After a break or a failed try: anywhere between nothing and a bound that grows by half each time,
    /// up to a minute (full jitter: hosts that lost one server must not all come back in the same moment).
    /// Doubling would make a server's restart of ten seconds an absence of thirty.
    pub(crate) fn after_break(&mut self) -> Duration {
        let bound = bound(BROKEN_FIRST, self.failures, BROKEN_MAX);
        self.failures += 1;
        rand::rng().random_range(LEAST..=bound)
    }

    /// After a refusal, which a person has to mend: between half of a bound and all of it, up to ten minutes.
    pub(crate) fn after_refusal(&mut self) -> Duration {
        let bound = bound(REFUSED_FIRST, self.refusals, REFUSED_MAX);
        self.refusals += 1;
        rand::rng().random_range(bound / 2..=bound)
    }
}

fn bound(first: Duration, growths: u32, max: Duration) -> Duration {
    first.mul_f64(1.5_f64.powi(growths.min(40).cast_signed())).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_start_over_after_progress() {
        let mut backoff = Backoff::new();
        for round in 0..100 {
            let wait = backoff.after_break();
            assert!(wait >= LEAST && wait <= bound(BROKEN_FIRST, round, BROKEN_MAX));
            let wait = backoff.after_refusal();
            let bound = bound(REFUSED_FIRST, round, REFUSED_MAX);
            assert!(wait >= bound / 2 && wait <= bound);
        }
        assert_eq!(bound(BROKEN_FIRST, 14, BROKEN_MAX), BROKEN_MAX);
        backoff.reset();
        assert!(backoff.after_break() <= BROKEN_FIRST);
    }
}
