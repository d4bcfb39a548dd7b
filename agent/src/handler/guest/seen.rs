//! What a guest says of itself, for a status: asked for now and then, and not waited for long.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use hypervisor_core::{driver::guest_agent::GuestSeen, machine::MachineId};
use skerry_stanzas::{
    reply::{GuestAddress, GuestFacts},
    safe::safe_line,
};

use crate::{agent::Agent, machine::Machine};

/// How long a guest's word is good.
const FRESH: Duration = Duration::from_secs(20);
/// How long a guest may take to say all of it: whoever asks for a status waits.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long one that did not answer is not asked again.
const SILENT: Duration = Duration::from_secs(60);
/// The longest word shown, in characters.
const WORD_CHARS_MAX: usize = 80;

/// What guests said of themselves lately.
#[derive(Default)]
pub(crate) struct Said(Mutex<HashMap<MachineId, (Instant, Option<GuestSeen>)>>);

impl Said {
    /// What is known still: `Some(None)` of one that is silent.
    fn fresh(&self, id: MachineId) -> Option<Option<GuestSeen>> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, seen) = said.get(&id)?;
        let good = if seen.is_some() { FRESH } else { SILENT };
        (since.elapsed() < good).then(|| seen.clone())
    }

    fn keep(&self, id: MachineId, seen: Option<GuestSeen>) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, (since, _)| since.elapsed() < SILENT);
        said.insert(id, (Instant::now(), seen));
    }

    fn forget(&self, id: MachineId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// What is known of the guest of a machine that runs; `None` where there is no port for an agent.
pub(crate) async fn facts(agent: &Agent, machine: &Machine) -> Option<(GuestFacts, Vec<GuestAddress>)> {
    let record = machine.record();
    let id = machine.card.id;
    let guest_agent = machine.card.driver.guest_agent().filter(|_| record.definition.guest_agent)?;
    let listens = tokio::time::timeout(PATIENCE, guest_agent.listens(id)).await.ok()?.ok()?;
    let seen = match (listens, agent.inner.guests.fresh(id)) {
        (false, _) => {
            agent.inner.guests.forget(id);
            None
        }
        (true, Some(seen)) => seen,
        (true, None) => {
            let seen = guest_agent.describe(id, PATIENCE).await.ok();
            agent.inner.guests.keep(id, seen.clone());
            seen
        }
    };
    let word = match (listens, &seen) {
        (false, _) => "absent",
        (true, None) => "silent",
        (true, Some(_)) => "present",
    };
    let seen = seen.unwrap_or_default();
    let safe = |text: Option<String>| text.map(|text| safe_line(&text, WORD_CHARS_MAX));
    let addresses = addresses(machine, &seen);
    let facts = GuestFacts {
        agent: word.into(),
        os: safe(seen.os),
        kernel: safe(seen.kernel),
        hostname: safe(seen.hostname),
        frozen_until: agent.inner.freezes.until(id),
    };
    Some((facts, addresses))
}

/// Its addresses, each with the machine's own name for the NIC, known by its hardware address.
pub(crate) fn addresses(machine: &Machine, seen: &GuestSeen) -> Vec<GuestAddress> {
    let record = machine.record();
    let nics = &record.definition.nics;
    let named = |mac: &str| {
        let is_it = |nic: &&hypervisor_core::definition::Nic| nic.address(record.id).to_string() == mac;
        nics.iter().find(is_it).map(|nic| nic.name.clone())
    };
    let told = seen.addresses.iter().map(|one| GuestAddress {
        address: one.address.to_string(),
        nic: one.mac.as_deref().and_then(named).unwrap_or_else(|| safe_line(&one.nic, WORD_CHARS_MAX)),
        from: "guest".into(),
    });
    told.collect()
}
