//! Reboots that nobody asked for. A guest can reboot as often as it likes, for ever: the first few are
//! told one by one, the rest together, so that it fills no log and wakes no contact list.

use std::time::Duration;

use tokio::time::Instant;

/// Within this time …
const WINDOW: Duration = Duration::from_secs(600);
/// … so many are told one by one.
pub(crate) const TOLD_MAX: u32 = 5;

/// How often a guest rebooted lately.
#[derive(Debug, Default)]
pub(crate) struct Reboots {
    began: Option<Instant>,
    told: u32,
    untold: u32,
}

impl Reboots {
    /// It rebooted: whether to tell it now.
    pub(crate) fn tells(&mut self, now: Instant) -> bool {
        if self.untold == 0 && self.began.is_none_or(|began| now >= began + WINDOW) {
            *self = Self { began: Some(now), ..Self::default() };
        }
        match self.told < TOLD_MAX {
            true => self.told += 1,
            false => self.untold += 1,
        }
        self.untold == 0
    }

    /// When those not yet told are to be told together; `None` when there are none.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.began.filter(|_| self.untold > 0).map(|began| began + WINDOW)
    }

    /// Those not yet told, which are told now. The next ones are few again only after a quiet time.
    pub(crate) fn take(&mut self, now: Instant) -> u32 {
        self.began = Some(now);
        std::mem::take(&mut self.untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_told_one_by_one_and_the_rest_together() {
        let (mut reboots, start) = (Reboots::default(), Instant::now());
        for _ in 0..TOLD_MAX {
            assert!(reboots.tells(start));
            assert_eq!(reboots.due(), None);
        }
        for _ in 0..1000 {
            assert!(!reboots.tells(start));
        }
        assert_eq!(reboots.due(), Some(start + WINDOW));
        assert_eq!(reboots.take(start + WINDOW), 1000);
        assert_eq!(reboots.due(), None);
        assert!(!reboots.tells(start + WINDOW), "it goes on: none is told by itself");
        assert_eq!(reboots.take(start + 2 * WINDOW), 1);
        assert!(reboots.tells(start + 3 * WINDOW), "it was quiet for long enough");
    }
}
