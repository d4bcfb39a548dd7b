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

/// The texts of other replies.
pub(super) fn texts(out: &mut impl Write, answers: &[Answered]) -> Outcome<()> {
    for answer in answers {
        writeln!(out, "{}", answer.reply.text)?;
    }
    Ok(())
}
