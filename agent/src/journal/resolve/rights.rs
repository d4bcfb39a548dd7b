//! What came of a command about rights: the store has it, or not.

use serde_json::Value;
use uuid::Uuid;

use crate::{
    agent::Agent,
    journal::Accepted,
    rights::role,
    store::{StoreError, grants},
};

/// Whether it did what it was to; `None` of a command about something else.
pub(super) async fn done(
    agent: &Agent,
    entry: Uuid,
    accepted: &Accepted,
) -> Result<Option<bool>, StoreError> {
    let store = &agent.inner.store;
    let name = || accepted.args.get("name").and_then(Value::as_str).unwrap_or_default();
    Ok(Some(match accepted.permission.as_str() {
        "host.grant" | "host.deny" => {
            store.run(move |connection| grants::is_of_entry(connection, entry)).await?
        }
        "host.revoke" => {
            let number = accepted.args.get("number").and_then(Value::as_u64).unwrap_or_default();
            !store.run(move |connection| grants::is_there(connection, number)).await?
        }
        "host.role-define" => {
            let holds =
                accepted.args.get("holds").and_then(|holds| serde_json::from_value(holds.clone()).ok());
            let (holds, defined): (Vec<String>, _) =
                (holds.unwrap_or_default(), agent.rights().defined.clone());
            role::made_of(&holds, &defined).is_ok_and(|made| defined.get(name()) == Some(&made))
        }
        "host.role-delete" => !agent.rights().defined.contains_key(name()),
        "host.apply" => agent.is_applied(&accepted.caller, &accepted.args),
        "host.quota-set" | "host.quota-remove" => agent.is_limited(&accepted.permission, &accepted.args),
        _ => return Ok(None),
    }))
}
