//! What was granted, and the roles defined here.

use std::collections::BTreeMap;

use hypervisor_core::machine::MachineId;
use rusqlite::Connection;
use uuid::Uuid;

use super::StoreError;
use crate::rights::{
    grant::{Grant, Scope},
    quota::Quota,
    role::Defined,
};

/// The most grants of a host.
pub(crate) const ALL_MAX: usize = 4096;
/// The most roles defined on a host.
pub(crate) const ROLES_MAX: usize = 256;
/// The most quotas of a host.
pub(crate) const QUOTAS_MAX: usize = 1024;

fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable(error.to_string())
}

/// All of them, but those on nothing but machines that are gone for good; and the roles.
pub(crate) fn all(connection: &Connection) -> Result<(Vec<Grant>, Defined), StoreError> {
    let known = "SELECT EXISTS (SELECT 1 FROM machines WHERE id = ?1)";
    let mut grants = Vec::new();
    let mut query = connection.prepare("SELECT number, body FROM grants ORDER BY number")?;
    let rows = query.query_map([], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?)))?;
    for row in rows {
        let (number, body) = row?;
        let grant = Grant { number, ..serde_json::from_str(&body).map_err(unreadable)? };
        let mut stays = false;
        for scope in &grant.on {
            stays |= match scope {
                Scope::Machine(id) => connection.query_row(known, [id.to_string()], |row| row.get(0))?,
                Scope::All | Scope::Host | Scope::Label(_) | Scope::MadeBy(_) => true,
            };
        }
        match stays {
            true => grants.push(grant),
            false => remove(connection, number)?,
        }
    }
    let mut query = connection.prepare("SELECT name, holds FROM roles")?;
    let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut defined = Defined::new();
    for row in rows {
        let (name, holds) = row?;
        defined.insert(name, serde_json::from_str(&holds).map_err(unreadable)?);
    }
    Ok((grants, defined))
}

/// Adds one and gives it its number.
pub(crate) fn insert(connection: &Connection, grant: &Grant) -> Result<u64, StoreError> {
    let body = serde_json::to_string(grant).map_err(unreadable)?;
    connection
        .prepare_cached("INSERT INTO grants (body, entry) VALUES (?1, ?2)")?
        .execute((body, grant.entry.to_string()))?;
    u64::try_from(connection.last_insert_rowid()).map_err(unreadable)
}

/// A machine is not here any more: what is on nothing else goes, what is on others stays on those.
pub(crate) fn leave(connection: &Connection, machine: MachineId) -> Result<(), StoreError> {
    let mut query = connection.prepare_cached("SELECT number, body FROM grants WHERE instr(body, ?1)")?;
    let rows = query.query_map([machine.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (number, body) in rows.collect::<Result<Vec<(u64, String)>, _>>()? {
        let mut grant: Grant = serde_json::from_str(&body).map_err(unreadable)?;
        match grant.leave(machine) {
            true => change(connection, &Grant { number, ..grant })?,
            false => remove(connection, number)?,
        }
    }
    Ok(())
}

/// Writes one anew.
pub(crate) fn change(connection: &Connection, grant: &Grant) -> Result<(), StoreError> {
    let body = serde_json::to_string(grant).map_err(unreadable)?;
    let mut query = connection.prepare_cached("UPDATE grants SET body = ?2 WHERE number = ?1")?;
    query.execute((grant.number, body))?;
    Ok(())
}

/// Takes one away; fine if it is not there.
pub(crate) fn remove(connection: &Connection, number: u64) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM grants WHERE number = ?1")?.execute([number])?;
    Ok(())
}

/// Whether there is one that this journal entry asked for.
pub(crate) fn is_of_entry(connection: &Connection, entry: Uuid) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM grants WHERE entry = ?1")?.exists([entry.to_string()])?)
}

/// Whether there is one of this number.
pub(crate) fn is_there(connection: &Connection, number: u64) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM grants WHERE number = ?1")?.exists([number])?)
}

/// Makes a role, or makes it anew.
pub(crate) fn define(
    connection: &Connection,
    name: &str,
    holds: &[String],
    set: Option<&str>,
) -> Result<(), StoreError> {
    let holds = serde_json::to_string(holds).map_err(unreadable)?;
    connection
        .prepare_cached(
            "INSERT INTO roles (name, holds, of_set) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET holds = ?2, of_set = ?3",
        )?
        .execute((name, holds, set))?;
    Ok(())
}

/// The roles that files of rights brought, and which.
pub(crate) fn sets_of_roles(connection: &Connection) -> Result<BTreeMap<String, String>, StoreError> {
    let mut query = connection.prepare("SELECT name, of_set FROM roles WHERE of_set IS NOT NULL")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// All quotas.
pub(crate) fn quotas(connection: &Connection) -> Result<Vec<Quota>, StoreError> {
    let mut query = connection.prepare("SELECT body FROM quotas ORDER BY to_whom")?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    rows.map(|body| serde_json::from_str(&body?).map_err(unreadable)).collect()
}

/// Sets a quota, or sets it anew.
pub(crate) fn limit(connection: &Connection, quota: &Quota) -> Result<(), StoreError> {
    let body = serde_json::to_string(quota).map_err(unreadable)?;
    connection
        .prepare_cached("INSERT INTO quotas VALUES (?1, ?2) ON CONFLICT DO UPDATE SET body = ?2")?
        .execute((quota.to.to_string(), body))?;
    Ok(())
}

/// Takes a quota away; fine if it is not there.
pub(crate) fn unlimit(connection: &Connection, to: &str) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM quotas WHERE to_whom = ?1")?.execute([to])?;
    Ok(())
}

/// Takes a role away; fine if it is not there.
pub(crate) fn undefine(connection: &Connection, name: &str) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM roles WHERE name = ?1")?.execute([name])?;
    Ok(())
}
