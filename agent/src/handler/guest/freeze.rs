//! The guest's file systems held still, for a copy of its disks: always with an end.
//!
//! Until when is noted in the machine's folder before they are held, and the note goes when they were let go.
//! So the agent that comes after one that was killed lets them go at that time, or at once when it has
//! passed. A guest that does not answer is asked again until it does, or is off.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use chrono::{DateTime, Utc};
use hypervisor_core::{driver::DriverError, machine::MachineId};
use serde::{Deserialize, Serialize};
use skerry_stanzas::{
    command::machine,
    refusal::Refusal,
    reply::{Frozen, Thawed},
};
use tokio::fs;

use super::{Handle, agent_of, said};
use crate::{
    agent::{Agent, Inner},
    crash,
    dispatch::Job,
    machine::Machine,
    reference,
};

/// The longest time they are held.
const DURING_MAX: Duration = Duration::from_secs(600);
/// How long until a guest that did not let them go is asked again.
const AGAIN: Duration = Duration::from_secs(5);
/// The note, in the machine's folder.
const NOTE: &str = "frozen.json";

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    until: DateTime<Utc>,
    /// For a copy of its disks, by a command that lets them go as soon as that is begun.
    #[serde(default)]
    for_a_copy: bool,
}

/// Which machines' file systems are held, and until when.
#[derive(Default)]
pub(crate) struct Freezes(Mutex<HashMap<MachineId, DateTime<Utc>>>);

impl Freezes {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<MachineId, DateTime<Utc>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when those of a machine are.
    pub(crate) fn until(&self, id: MachineId) -> Option<DateTime<Utc>> {
        self.lock().get(&id).copied()
    }

    /// From now on they are not to be held any longer, if they are until then and not longer.
    pub(super) fn over(&self, id: MachineId, until: DateTime<Utc>) {
        if let Some(held) = self.lock().get_mut(&id).filter(|held| **held == until) {
            *held = Utc::now();
        }
    }
}

fn note_of(machine: &Machine) -> PathBuf {
    machine.card.folder.join(NOTE)
}

/// The note of a machine; one that cannot be read is of a time that is over.
async fn noted(machine: &Machine) -> Option<Note> {
    let text = fs::read(note_of(machine)).await.ok()?;
    Some(serde_json::from_slice(&text).unwrap_or_else(|_| Note { until: Utc::now(), for_a_copy: true }))
}

impl Handle<machine::Fsfreeze> for Agent {
    async fn handle(&self, job: &Job, command: machine::Fsfreeze) -> Result<Frozen, Refusal> {
        let machine = job.machine()?;
        let agent = agent_of(machine)?;
        let during = command.during.clamp(Duration::from_secs(1), DURING_MAX);
        let until = self.note_freeze(machine, during, false).await?;
        crash::point("before-driver");
        let held = agent.freeze(machine.card.id).await;
        crash::point("after-driver");
        let none = match &held {
            Ok(0) => !agent.is_frozen(machine.card.id).await.unwrap_or(true),
            _ => false,
        };
        match held {
            Ok(_) if none => {
                let _ = self.thaw(machine).await;
                Err(said(machine, DriverError::Unfit("it has no disk that could hold still".into())))
            }
            Ok(file_systems) => {
                Ok(Frozen { name: machine.record().name.to_string(), file_systems, until_at: until })
            }
            Err(error) => {
                // It may hold them all the same: who is silent may have heard.
                let refusal = said(machine, error);
                let _ = self.thaw(machine).await;
                Err(refusal)
            }
        }
    }
}

impl Handle<machine::Fsthaw> for Agent {
    async fn handle(&self, job: &Job, _command: machine::Fsthaw) -> Result<Thawed, Refusal> {
        let machine = job.machine()?;
        agent_of(machine)?;
        crash::point("before-driver");
        let file_systems = self.thaw(machine).await.map_err(|error| said(machine, error))?;
        crash::point("after-driver");
        Ok(Thawed { name: machine.record().name.to_string(), file_systems })
    }
}

impl Agent {
    /// Notes that they are about to be held, and until when: however the agent ends, they are let go then.
    pub(super) async fn note_freeze(
        &self,
        machine: &Arc<Machine>,
        during: Duration,
        for_a_copy: bool,
    ) -> Result<DateTime<Utc>, Refusal> {
        let until = Utc::now() + during;
        let text = serde_json::to_vec(&Note { until, for_a_copy }).unwrap_or_default();
        fs::write(note_of(machine), text)
            .await
            .map_err(|error| reference::internal("It could not be noted until when", &error))?;
        self.inner.freezes.lock().insert(machine.card.id, until);
        self.thaw_in_time(machine);
        Ok(until)
    }

    /// Lets them go, and forgets that they were held. Of a machine that is off there is nothing to let go.
    pub(super) async fn thaw(&self, machine: &Machine) -> Result<u64, DriverError> {
        let Some(agent) = machine.card.driver.guest_agent() else { return Ok(0) };
        let thawed = agent.thaw(machine.card.id).await;
        if matches!(thawed, Ok(_) | Err(DriverError::NotRunning)) {
            self.inner.freezes.lock().remove(&machine.card.id);
            let _ = fs::remove_file(note_of(machine)).await;
        }
        thawed
    }

    /// Lets them go when their time is over, however often it takes.
    pub(super) fn thaw_in_time(&self, machine: &Arc<Machine>) {
        let (inner, machine) = (Arc::downgrade(&self.inner), Arc::downgrade(machine));
        self.keep(thaw_later(inner, machine));
    }

    /// Takes up what an earlier agent held still.
    pub(crate) async fn thaw_what_was_held(&self) {
        for machine in self.inner.machines.all() {
            let Some(Note { until, for_a_copy }) = noted(&machine).await else { continue };
            // The copy is taken, or will never be.
            let longest = if for_a_copy { Duration::ZERO } else { DURING_MAX };
            self.inner.freezes.lock().insert(machine.card.id, until.min(Utc::now() + longest));
            self.thaw_in_time(&machine);
        }
    }

    /// Lets those go that were held for a copy by a command that was interrupted. A guest that does not
    /// answer within `limit` is asked on later.
    pub(crate) async fn unquiet(&self, machine: &Machine, limit: Duration) {
        if noted(machine).await.is_some_and(|note| note.for_a_copy) {
            self.unfreeze(machine, limit).await;
        }
    }

    /// Undoes a freeze whose command was interrupted; whether that is sure.
    pub(crate) async fn unfreeze(&self, machine: &Machine, limit: Duration) -> bool {
        let thawed = tokio::time::timeout(limit, self.thaw(machine)).await;
        matches!(thawed, Ok(Ok(_) | Err(DriverError::NotRunning)))
    }
}

/// Waits for the time to be over, which may be moved, and then asks until they are let go.
async fn thaw_later(inner: Weak<Inner>, machine: Weak<Machine>) {
    loop {
        let until = {
            let (Some(inner), Some(machine)) = (inner.upgrade(), machine.upgrade()) else { return };
            match inner.freezes.until(machine.card.id) {
                Some(until) => until,
                // They were let go.
                None => return,
            }
        };
        match (until - Utc::now()).to_std() {
            Ok(left) => tokio::time::sleep(left).await,
            Err(_) => {
                let (Some(inner), Some(machine)) = (inner.upgrade(), machine.upgrade()) else { return };
                let name = machine.record().name.clone();
                match (Agent { inner }).thaw(&machine).await {
                    Ok(_) | Err(DriverError::NotRunning) => return,
                    Err(error) => {
                        tracing::warn!(machine = %name, %error, "its disks are not let go, and will be")
                    }
                }
                drop(machine);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}
