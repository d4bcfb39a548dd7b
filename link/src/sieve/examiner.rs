//! Whether an element may reach the parser of the stream: read once by a parser of the same make.
//!
//! One stanza that the stream's parser refuses would end the stream, and with stream management the
//! server would send it again on the next one, for ever. So each element is read twice: here first, where a
//! refusal costs nothing but the element, then by the stream. Depth and number of elements are counted
//! on the way: the tree builder behind the stream recurses.

use minidom::rxml::{self, Event, Parse, Parser};

use super::scanner::NotXmpp;

/// How deep a stanza may be nested.
pub(crate) const DEPTH_MAX: usize = 64;
/// How many elements a stanza may hold.
pub(crate) const ELEMENTS_MAX: usize = 20_000;

/// Why a stanza was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// More bytes than the link takes.
    TooLarge,
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// More than [`ELEMENTS_MAX`] elements.
    TooManyElements,
    /// What our parser does not take: names, attribute values or references over 8,192 bytes, or XML
    /// that is not well-formed in its eyes.
    Unreadable,
    /// Its sender is no address, or one that would be read as another ([`crate::address`]).
    Sender,
}

impl Flaw {
    const ALL: [(Self, &'static str); 5] = [
        (Self::TooLarge, "too-large"),
        (Self::TooDeep, "too-deep"),
        (Self::TooManyElements, "too-many-elements"),
        (Self::Unreadable, "unreadable"),
        (Self::Sender, "sender"),
    ];

    /// As written in a stand-in.
    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(flaw, _)| *flaw == self).map_or("", |(_, word)| word)
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(flaw, _)| *flaw)
    }
}

/// A parser in the same state as the stream's: below the header, between two elements.
pub(crate) struct Examiner {
    parser: Parser,
    header: Vec<u8>,
}

impl Examiner {
    pub(crate) fn new() -> Self {
        Self { parser: Parser::default(), header: Vec::new() }
    }

    /// Takes the header of the stream, which later elements inherit their namespaces from.
    pub(crate) fn begin(&mut self, header: &[u8]) -> Result<(), NotXmpp> {
        self.header = header.to_vec();
        self.parser = Parser::default();
        let mut bytes = header;
        loop {
            match self.parser.parse(&mut bytes, false) {
                Ok(Some(Event::XmlDeclaration(..))) => {}
                Ok(Some(Event::StartElement(..))) => return Ok(()),
                _ => return Err(NotXmpp("an unreadable stream header")),
            }
        }
    }

    /// Reads one element, whole.
    pub(crate) fn examine(&mut self, element: &[u8]) -> Result<(), Flaw> {
        let verdict = walk(&mut self.parser, element);
        if verdict.is_err() {
            // The parser is somewhere inside of the refused element: begin anew where it began.
            let header = std::mem::take(&mut self.header);
            self.begin(&header).map_err(|_| Flaw::Unreadable)?;
        }
        verdict
    }
}

fn walk(parser: &mut Parser, mut bytes: &[u8]) -> Result<(), Flaw> {
    let (mut depth, mut elements) = (0_usize, 0_usize);
    loop {
        match parser.parse(&mut bytes, false) {
            Ok(Some(Event::StartElement(..))) => {
                depth += 1;
                elements += 1;
                if depth > DEPTH_MAX {
                    return Err(Flaw::TooDeep);
                }
                if elements > ELEMENTS_MAX {
                    return Err(Flaw::TooManyElements);
                }
            }
            Ok(Some(Event::EndElement(_))) => depth = depth.checked_sub(1).ok_or(Flaw::Unreadable)?,
            Ok(Some(_)) => {}
            Err(rxml::error::EndOrError::NeedMoreData) if depth == 0 && elements > 0 => return Ok(()),
            _ => return Err(Flaw::Unreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn examiner() -> Examiner {
        let mut examiner = Examiner::new();
        let header = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                       xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
        examiner.begin(header).unwrap();
        examiner
    }

    fn nested(depth: usize) -> Vec<u8> {
        ["<x>".repeat(depth), "</x>".repeat(depth)].concat().into_bytes()
    }

    #[test]
    fn the_bounds_are_where_they_are_said_to_be() {
        let mut examiner = examiner();
        assert_eq!(examiner.examine(&nested(DEPTH_MAX)), Ok(()));
        assert_eq!(examiner.examine(&nested(DEPTH_MAX + 1)), Err(Flaw::TooDeep));
        assert_eq!(examiner.examine(&nested(30_000)), Err(Flaw::TooDeep));
        let many = |count: usize| format!("<m>{}</m>", "<x/>".repeat(count - 1)).into_bytes();
        assert_eq!(examiner.examine(&many(ELEMENTS_MAX)), Ok(()));
        assert_eq!(examiner.examine(&many(ELEMENTS_MAX + 1)), Err(Flaw::TooManyElements));
        assert_eq!(examiner.examine(b"<stream:features/>"), Ok(()), "prefixes of the header hold");
    }

    #[test]
    fn what_the_parser_refuses_costs_only_that_element() {
        let mut examiner = examiner();
        let long = "n".repeat(8_193);
        for bad in [
            format!("<m {long}='1'/>"),
            format!("<m a='{long}'/>"),
            format!("<{long}/>"),
            format!("<m>&{long};</m>"),
            "<m>&nbsp;</m>".to_owned(),
            "<m>\u{1}</m>".to_owned(),
            "<p:m/>".to_owned(),
            "<m></n>".to_owned(),
            "<m a='1' a='2'/>".to_owned(),
        ] {
            assert_eq!(examiner.examine(bad.as_bytes()), Err(Flaw::Unreadable), "{:.40}", bad);
            assert_eq!(examiner.examine(b"<message><body>hi</body></message>"), Ok(()));
        }
        let text = format!("<m>{}</m>", "t".repeat(100_000));
        assert_eq!(examiner.examine(text.as_bytes()), Ok(()), "text may be long");
    }

    #[test]
    fn words_of_flaws_read_back() {
        for (flaw, word) in Flaw::ALL {
            assert_eq!(Flaw::from_word(word), Some(flaw));
            assert_eq!(flaw.word(), word);
        }
    }
}
