//! Between the socket and the parser: lets a stanza through whole and within bounds, or not at all.
//!
//! A stream's parser cannot be stopped in the middle of a stanza, and ends the stream at the first thing it
//! does not take; any contact can send such a thing through a server that takes more. So the sieve holds
//! each element directly below the stream until its last byte is there ([`scanner`]), has it read by a
//! parser of the same make ([`examiner`]) and then hands it on; or hands on a stand-in ([`stand_in`])
//! of a few bytes. What is over the limit in bytes is not even held. So no stanza ends a stream, and memory
//! is bounded by one stanza.
//!
//! The header of a component's stream (XEP-0114) is rewritten on the way, `jabber:component:accept` to
//! `jabber:client`. Everything below inherits that namespace, so both kinds of stream carry the same
//! stanzas, and nothing else is touched.

mod examiner;
pub(crate) mod scanner;
mod stand_in;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use examiner::Examiner;
pub(crate) use examiner::Flaw;
use scanner::{Boundary, NotXmpp, Scanner};
pub(crate) use stand_in::flaw_of;

/// The longest stream header taken in.
const HEADER_MAX: usize = 8_192;
/// How much is read from the socket at once.
const READ_SIZE: usize = 16_384;
/// Buffers larger than this are given back once they are empty.
const KEPT_CAPACITY: usize = 65_536;

/// Which kind of stream is sifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `jabber:client`.
    Client,
    /// `jabber:component:accept`. Our own header has been sent already; the one that the XML stream
    /// above writes goes nowhere.
    Component,
}

/// The sieve over a socket. Writing goes straight through.
pub(crate) struct Sieve<Io> {
    io: Io,
    dialect: Dialect,
    /// The largest element let through, in bytes.
    element_max: usize,
    raw: Box<[u8]>,
    raw_at: usize,
    raw_end: usize,
    scanner: Scanner,
    examiner: Examiner,
    /// What the stream's own tag is called.
    name: Vec<u8>,
    /// The element being read, or its first tag once it is too large.
    held: Vec<u8>,
    /// The length of its first tag, when that is over.
    head: Option<usize>,
    too_large: bool,
    /// What may be read from above.
    passed: Vec<u8>,
    passed_at: usize,
    /// Nothing more comes: the stream's footer or the end of the file.
    ended: bool,
    /// Writes go nowhere: the XML stream above is writing its header, and ours is sent already.
    mute: bool,
    bytes_in: u64,
}

impl<Io> Sieve<Io> {
    /// A sieve at the beginning of a stream.
    pub(crate) fn new(io: Io, dialect: Dialect, element_max: usize) -> Self {
        Self {
            io,
            dialect,
            element_max,
            raw: vec![0; READ_SIZE].into_boxed_slice(),
            raw_at: 0,
            raw_end: 0,
            scanner: Scanner::new(),
            examiner: Examiner::new(),
            name: Vec::new(),
            held: Vec::new(),
            head: None,
            too_large: false,
            passed: Vec::new(),
            passed_at: 0,
            ended: false,
            mute: dialect == Dialect::Component,
            bytes_in: 0,
        }
    }

    /// The same socket at the beginning of another stream (RFC 6120 §4.3.3); what was read ahead is kept.
    pub(crate) fn restart(&mut self) {
        self.scanner = Scanner::new();
        self.examiner = Examiner::new();
        self.held.clear();
        self.head = None;
        self.too_large = false;
    }

    /// The socket, when nothing has been read ahead from it. Bytes that came before TLS began must
    /// never be taken for bytes within it.
    pub(crate) fn into_socket(self) -> Option<Io> {
        (self.raw_at == self.raw_end && self.passed_at == self.passed.len()).then_some(self.io)
    }

    /// How many bytes have come from the socket: a sign of life, even within a stanza.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Sifts what has been read until something can be passed on or nothing is left.
    fn sift(&mut self) -> io::Result<()> {
        while self.raw_at < self.raw_end && self.passed.is_empty() && !self.ended {
            let (eaten, boundary) =
                self.scanner.scan(&self.raw[self.raw_at..self.raw_end]).map_err(invalid)?;
            let is_header = !self.scanner.begun() || boundary == Some(Boundary::Header);
            self.hold(self.raw_at..self.raw_at + eaten, is_header)?;
            self.raw_at += eaten;
            match boundary {
                None => {}
                Some(Boundary::Header) => self.pass_header()?,
                Some(Boundary::Head) => self.head = Some(self.held.len()),
                Some(Boundary::Element) => self.pass_element()?,
                Some(Boundary::Stream) => {
                    self.check_footer()?;
                    self.passed = std::mem::take(&mut self.held);
                    self.ended = true;
                }
            }
        }
        Ok(())
    }

    /// Keeps bytes of the header or the element being read, unless there are too many.
    fn hold(&mut self, range: std::ops::Range<usize>, is_header: bool) -> io::Result<()> {
        let mut bytes = &self.raw[range];
        if self.held.is_empty() {
            bytes = bytes.trim_ascii_start();
        }
        if self.too_large {
            return Ok(());
        }
        self.held.extend_from_slice(bytes);
        if is_header && self.held.len() > HEADER_MAX {
            return Err(invalid(NotXmpp("an endless stream header")));
        }
        if !is_header && self.held.len() > self.element_max {
            self.too_large = true;
            self.held.truncate(self.head.unwrap_or(usize::MAX).min(stand_in::HEAD_MAX));
            self.held.shrink_to(KEPT_CAPACITY);
        }
        Ok(())
    }

    fn pass_header(&mut self) -> io::Result<()> {
        let mut header = std::mem::take(&mut self.held);
        if self.dialect == Dialect::Component {
            header = as_client_header(&header).map_err(invalid)?;
        }
        self.examiner.begin(&header).map_err(invalid)?;
        let tag = header.rsplit(|byte| *byte == b'<').next().unwrap_or_default();
        let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'>';
        self.name = tag.split(ends).next().unwrap_or_default().to_vec();
        self.passed = header;
        Ok(())
    }

    /// The stream ends by its own name. A footer is the one thing that no examiner reads first.
    fn check_footer(&self) -> io::Result<()> {
        let name = self.held.strip_prefix(b"</").and_then(|rest| rest.strip_suffix(b">"));
        match name.map(<[u8]>::trim_ascii_end) == Some(&self.name) {
            true => Ok(()),
            false => Err(invalid(NotXmpp("an end that is not its own"))),
        }
    }

    fn pass_element(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let head = self.head.take();
        let verdict = match std::mem::take(&mut self.too_large) {
            true => Err(Flaw::TooLarge),
            false => self.examiner.examine(&held),
        };
        self.passed = match verdict {
            Ok(()) => held,
            Err(flaw) => {
                let head = &held[..head.unwrap_or(held.len()).min(held.len())];
                stand_in::stand_ins(head, flaw)
                    .into_iter()
                    .flatten()
                    .find(|stand_in| self.examiner.examine(stand_in).is_ok())
                    .ok_or_else(|| invalid(NotXmpp("an unreadable element that is no stanza")))?
            }
        };
        Ok(())
    }

    /// What was passed has been read: its buffer is used again for what comes.
    fn recycle(&mut self) {
        self.passed_at = 0;
        self.passed.clear();
        if self.passed.capacity() > KEPT_CAPACITY {
            self.passed = Vec::new();
        } else if self.held.capacity() == 0 {
            std::mem::swap(&mut self.held, &mut self.passed);
        }
    }
}

fn invalid(error: NotXmpp) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A component's stream header as a client's: its namespace, and the version that XEP-0114 leaves out.
fn as_client_header(header: &[u8]) -> Result<Vec<u8>, NotXmpp> {
    let header = std::str::from_utf8(header).map_err(|_| NotXmpp("an unreadable stream header"))?;
    if !header.contains("jabber:component:accept") {
        return Err(NotXmpp("this port is not for components"));
    }
    let (declaration, tag) = match header.rfind("?>") {
        Some(end) => header.split_at(end + 2),
        None => ("", header),
    };
    let tag = tag.replacen("jabber:component:accept", "jabber:client", 1);
    let open = tag.strip_suffix('>').ok_or(NotXmpp("an unreadable stream header"))?;
    let version = if open.contains(" version=") { "" } else { " version='1.0'" };
    Ok(format!("{declaration}{open}{version}>").into_bytes())
}

impl<Io: AsyncRead + Unpin> AsyncBufRead for Sieve<Io> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.passed_at == this.passed.len() && !this.ended {
            this.recycle();
            if this.raw_at == this.raw_end {
                let mut buffer = ReadBuf::new(&mut this.raw);
                ready!(Pin::new(&mut this.io).poll_read(cx, &mut buffer))?;
                (this.raw_at, this.raw_end) = (0, buffer.filled().len());
                this.bytes_in += this.raw_end as u64;
                this.ended = this.raw_end == 0;
            }
            this.sift()?;
        }
        Poll::Ready(Ok(&this.passed[this.passed_at..]))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let this = self.get_mut();
        this.passed_at = (this.passed_at + amount).min(this.passed.len());
        if this.mute && this.passed_at == this.passed.len() && !this.passed.is_empty() {
            // The header has been read, so the stream above has written its own.
            this.mute = false;
        }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Sieve<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let passed = ready!(self.as_mut().poll_fill_buf(cx))?;
        let amount = passed.len().min(buffer.remaining());
        buffer.put_slice(&passed[..amount]);
        self.consume(amount);
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Sieve<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.mute {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
