//! A stream of bytes within the XML stream (XEP-0047), by `<iq/>`: each block is acknowledged.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use minidom::Element;
use skerry_link::{Ask, LinkHandle};
use xmpp_parsers::jid::Jid;

use crate::{
    failure::{Failure, Kind, Outcome},
    fleet::Machine,
    session::{SHORT, Session},
    wire,
};

/// The largest block that is sent, in bytes before base64 (§2.1): stock servers let an account send 3 to
/// 10 kB a second.
pub const BLOCK_BYTES_MAX: usize = 4096;
/// How often it is asked whether a stream is still there.
pub const KNOCK_EVERY: Duration = Duration::from_secs(30);
/// How long a block may take to be acknowledged: a throttled server takes its time.
const ACK_MAX: Duration = Duration::from_secs(60);

/// An open stream: its two directions, which may go their own ways.
pub struct Bytestream {
    /// To the other side.
    pub outgoing: Outgoing,
    /// From there.
    pub incoming: Incoming,
}

/// Which stream.
#[derive(Clone)]
struct Ends {
    handle: LinkHandle,
    peer: Jid,
    sid: String,
}

/// The direction to the other side.
pub struct Outgoing {
    ends: Ends,
    next: u16,
}

/// The direction from the other side.
pub struct Incoming {
    ends: Ends,
    next: u16,
    block_bytes_max: usize,
    open: bool,
}

/// What a stanza is to the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Bytes, in order.
    Bytes(Vec<u8>),
    /// The other side closed it.
    Closed,
    /// Nothing of it.
    Nothing,
}

impl Bytestream {
    /// Opens a stream to a machine's console. On a link where machines have no address the session
    /// id names it: `console:web1:…`.
    ///
    /// # Errors
    /// No right, no console now, or no answer.
    pub async fn console(session: &Session, machine: &Machine) -> Outcome<Self> {
        let unique = uuid::Uuid::new_v4();
        let sid = match machine.has_own_address() {
            true => unique.to_string(),
            false => format!("console:{}:{unique}", machine.name),
        };
        Self::open(session.handle(), machine.jid.clone(), sid, BLOCK_BYTES_MAX).await
    }

    /// Opens a stream of this session id, with blocks of at most so many bytes from there.
    ///
    /// # Errors
    /// No right, not now, or no answer.
    pub async fn open(handle: LinkHandle, peer: Jid, sid: String, block_bytes_max: usize) -> Outcome<Self> {
        let block_size = block_bytes_max.to_string();
        let attributes = [("sid", sid.as_str()), ("block-size", &block_size), ("stanza", "iq")];
        let open = wire::element("open", wire::IBB, &attributes);
        handle.ask(wire::set(Some(&peer), open), SHORT).await?;
        let ends = Ends { handle, peer, sid };
        Ok(Self {
            outgoing: Outgoing { ends: ends.clone(), next: 0 },
            incoming: Incoming { ends, next: 0, block_bytes_max, open: true },
        })
    }

    /// Closes it, when it is not closed.
    pub async fn close(&mut self) {
        self.incoming.close().await;
    }
}

impl Outgoing {
    /// Sends bytes, and returns when they have arrived; none of them asks only whether the stream is there.
    /// False when it is not: it was closed there, and its `<close/>` is on the way, or it is long gone.
    ///
    /// # Errors
    /// The other side does not take them, or does not answer.
    pub async fn send(&mut self, bytes: &[u8]) -> Outcome<bool> {
        let one = [bytes];
        let blocks: Box<dyn Iterator<Item = &[u8]> + Send> = match bytes.is_empty() {
            true => Box::new(one.into_iter()),
            false => Box::new(bytes.chunks(BLOCK_BYTES_MAX)),
        };
        for block in blocks {
            let seq = self.next.to_string();
            let mut data = wire::element("data", wire::IBB, &[("sid", &self.ends.sid), ("seq", &seq)]);
            data.append_text(BASE64.encode(block));
            match self.ends.handle.ask(wire::set(Some(&self.ends.peer), data), ACK_MAX).await {
                Ok(_) => self.next = self.next.wrapping_add(1),
                Err(Ask::Refused(iq)) if wire::condition(&iq).0 == "item-not-found" => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

impl Incoming {
    /// Takes a stanza in, and acknowledges it.
    ///
    /// # Errors
    /// A block was lost or is broken, so the rest would be wrong.
    pub async fn hear(&mut self, stanza: &Element) -> Outcome<Heard> {
        if stanza.name() != "iq" || stanza.attr("type") != Some("set") {
            return Ok(Heard::Nothing);
        }
        let Some(payload) = stanza.children().next() else { return Ok(Heard::Nothing) };
        let Ends { handle, peer, sid } = &self.ends;
        let ours = wire::from(stanza).as_ref() == Some(peer) && payload.attr("sid") == Some(sid);
        if !ours || !self.open {
            handle.send(wire::error_to(stanza, "cancel", "item-not-found")).await?;
            return Ok(Heard::Nothing);
        }
        match payload.name() {
            "data" => match block(payload, self.next, self.block_bytes_max) {
                Some(bytes) => {
                    self.next = self.next.wrapping_add(1);
                    handle.send(wire::result_to(stanza)).await?;
                    Ok(Heard::Bytes(bytes))
                }
                None => {
                    handle.send(wire::error_to(stanza, "cancel", "unexpected-request")).await?;
                    Err(Failure::new(Kind::Internal, "a block of the stream was lost or broken"))
                }
            },
            "close" => {
                self.open = false;
                handle.send(wire::result_to(stanza)).await?;
                Ok(Heard::Closed)
            }
            _ => {
                handle.send(wire::error_to(stanza, "cancel", "feature-not-implemented")).await?;
                Ok(Heard::Nothing)
            }
        }
    }

    /// Closes it, when it is not closed.
    pub async fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            let Ends { handle, peer, sid } = &self.ends;
            let close = wire::element("close", wire::IBB, &[("sid", sid)]);
            // Whether it is heard is no matter: the other side notices that we are gone.
            handle.ask(wire::set(Some(peer), close), SHORT).await.ok();
        }
    }
}

/// The bytes of a block, when it is the one that follows and not too large (§2.2).
pub(crate) fn block(data: &Element, expected: u16, bytes_max: usize) -> Option<Vec<u8>> {
    let seq: u16 = data.attr("seq")?.parse().ok()?;
    let bytes = BASE64.decode(data.text().trim()).ok()?;
    (seq == expected && bytes.len() <= bytes_max).then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn data(seq: &str, text: &str) -> Element {
        format!("<data xmlns='http://jabber.org/protocol/ibb' sid='s' seq='{seq}'>{text}</data>")
            .parse()
            .unwrap()
    }

    fn block(data: &Element, expected: u16) -> Option<Vec<u8>> {
        super::block(data, expected, BLOCK_BYTES_MAX)
    }

    #[test]
    fn blocks_come_in_order_and_whole() {
        assert_eq!(block(&data("0", "bHMK"), 0), Some(b"ls\n".to_vec()));
        assert_eq!(block(&data("2", "bHMK"), 1), None);
        assert_eq!(block(&data("0", "not base64!"), 0), None);
        assert_eq!(block(&data("70000", "bHMK"), 0), None);
        assert_eq!(block(&data("0", &BASE64.encode(vec![0; BLOCK_BYTES_MAX + 1])), 0), None);
    }
}
