//! Who wants to be told of what, what was told, and at which hours nothing is.

use chrono::{DateTime, Utc};
use hypervisor_core::machine::MachineId;
use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;
use xmpp_parsers::jid::BareJid;

use super::StoreError;
use crate::alerts::{quiet::Quiet, rule::Rule};

/// The most alerts of one person, and of everybody.
pub(crate) const PERSON_MAX: usize = 64;
/// The same of everybody.
pub(crate) const ALL_MAX: usize = 4096;

/// What somebody wants to be told of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alert {
    /// 1, 2, 3 …: never used again.
    pub(crate) number: u64,
    /// Who.
    pub(crate) person: BareJid,
    /// Of which machine; none: of the host.
    pub(crate) machine: Option<MachineId>,
    /// What.
    pub(crate) rule: Rule,
    /// The journal's entry that asked for it.
    pub(crate) entry: Uuid,
    /// Since when it is so, when it is.
    pub(crate) since: Option<DateTime<Utc>>,
    /// The number it was so with first, or was over with.
    pub(crate) seen: Option<f64>,
    /// The message in which they were told that it is so; none when the last they know is that it is not.
    pub(crate) told: Option<String>,
}

fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable(error.to_string())
}

/// A row as it is, before it is understood.
type Raw = (u64, String, Option<String>, String, String, Option<String>, Option<f64>, Option<String>);

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
        row.get(6)?,
        row.get(7)?,
    ))
}

fn understood((number, person, machine, rule, entry, since, seen, told): Raw) -> Result<Alert, StoreError> {
    let machine = machine.map(|id| id.parse::<Uuid>().map(MachineId)).transpose().map_err(unreadable)?;
    let since = since.map(|at| DateTime::parse_from_rfc3339(&at)).transpose().map_err(unreadable)?;
    Ok(Alert {
        number,
        person: BareJid::new(&person).map_err(unreadable)?,
        machine,
        rule: serde_json::from_str(&rule).map_err(unreadable)?,
        entry: entry.parse().map_err(unreadable)?,
        since: since.map(|at| at.with_timezone(&Utc)),
        seen,
        told,
    })
}

/// All of them, those of machines that are gone for good taken away first.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Alert>, StoreError> {
    connection.execute(
        "DELETE FROM alerts WHERE machine IS NOT NULL AND machine NOT IN (SELECT id FROM machines)",
        [],
    )?;
    let mut query = connection.prepare(
        "SELECT number, person, machine, rule, entry, since, seen, told FROM alerts ORDER BY number",
    )?;
    let rows = query.query_map([], raw)?;
    rows.map(|row| understood(row?)).collect()
}

/// Adds one and gives it its number.
pub(crate) fn insert(connection: &Connection, alert: &Alert) -> Result<u64, StoreError> {
    let rule = serde_json::to_string(&alert.rule).map_err(unreadable)?;
    connection
        .prepare_cached("INSERT INTO alerts (person, machine, rule, entry) VALUES (?1, ?2, ?3, ?4)")?
        .execute((
        alert.person.to_string(),
        alert.machine.map(|id| id.to_string()),
        rule,
        alert.entry.to_string(),
    ))?;
    u64::try_from(connection.last_insert_rowid()).map_err(unreadable)
}

/// Takes one away; fine if it is not there.
pub(crate) fn remove(connection: &Connection, number: u64) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM alerts WHERE number = ?1")?.execute([number])?;
    Ok(())
}

/// Notes that it is so now, or is over.
pub(crate) fn turn(
    connection: &Connection,
    number: u64,
    since: Option<DateTime<Utc>>,
    seen: Option<f64>,
) -> Result<(), StoreError> {
    connection.prepare_cached("UPDATE alerts SET since = ?2, seen = ?3 WHERE number = ?1")?.execute((
        number,
        since.map(|at| at.to_rfc3339()),
        seen,
    ))?;
    Ok(())
}

/// Notes what they were told.
pub(crate) fn told(connection: &Connection, number: u64, told: Option<&str>) -> Result<(), StoreError> {
    connection.prepare_cached("UPDATE alerts SET told = ?2 WHERE number = ?1")?.execute((number, told))?;
    Ok(())
}

/// Whether there is one that this journal entry asked for.
pub(crate) fn is_of_entry(connection: &Connection, entry: Uuid) -> Result<bool, StoreError> {
    let mut query = connection.prepare_cached("SELECT 1 FROM alerts WHERE entry = ?1")?;
    Ok(query.exists([entry.to_string()])?)
}

/// Whether there is one of this number.
pub(crate) fn is_there(connection: &Connection, number: u64) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM alerts WHERE number = ?1")?.exists([number])?)
}

/// Sets somebody's quiet hours, or takes them away.
pub(crate) fn set_quiet(
    connection: &Connection,
    person: &BareJid,
    quiet: Option<Quiet>,
) -> Result<(), StoreError> {
    match quiet {
        None => connection.execute("DELETE FROM quiet WHERE person = ?1", [person.to_string()])?,
        Some(quiet) => connection.execute(
            "INSERT INTO quiet (person, hours) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET hours = ?2",
            (person.to_string(), serde_json::to_string(&quiet).map_err(unreadable)?),
        )?,
    };
    Ok(())
}

/// Somebody's quiet hours.
pub(crate) fn quiet(connection: &Connection, person: &BareJid) -> Result<Option<Quiet>, StoreError> {
    let mut query = connection.prepare_cached("SELECT hours FROM quiet WHERE person = ?1")?;
    let hours: Option<String> = query.query_row([person.to_string()], |row| row.get(0)).optional()?;
    hours.map(|hours| serde_json::from_str(&hours).map_err(unreadable)).transpose()
}
