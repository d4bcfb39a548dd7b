//! What came of commands carried out inside a guest, and of keys: by asking the guest, and by the notes
//! that were left. And of streams, which end with their agent.

use std::time::Duration;

use hypervisor_core::machine::MachineId;
use skerry_stanzas::{
    refusal::{Reason, Refusal},
    reply::{Reply as _, Typed},
};
use uuid::Uuid;

use super::Found;
use crate::{
    agent::Agent,
    handler::{
        guest::programs::{self, Became},
        keys::{self, Pressed},
    },
    journal::{Accepted, Outcome},
};

/// How long a guest may take to answer: the agent is not there for anybody before.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What is seen of one of these commands; `None` for others.
pub(super) async fn found(agent: &Agent, entry: Uuid, accepted: &Accepted) -> Option<Found> {
    let (_, verb) = accepted.permission.split_once("machine.")?;
    if accepted.args["stream"] == true {
        let text = "The agent was restarted, which ended it.".to_owned();
        return Some(Found::Told(Outcome::Done { json: serde_json::json!({ "sentence": text }), text }));
    }
    let machine = agent.inner.machines.get(MachineId(accepted.machine?))?;
    Some(match verb {
        "exec" => match programs::became(&machine, entry, PATIENCE).await {
            Became::Ended(executed) => Found::Told(Outcome::Done {
                text: executed.text(),
                json: serde_json::to_value(&executed).unwrap_or_default(),
            }),
            Became::Nothing => Found::Undone,
            Became::GoesOn(program, number) => Found::Told(Outcome::Unknown {
                text: format!(
                    "The agent was restarted meanwhile; {program} goes on in the guest, as its process {number}."
                ),
            }),
            Became::Unknown => Found::Unknown,
        },
        "type" | "key" => match keys::pressed(&machine, entry) {
            Some(Pressed { keys, of }) if keys >= of => {
                let typed = Typed { name: machine.record().name.to_string(), keys: of };
                let json = serde_json::to_value(&typed).unwrap_or_default();
                Found::Told(Outcome::Done { text: typed.text(), json })
            }
            Some(Pressed { keys, of }) => {
                let text = format!(
                    "The agent was restarted meanwhile: {keys} of {of} keys were pressed, and perhaps the next one."
                );
                let hint = "Look at the screen, and type what is missing.";
                Found::Told(Outcome::Refused(Refusal::new(Reason::Unavailable, text).hint(hint)))
            }
            None => Found::Undone,
        },
        "fsfreeze" => match agent.unfreeze(&machine, PATIENCE).await {
            true => Found::Undone,
            false => Found::Unknown,
        },
        "fsthaw" => match agent.unfreeze(&machine, PATIENCE).await {
            true => Found::Finished,
            false => Found::Unknown,
        },
        _ => return None,
    })
}
