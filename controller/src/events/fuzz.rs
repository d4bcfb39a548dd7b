//! What a fuzzer tells as a host's events.
#![allow(clippy::unwrap_used, clippy::panic)]

use skerry_stanzas::payload::Event;

use super::{
    line::Line,
    order::{Next, Order},
};
use crate::{cli::Output, fleet::Host, fuzz::is_shown};

/// Events in whatever order: each is shown once at most, later ones are never missing twice, and no line
/// steers the terminal.
pub(crate) fn read_on(host: &Host, events: Vec<Event>) {
    let mut order = Order::anywhere();
    for event in events {
        let before = order.last();
        assert!(
            order.missing_before(&event).is_none_or(|since| Some(since) == before && since < event.sequence)
        );
        let mut lines = match order.take(&event) {
            Next::Seen => continue,
            Next::InOrder => Vec::new(),
            Next::Gap { from, to } => {
                assert!(from <= to && to < event.sequence);
                vec![Line::gap(host, from, to, event.at)]
            }
        };
        assert!(before < order.last());
        lines.push(Line::event(host, event));
        for line in lines {
            for output in [Output::Table, Output::Plain, Output::Json] {
                let mut out = Vec::new();
                line.show(&mut out, output).unwrap();
                let out = String::from_utf8(out).unwrap();
                assert_eq!(out.lines().count(), 1, "{out:?}");
                is_shown(&out);
            }
        }
    }
}
