//! What a fuzzer feeds the link with, and what has to hold whatever it makes up: see `scripts/fuzz`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::StreamExt;
use minidom::Element;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    sieve::{Dialect, Sieve},
    wire::{Setback, heard, open_stream},
};

/// The largest element let through here: small, so that it is met.
const ELEMENT_MAX: usize = 4096;
/// The header of a stream, which not every input has to find anew.
const HEADER: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                        xmlns:stream='http://etherx.jabber.org/streams' id='s1' version='1.0'>";

/// A socket that gives its bytes in pieces of one size, and takes everything.
struct Drip<'a>(&'a [u8], usize);

impl AsyncRead for Drip<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (piece, rest) = self.0.split_at(self.1.min(buffer.remaining()).min(self.0.len()));
        buffer.put_slice(piece);
        self.0 = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Drip<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What is let through, and why no more is.
async fn let_through(stream: &[u8], pieces: usize, dialect: Dialect) -> (Vec<u8>, Result<(), String>) {
    let mut sieve = Sieve::new(Drip(stream, pieces), dialect, ELEMENT_MAX);
    let mut passed = Vec::new();
    loop {
        let piece = match sieve.fill_buf().await {
            Ok([]) => return (passed, Ok(())),
            Ok(piece) => piece.to_vec(),
            Err(error) => return (passed, Err(error.to_string())),
        };
        // One element, or the header.
        assert!(piece.len() <= 2 * 8_192 + ELEMENT_MAX, "{} bytes at once", piece.len());
        sieve.consume(piece.len());
        passed.extend(piece);
    }
}

/// What a stream's parser makes of it behind a sieve, and why it ended.
async fn parsed(stream: &[u8], pieces: usize) -> (Vec<Element>, Setback) {
    let sieve = Sieve::new(Drip(stream, pieces), Dialect::Client, ELEMENT_MAX);
    let mut elements = Vec::new();
    let mut wire = match open_stream(sieve, "here.example").await {
        Ok((wire, _)) => wire,
        Err(why) => return (elements, why),
    };
    loop {
        match heard(wire.next().await) {
            Ok(element) => elements.push(element),
            Err(why) => return (elements, why),
        }
    }
}

/// A stream from a server. What is let through is the same in whatever pieces it came; behind the sieve the
/// stream's parser ends by the end of the stream, by a stream error or by what is no XMPP, and never by a
/// stanza.
pub fn sieve(data: &[u8]) {
    let [how, rest @ ..] = data else { return };
    let dialect = if how & 1 == 0 { Dialect::Client } else { Dialect::Component };
    let begun = how & 2 == 0 && dialect == Dialect::Client;
    let stream = if begun { [HEADER, rest].concat() } else { rest.to_vec() };
    let pieces = usize::from(how >> 2) + 1;
    // Nothing is ever waited for, but the stream above has timers.
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    }
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let whole = let_through(&stream, usize::MAX, dialect).await;
            assert_eq!(let_through(&stream, pieces, dialect).await, whole, "in pieces of {pieces}");
            if dialect == Dialect::Component {
                return;
            }
            let (elements, why) = parsed(&stream, pieces).await;
            assert!(elements.len() <= stream.len() / 4, "more than there was");
            let Setback::Broken(why) = why else { return };
            let ends = ["the server closed the stream", "the connection was closed", "not an XMPP stream"];
            let told = why.starts_with("the server ended the stream: ");
            let header_only = !begun && elements.is_empty();
            assert!(told || header_only || ends.iter().any(|end| why.contains(end)), "it ended by: {why}");
        });
    });
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn sieve() {
        super::replay::replay("sieve", super::sieve, 3000);
    }
}
