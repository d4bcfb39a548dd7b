//! Where events wait for their reader.
//!
//! A short channel, and behind it a queue of the session's own, so that the session never has to wait to tell
//! something: it stops to read from the server when the queue is full, and does everything else.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::LinkEvent;

/// What the channel holds.
pub(crate) const CHANNEL: usize = 128;
/// What the queue holds besides.
const QUEUE: usize = 1_024 - CHANNEL;
/// As bytes on the wire.
const QUEUE_BYTES: usize = 8 << 20;

/// The way out for events, in order.
#[derive(Debug)]
pub(crate) struct Outlet {
    told: mpsc::Sender<LinkEvent>,
    waiting: VecDeque<(LinkEvent, usize)>,
    bytes: usize,
}

impl Outlet {
    pub(crate) fn new(told: mpsc::Sender<LinkEvent>) -> Self {
        Self { told, waiting: VecDeque::new(), bytes: 0 }
    }

    /// Tells an event of about so many bytes. What the link itself has to say goes in even when it is full,
    /// except that nobody needs to know of each failed try who does not even read.
    pub(crate) fn tell(&mut self, event: LinkEvent, bytes: usize) {
        if !self.waiting.is_empty() {
            return self.wait(event, bytes);
        }
        if let Err(mpsc::error::TrySendError::Full(event)) = self.told.try_send(event) {
            self.wait(event, bytes);
        }
    }

    fn wait(&mut self, event: LinkEvent, bytes: usize) {
        let repeated = matches!(event, LinkEvent::Down { .. } | LinkEvent::Refused(_))
            && matches!(self.waiting.back(), Some((LinkEvent::Down { .. } | LinkEvent::Refused(_), _)));
        if repeated {
            self.waiting.pop_back();
        }
        self.bytes += bytes;
        self.waiting.push_back((event, bytes));
    }

    /// Whether more stanzas may be taken in.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < QUEUE && self.bytes < QUEUE_BYTES
    }

    /// Moves one event into the channel, when there is one and room for it; for ever otherwise.
    pub(crate) async fn drain(&mut self) {
        if self.waiting.is_empty() {
            return std::future::pending().await;
        }
        let Ok(room) = self.told.reserve().await else { return std::future::pending().await };
        if let Some((event, bytes)) = self.waiting.pop_front() {
            self.bytes -= bytes;
            room.send(event);
        }
    }

    /// Resolves when nobody reads any more.
    pub(crate) fn unheard(&self) -> impl Future<Output = ()> + use<> {
        let told = self.told.clone();
        async move { told.closed().await }
    }

    /// Moves everything out, for the end of the link; gives up when nobody reads.
    pub(crate) async fn finish(mut self) {
        while let Some((event, _)) = self.waiting.pop_front() {
            if self.told.send(event).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use minidom::Element;

    use super::*;

    fn stanza(count: usize) -> LinkEvent {
        LinkEvent::Stanza(Element::bare(format!("s{count}"), "x"))
    }

    fn name(event: Option<LinkEvent>) -> String {
        match event {
            Some(LinkEvent::Stanza(stanza)) => stanza.name().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn events_come_in_order_and_room_comes_back() {
        let (told, mut events) = mpsc::channel(CHANNEL);
        let mut outlet = Outlet::new(told);
        let mut count = 0;
        while outlet.has_room() {
            outlet.tell(stanza(count), 100);
            count += 1;
        }
        assert_eq!(count, 1_024);
        assert_eq!(name(events.recv().await), "s0");
        outlet.drain().await;
        assert!(outlet.has_room());
        let reading = async {
            for expected in 1..count {
                assert_eq!(name(events.recv().await), format!("s{expected}"));
            }
            assert!(events.recv().await.is_none());
        };
        tokio::join!(outlet.finish(), reading);
    }

    #[tokio::test]
    async fn large_stanzas_fill_it_sooner_and_failed_tries_do_not_pile_up() {
        let (told, _events) = mpsc::channel(CHANNEL);
        let mut outlet = Outlet::new(told);
        for count in 0..CHANNEL + 8 {
            outlet.tell(stanza(count), 1 << 20);
        }
        assert!(!outlet.has_room());
        for _ in 0..10_000 {
            outlet.tell(LinkEvent::Down { why: String::new(), retry_in: None }, 0);
        }
        assert_eq!(outlet.waiting.len(), 9);
    }
}
