//! What came of a command about witnesses: they are remembered, or not.

use serde_json::Value;

use crate::{agent::Agent, journal::Accepted, store::StoreError};

/// Whether it did what it was to; `None` of a command about something else.
pub(super) async fn done(agent: &Agent, accepted: &Accepted) -> Result<Option<bool>, StoreError> {
    let jid = accepted.args.get("jid").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let is_there = async || {
        let made = agent.made_witnesses().await?;
        Ok::<_, StoreError>(made.iter().any(|witness| witness.to_string() == jid))
    };
    Ok(match accepted.permission.as_str() {
        "host.witness-add" => Some(is_there().await?),
        "host.witness-remove" => Some(!is_there().await?),
        _ => None,
    })
}
