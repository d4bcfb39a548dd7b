//! Whether the other side is alive. TCP alone would take a quarter of an hour to find out.

use std::time::Duration;

use minidom::Element;
use tokio::time::Instant;
use xmpp_parsers::jid::Jid;

use crate::{
    LinkConfig, Login,
    handle::Shared,
    names,
    turn::Outgoing,
    wire::{CLIENT, Setback},
};

/// XEP-0199.
const PING: &str = "urn:xmpp:ping";

/// Listens for bytes; asks for a sign of life after a silence, and gives up when there is none.
#[derive(Debug)]
pub(crate) struct Pulse {
    silence_max: Duration,
    answer_max: Duration,
    ping: Element,
    bytes_in: u64,
    last: Instant,
    asked: Option<Instant>,
}

impl Pulse {
    pub(crate) fn new(config: &LinkConfig, shared: &Shared, jid: &Jid) -> Self {
        // A component asks itself. That goes to the server and back, and no further: the domain above it may
        // be on another server, or on none, which takes the server longer to find out than we wait.
        let to = match config.login {
            Login::Component { .. } => jid.to_string(),
            Login::Account { .. } => jid.domain().to_string(),
        };
        let id = shared.life_id();
        let mut ping = names::element("iq", CLIENT, &[("type", "get"), ("id", &id), ("to", &to)]);
        if matches!(config.login, Login::Component { .. }) {
            names::set(&mut ping, "from", &to);
        }
        ping.append_child(Element::bare("ping", PING));
        Self {
            silence_max: config.silence_max,
            answer_max: config.answer_max,
            ping,
            bytes_in: 0,
            last: Instant::now(),
            asked: None,
        }
    }

    /// So many bytes have come by now; how many of them are new. While the stream is not read, its silence
    /// is ours and not the server's.
    pub(crate) fn feel(&mut self, bytes_in: u64, reading: bool) -> usize {
        let new = bytes_in.saturating_sub(self.bytes_in);
        self.bytes_in = bytes_in;
        if new > 0 || !reading {
            self.last = Instant::now();
            self.asked = None;
        }
        usize::try_from(new).unwrap_or(usize::MAX)
    }

    /// When [`Self::beat`] has something to do.
    pub(crate) fn due(&self) -> Instant {
        match self.asked {
            Some(asked) => asked + self.answer_max,
            None => self.last + self.silence_max,
        }
    }

    /// Asks for a sign of life when it is time.
    ///
    /// # Errors
    /// It was asked for, and none came.
    pub(crate) fn beat(&mut self, now: Instant, out: &mut Outgoing) -> Result<(), Setback> {
        if now < self.due() {
            return Ok(());
        }
        if self.asked.is_some() {
            let silence = now.duration_since(self.last);
            return Err(Setback::Broken(format!("no sign of life for {} s", silence.as_secs())));
        }
        self.asked = Some(now);
        if !out.ask_for_life() {
            out.stanzas.push_back(self.ping.clone());
        }
        Ok(())
    }
}
