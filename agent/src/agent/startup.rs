//! Starting what starts with its host: turn by turn, and on from where an earlier agent was ended.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::future::join_all;
use hypervisor_core::machine::MachineId;

use super::{Agent, Inner};
use crate::{
    crash,
    machine::{Do, Machine, Order},
    store::{StoreError, schema},
};

/// Under which name the boot last seen is remembered.
const BOOT: &str = "boot";
/// Under which name those are remembered that are still to be started.
const WAITING: &str = "starts-with-host";
/// How long a turn may take; the next one does not wait for one that hangs.
const TURN_MAX: Duration = Duration::from_secs(300);

/// Machines that start together.
#[derive(Debug, PartialEq, Eq)]
struct Turn {
    machines: Vec<MachineId>,
    /// How long the next turn waits after them.
    delay: Duration,
}

impl Agent {
    /// Remembers the boot of the host; false if it was started since an agent last saw it. Then those
    /// that start with it are remembered as well, in one go: an agent that ends before all of them are
    /// started leaves the rest to the next one.
    pub(super) async fn note_boot(&self) -> Result<bool, StoreError> {
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        self.inner
            .store
            .run(move |connection| {
                let seen = schema::fact(connection, BOOT)?;
                if seen.as_deref() == Some(boot.as_str()) {
                    return Ok(true);
                }
                schema::set_fact(connection, BOOT, &boot)?;
                if seen.is_none() {
                    return Ok(false);
                }
                let all = crate::store::machines::all(connection)?;
                let waiting = all.iter().filter(|one| one.record.autostart).map(|one| one.record.id);
                write(connection, &waiting.collect::<Vec<_>>())?;
                Ok(false)
            })
            .await
    }

    /// Starts those that are still to be started, in the background.
    pub(super) async fn start_with_host(&self) -> Result<(), StoreError> {
        let waiting = self
            .inner
            .store
            .run(|connection| {
                let text = schema::fact(connection, WAITING)?.unwrap_or_default();
                Ok(serde_json::from_str::<Vec<MachineId>>(&text).unwrap_or_default())
            })
            .await?;
        let found: Vec<Arc<Machine>> = waiting.iter().filter_map(|id| self.inner.machines.get(*id)).collect();
        let wanted = found.iter().map(|machine| machine.record()).filter(|record| record.autostart);
        let turns = turns(wanted.map(|record| {
            let startup = record.definition.startup;
            (record.id, startup.order, Duration::from_secs(startup.delay_seconds.into()))
        }));
        if !turns.is_empty() {
            self.keep(take_turns(Arc::downgrade(&self.inner), turns));
        }
        Ok(())
    }
}

/// Puts machines into their turns; of two delays in one turn the longer one counts.
fn turns(machines: impl Iterator<Item = (MachineId, Option<u32>, Duration)>) -> Vec<Turn> {
    let mut turns: BTreeMap<(bool, Option<u32>), Turn> = BTreeMap::new();
    for (id, order, delay) in machines {
        let turn = turns
            .entry((order.is_none(), order))
            .or_insert_with(|| Turn { machines: Vec::new(), delay: Duration::ZERO });
        turn.machines.push(id);
        turn.delay = turn.delay.max(delay);
    }
    turns.into_values().collect()
}

async fn take_turns(inner: Weak<Inner>, turns: Vec<Turn>) {
    let mut left: Vec<MachineId> = turns.iter().flat_map(|turn| &turn.machines).copied().collect();
    let last = turns.len().saturating_sub(1);
    for (nth, Turn { machines, delay }) in turns.into_iter().enumerate() {
        let Some(found) = inner.upgrade().map(|inner| {
            machines.iter().filter_map(|id| inner.machines.get(*id)).collect::<Vec<Arc<Machine>>>()
        }) else {
            return;
        };
        let starts = join_all(found.iter().map(|machine| start(machine)));
        if tokio::time::timeout(TURN_MAX, starts).await.is_err() {
            tracing::warn!(?machines, "not all of a turn were started in time: the next one begins");
        }
        crash::point("turn-taken");
        left.retain(|id| !machines.contains(id));
        let Some(inner) = inner.upgrade() else { return };
        let rest = left.clone();
        if let Err(error) = inner.store.run(move |connection| write(connection, &rest)).await {
            tracing::error!(%error, "which machines are still to be started could not be stored");
        }
        drop(inner);
        if nth < last {
            tokio::time::sleep(delay).await;
        }
    }
}

async fn start(machine: &Machine) {
    if let Err(refusal) = machine.order(|reply| Order::Do(Do::start(None, reply))).await {
        tracing::warn!(machine = %machine.record().name, %refusal, "did not start with its host");
    }
}

fn write(connection: &rusqlite::Connection, waiting: &[MachineId]) -> Result<(), StoreError> {
    let text = serde_json::to_string(waiting).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    schema::set_fact(connection, WAITING, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_taken_in_order_and_those_without_one_are_last() {
        let [a, b, c, d] = [(); 4].map(|()| MachineId::fresh());
        let seconds = Duration::from_secs;
        let all = [
            (a, None, seconds(9)),
            (b, Some(2), seconds(0)),
            (c, Some(1), seconds(3)),
            (d, Some(2), seconds(1)),
        ];
        let expected = [(vec![c], 3), (vec![b, d], 1), (vec![a], 9)]
            .map(|(machines, delay)| Turn { machines, delay: seconds(delay) });
        assert_eq!(turns(all.into_iter()), expected);
    }
}
