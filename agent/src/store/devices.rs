//! What names of devices mean on this host, and which machine has which, in the store.

use chrono::{DateTime, Utc};
use hypervisor_core::{
    device::{Loan, Mapping},
    machine::MachineId,
};
use rusqlite::{Connection, Row};

use super::StoreError;

/// A name, and what it means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    /// The name.
    pub(crate) name: String,
    /// What it means.
    pub(crate) mapping: Mapping,
    /// Whether it is handed over also while the host itself uses it.
    pub(crate) even_in_use: bool,
    /// Since when.
    pub(crate) made_at: DateTime<Utc>,
    /// Who said so.
    pub(crate) made_by: String,
}

/// Writes down what a name means, whatever it meant before.
pub(crate) fn map(connection: &Connection, device: &Stored) -> Result<(), StoreError> {
    let mapping = serde_json::to_string(&device.mapping).map_err(unreadable)?;
    connection
        .prepare_cached(
            "INSERT INTO devices (name, mapping, made_at, made_by, even_in_use) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (name)
             DO UPDATE SET mapping = ?2, made_at = ?3, made_by = ?4, even_in_use = ?5",
        )?
        .execute((&device.name, mapping, device.made_at.to_rfc3339(), &device.made_by, device.even_in_use))?;
    Ok(())
}

/// Forgets a name.
pub(crate) fn unmap(connection: &Connection, name: &str) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM devices WHERE name = ?1")?.execute([name])?;
    Ok(())
}

/// All names, in their order.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Stored>, StoreError> {
    let sql = "SELECT name, mapping, made_at, made_by, even_in_use FROM devices ORDER BY name";
    let mut query = connection.prepare_cached(sql)?;
    let rows = query.query_map([], |row| Ok(stored(row)))?;
    rows.map(|row| row?).collect()
}

fn stored(row: &Row<'_>) -> Result<Stored, StoreError> {
    let text = |column: &str| row.get::<_, String>(column);
    Ok(Stored {
        name: text("name")?,
        mapping: serde_json::from_str(&text("mapping")?).map_err(unreadable)?,
        even_in_use: row.get("even_in_use")?,
        made_at: DateTime::parse_from_rfc3339(&text("made_at")?).map_err(unreadable)?.to_utc(),
        made_by: text("made_by")?,
    })
}

/// Writes down that machines have devices, before they do.
pub(crate) fn lend(connection: &Connection, loans: &[Loan]) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO loans (device, machine, name, lent, driver) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (device) DO UPDATE SET machine = ?2, name = ?3, lent = ?4, driver = ?5",
    )?;
    for Loan { name, machine, lent, driver } in loans {
        let written = serde_json::to_string(lent).map_err(unreadable)?;
        insert.execute((lent.to_string(), machine.to_string(), name, written, driver))?;
    }
    Ok(())
}

/// Forgets it, when the host has it back.
pub(crate) fn give_back(connection: &Connection, loan: &Loan) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM loans WHERE device = ?1")?.execute([loan.lent.to_string()])?;
    Ok(())
}

/// Who has what.
pub(crate) fn loans(connection: &Connection) -> Result<Vec<Loan>, StoreError> {
    let mut query =
        connection.prepare_cached("SELECT machine, name, lent, driver FROM loans ORDER BY device")?;
    let rows = query.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?))
    })?;
    rows.map(|row| {
        let (machine, name, lent, driver) = row?;
        let machine = MachineId(machine.parse().map_err(unreadable)?);
        Ok(Loan { name, machine, lent: serde_json::from_str(&lent).map_err(unreadable)?, driver })
    })
    .collect()
}

fn unreadable(why: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable(format!("a device: {why}"))
}
