//! Where elements of a stream begin and end, byte by byte.
//!
//! Only as much of XML as that needs: tags, quoted attribute values, CDATA sections. What RFC 6120
//! §11.1 forbids in a stream (comments, processing instructions, DTDs) ends it here. Whether an element
//! is well-formed is for the [examiner](super::examiner) to say.

/// What ended with the byte just scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boundary {
    /// `<stream:stream …>`.
    Header,
    /// The first tag of an element directly below the stream.
    Head,
    /// An element directly below the stream.
    Element,
    /// `</stream:stream>`.
    Stream,
}

/// What may not be on a stream: its peer is no XMPP server, or a broken one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an XMPP stream: {0}")]
pub(crate) struct NotXmpp(pub(crate) &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Text,
    /// After `<`.
    Open,
    /// In `<? … ?>`; whether the last byte was a `?`.
    Declaration(bool),
    /// After `<!`: how much of `[CDATA[` was there.
    Bang(usize),
    /// In a CDATA section: how many `]` were there just now, at most two.
    Cdata(u8),
    /// In a start tag, outside of quotes; whether the last byte was a `/`.
    StartTag(bool),
    /// In an attribute's value, up to this quote.
    Quoted(u8),
    EndTag,
}

const CDATA: &[u8] = b"[CDATA[";

/// Follows one stream, from its header to its footer.
#[derive(Debug)]
pub(crate) struct Scanner {
    at: At,
    /// Open elements: 0 before the header, 1 between stanzas.
    depth: u64,
    begun: bool,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self { at: At::Text, depth: 0, begun: false }
    }

    /// Whether the header has been seen.
    pub(crate) fn begun(&self) -> bool {
        self.begun
    }

    /// Scans up to the next boundary: how many bytes that took, and which boundary it is, or `None`
    /// when all bytes are used up.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<(usize, Option<Boundary>), NotXmpp> {
        let mut here = 0;
        while here < bytes.len() {
            here += self.leap(&bytes[here..]);
            let Some(&byte) = bytes.get(here) else { break };
            here += 1;
            if let Some(boundary) = self.step(byte)? {
                return Ok((here, Some(boundary)));
            }
        }
        Ok((here, None))
    }

    /// How many bytes can be passed over at once: text of a stanza, and attribute values.
    fn leap(&self, bytes: &[u8]) -> usize {
        let stop = match self.at {
            At::Text if self.depth > 1 => b'<',
            At::Quoted(quote) => quote,
            _ => return 0,
        };
        bytes.iter().position(|byte| *byte == stop).unwrap_or(bytes.len())
    }

    fn step(&mut self, byte: u8) -> Result<Option<Boundary>, NotXmpp> {
        self.at = match (self.at, byte) {
            (At::Text, b'<') => At::Open,
            (At::Text, b' ' | b'\t' | b'\r' | b'\n') => At::Text,
            (At::Text, _) if self.depth < 2 => return Err(NotXmpp("text between stanzas")),
            (At::Text, _) => At::Text,
            (At::Open, b'?') if self.depth == 0 && !self.begun => At::Declaration(false),
            (At::Open, b'?') => return Err(NotXmpp("a processing instruction")),
            (At::Open, b'!') if self.depth > 1 => At::Bang(0),
            (At::Open, b'!') => return Err(NotXmpp("a comment or document type")),
            (At::Open, b'/') if self.depth > 0 => At::EndTag,
            (At::Open, b'/' | b'>' | b'<' | b'"' | b'\'') => return Err(NotXmpp("a tag without a name")),
            (At::Open, _) => At::StartTag(false),
            (At::Declaration(true), b'>') => At::Text,
            (At::Declaration(_), byte) => At::Declaration(byte == b'?'),
            (At::Bang(seen), byte) if byte == CDATA[seen] => match seen + 1 {
                all if all == CDATA.len() => At::Cdata(0),
                more => At::Bang(more),
            },
            (At::Bang(_), _) => return Err(NotXmpp("a comment or document type")),
            (At::Cdata(2), b'>') => At::Text,
            (At::Cdata(ends), b']') => At::Cdata((ends + 1).min(2)),
            (At::Cdata(_), _) => At::Cdata(0),
            (At::StartTag(closed), b'>') => {
                self.at = At::Text;
                return self.opened(closed);
            }
            (At::StartTag(true), _) | (At::StartTag(_), b'<') => return Err(NotXmpp("a broken tag")),
            (At::StartTag(_), b'/') => At::StartTag(true),
            (At::StartTag(_), quote @ (b'"' | b'\'')) => At::Quoted(quote),
            (At::StartTag(_), _) => At::StartTag(false),
            (At::Quoted(quote), byte) if byte == quote => At::StartTag(false),
            (At::Quoted(quote), _) => At::Quoted(quote),
            (At::EndTag, b'>') => {
                self.at = At::Text;
                self.depth -= 1;
                return Ok(self.closed());
            }
            (At::EndTag, b'<') => return Err(NotXmpp("a broken tag")),
            (At::EndTag, _) => At::EndTag,
        };
        Ok(None)
    }

    /// A start tag is over; `closed` when it was an empty element.
    fn opened(&mut self, closed: bool) -> Result<Option<Boundary>, NotXmpp> {
        match (self.depth, closed) {
            (0, _) if self.begun => Err(NotXmpp("something after its end")),
            (0, true) => Err(NotXmpp("an empty stream header")),
            (0, false) => {
                self.begun = true;
                self.depth = 1;
                Ok(Some(Boundary::Header))
            }
            (1, true) => Ok(Some(Boundary::Element)),
            (1, false) => {
                self.depth = 2;
                Ok(Some(Boundary::Head))
            }
            (_, true) => Ok(None),
            (_, false) => {
                self.depth += 1;
                Ok(None)
            }
        }
    }

    fn closed(&self) -> Option<Boundary> {
        match self.depth {
            0 => Some(Boundary::Stream),
            1 => Some(Boundary::Element),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' id=\"a>b'\">";

    /// The pieces a stream falls into, fed in pieces of `size` bytes.
    fn pieces(stream: &str, size: usize) -> Result<Vec<(Boundary, String)>, NotXmpp> {
        let mut scanner = Scanner::new();
        let mut found = Vec::new();
        let mut held = Vec::new();
        for chunk in stream.as_bytes().chunks(size) {
            let mut rest = chunk;
            while !rest.is_empty() {
                let (eaten, boundary) = scanner.scan(rest)?;
                held.extend_from_slice(&rest[..eaten]);
                rest = &rest[eaten..];
                if let Some(boundary) = boundary {
                    found.push((boundary, String::from_utf8(std::mem::take(&mut held)).unwrap()));
                }
            }
        }
        Ok(found)
    }

    #[test]
    fn a_stream_falls_into_the_same_pieces_however_it_arrives() {
        let odd = "<message a='>' b=\"/>'\"><body>a &gt; b ]] <![CDATA[</body> ]]] ]]></body><x/></message>";
        let stream = format!("{HEADER}<presence/>{odd} \n<iq id='1'></iq ></stream:stream>");
        let whole = pieces(&stream, stream.len()).unwrap();
        let kinds: Vec<Boundary> = whole.iter().map(|(boundary, _)| *boundary).collect();
        use Boundary::{Element, Head, Header, Stream};
        assert_eq!(kinds, [Header, Element, Head, Element, Head, Element, Stream]);
        assert_eq!(format!("{}{}", whole[2].1, whole[3].1), odd);
        for size in 1..stream.len() {
            assert_eq!(pieces(&stream, size).unwrap(), whole, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_never_legal_ends_the_stream() {
        for bad in [
            "<!-- x -->",
            "<!DOCTYPE x>",
            "<?php ?>",
            "text",
            "<message><!-- x --></message>",
            "<message><?x ?></message>",
            "<message><!DOCTYPE x></message>",
            "<message <",
            "<message / x>",
            "<>",
            "</stream:stream><again>",
        ] {
            assert!(pieces(&format!("{HEADER}{bad}"), 1).is_err(), "{bad}");
        }
        assert!(pieces("HTTP/1.1 400 Bad Request", 5).is_err());
        assert!(pieces("<stream/>", 5).is_err());
    }
}
