//! For programs.

use std::io::Write;

use serde_json::Value;

use super::Answered;
use crate::failure::Outcome;

/// One array.
pub(super) fn array(out: &mut impl Write, values: Vec<Value>) -> Outcome<()> {
    write(out, &Value::Array(values))
}

/// The reply of one target as it is, those of several as an array.
pub(super) fn replies(out: &mut impl Write, answers: &[Answered], one: bool) -> Outcome<()> {
    match answers {
        [answer] if one => write(out, &answer.reply.json),
        several => array(out, several.iter().map(|answer| answer.reply.json.clone()).collect()),
    }
}

fn write(out: &mut impl Write, value: &Value) -> Outcome<()> {
    writeln!(out, "{}", inert(&format!("{value:#}")))?;
    Ok(())
}

/// JSON that a terminal obeys no more than any other reader. JSON itself escapes the ASCII controls but for
/// DEL, not those beyond, and not what turns the direction of writing around. They stand in strings alone.
pub fn inert(json: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let steers = |c| turns(c) || matches!(c, '\u{7f}'..='\u{9f}');
    let mut inert = String::with_capacity(json.len());
    for c in json.chars() {
        match steers(c) {
            true => inert.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => inert.push(c),
        }
    }
    inert
}
