//! What came of a command about alerts: the store has it, or not.

use serde_json::Value;
use uuid::Uuid;
use xmpp_parsers::jid::Jid;

use crate::{
    agent::Agent,
    alerts::quiet::Quiet,
    journal::Accepted,
    store::{StoreError, alerts},
};

/// Whether it did what it was to; `None` of a command about something else.
pub(super) async fn done(
    agent: &Agent,
    entry: Uuid,
    accepted: &Accepted,
) -> Result<Option<bool>, StoreError> {
    let text = |key: &str| accepted.args.get(key).and_then(Value::as_str).unwrap_or_default();
    let store = &agent.inner.store;
    let done = match accepted.permission.as_str() {
        "machine.alert-add" | "host.alert-add" => {
            store.run(move |connection| alerts::is_of_entry(connection, entry)).await?
        }
        "machine.alert-remove" | "host.alert-remove" => {
            let number = accepted.args.get("number").and_then(Value::as_u64).unwrap_or_default();
            !store.run(move |connection| alerts::is_there(connection, number)).await?
        }
        "host.quiet" => {
            let wanted = Quiet::parse(text("hours"), text("zone")).unwrap_or_default();
            let Ok(person) = Jid::new(&accepted.caller).map(|caller| caller.to_bare()) else {
                return Ok(None);
            };
            store.run(move |connection| alerts::quiet(connection, &person)).await? == wanted
        }
        _ => return Ok(None),
    };
    Ok(Some(done))
}
