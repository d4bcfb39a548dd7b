//! The machines in the store: one row each, kept while the machine is in the trash.

use chrono::{DateTime, Utc};
use hypervisor_core::machine::{MachineId, MachineName};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, types::Value};
use serde::{Serialize, de::DeserializeOwned};
use unicode_security::skeleton;

use super::{StoreError, definitions};
use crate::machine::Record;

const COLUMNS: &str = "id, name, definition, driver, wanted, state, generation, labels, autostart, protected, \
                       restarts, layers, created_at, created_by";

/// A machine as it stands in the store, with its driver by name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    /// Everything but the driver.
    pub(crate) record: Record,
    /// The name of the driver, which may not be enabled any more.
    pub(crate) driver: String,
}

/// A machine in the trash.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trashed {
    /// The machine.
    pub(crate) stored: Stored,
    /// When it was deleted.
    pub(crate) deleted_at: DateTime<Utc>,
    /// Who deleted it.
    pub(crate) deleted_by: String,
}

/// What two names that look alike have in common (UTS 39).
pub(crate) fn look(name: &MachineName) -> String {
    skeleton(name.as_str()).collect()
}

/// What the columns of a machine's row hold, by the names they have in statements.
fn columns(record: &Record) -> Result<Vec<(&'static str, Value)>, StoreError> {
    Ok(vec![
        (":id", record.id.to_string().into()),
        (":name", record.name.to_string().into()),
        (":skeleton", look(&record.name).into()),
        (":definition", json(&record.definition)?.into()),
        (":wanted", json(&record.wanted)?.into()),
        (":state", json(&record.state)?.into()),
        (":generation", i64::try_from(record.generation).map_err(unreadable)?.into()),
        (":labels", json(&record.labels)?.into()),
        (":autostart", record.autostart.into()),
        (":protected", record.protected.into()),
        (":restarts", json(&record.restarts)?.into()),
        (":layers", json(&record.layers)?.into()),
    ])
}

fn named<'a>(columns: &'a [(&'static str, Value)]) -> Vec<(&'static str, &'a dyn ToSql)> {
    columns.iter().map(|(name, value)| (*name, value as &dyn ToSql)).collect()
}

/// Writes a new machine down. [`StoreError::Taken`] when a name is that name, or looks like it.
pub(crate) fn insert(connection: &Connection, record: &Record) -> Result<(), StoreError> {
    let mut columns = columns(record)?;
    columns.extend([
        (":driver", Value::from(record.driver.to_owned())),
        (":created_at", json(&record.created_at)?.into()),
        (":created_by", record.created_by.clone().into()),
    ]);
    connection
        .prepare_cached(
            "INSERT INTO machines (id, name, skeleton, definition, driver, wanted, state, generation, labels,
                 autostart, protected, restarts, layers, created_at, created_by)
             VALUES (:id, :name, :skeleton, :definition, :driver, :wanted, :state, :generation, :labels,
                 :autostart, :protected, :restarts, :layers, :created_at, :created_by)",
        )?
        .execute(&*named(&columns))?;
    definitions::append(connection, record.id, &record.created_by, "created", &record.definition)
}

/// Writes what may have changed of a machine.
pub(crate) fn update(connection: &Connection, record: &Record) -> Result<(), StoreError> {
    let rows = connection
        .prepare_cached(
            "UPDATE machines SET name = :name, skeleton = :skeleton, definition = :definition,
                 wanted = :wanted, state = :state, generation = :generation, labels = :labels,
                 autostart = :autostart, protected = :protected, restarts = :restarts,
                 layers = :layers
             WHERE id = :id AND deleted_at IS NULL",
        )?
        .execute(&*named(&columns(record)?))?;
    if rows == 1 { Ok(()) } else { Err(StoreError::Unreadable(format!("no machine {}", record.id))) }
}

/// The machines that are not in the trash, by name.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Stored>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM machines WHERE deleted_at IS NULL ORDER BY name");
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map([], |row| Ok(stored(row)))?;
    rows.map(|row| row?).collect()
}

/// The trash, newest first.
pub(crate) fn trash(connection: &Connection) -> Result<Vec<Trashed>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, deleted_at, deleted_by FROM machines WHERE deleted_at IS NOT NULL
         ORDER BY deleted_at DESC"
    );
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map([], |row| Ok(trashed(row)))?;
    rows.map(|row| row?).collect()
}

/// Puts a machine into the trash; its name is free from then on.
pub(crate) fn put_into_trash(
    connection: &Connection,
    id: MachineId,
    at: DateTime<Utc>,
    by: &str,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE machines SET deleted_at = ?2, deleted_by = ?3 WHERE id = ?1")?
        .execute((id.to_string(), json(&at)?, by))?;
    Ok(())
}

/// Forgets a machine that somebody else looks after again.
pub(crate) fn give_back(
    connection: &Connection,
    id: MachineId,
    at: DateTime<Utc>,
    by: &str,
) -> Result<(), StoreError> {
    put_into_trash(connection, id, at, by)?;
    purge(connection, id)
}

/// Takes a machine out of the trash. [`StoreError::Taken`] when its name was given away meanwhile.
pub(crate) fn take_out_of_trash(connection: &Connection, id: MachineId) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE machines SET deleted_at = NULL, deleted_by = NULL WHERE id = ?1")?
        .execute([id.to_string()])?;
    Ok(())
}

/// Forgets a machine for good.
pub(crate) fn purge(connection: &Connection, id: MachineId) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM machines WHERE id = ?1 AND deleted_at IS NOT NULL")?
        .execute([id.to_string()])?;
    definitions::forget(connection, id)
}

/// The name of the machine that has this name, or one that looks like it.
pub(crate) fn like(connection: &Connection, name: &MachineName) -> Result<Option<String>, StoreError> {
    let mut query =
        connection.prepare_cached("SELECT name FROM machines WHERE skeleton = ?1 AND deleted_at IS NULL")?;
    Ok(query.query_row([look(name)], |row| row.get(0)).optional()?)
}

fn trashed(row: &Row<'_>) -> Result<Trashed, StoreError> {
    Ok(Trashed {
        stored: stored(row)?,
        deleted_at: read(&row.get::<_, String>("deleted_at")?)?,
        deleted_by: row.get("deleted_by")?,
    })
}

fn stored(row: &Row<'_>) -> Result<Stored, StoreError> {
    let text = |column: &str| row.get::<_, String>(column);
    let unreadable = |what: &dyn std::fmt::Display| StoreError::Unreadable(format!("a machine: {what}"));
    let record = Record {
        id: MachineId(text("id")?.parse().map_err(|error| unreadable(&error))?),
        name: MachineName::new(text("name")?).map_err(|error| unreadable(&error))?,
        definition: read(&text("definition")?)?,
        driver: "",
        wanted: read(&text("wanted")?)?,
        state: read(&text("state")?)?,
        generation: row.get("generation")?,
        labels: read(&text("labels")?)?,
        autostart: row.get("autostart")?,
        protected: row.get("protected")?,
        restarts: read(&text("restarts")?)?,
        layers: read(&text("layers")?)?,
        created_at: read(&text("created_at")?)?,
        created_by: text("created_by")?,
    };
    Ok(Stored { record, driver: text("driver")? })
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(unreadable)
}

fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable(error.to_string())
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Unreadable(format!("{text}: {error}")))
}
