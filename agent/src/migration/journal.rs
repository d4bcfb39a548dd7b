//! What is written down of hand-overs: one row a machine, also of those that are gone from here; and where
//! these went.

use hypervisor_core::{
    handover::Standing,
    machine::{MachineId, MachineName},
};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow};
use serde::{Deserialize, Serialize};
use skerry_stanzas::payload::migration::Offer;
use xmpp_parsers::jid::Jid;

use super::rights::Saw;
use crate::store::{StoreError, definitions, grants};

/// A machine's hand-over.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) machine: MachineId,
    pub(crate) standing: Standing,
    /// The other host.
    pub(crate) peer: Jid,
    pub(crate) about: About,
}

/// What the one who goes on after a crash has to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct About {
    /// What is passed on.
    pub(crate) offer: Offer,
    /// The disks that are copied.
    pub(crate) copies: Vec<String>,
    /// The machine's address at the destination.
    pub(crate) address: String,
}

/// Writes a row down, in place of what was there.
pub(crate) fn put(connection: &Connection, row: &Row) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO handovers VALUES (?1, ?2, ?3, ?4) ON CONFLICT (machine)
             DO UPDATE SET standing = ?2, peer = ?3, about = ?4",
        )?
        .execute((row.machine.to_string(), json(&row.standing)?, row.peer.to_string(), json(&row.about)?))?;
    Ok(())
}

/// The row of a machine.
pub(crate) fn find(connection: &Connection, id: MachineId) -> Result<Option<Row>, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT machine, standing, peer, about FROM handovers WHERE machine = ?1")?;
    query.query_row([id.to_string()], |sql| Ok(row(sql))).optional()?.transpose()
}

/// All rows.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Row>, StoreError> {
    let mut query = connection.prepare("SELECT machine, standing, peer, about FROM handovers")?;
    let rows = query.query_map([], |sql| Ok(row(sql)))?;
    rows.map(|row| row?).collect()
}

/// The machine is gone from here: its row, and what it was made of; where it went stays.
pub(crate) fn gone(
    connection: &Connection,
    row: &Row,
    name: &MachineName,
    address: &Jid,
    saw: &[Saw],
) -> Result<(), StoreError> {
    put(connection, row)?;
    let id = row.machine.to_string();
    connection.execute("DELETE FROM machines WHERE id = ?1", [&id])?;
    definitions::forget(connection, row.machine)?;
    grants::leave(connection, row.machine)?;
    connection.execute(
        "INSERT INTO tombstones VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE SET address = ?2, saw = ?3",
        (name.as_str(), address.as_str(), json(&saw)?),
    )?;
    Ok(())
}

/// A machine that had come, and is not to be ours after all, is taken out again.
pub(crate) fn taken_out(connection: &Connection, row: &Row) -> Result<(), StoreError> {
    put(connection, row)?;
    connection.execute("DELETE FROM machines WHERE id = ?1", [row.machine.to_string()])?;
    definitions::forget(connection, row.machine)
}

/// Where the machines went that were here, by name, and who had rights on them.
pub(crate) fn tombstones(connection: &Connection) -> Result<Vec<(String, String, Vec<Saw>)>, StoreError> {
    let mut query = connection.prepare("SELECT name, address, saw FROM tombstones")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
    let read = |(name, address, saw): (_, _, String)| {
        (name, address, serde_json::from_str(&saw).unwrap_or_default())
    };
    Ok(rows.map(|row| row.map(read)).collect::<Result<_, _>>()?)
}

/// The name is in use here again.
pub(crate) fn forget_tombstone(connection: &Connection, name: &str) -> Result<(), StoreError> {
    connection.execute("DELETE FROM tombstones WHERE name = ?1", [name])?;
    Ok(())
}

fn row(sql: &SqlRow<'_>) -> Result<Row, StoreError> {
    let text = |column: &str| sql.get::<_, String>(column);
    let unreadable = |error: &dyn std::fmt::Display| StoreError::Unreadable(format!("a hand-over: {error}"));
    Ok(Row {
        machine: MachineId(text("machine")?.parse().map_err(|error| unreadable(&error))?),
        standing: serde_json::from_str(&text("standing")?).map_err(|error| unreadable(&error))?,
        peer: Jid::new(&text("peer")?).map_err(|error| unreadable(&error))?,
        about: serde_json::from_str(&text("about")?).map_err(|error| unreadable(&error))?,
    })
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Unreadable(error.to_string()))
}
