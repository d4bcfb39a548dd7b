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

/// The largest block, in bytes before base64 (§2.1).
const BLOCK_BYTES_MAX: usize = 4096;
/// How long a block may take to be acknowledged: a throttled server takes its time.
const ACK_MAX: Duration = Duration::from_secs(60);

/// An open stream.
pub(super) struct Bytestream {
    handle: LinkHandle,
    peer: Jid,
    sid: String,
    sent: u16,
    heard: u16,
    open: bool,
}

/// What a stanza is to the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
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
    pub(super) async fn open(session: &Session, machine: &Machine) -> Outcome<Self> {
        let unique = uuid::Uuid::new_v4();
        let sid = match machine.has_own_address() {
            true => unique.to_string(),
            false => format!("console:{}:{unique}", machine.name),
        };
        let block_size = BLOCK_BYTES_MAX.to_string();
        let attributes = [("sid", sid.as_str()), ("block-size", &block_size), ("stanza", "iq")];
        let open = wire::element("open", wire::IBB, &attributes);
        session.ask(wire::set(Some(&machine.jid), open), SHORT).await?;
        Ok(Self { handle: session.handle(), peer: machine.jid.clone(), sid, sent: 0, heard: 0, open: true })
    }

    /// The largest block.
    pub(super) fn block_size(&self) -> usize {
        BLOCK_BYTES_MAX
    }

    /// Sends bytes, and returns when they have arrived.
    ///
    /// # Errors
    /// The other side does not take them, or does not answer.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        for block in bytes.chunks(BLOCK_BYTES_MAX) {
            let seq = self.sent.to_string();
            let mut data = wire::element("data", wire::IBB, &[("sid", &self.sid), ("seq", &seq)]);
            data.append_text(BASE64.encode(block));
            self.sent = self.sent.wrapping_add(1);
            match self.handle.ask(wire::set(Some(&self.peer), data), ACK_MAX).await {
                Ok(_) => {}
                // It was closed there while we typed; its `<close/>` is on the way.
                Err(Ask::Refused(iq)) if wire::condition(&iq).0 == "item-not-found" => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes a stanza in, and acknowledges it.
    ///
    /// # Errors
    /// A block was lost or is broken, so the rest would be wrong.
    pub(super) async fn hear(&mut self, stanza: &Element) -> Outcome<Heard> {
        if stanza.name() != "iq" || stanza.attr("type") != Some("set") {
            return Ok(Heard::Nothing);
        }
        let Some(payload) = stanza.children().next() else { return Ok(Heard::Nothing) };
        let ours = wire::from(stanza).as_ref() == Some(&self.peer) && payload.attr("sid") == Some(&self.sid);
        if !ours || !self.open {
            self.handle.send(wire::error_to(stanza, "cancel", "item-not-found")).await?;
            return Ok(Heard::Nothing);
        }
        match payload.name() {
            "data" => match block(payload, self.heard) {
                Some(bytes) => {
                    self.heard = self.heard.wrapping_add(1);
                    self.handle.send(wire::result_to(stanza)).await?;
                    Ok(Heard::Bytes(bytes))
                }
                None => {
                    self.handle.send(wire::error_to(stanza, "cancel", "unexpected-request")).await?;
                    Err(Failure::new(Kind::Internal, "a block of the console was lost or broken"))
                }
            },
            "close" => {
                self.open = false;
                self.handle.send(wire::result_to(stanza)).await?;
                Ok(Heard::Closed)
            }
            _ => {
                self.handle.send(wire::error_to(stanza, "cancel", "feature-not-implemented")).await?;
                Ok(Heard::Nothing)
            }
        }
    }

    /// Closes it, when it is not closed.
    pub(super) async fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            let close = wire::element("close", wire::IBB, &[("sid", &self.sid)]);
            // Whether it is heard is no matter: the other side notices that we are gone.
            self.handle.ask(wire::set(Some(&self.peer), close), SHORT).await.ok();
        }
    }
}

/// The bytes of a block, when it is the one that follows and not too large (§2.2).
fn block(data: &Element, expected: u16) -> Option<Vec<u8>> {
    let seq: u16 = data.attr("seq")?.parse().ok()?;
    let bytes = BASE64.decode(data.text().trim()).ok()?;
    (seq == expected && bytes.len() <= BLOCK_BYTES_MAX).then_some(bytes)
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

    #[test]
    fn blocks_come_in_order_and_whole() {
        assert_eq!(block(&data("0", "bHMK"), 0), Some(b"ls\n".to_vec()));
        assert_eq!(block(&data("2", "bHMK"), 1), None);
        assert_eq!(block(&data("0", "not base64!"), 0), None);
        assert_eq!(block(&data("70000", "bHMK"), 0), None);
        assert_eq!(block(&data("0", &BASE64.encode(vec![0; BLOCK_BYTES_MAX + 1])), 0), None);
    }
}
