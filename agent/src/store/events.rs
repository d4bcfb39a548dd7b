//! The host's event log: numbered without gaps, the newest [`KEEP`] kept.

use chrono::Utc;
use rusqlite::Connection;

use super::StoreError;
use crate::agent::Event;

/// How many events are kept.
pub(crate) const KEEP: u64 = 10_000;

/// Something that happened, not yet numbered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Happening {
    /// Past tense: `machine.started`.
    pub(crate) what: &'static str,
    /// The machine's name.
    pub(crate) machine: Option<String>,
    /// Its state after it.
    pub(crate) state: Option<String>,
    /// Its generation after it.
    pub(crate) generation: Option<u64>,
    /// Who asked for it.
    pub(crate) by: Option<String>,
    /// The same in a sentence.
    pub(crate) sentence: String,
}

/// Numbers a happening and writes it down.
pub(crate) fn append(connection: &Connection, happening: Happening) -> Result<Event, StoreError> {
    let mut next = connection
        .prepare_cached("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) + 1")?;
    let sequence: u64 = next.query_row([], |row| row.get(0))?;
    let Happening { what, machine, state, generation, by, sentence } = happening;
    let event =
        Event { sequence, at: Utc::now(), what: what.into(), machine, state, generation, by, sentence };
    let json = serde_json::to_string(&event).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    connection
        .prepare_cached("INSERT INTO events (sequence, event) VALUES (?1, ?2)")?
        .execute((sequence, json))?;
    if let Some(oldest) = sequence.checked_sub(KEEP) {
        connection.prepare_cached("DELETE FROM events WHERE sequence <= ?1")?.execute([oldest])?;
    }
    Ok(event)
}

/// The events after a number, oldest first.
pub(crate) fn after(connection: &Connection, sequence: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT event FROM events WHERE sequence > ?1 ORDER BY sequence LIMIT ?2")?;
    let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
    let rows = query.query_map((sequence, limit.min(KEEP as usize)), |row| row.get::<_, String>(0))?;
    rows.map(|row| serde_json::from_str(&row?).map_err(|error| StoreError::Unreadable(error.to_string())))
        .collect()
}
