//! What a session writes, and one turn of writing and reading.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Sink, StreamExt};
use minidom::Element;
use tokio_xmpp::xmlstream::ReadError;

use crate::{sm::Sm, wire::Wire};

/// How many elements are read before what was answered to them is written out.
const READS_PER_FLUSH: usize = 32;

/// What a turn brought.
pub(crate) enum Turn {
    Read(Option<Result<Element, ReadError>>),
    /// Something was written; there may be room for more.
    Wrote,
    Broken(io::Error),
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Stanzas, oldest first. They outlive a connection when the session can be resumed.
    pub(crate) stanzas: VecDeque<Element>,
    /// Stream management of the session, when it has that.
    pub(crate) sm: Option<Sm>,
    /// The server asked for an acknowledgement. However often it asked meanwhile, one answers all.
    pub(crate) owes_ack: bool,
    /// What goes before stanzas and is not counted.
    nonzas: VecDeque<Element>,
    unflushed: bool,
    reads: usize,
}

impl Outgoing {
    /// Another connection: what was for the old one alone is dropped.
    pub(crate) fn begin(&mut self) {
        self.owes_ack = false;
        self.nonzas.clear();
        self.unflushed = false;
        self.reads = 0;
    }

    /// Puts stanzas in front of those that wait.
    pub(crate) fn put_first(&mut self, mut stanzas: VecDeque<Element>) {
        stanzas.append(&mut self.stanzas);
        self.stanzas = stanzas;
    }

    /// Asks the server how far it got, unless it has been asked.
    pub(crate) fn ask_for_acks(&mut self) {
        if let Some(sm) = self.sm.as_mut().filter(|sm| sm.wants_ack(true)) {
            self.nonzas.push_back(sm.ask());
        }
    }

    /// Asks the server for a sign of life; false without stream management.
    pub(crate) fn ask_for_life(&mut self) -> bool {
        if let Some(sm) = &mut self.sm {
            self.nonzas.push_back(sm.ask());
        }
        self.sm.is_some()
    }

    /// Writes what can be written and reads one element when there is one. Reading goes first, so that
    /// the answers to a burst leave in one packet; but not for ever.
    pub(crate) async fn turn(&mut self, wire: &mut Wire, reading: bool) -> Turn {
        poll_fn(|cx| self.poll_turn(wire, reading, cx)).await
    }

    fn poll_turn(&mut self, wire: &mut Wire, reading: bool, cx: &mut Context<'_>) -> Poll<Turn> {
        let fed = match self.feed(wire, cx) {
            Ok(fed) => fed,
            Err(error) => return Poll::Ready(Turn::Broken(error)),
        };
        let rest = self.reads >= READS_PER_FLUSH;
        if reading
            && !rest
            && let Poll::Ready(item) = wire.poll_next_unpin(cx)
        {
            self.reads += 1;
            return Poll::Ready(Turn::Read(item));
        }
        self.reads = 0;
        if let Poll::Ready(Err(error)) = self.flush(wire, cx) {
            return Poll::Ready(Turn::Broken(error));
        }
        match fed || rest {
            true => Poll::Ready(Turn::Wrote),
            false => Poll::Pending,
        }
    }

    /// Hands stanzas to the stream as long as it takes them; whether it took any.
    fn feed(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut fed = false;
        loop {
            if self.owes_ack {
                self.owes_ack = false;
                self.nonzas.extend(self.sm.as_ref().map(Sm::ack));
            }
            let managed_room = self.sm.as_ref().is_none_or(Sm::has_room);
            let nonza = !self.nonzas.is_empty();
            if !nonza && (self.stanzas.is_empty() || !managed_room) {
                return Ok(fed);
            }
            match Sink::<&Element>::poll_ready(Pin::new(&mut *wire), cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(fed),
            }
            let queue = if nonza { &mut self.nonzas } else { &mut self.stanzas };
            let Some(element) = queue.pop_front() else { return Ok(fed) };
            Sink::<&Element>::start_send(Pin::new(&mut *wire), &element)?;
            self.unflushed = true;
            fed = true;
            if let (false, Some(sm)) = (nonza, &mut self.sm) {
                sm.keep(element);
                if sm.wants_ack(false) || (!sm.has_room() && sm.wants_ack(true)) {
                    self.nonzas.push_back(sm.ask());
                }
            }
        }
    }

    fn flush(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        let flushed = Sink::<&Element>::poll_flush(Pin::new(&mut *wire), cx);
        self.unflushed = flushed.is_pending();
        flushed
    }

    /// Writes what is left, says how far we got, and closes the stream; returns when the server has
    /// closed it too.
    pub(crate) async fn say_goodbye(&mut self, wire: &mut Wire) {
        self.owes_ack = self.sm.is_some();
        let written = poll_fn(|cx| match self.feed(wire, cx) {
            Err(error) => Poll::Ready(Err(error)),
            Ok(_) => self.flush(wire, cx),
        });
        if written.await.is_err() || wire.shutdown().await.is_err() {
            return;
        }
        while let Some(Ok(_)) = wire.next().await {}
    }
}
