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
    // `{:#}` of a Value is indented JSON; it escapes control characters, so a terminal is safe too.
    writeln!(out, "{value:#}")?;
    Ok(())
}
