//! For people: columns under headings, fitted to the terminal.

use std::io::Write;

use chrono::{DateTime, Local};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value};

use super::{cell, line};
use crate::failure::Outcome;

/// Columns that come first when they are there; the others keep their order after them.
const FIRST: &[&str] = &[
    "name",
    "at",
    "who",
    "what",
    "outcome",
    "state",
    "jid",
    "host",
    "kind",
    "size_mib",
    "usable",
    "default",
    "driver",
    "vcpus",
    "memory_mib",
];
/// Columns that are left out of a table when all of it is the same empty value.
const LEFT_OUT_WHEN_EMPTY: &[&str] = &["labels", "about"];

/// Below this a table would be columns of single letters: then lines are left to the terminal to fold.
const NARROWEST: u16 = 40;

/// The width of the terminal, when there is one that says it (some say 0) and a table fits into it.
pub(super) fn width() -> Option<u16> {
    use std::io::IsTerminal as _;
    std::io::stdout()
        .is_terminal()
        .then(|| crossterm::terminal::size().ok())
        .flatten()
        .map(|(width, _)| width)
        .filter(|width| *width >= NARROWEST)
}

/// Shows rows as a table, at most `width` columns wide.
pub(super) fn show(out: &mut impl Write, rows: &[Map<String, Value>], width: Option<u16>) -> Outcome<()> {
    if rows.is_empty() {
        writeln!(out, "None.")?;
        return Ok(());
    }
    let mut columns = columns(rows);
    columns.retain(|column| {
        !LEFT_OUT_WHEN_EMPTY.contains(&column.as_str())
            || rows.iter().any(|row| row.get(column).is_some_and(|value| !cell(value).is_empty()))
    });
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table.set_header(columns.iter().map(|column| heading(column)));
    for row in rows {
        table.add_row(columns.iter().map(|column| row.get(column).map(readable).unwrap_or_default()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A cell; a time as it is on the wall here, to the second.
fn readable(value: &Value) -> String {
    let text = cell(value);
    match DateTime::parse_from_rfc3339(&text) {
        Ok(time) => time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => text,
    }
}

/// The columns of a list: the best known first.
pub(super) fn columns(rows: &[Map<String, Value>]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for key in rows.iter().flat_map(Map::keys) {
        if !columns.contains(key) {
            columns.push(key.clone());
        }
    }
    columns.sort_by_key(|column| FIRST.iter().position(|first| first == column).unwrap_or(FIRST.len()));
    columns
}

/// `memory_mib` → `MEMORY MIB`. What a host calls its columns is no more trusted than what it puts in them.
fn heading(column: &str) -> String {
    line(&column.replace('_', " ").to_uppercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn rows(value: Value) -> Vec<Map<String, Value>> {
        value.as_array().unwrap().iter().map(|row| row.as_object().unwrap().clone()).collect()
    }

    fn shown(value: Value, width: Option<u16>) -> String {
        let mut out = Vec::new();
        show(&mut out, &rows(value), width).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_stand_under_their_headings() {
        let value = json!([
            {"host": "kvm1", "name": "web1", "state": "running", "memory_mib": 512, "labels": []},
            {"host": "kvm1", "name": "database", "state": "stopped", "memory_mib": 2048, "labels": []},
        ]);
        assert_eq!(
            shown(value, None),
            "NAME      STATE    HOST  MEMORY MIB\n\
             web1      running  kvm1  512\n\
             database  stopped  kvm1  2048\n"
        );
    }

    #[test]
    fn a_narrow_terminal_wraps_instead_of_spilling() {
        let value =
            json!([{"name": "web1", "about": "a machine with a rather long description of what it is for"}]);
        let table = shown(value, Some(30));
        assert!(table.lines().all(|line| line.chars().count() <= 30), "{table}");
        assert!(table.lines().count() > 2);
    }

    #[test]
    fn times_are_for_people() {
        let table = shown(json!([{"at": "2026-11-22T21:37:48.112980278Z"}]), None);
        assert_eq!(table.lines().nth(1).map(str::len), Some("2026-11-22 21:37:48".len()), "{table}");
    }

    #[test]
    fn nothing_is_said_so() {
        assert_eq!(shown(json!([]), None), "None.\n");
    }
}
