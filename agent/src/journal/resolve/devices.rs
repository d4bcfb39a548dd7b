//! What came of a command about devices: the store has it, or not.

use serde_json::Value;

use crate::{
    agent::Agent,
    journal::Accepted,
    machine::Record,
    store::{StoreError, devices::Stored},
};

/// Whether it did what it was to; `None` of a command about something else.
pub(super) async fn done(
    agent: &Agent,
    accepted: &Accepted,
    record: Option<&Record>,
) -> Result<Option<bool>, StoreError> {
    let text = |key: &str| accepted.args.get(key).and_then(Value::as_str).unwrap_or_default().trim();
    let name = text("name");
    let is_to_have = record.map(|record| record.definition.devices.iter().any(|device| device.name == name));
    Ok(match accepted.permission.as_str() {
        "host.device-map" => {
            let all = agent.inner.devices.all().await?;
            let found = all.into_iter().find(|device| device.name == name);
            let even_in_use = accepted.args["even_in_use"] == true;
            let is_so =
                |device: Stored| device.mapping.is_by(text("device")) && device.even_in_use == even_in_use;
            Some(found.is_some_and(is_so))
        }
        "host.device-unmap" => {
            Some(!agent.inner.devices.all().await?.iter().any(|device| device.name == name))
        }
        "machine.device-attach" => is_to_have,
        "machine.device-detach" => is_to_have.map(|has| !has),
        _ => None,
    })
}
