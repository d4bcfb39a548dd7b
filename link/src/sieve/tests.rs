#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::VecDeque;

use futures::StreamExt;
use minidom::Element;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::wire::{Setback, heard, open_stream};

const MAX: usize = 1 << 20;
const HEADER: &str = "<?xml version='1.0'?>\n<stream:stream xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' id='s1' version='1.0'>";

/// A socket that gives its bytes in pieces of one size, and takes everything.
struct Drip {
    bytes: VecDeque<u8>,
    size: usize,
}

impl AsyncRead for Drip {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let amount = self.size.min(buffer.remaining()).min(self.bytes.len());
        let piece: Vec<u8> = self.bytes.drain(..amount).collect();
        buffer.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Drip {
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

/// What a stream's parser makes of these bytes behind a sieve, and why it ended.
async fn sifted(bytes: &str, size: usize) -> (Vec<Element>, String) {
    let drip = Drip { bytes: bytes.bytes().collect(), size };
    let sieve = Sieve::new(drip, Dialect::Client, MAX);
    let mut elements = Vec::new();
    let mut wire = match open_stream(sieve, "here.example").await {
        Ok((wire, _)) => wire,
        Err(Setback::Broken(why)) => return (elements, why),
        Err(other) => panic!("{other:?}"),
    };
    loop {
        match heard(wire.next().await) {
            Ok(element) => elements.push(element),
            Err(Setback::Broken(why)) => return (elements, why),
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn body(element: &Element) -> String {
    element.get_child("body", "jabber:client").unwrap().text()
}

#[tokio::test]
async fn every_split_gives_the_same_stanzas() {
    let stanzas = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>\n \
         <message from=\"a@b/it's\" id='>'><body>1 &lt; 2 &amp; <![CDATA[<x>]] ]]> é</body></message>\
         <iq type='get' id=\"/>\"/><presence></presence>";
    let stream = format!("{HEADER}{stanzas}</stream:stream>");
    let (whole, end) = sifted(&stream, usize::MAX).await;
    assert_eq!(whole.len(), 4);
    assert_eq!(body(&whole[1]), "1 < 2 & <x>]]  é");
    assert_eq!(whole[2].attr("id"), Some("/>"));
    assert!(end.contains("closed the stream"), "{end}");
    for size in 1..stream.len() {
        assert_eq!(sifted(&stream, size).await, (whole.clone(), end.clone()), "in pieces of {size}");
    }
}

#[tokio::test]
async fn no_stanza_ends_the_stream() {
    let long = "n".repeat(9_000);
    let deep = ["<x>".repeat(30_000), "</x>".repeat(30_000)].concat();
    let large = "t".repeat(2 * MAX);
    let cases = [
        (format!("<iq type='get' id='1' from='a@b'>{deep}</iq>"), Some(Flaw::TooDeep)),
        (
            format!("<iq type='set' id='1' from='a@b'>{}</iq>", "<x/>".repeat(20_000)),
            Some(Flaw::TooManyElements),
        ),
        (format!("<iq type='get' id='1' from='a@b'><x {long}=''/></iq>"), Some(Flaw::Unreadable)),
        (format!("<iq type='get' id='1' from='a@b' x='{long}'/>"), Some(Flaw::Unreadable)),
        (format!("<iq type='get' id='1' from='a@b'><{long}/></iq>"), Some(Flaw::Unreadable)),
        (format!("<message id='1' from='a@b'><body>{large}</body></message>"), Some(Flaw::TooLarge)),
        (format!("<message id='1' from='a@b' x='{large}'/>"), Some(Flaw::TooLarge)),
        ("<message type='weird' id='1' from='a@b'><thread/><thread/></message>".to_owned(), None),
        (
            "<presence id='1' from='a@b'><show>bogus</show><priority>999</priority></presence>".to_owned(),
            None,
        ),
        ("<message type='error' id='1' from='a@b'><error type='bogus'/></message>".to_owned(), None),
    ];
    for (hostile, flaw) in cases {
        let stream = format!("{HEADER}{hostile}<message><body>after</body></message></stream:stream>");
        for size in [997, 16_384] {
            let (elements, end) = sifted(&stream, size).await;
            assert_eq!(elements.len(), 2, "{:.60}: {end}", hostile);
            assert_eq!(flaw_of(&elements[0]), flaw, "{:.60}", hostile);
            assert_eq!((elements[0].attr("id"), elements[0].attr("from")), (Some("1"), Some("a@b")));
            assert_eq!(body(&elements[1]), "after");
        }
    }
}

#[tokio::test]
async fn too_much_is_not_held() {
    let mut large = format!("{HEADER}<message><body>").into_bytes();
    large.resize(64 << 20, b't');
    let mut sieve = Sieve::new(&large[..], Dialect::Client, MAX);
    let mut passed = Vec::new();
    sieve.read_to_end(&mut passed).await.unwrap();
    assert!(sieve.held.capacity() <= 2 * MAX && passed.capacity() < 2 * MAX, "{}", sieve.held.capacity());
}

#[tokio::test]
async fn what_is_no_xmpp_ends_the_stream() {
    for bad in ["<!-- x --><message/>", "<?x?>", "<!DOCTYPE x>", "x", "<message><!-- x --></message>"] {
        let (elements, end) = sifted(&format!("{HEADER}{bad}<message/>"), 100).await;
        assert!(elements.is_empty() && end.contains("not an XMPP stream"), "{bad}: {end}");
    }
    for footer in ["</a>", "</stream>", "</stream:stream x>", "</>"] {
        let (_, end) = sifted(&format!("{HEADER}<message/>{footer}"), 100).await;
        assert!(end.contains("not an XMPP stream"), "{footer}: {end}");
    }
    let (elements, end) = sifted(&format!("{HEADER}<message/></stream:stream >"), 100).await;
    assert!(elements.len() == 1 && end.contains("closed the stream"), "{end}");
    let endless = format!("<stream:stream a='{}", "a".repeat(1 << 20));
    assert!(sifted(&endless, 4_096).await.1.contains("endless"));
    let nonza = format!("{HEADER}<features a='{}'/>", "a".repeat(9_000));
    assert!(sifted(&nonza, 4_096).await.1.contains("no stanza"));
    assert!(sifted("HTTP/1.1 400 Bad Request\r\n\r\n", 100).await.1.contains("not an XMPP stream"));
}

#[tokio::test]
async fn a_components_stream_looks_like_a_clients_and_our_header_is_not_sent_twice() {
    let (ours, mut theirs) = tokio::io::duplex(4_096);
    let sieve = Sieve::new(ours, Dialect::Component, MAX);
    let header = "<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams' \
                  xmlns='jabber:component:accept' id='s1' from='kvm1.example'>";
    theirs.write_all(format!("{header}<iq type='get' id='1'/>").as_bytes()).await.unwrap();
    let (mut wire, id) = open_stream(sieve, "kvm1.example").await.unwrap();
    assert_eq!(id.as_deref(), Some("s1"));
    let iq = heard(wire.next().await).unwrap();
    assert!(iq.is("iq", "jabber:client"));
    crate::wire::say(&mut wire, &iq).await.unwrap();
    drop(wire);
    let mut sent = String::new();
    theirs.read_to_string(&mut sent).await.unwrap();
    assert!(sent.starts_with("<iq ") && !sent.contains("xmlns"), "{sent}");
}

#[tokio::test]
async fn what_was_read_ahead_is_not_given_away() {
    let drip = |bytes: &str| Drip { bytes: bytes.bytes().collect(), size: usize::MAX };
    let mut sieve = Sieve::new(drip(&format!("{HEADER}<proceed/>")), Dialect::Client, MAX);
    let mut passed = vec![0; HEADER.len() + "<proceed/>".len()];
    sieve.read_exact(&mut passed).await.unwrap();
    assert!(sieve.into_socket().is_some());
    let mut sieve = Sieve::new(drip(&format!("{HEADER}<proceed/><message/>")), Dialect::Client, MAX);
    sieve.read_exact(&mut passed).await.unwrap();
    assert!(sieve.into_socket().is_none());
}
