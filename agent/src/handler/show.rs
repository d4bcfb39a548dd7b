//! Status and log: how a machine is, and what was done to it.

use std::time::Duration;

use hypervisor_core::definition::Link;
use skerry_stanzas::{
    command::machine,
    refusal::Refusal,
    reply::{GuestAddress, LogLines, MachineStatus},
};

use super::{Handle, guest};
use crate::{
    agent::Agent,
    dispatch::Job,
    journal,
    machine::{Machine, Record},
    networks::of_machine,
};

/// How long a driver may take to look.
pub(crate) const LOOK_MAX: Duration = Duration::from_secs(5);
/// Entries a log shows at most.
const LINES_MAX: u32 = 500;

impl Handle<machine::Status> for Agent {
    async fn handle(&self, job: &Job, _command: machine::Status) -> Result<MachineStatus, Refusal> {
        let machine = job.machine()?;
        let record = machine.record();
        let seen = observe(machine).await;
        let (guest, told) = match &seen {
            Some(_) => guest::facts(self, machine).await.unzip(),
            None => (None, None),
        };
        let mut addresses = self.addresses_of(&record).await;
        let known = |one: &GuestAddress| addresses.iter().any(|other| other.address == one.address);
        let further: Vec<_> = told.unwrap_or_default().into_iter().filter(|one| !known(one)).collect();
        addresses.extend(further);
        let running_for = seen.as_ref().and_then(|seen| seen.running_for);
        Ok(MachineStatus {
            name: record.name.to_string(),
            jid: self.addresses().machine(&record.name).to_string(),
            host: self.addresses().host().to_string(),
            state: record.state.word().into(),
            sentence: record.sentence(),
            wanted: record.wanted.word().into(),
            generation: record.generation,
            driver: record.driver.into(),
            vcpus: record.definition.vcpus,
            memory_mib: record.definition.memory_mib,
            running_since: running_for.map(|time| chrono::Utc::now() - time),
            cpu_seconds: seen.and_then(|seen| seen.cpu_time).map(|time| time.as_secs_f64()),
            labels: record.labels.clone(),
            autostart: record.autostart,
            protected: record.protected,
            note: record.definition.note.clone(),
            guest,
            addresses,
            links_down: down(&record),
        })
    }
}

/// The NICs whose cables are out.
fn down(record: &Record) -> Vec<String> {
    let nics = record.definition.nics.iter();
    nics.filter(|nic| nic.link == Link::Down).map(|nic| nic.name.clone()).collect()
}

impl Agent {
    /// The addresses a machine is seen with on the networks of this host.
    async fn addresses_of(&self, record: &Record) -> Vec<GuestAddress> {
        if !record.state.has_guest() {
            return Vec::new();
        }
        let host = self.inner.networks.look().await;
        let seen = of_machine(&host, record.id, &record.definition.nics).into_iter();
        let line = |(address, nic, from): (std::net::IpAddr, String, &str)| GuestAddress {
            address: address.to_string(),
            nic,
            from: from.into(),
        };
        seen.map(line).collect()
    }
}

/// What the driver sees of a machine that has a guest; a driver that does not answer is not waited for.
async fn observe(machine: &Machine) -> Option<hypervisor_core::driver::Observed> {
    if !machine.record().state.has_guest() {
        return None;
    }
    let launch = machine.card.launch();
    tokio::time::timeout(LOOK_MAX, machine.card.driver.observe(&launch)).await.ok()?.ok()
}

impl Handle<machine::Log> for Agent {
    async fn handle(&self, job: &Job, command: machine::Log) -> Result<LogLines, Refusal> {
        let machine = job.machine()?;
        let (id, created) = (machine.card.id.0, machine.record().created_at);
        let limit = command.lines.clamp(1, LINES_MAX);
        let look = move |connection: &_| {
            let entries = journal::about(connection, id, limit)?;
            // What was asked for is there: nothing is missed.
            let all = entries.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
            let older = !all && journal::put_away_since(connection, created)?;
            Ok(LogLines { entries, older })
        };
        Ok(self.inner.store.run(look).await?)
    }
}
