//! Requests that wait for the consent of others, and the rules made by command that ask for it.

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::StoreError;
use crate::approval::{Policy, Request, Stage};

/// The most rules made by command.
pub(crate) const POLICIES_MAX: usize = 256;

fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable(error.to_string())
}

/// All requests that are not over, or whose end is still to be told.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Request>, StoreError> {
    let mut query = connection.prepare("SELECT body FROM requests ORDER BY entry")?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    rows.map(|body| serde_json::from_str(&body?).map_err(unreadable)).collect()
}

/// Writes a request as it is now.
pub(crate) fn write(connection: &Connection, request: &Request) -> Result<(), StoreError> {
    let body = serde_json::to_string(request).map_err(unreadable)?;
    connection
        .prepare_cached(
            "INSERT INTO requests (entry, body) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET body = ?2",
        )?
        .execute((request.id.to_string(), body))?;
    Ok(())
}

/// Writes down that one is over, and what became of it; fine if there is none.
pub(crate) fn over(connection: &Connection, entry: Uuid, sentence: &str) -> Result<(), StoreError> {
    let mut query = connection.prepare_cached("SELECT body FROM requests WHERE entry = ?1")?;
    let body: Option<String> = query.query_row([entry.to_string()], |row| row.get(0)).optional()?;
    let Some(body) = body else { return Ok(()) };
    let mut request: Request = serde_json::from_str(&body).map_err(unreadable)?;
    request.stage = Stage::Over(sentence.to_owned());
    request.words = None;
    write(connection, &request)
}

/// Forgets one: its end was told.
pub(crate) fn remove(connection: &Connection, entry: Uuid) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM requests WHERE entry = ?1")?.execute([entry.to_string()])?;
    Ok(())
}

/// The rules made by command.
pub(crate) fn policies(connection: &Connection) -> Result<Vec<Policy>, StoreError> {
    let mut query = connection.prepare("SELECT body FROM policies ORDER BY name")?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    rows.map(|body| serde_json::from_str(&body?).map_err(unreadable)).collect()
}

/// Makes a rule, or makes it anew.
pub(crate) fn set_policy(connection: &Connection, policy: &Policy) -> Result<(), StoreError> {
    let body = serde_json::to_string(policy).map_err(unreadable)?;
    connection
        .prepare_cached(
            "INSERT INTO policies (name, body) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET body = ?2",
        )?
        .execute((&policy.name, body))?;
    Ok(())
}

/// Takes a rule away; fine if it is not there.
pub(crate) fn remove_policy(connection: &Connection, name: &str) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM policies WHERE name = ?1")?.execute([name])?;
    Ok(())
}
