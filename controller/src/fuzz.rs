//! What a fuzzer feeds `skerry` with, and what has to hold whatever it makes up: see `scripts/fuzz`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use minidom::Element;
use skerry_stanzas::{
    adhoc::AdhocCommand,
    payload::{Event, Metrics},
    reply::{ScreenPicture, ScreenTicket},
};
use xmpp_parsers::jid::Jid;

use crate::{
    audit::witness,
    bytestream::{BLOCK_BYTES_MAX, block},
    call::outcome,
    cli::Output,
    config::Config,
    failure::Failure,
    fleet::{self, Host},
    picture, pubsub,
    render::{Answered, render},
    top::board::Board,
    wire,
};

/// The host that talks.
fn host() -> Host {
    Host { jid: Jid::new("kvm1.example.org").unwrap(), name: "kvm1".into() }
}

/// An element, as the link lets one through: not deep.
fn element(data: &[u8]) -> Option<Element> {
    let text = std::str::from_utf8(data).ok()?;
    let deep = text.split('<').filter(|part| !part.is_empty() && !part.starts_with('/')).count() > 600;
    if deep { None } else { text.parse().ok() }
}

/// What a terminal shows as it stands: nothing of it steers, hides or turns around.
pub(crate) fn is_shown(text: &str) {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let steers = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || turns(c);
    assert!(!text.contains(steers), "a terminal would obey this: {text:?}");
}

fn is_told(failure: &Failure) {
    is_shown(&failure.text);
    is_shown(failure.hint.as_deref().unwrap_or_default());
    assert!(!failure.text.trim().is_empty() || failure.hint.is_none(), "{failure:?}");
}

/// What a host, or whoever is in its place, answers to a command: it is shown in each form, or told as a
/// failure, and the terminal obeys none of it.
pub fn answers(data: &[u8]) {
    let Some(element) = element(data) else { return };
    is_told(&wire::refused(&element));
    wire::is_away(&element);
    let Ok(answer) = AdhocCommand::parse(&element) else { return };
    let reply = match outcome(answer) {
        Ok(reply) => reply,
        Err(failure) => return is_told(&failure),
    };
    is_shown(&reply.text);
    assert!(reply.percent().is_none_or(|percent| percent <= 100));
    reply.request();
    if let Some(picture) = ScreenPicture::of(&reply.json) {
        picture.caption();
    }
    serde_json::from_value::<ScreenTicket>(reply.json.clone()).ok();
    let one = Answered { who: "kvm1".into(), host: "kvm1.example.org".into(), reply };
    for answers in [vec![one.clone()], vec![one.clone(), one]] {
        for output in [Output::Table, Output::Plain, Output::Json] {
            let mut out = Vec::new();
            render(&mut out, output, &answers, answers.len() == 1).unwrap();
            is_shown(&String::from_utf8(out).unwrap());
        }
    }
}

/// What hosts, servers and strangers send unasked: events, numbers, heads, blocks, lists, chat. Only what a
/// host says of itself counts, and what is shown of it steers no terminal.
pub fn notices(data: &[u8]) {
    let Some(element) = element(data) else { return };
    let from = wire::from(&element).map(|from| from.to_bare());
    if let Some((teller, events)) = pubsub::told(&element) {
        assert_eq!(Some(&teller), from.as_ref());
        crate::events::fuzz::read_on(&host(), events);
    }
    for head in witness::told(&element, &[host()]) {
        assert_eq!(head.host, "kvm1.example.org");
        assert_eq!(from.as_ref(), Some(&host().jid.to_bare()));
    }
    crate::chat::fuzz::heard(&element);
    for next in [0, 7, u16::MAX] {
        assert!(block(&element, next, BLOCK_BYTES_MAX).is_none_or(|bytes| bytes.len() <= BLOCK_BYTES_MAX));
    }
    for item in element.children() {
        if let Some(machine) = fleet::machine(item, &host()) {
            is_shown(&machine.name);
            assert_eq!(machine.jid.domain(), host().jid.domain());
        }
    }
    fleet::jids(&element);
    picture::png(&element);
    if let Ok(metrics) = Metrics::try_from(element.clone()) {
        let mut board = Board::new([("kvm1".to_owned(), host().jid.to_bare())]);
        board.take(&host().jid.to_bare(), metrics.clone());
        let rows = board.rows();
        assert_eq!(rows.len(), metrics.machines.len());
        rows.iter().for_each(|row| is_shown(&row.use_of.name));
        crate::top::fuzz::drawn(&board);
    }
    if let Ok(event) = Event::try_from(element) {
        crate::events::fuzz::read_on(&host(), vec![event.clone(), event]);
    }
}

/// The configuration of `skerry`: what is wrong with it is told in a sentence.
pub fn skerry_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(failure) = Config::read(text, Path::new("/nonexistent")) {
        assert!(!failure.text.is_empty() && !failure.text.contains('\n'), "{:?}", failure.text);
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn answers() {
        replay("answers", super::answers, 1500);
    }

    #[test]
    fn notices() {
        replay("notices", super::notices, 1500);
    }

    #[test]
    fn skerry_config() {
        replay("skerry_config", super::skerry_config, 1500);
    }
}
