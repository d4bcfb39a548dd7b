//! Serial consoles and screens over the wire: in-band bytestreams (XEP-0047), by `<iq/>`.
//!
//! Each block is acknowledged before the next is sent, in both directions: what is typed when the
//! driver took it, what the guest writes when the other side has it. So no side floods the other, a
//! server's limit of rate only slows it down, and at most one block stands before whatever else there
//! is to say. What piles up meanwhile goes out together; of a console what is too much is missed, not
//! kept, and a screen is asked for its next picture by its viewer. A stream belongs to the full address
//! that opened it, and ends with the guest, by `<close/>`, with the right to it, or when that address is
//! gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hypervisor_core::machine::MachineName;
use minidom::Element;
use skerry_stanzas::{ns, refusal::Refusal};
use tokio::{task::AbortHandle, time::timeout};
use xmpp_parsers::{jid::Jid, ns as xep};

use super::{
    Face, lock,
    stanza::{Fault, Inquiry, Tag, tag},
};
use crate::{
    asked::{Door, Target},
    console::{ConsoleStream, Keys},
    viewer::{self, Looker, ScreenStream},
};

/// The largest block, in bytes before base64: of a console, of what a viewer says, and of everything on an
/// account, which stock servers let send 3 to 10 kB a second.
const BLOCK_BYTES_MAX: usize = 4096;
/// The longest session id taken, in bytes.
const SID_BYTES_MAX: usize = 255;
/// How long a block may take to be acknowledged: a throttled server takes its time.
const ACK_MAX: Duration = Duration::from_secs(60);
/// Silence after which the other side is asked for a sign of life.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// What a session id begins with that names a machine, where machines have no address.
const NAMING: &str = "console:";

/// The open streams, by who opened them and as what.
#[derive(Default)]
pub(crate) struct Streams(Mutex<HashMap<(Jid, String), Arc<Typing>>>);

/// What a stream is of: from the guest …
enum Source {
    Console(ConsoleStream),
    Screen(ScreenStream),
}

/// … and to it.
enum Sink {
    Keys(Keys),
    Looker(Looker),
}

impl Source {
    /// What there is to say; `None` when it is over.
    async fn next(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Console(stream) => stream.next().await,
            Self::Screen(stream) => stream.next().await,
        }
    }

    fn sink(&self) -> Sink {
        match self {
            Self::Console(stream) => Sink::Keys(stream.keys()),
            Self::Screen(stream) => Sink::Looker(stream.looker()),
        }
    }
}

impl Sink {
    /// Takes a block. An empty one only asks whether the stream is there.
    async fn take(&self, bytes: &[u8]) -> Result<(), Refusal> {
        match self {
            Self::Keys(keys) if bytes.is_empty() => keys.may_look(),
            Self::Keys(keys) => keys.send(bytes).await,
            Self::Looker(looker) if bytes.is_empty() => looker.may_look(),
            Self::Looker(looker) => looker.say(bytes).await,
        }
    }

    /// Whether it is over once something was not taken: a viewer's conversation has no holes, while who may
    /// not type on a console may look on.
    fn ends(&self) -> bool {
        matches!(self, Self::Looker(_))
    }

    fn may_look(&self) -> bool {
        match self {
            Self::Keys(keys) => keys.may_look().is_ok(),
            Self::Looker(looker) => looker.may_look().is_ok(),
        }
    }
}

/// The typing direction of a stream.
struct Typing {
    sink: Sink,
    block_bytes_max: usize,
    /// The number of the next block. Held while it is typed, so that blocks stay in order.
    next: tokio::sync::Mutex<u16>,
    /// Ends the other direction.
    writer: AbortHandle,
}

impl Drop for Typing {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl Face {
    /// Answers `<open/>`, `<data/>` and `<close/>`.
    pub(crate) async fn bytestream(self: &Arc<Self>, inquiry: &Inquiry) -> Result<(), Fault> {
        let sid = inquiry.payload.attr("sid").unwrap_or_default();
        if sid.is_empty() || sid.len() > SID_BYTES_MAX {
            return Err(Fault::bad_request("A bytestream has a sid of at most 255 bytes."));
        }
        let key = (inquiry.from.clone(), sid.to_owned());
        match inquiry.payload.name() {
            "open" => self.open_stream(inquiry, key).await,
            "data" => self.typed(&inquiry.payload, &key).await,
            _ => match lock(&self.streams.0).remove(&key) {
                Some(_) => Ok(()),
                None => Err(Fault::not_found()),
            },
        }
    }

    async fn open_stream(self: &Arc<Self>, inquiry: &Inquiry, key: (Jid, String)) -> Result<(), Fault> {
        let ticket = key.1.strip_prefix(viewer::SID);
        let most = if ticket.is_some() { viewer::TOGETHER_MAX } else { BLOCK_BYTES_MAX };
        let agreed = block_size(&inquiry.payload, most)?;
        let ours_max = if self.addresses().is_component() { agreed } else { agreed.min(BLOCK_BYTES_MAX) };
        if lock(&self.streams.0).contains_key(&key) {
            return Err(Fault::new("cancel", "not-acceptable").text("There is a stream of this sid."));
        }
        let stream = match ticket {
            Some(ticket) => Source::Screen(self.agent.view(&inquiry.from, &inquiry.target, ticket).await?),
            None => {
                let target = console_of(inquiry, &key.1)?;
                Source::Console(self.agent.console(&inquiry.from, &target, Door::Adhoc).await?)
            }
        };
        let sink = stream.sink();
        let writing = Writing { us: inquiry.to.clone(), block_bytes_max: ours_max, seq: 0 };
        let face = Arc::clone(self);
        let ours = key.clone();
        // Held until the stream is in the table, so that an end at once finds it there.
        let mut streams = lock(&self.streams.0);
        let writer = tokio::spawn(async move {
            writing.run(&face, stream, &ours).await;
            lock(&face.streams.0).remove(&ours);
        });
        let typing = Typing {
            sink,
            block_bytes_max: agreed,
            next: tokio::sync::Mutex::new(0),
            writer: writer.abort_handle(),
        };
        streams.insert(key, Arc::new(typing));
        Ok(())
    }

    /// A block that was typed.
    async fn typed(&self, data: &Element, key: &(Jid, String)) -> Result<(), Fault> {
        let typing = lock(&self.streams.0).get(key).cloned().ok_or_else(Fault::not_found)?;
        let mut next = typing.next.lock().await;
        if data.attr("seq").and_then(|seq| seq.parse().ok()) != Some(*next) {
            lock(&self.streams.0).remove(key);
            return Err(
                Fault::new("cancel", "unexpected-request").text("A block was lost; the stream is closed.")
            );
        }
        let bytes = BASE64.decode(data.text().trim()).ok();
        let Some(bytes) = bytes.filter(|bytes| bytes.len() <= typing.block_bytes_max) else {
            return Err(Fault::bad_request("That is no base64, or more than a block."));
        };
        let taken = typing.sink.take(&bytes).await;
        if taken.is_err() && (typing.sink.ends() || !typing.sink.may_look()) {
            lock(&self.streams.0).remove(key);
        }
        taken?;
        *next = next.wrapping_add(1);
        Ok(())
    }
}

/// The machine whose console an `<open/>` means.
fn console_of(inquiry: &Inquiry, sid: &str) -> Result<Target, Fault> {
    match &inquiry.target {
        Target::Host => named(sid).ok_or_else(|| {
            Fault::new("cancel", "not-acceptable")
                .text("A host has no console. Name the machine: a sid console:NAME:…")
        }),
        machine => Ok(machine.clone()),
    }
}

/// The block size of an `<open/>`, when we can keep to what it wants (§2.1).
fn block_size(open: &Element, most: usize) -> Result<usize, Fault> {
    if !matches!(open.attr("stanza"), None | Some("iq")) {
        return Err(Fault::new("modify", "not-acceptable").text("By iq only: each block is acknowledged."));
    }
    match open.attr("block-size").and_then(|size| size.parse().ok()) {
        None | Some(0) => Err(Fault::bad_request("An <open/> says its block-size.")),
        Some(size) if size > most => Err(Fault::new("modify", "resource-constraint")
            .text(format!("Blocks of at most {most} bytes, please."))),
        Some(size) => Ok(size),
    }
}

/// The machine a session id names: `console:web1:…`.
fn named(sid: &str) -> Option<Target> {
    let (name, _) = sid.strip_prefix(NAMING)?.rsplit_once(':')?;
    MachineName::new(name).ok().map(Target::Machine)
}

/// The direction from the guest.
struct Writing {
    us: Jid,
    block_bytes_max: usize,
    seq: u16,
}

impl Writing {
    /// Sends what the guest writes until it ends, or the other side does.
    async fn run(mut self, face: &Face, mut stream: Source, (peer, sid): &(Jid, String)) {
        loop {
            let bytes = match timeout(SILENCE_MAX, stream.next()).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(_) if !stream.sink().may_look() => break,
                Err(_) if self.asks(face, peer, tag("ping", xep::PING), "get").await => continue,
                Err(_) => return,
            };
            for block in bytes.chunks(self.block_bytes_max) {
                let data = tag("data", xep::IBB)
                    .attr("sid", sid)
                    .attr("seq", self.seq.to_string())
                    .text(BASE64.encode(block));
                self.seq = self.seq.wrapping_add(1);
                if !self.asks(face, peer, data, "set").await {
                    return;
                }
            }
        }
        self.asks(face, peer, tag("close", xep::IBB).attr("sid", sid), "set").await;
    }

    /// Sends one request; whether it was taken.
    async fn asks(&self, face: &Face, peer: &Jid, payload: Tag, kind: &'static str) -> bool {
        let iq = tag("iq", ns::CLIENT)
            .attr("type", kind)
            .attr("from", self.us.as_str())
            .attr("to", peer.as_str())
            .child(payload);
        face.wire.ask(iq.into(), ACK_MAX).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn open(attributes: &str) -> Element {
        format!("<open xmlns='{}' sid='s' {attributes}/>", xep::IBB).parse().unwrap()
    }

    #[test]
    fn only_what_can_be_kept_is_agreed_to() {
        assert_eq!(block_size(&open("block-size='4096' stanza='iq'"), 4096).unwrap(), 4096);
        assert_eq!(block_size(&open("block-size='1'"), 4096).unwrap(), 1);
        for odd in
            ["", "block-size='0'", "block-size='4097'", "block-size='x'", "block-size='9' stanza='message'"]
        {
            assert!(block_size(&open(odd), 4096).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_sid_may_name_the_machine() {
        let web1 = Target::Machine(MachineName::new("web1").unwrap());
        assert_eq!(named("console:web1:77"), Some(web1));
        for odd in ["web1", "console:web1", "console::7", "console:WEB1:7", "other:web1:7"] {
            assert_eq!(named(odd), None, "{odd}");
        }
    }
}
