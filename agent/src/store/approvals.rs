//! Requests that wait for the consent of others, and the rules made by command that ask for it.

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::StoreError;
use crate::approval::{Policy, Request};

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

/// Writes a new request.
pub(crate) fn insert(connection: &Connection, request: &Request) -> Result<(), StoreError> {
    let body = serde_json::to_string(request).map_err(unreadable)?;
    connection
        .prepare_cached("INSERT INTO requests (entry, body) VALUES (?1, ?2)")?
        .execute((request.id.to_string(), body))?;
    Ok(())
}

/// Changes a request as it is written now, so that nothing is lost of what another changed meanwhile. False
/// if it is not there any more.
pub(crate) fn change(
    connection: &Connection,
    entry: Uuid,
    change: impl FnOnce(&mut Request),
) -> Result<bool, StoreError> {
    let mut query = connection.prepare_cached("SELECT body FROM requests WHERE entry = ?1")?;
    let body: Option<String> = query.query_row([entry.to_string()], |row| row.get(0)).optional()?;
    let Some(body) = body else { return Ok(false) };
    let mut request: Request = serde_json::from_str(&body).map_err(unreadable)?;
    change(&mut request);
    let body = serde_json::to_string(&request).map_err(unreadable)?;
    connection
        .prepare_cached("UPDATE requests SET body = ?2 WHERE entry = ?1")?
        .execute((entry.to_string(), body))?;
    Ok(true)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::approval::Stage;

    fn connection() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE requests (entry TEXT PRIMARY KEY, body TEXT)").unwrap();
        connection
    }

    fn request() -> Request {
        serde_json::from_value(serde_json::json!({
            "id": Uuid::now_v7(), "code": "7f3a", "machine": null, "words": ["--x=1"], "hash": "", "effect": "",
            "accepted": { "caller": "otto@x/desk", "rule": "", "door": "chat", "permission": "machine.kill",
                          "machine": null, "name": "db1", "args": {}, "key": null },
            "needs": [], "during": [], "reactions": true, "agreed": [], "emergency": null, "messages": [],
            "at": "2026-11-23T12:00:00Z", "until": "2026-11-23T13:00:00Z", "stage": "begun"
        }))
        .unwrap()
    }

    #[test]
    fn who_changes_one_thing_undoes_no_other() {
        let (connection, request) = (connection(), request());
        insert(&connection, &request).unwrap();
        // It ends while somebody who saw it before writes down that a message was sent.
        assert!(change(&connection, request.id, |one| one.end("It is done.")).unwrap());
        assert!(change(&connection, request.id, |one| one.reactions = false).unwrap());
        let kept = all(&connection).unwrap().remove(0);
        assert_eq!((&kept.stage, kept.words), (&Stage::Over("It is done.".into()), None));
        assert!(!kept.reactions);
        remove(&connection, request.id).unwrap();
        assert!(
            !change(&connection, request.id, |one| one.reactions = true).unwrap(),
            "it comes back by nothing"
        );
    }
}
