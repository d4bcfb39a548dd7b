//! For pipes: one line a thing, columns separated by tabs, no headings.

use std::io::Write;

use serde_json::{Map, Value};

use super::{Answered, cell, table::columns};
use crate::failure::Outcome;

/// The rows of a list; the columns are those of the table, always all of them.
pub(super) fn rows(out: &mut impl Write, rows: &[Map<String, Value>]) -> Outcome<()> {
    let columns = columns(rows);
    for row in rows {
        let cells: Vec<String> =
            columns.iter().map(|column| row.get(column).map(cell).unwrap_or_default()).collect();
        writeln!(out, "{}", cells.join("\t"))?;
    }
    Ok(())
}

/// The texts of other replies; of several, each with its name when it does not say it itself.
pub(super) fn texts(out: &mut impl Write, answers: &[Answered]) -> Outcome<()> {
    for answer in answers {
        match answers.len() > 1 && !answer.reply.text.contains(&answer.who) {
            true => writeln!(out, "{}: {}", answer.who, answer.reply.text)?,
            false => writeln!(out, "{}", answer.reply.text)?,
        }
    }
    Ok(())
}
