//! The count of one host's events: what was seen, what was left out. Pure.

use skerry_stanzas::payload::Event;

/// Where a reader is in a host's count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    last: Option<u64>,
}

/// What an event is to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It follows.
    InOrder,
    /// It was seen before.
    Seen,
    /// Some before it were never seen.
    Gap {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
}

impl Order {
    /// Begins wherever the first event is.
    pub(super) fn anywhere() -> Self {
        Self { last: None }
    }

    /// Begins after this one.
    pub(super) fn after(sequence: u64) -> Self {
        Self { last: Some(sequence) }
    }

    /// The host has no event (yet): whatever comes is missed when it is not seen.
    pub(super) fn nothing_yet(&mut self) {
        self.last.get_or_insert(0);
    }

    /// The last one seen.
    pub(super) fn last(&self) -> Option<u64> {
        self.last
    }

    /// The last one seen, when there is something between it and `event`.
    pub(super) fn missing_before(&self, event: &Event) -> Option<u64> {
        self.last.filter(|last| event.sequence.saturating_sub(1) > *last)
    }

    /// Goes on to `event`.
    pub(super) fn take(&mut self, event: &Event) -> Next {
        let next = match self.last {
            Some(last) if event.sequence <= last => return Next::Seen,
            Some(last) if event.sequence > last + 1 => Next::Gap { from: last + 1, to: event.sequence - 1 },
            _ => Next::InOrder,
        };
        self.last = Some(event.sequence);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: u64) -> Event {
        Event {
            sequence,
            at: chrono::DateTime::UNIX_EPOCH,
            what: "machine.started".into(),
            machine: None,
            state: None,
            generation: None,
            by: None,
            sentence: String::new(),
        }
    }

    #[test]
    fn a_count_without_gaps_is_in_order() {
        let mut order = Order::anywhere();
        assert_eq!(order.take(&event(7)), Next::InOrder);
        assert_eq!(order.missing_before(&event(8)), None);
        assert_eq!(order.take(&event(8)), Next::InOrder);
        assert_eq!(order.last(), Some(8));
    }

    #[test]
    fn the_first_events_of_a_new_host_are_not_skipped() {
        let mut order = Order::anywhere();
        order.nothing_yet();
        assert_eq!(order.missing_before(&event(3)), Some(0));
        order.take(&event(3));
        order.nothing_yet();
        assert_eq!(order.last(), Some(3));
    }

    #[test]
    fn what_was_seen_is_seen_once() {
        let mut order = Order::after(8);
        assert_eq!(order.take(&event(8)), Next::Seen);
        assert_eq!(order.take(&event(3)), Next::Seen);
        assert_eq!(order.last(), Some(8));
    }

    #[test]
    fn a_gap_is_told_once_with_its_bounds() {
        let mut order = Order::after(8);
        assert_eq!(order.missing_before(&event(12)), Some(8));
        assert_eq!(order.take(&event(12)), Next::Gap { from: 9, to: 11 });
        assert_eq!(order.take(&event(13)), Next::InOrder);
    }
}
