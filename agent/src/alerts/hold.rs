//! When something begins and when it is over: pure. It begins when it was beyond its limit for long enough,
//! and is over when it has come back far enough for as long. What wavers about one limit is told once.

use std::time::Duration;

use tokio::time::Instant;

use super::rule::Rule;

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Seen {
    /// This number.
    Number(f64),
    /// Nothing could be seen this time.
    Nothing,
    /// There is nothing to be seen: it does not run.
    Gone,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Turn {
    /// It is so now, with this number.
    Began(f64),
    /// It is over, with this number; none when it does not run any more.
    Ended(Option<f64>),
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Hold {
    /// Whether it is so.
    pub(crate) lasts: bool,
    /// Since when the other way has been seen without a break.
    turning: Option<Instant>,
}

impl Hold {
    /// One that was so already, or not, when the agent began.
    pub(crate) fn from(lasts: bool) -> Self {
        Self { lasts, turning: None }
    }

    /// Takes in what was seen; what becomes of it.
    pub(crate) fn see(&mut self, rule: &Rule, seen: Seen, now: Instant) -> Option<Turn> {
        let number = match seen {
            Seen::Nothing => return None,
            Seen::Gone => {
                self.turning = None;
                return std::mem::take(&mut self.lasts).then_some(Turn::Ended(None));
            }
            Seen::Number(number) => number,
        };
        let turns = if self.lasts { rule.is_over(number) } else { rule.is_beyond(number) };
        if !turns {
            self.turning = None;
            return None;
        }
        let since = *self.turning.get_or_insert(now);
        if now.saturating_duration_since(since) < Duration::from_secs(rule.for_seconds) {
            return None;
        }
        self.turning = None;
        self.lasts = !self.lasts;
        Some(if self.lasts { Turn::Began(number) } else { Turn::Ended(Some(number)) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn rule(for_seconds: u64) -> Rule {
        Rule::parse("cpu>90%", Some("80%"), for_seconds, true).unwrap()
    }

    fn seen() -> impl Strategy<Value = Seen> {
        prop_oneof![
            8 => (0.0..100.0_f64).prop_map(Seen::Number),
            4 => (88.0..92.0_f64).prop_map(Seen::Number),
            4 => (78.0..82.0_f64).prop_map(Seen::Number),
            1 => Just(Seen::Nothing),
            1 => Just(Seen::Gone),
        ]
    }

    proptest! {
        #[test]
        fn beginnings_and_ends_take_turns_and_each_was_so_for_long_enough(
            for_seconds in 0..60_u64,
            looks in proptest::collection::vec((1..20_u64, seen()), 1..200),
        ) {
            let rule = rule(for_seconds);
            let mut hold = Hold::default();
            let begun = Instant::now();
            let (mut at, mut history): (u64, Vec<(u64, Seen)>) = (0, Vec::new());
            let mut turns: Vec<u64> = Vec::new();
            for (later, seen) in looks {
                at += later;
                let before = hold.lasts;
                let turn = hold.see(&rule, seen, begun + Duration::from_secs(at));
                history.push((at, seen));
                prop_assert_eq!(turn.is_some(), hold.lasts != before);
                match turn {
                    Some(Turn::Began(_)) => prop_assert!(hold.lasts),
                    Some(Turn::Ended(_)) => prop_assert!(!hold.lasts),
                    None => {}
                }
                let Some(turn) = turn.filter(|turn| *turn != Turn::Ended(None)) else { continue };
                // Back in time for as long as it takes, there was nothing against it.
                let since = turns.last().copied().unwrap_or(0);
                let within = history.iter().rev().take_while(|(when, _)| at - when <= for_seconds);
                for (when, seen) in within.filter(|(when, _)| *when > since || turns.is_empty()) {
                    let fits = match (seen, turn) {
                        (Seen::Number(number), Turn::Began(_)) => rule.is_beyond(*number),
                        (Seen::Number(number), Turn::Ended(_)) => rule.is_over(*number),
                        (Seen::Nothing, _) => true,
                        (Seen::Gone, _) => false,
                    };
                    prop_assert!(fits, "{:?} at {} for {:?} at {}", seen, when, turn, at);
                }
                prop_assert!(at - since >= for_seconds.min(at), "too soon after the last");
                turns.push(at);
            }
        }

        #[test]
        fn what_wavers_between_the_limits_changes_nothing(
            lasts in any::<bool>(),
            numbers in proptest::collection::vec(80.001..90.0_f64, 1..100),
        ) {
            let mut hold = Hold::from(lasts);
            let begun = Instant::now();
            for (nth, number) in numbers.into_iter().enumerate() {
                let now = begun + Duration::from_secs(nth as u64 * 1000);
                prop_assert_eq!(hold.see(&rule(0), Seen::Number(number), now), None);
            }
        }
    }

    #[test]
    fn a_look_that_failed_neither_begins_nor_breaks_anything() {
        let (mut hold, begun) = (Hold::default(), Instant::now());
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        assert_eq!(hold.see(&rule(60), Seen::Number(95.0), at(0)), None);
        assert_eq!(hold.see(&rule(60), Seen::Nothing, at(30)), None);
        assert_eq!(hold.see(&rule(60), Seen::Number(96.0), at(60)), Some(Turn::Began(96.0)));
        assert_eq!(hold.see(&rule(60), Seen::Gone, at(70)), Some(Turn::Ended(None)));
        assert_eq!(hold.see(&rule(60), Seen::Gone, at(80)), None);
    }
}
