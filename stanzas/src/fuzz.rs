//! What a fuzzer feeds this crate with, and what has to hold whatever it makes up: see `scripts/fuzz`.
#![allow(clippy::unwrap_used, clippy::panic)]

use minidom::Element;
use serde_json::Value;
use xmpp_parsers::data_forms::DataForm;

use crate::{
    adhoc::AdhocCommand,
    audit::{Check, Head, Heads, Row, link},
    command::{COMMANDS, Command, Declaration, argument::Takes, *},
    each_command, form,
    payload::{
        Definition, Event, Handover, Host, Machine, Metrics, Response, Share, TEXT_BYTES_MAX, VIAS_MAX, Via,
        migration, responses, share,
    },
    refusal::Refusal,
    words::{self, Verb},
};

/// The longest refusal, in bytes: a word of the input may be in it, never all of the input.
const REFUSAL_BYTES_MAX: usize = 1500;

/// An element, as the link lets one through: not deep.
fn element(data: &[u8]) -> Option<Element> {
    let text = std::str::from_utf8(data).ok()?;
    let deep = text.split('<').filter(|part| !part.is_empty() && !part.starts_with('/')).count() > 600;
    if deep { None } else { text.parse().ok() }
}

fn again(element: Element) -> Element {
    let xml = String::from(&element);
    xml.parse().unwrap_or_else(|error| panic!("what was written cannot be read: {error}: {xml}"))
}

/// What was read and written is read as the same. Twice, as what is never sent may be read all the same.
fn there_and_back<T>(element: &Element)
where
    T: Clone + PartialEq + std::fmt::Debug + TryFrom<Element>,
    Element: From<T>,
    <T as TryFrom<Element>>::Error: std::fmt::Debug,
{
    let Ok(read) = T::try_from(element.clone()) else { return };
    let once = T::try_from(again(Element::from(read.clone()))).unwrap();
    let twice = T::try_from(again(Element::from(once.clone()))).unwrap();
    assert_eq!(once, twice, "of {read:?}");
}

/// The same of what goes along as JSON.
fn content<T>(content: Option<T>)
where
    T: PartialEq + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let Some(read) = content else { return };
    let again: T = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
    assert_eq!(again, read);
}

/// Payloads: whatever is taken is within bounds, and is the same when it was written and read again.
pub fn payloads(data: &[u8]) {
    let Some(element) = element(data) else { return };
    there_and_back::<Machine>(&element);
    there_and_back::<Host>(&element);
    there_and_back::<Event>(&element);
    there_and_back::<Metrics>(&element);
    there_and_back::<Response>(&element);
    there_and_back::<Handover>(&element);
    there_and_back::<Share>(&element);
    there_and_back::<Definition>(&element);
    if let Ok(event) = Event::try_from(element.clone()) {
        assert!(event.sentence.len() <= TEXT_BYTES_MAX && event.what.len() <= TEXT_BYTES_MAX);
    }
    if let Ok(handover) = Handover::try_from(element.clone()) {
        content(handover.content::<migration::Offer>());
        content(handover.content::<migration::Accepted>());
        content(handover.content::<migration::Plan>());
        content(handover.content::<migration::Handed>());
        content(handover.content::<migration::Refused>());
    }
    if let Ok(share) = Share::try_from(element.clone()) {
        content(share.content::<share::Offer>());
        content(share.content::<share::Want>());
        content(share.content::<share::Answer>());
    }
    assert!(responses(&element).len() <= 10);
    let vias = Via::of(&element);
    assert!(vias.len() <= VIAS_MAX && vias.iter().all(|via| !via.by.contains(char::is_control)));
    if let Some(head) = Head::read(&element) {
        assert_eq!(Head::read(&again(Element::from(&head))), Some(head));
    }
    let refusal = Refusal::from_error(&element);
    assert!(refusal.text.len() <= 16 << 10);
    again(refusal.stanza_error());
}

/// A command by its name, parsed to what the journal would hold.
type Parse = fn(&[String]) -> Result<Value, Refusal>;

fn parse_to_json<C: Command>(argv: &[String]) -> Result<Value, Refusal> {
    words::parse::<C>(argv).map(|command| serde_json::to_value(command).unwrap())
}

macro_rules! parsers {
    ($($command:ty),* $(,)?) => {
        [$(parse_to_json::<$command> as Parse),*]
    };
}

/// Parses words of the one grammar, which are of the same order as [`COMMANDS`].
fn parse(declaration: &'static Declaration, argv: &[String]) -> Result<Value, Refusal> {
    let all = each_command!(parsers);
    let at = COMMANDS.iter().position(|one| std::ptr::eq(one, declaration)).unwrap();
    all[at](argv)
}

/// A refusal is sentences for people: they end, are not long, and hold nothing that is no text.
fn is_said(refusal: &Refusal) {
    let said = refusal.sentence();
    assert!(!refusal.text.is_empty() && said.len() <= REFUSAL_BYTES_MAX, "{} bytes: {said}", said.len());
    assert!(said.ends_with(['.', '?', '!', ')', ']', '"']) || refusal.hint.is_some(), "no end: {said:?}");
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "no text: {said:?}");
    let back = Refusal::from_error(&again(refusal.stanza_error()));
    assert_eq!(back.reason, refusal.reason);
}

/// Words of the one grammar: they are, and mean the same by a form.
fn is_grammar(declaration: &'static Declaration, argv: &[String]) {
    let known = |word: &String| {
        let name = word.strip_prefix("--").unwrap_or_else(|| panic!("{word:?} is no option"));
        let name = name.split_once('=').map_or(name, |(name, _)| name);
        declaration.all_arguments().any(|argument| argument.name == name)
    };
    assert!(argv.iter().all(known), "{argv:?}");
    let meant = match parse(declaration, argv) {
        Ok(meant) => meant,
        Err(refusal) => return is_said(&refusal),
    };
    let sent: DataForm = again(form::to_element(&form::submit(argv))).try_into().unwrap();
    // An empty value stands for itself in words, and for nothing given in a form; and lines are trimmed.
    let same = |argv: &[String]| {
        declaration.all_arguments().all(|argument| {
            argument.takes != Takes::Lines
                && !(argument.many || argument.takes == Takes::Whole)
                && !argv.contains(&format!("--{}=", argument.name))
        })
    };
    let by_form = form::argv(declaration, &sent);
    if same(argv) && argv.iter().all(|word| crate::safe::safe_value(word) == *word) {
        let by_form = by_form.unwrap_or_else(|refusal| panic!("{argv:?}: {refusal}"));
        assert_eq!(parse(declaration, &by_form).unwrap(), meant, "{argv:?}, by a form {by_form:?}");
    }
}

/// A `<command/>` with a form: read and written it is the same; what is filled in becomes words of the one
/// grammar, and those a command, or a refusal in sentences.
pub fn forms(data: &[u8]) {
    let Some(element) = element(data) else { return };
    let Ok(command) = AdhocCommand::parse(&element) else { return };
    let once = AdhocCommand::parse(&again(command.to_element())).unwrap();
    let twice = AdhocCommand::parse(&again(once.to_element())).unwrap();
    assert_eq!(once, twice);
    let Some(filled) = &command.form else { return };
    let verb = command.node.rsplit('/').next().unwrap_or_default();
    for declaration in COMMANDS.iter().filter(|declaration| declaration.verb == verb) {
        match form::argv(declaration, filled) {
            Ok(argv) => is_grammar(declaration, &argv),
            Err(refusal) => is_said(&refusal),
        }
        let mut kept = form::nothing_given();
        form::keep(declaration, &mut kept, filled);
        assert!(form::argv(declaration, &kept).is_ok(), "what is kept of a step can be read");
        let summary = form::summary(declaration, &kept, |_| None);
        assert!(!summary.contains(char::is_control), "{summary:?}");
        form::confirmed_because(declaration, filled).map_err(|refusal| is_said(&refusal)).ok();
    }
    form::machine_of(filled).map_err(|refusal| is_said(&refusal)).ok();
    form::confirmed(filled).map_err(|refusal| is_said(&refusal)).ok();
}

/// A word as a careful person quotes it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A line of the chat: it is read as a command, or refused in sentences, or asked back.
pub fn chat(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    let said = match words::split(line) {
        Ok(said) => said,
        Err(error) => return is_said(&error.into()),
    };
    let careful: Vec<String> = said.iter().map(|word| quoted(word)).collect();
    let careful = careful.join(" ");
    if careful.len() <= words::TEXT_BYTES_MAX {
        assert_eq!(words::split(&careful).as_ref(), Ok(&said), "quoted with care: {careful:?}");
    }
    let said = words::joined(said);
    let Some((verb, rest)) = said.split_first() else { return };
    for object in [Object::Host, Object::Machine] {
        let offered: Vec<&'static Declaration> =
            COMMANDS.iter().filter(|declaration| declaration.object == object).collect();
        match words::find_verb(&offered, verb) {
            Verb::Known(declaration) => {
                let declaration = COMMANDS.iter().find(|one| one.permission() == declaration.permission());
                let declaration = declaration.unwrap();
                match words::arguments(declaration, rest) {
                    Ok(argv) => is_grammar(declaration, &argv),
                    Err(refusal) => is_said(&refusal),
                }
            }
            Verb::Ambiguous(question) => assert!(question.len() <= REFUSAL_BYTES_MAX, "{question}"),
            Verb::Unknown { nearest } => is_said(&words::unknown_verb(verb, nearest)),
        }
    }
}

/// Rows made of the input, linked as they should be.
fn rows(of: &[u8]) -> Vec<Row> {
    let mut prev = Vec::new();
    let texts = of.chunks(40).take(8).map(|chunk| String::from_utf8_lossy(chunk).into_owned());
    let made = texts.enumerate().map(|(nth, text)| {
        let (at, kind) = (format!("at {text}"), if nth % 2 == 0 { "accepted" } else { "outcome" });
        let body = serde_json::json!({ "caller": text, "n": nth }).to_string();
        let entry = format!("e{nth}{text}");
        let hash = link(&prev, [&at, kind, &entry, &body]);
        let prev = std::mem::replace(&mut prev, hash.clone());
        Row { seq: nth as u64 + 1, at, kind: kind.into(), entry, body, prev, hash }
    });
    made.collect()
}

/// Lines of an audit trail, and of a witness' file. A line that is read is written to the letter; a trail of
/// which any byte is another is found to be altered.
pub fn trail(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let (mut check, mut whole) = (Check::default(), true);
        for line in text.lines() {
            if let Some(row) = Row::parse(line) {
                assert_eq!(row.line(), line);
            }
            whole &= check.add_line(line).is_ok();
        }
        if whole {
            check.finish().unwrap();
        }
        if let Ok(heads) = Heads::of_lines(text, None) {
            for line in text.lines() {
                Check::against(heads.clone()).add_line(line).ok();
            }
            Check::against(heads).finish().ok();
        }
    }
    let [which, byte, bit, made_of @ ..] = data else { return };
    let rows = rows(made_of);
    if rows.is_empty() {
        return;
    }
    let mut lines: Vec<String> = rows.iter().map(Row::line).collect();
    // What XML and terminals cannot hold is never in a body; then its line is none.
    if lines.iter().any(|line| Row::parse(line).is_none()) {
        return;
    }
    let checked = |lines: &[String]| {
        let mut check = Check::default();
        lines.iter().try_for_each(|line| check.add_line(line)).and_then(|()| check.finish())
    };
    assert_eq!(checked(&lines).unwrap().last, rows.len() as u64);
    let which = usize::from(*which) % lines.len();
    let mut bytes = lines[which].clone().into_bytes();
    let at = usize::from(*byte) * bytes.len() / 256;
    bytes[at] ^= 1 << (bit % 8);
    lines[which] = String::from_utf8_lossy(&bytes).into_owned();
    assert!(checked(&lines).is_err(), "byte {at} of line {which} was altered: {:?}", lines[which]);
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn payloads() {
        replay("payloads", super::payloads, 3000);
    }

    #[test]
    fn forms() {
        replay("forms", super::forms, 600);
    }

    #[test]
    fn chat() {
        replay("chat", super::chat, 600);
    }

    #[test]
    fn trail() {
        replay("trail", super::trail, 2000);
    }
}
