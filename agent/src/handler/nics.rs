//! The NICs of a machine, and whether their cables are in.

use hypervisor_core::definition::{Link, Network, Nic};
use skerry_stanzas::{
    command::machine::{NicDown, NicList, NicUp},
    refusal::{Reason, Refusal},
    reply::{self, Defined, NicLine},
};

use super::{
    Handle,
    define::{define, shown},
};
use crate::{agent::Agent, dispatch::Job, networks::of_machine};

impl Handle<NicList> for Agent {
    async fn handle(&self, job: &Job, _command: NicList) -> Result<reply::NicList, Refusal> {
        let record = job.machine()?.record();
        let nics = &record.definition.nics;
        let seen = match record.state.has_guest() {
            true => of_machine(&self.inner.networks.look().await, record.id, nics),
            false => Vec::new(),
        };
        let line = |nic: &Nic| NicLine {
            name: nic.name.clone(),
            link: nic.link.word().into(),
            network: connected(&nic.network),
            model: nic.model.word().into(),
            mac: nic.address(record.id).to_string(),
            rate: nic.rate.map(|rate| rate.to_string()),
            addresses: seen
                .iter()
                .filter(|(_, name, _)| *name == nic.name)
                .map(|(address, ..)| address.to_string())
                .collect(),
        };
        Ok(reply::NicList { name: record.name.to_string(), nics: nics.iter().map(line).collect() })
    }
}

/// What it is connected to, in the words by which it is defined.
fn connected(network: &Network) -> String {
    match network {
        Network::Bridge { name } => format!("bridge={name}"),
        Network::Named { name, .. } => format!("network={name}"),
        Network::User { forwards } => {
            let forwards = forwards.iter().map(|forward| format!(",forward={forward}"));
            format!("user{}", forwards.collect::<String>())
        }
    }
}

impl Handle<NicUp> for Agent {
    async fn handle(&self, job: &Job, command: NicUp) -> Result<Defined, Refusal> {
        link(job, command.name.as_deref(), Link::Up).await
    }
}

impl Handle<NicDown> for Agent {
    async fn handle(&self, job: &Job, command: NicDown) -> Result<Defined, Refusal> {
        link(job, command.name.as_deref(), Link::Down).await
    }
}

async fn link(job: &Job, name: Option<&str>, link: Link) -> Result<Defined, Refusal> {
    let record = job.machine()?.record();
    let mut definition = record.definition.clone();
    let names: Vec<String> = definition.nics.iter().map(|nic| nic.name.clone()).collect();
    let meant = match name {
        None if names.len() > 1 => {
            let text = format!("{} has several NICs.", record.name);
            return Err(Refusal::new(Reason::BadRequest, text)
                .field("name")
                .hint(format!("Say which: {}.", names.join(", "))));
        }
        None => definition.nics.first_mut(),
        Some(name) => definition.nics.iter_mut().find(|nic| nic.name == name),
    };
    let Some(nic) = meant else {
        let (text, hint) = match name.filter(|_| !names.is_empty()) {
            Some(name) => {
                (format!("{} has no NIC {name}.", record.name), format!("There is: {}.", names.join(", ")))
            }
            None => (format!("{} has no NIC.", record.name), "\"define nic=user\" gives it one.".into()),
        };
        return Err(Refusal::new(Reason::NotFound, text).field("name").hint(hint));
    };
    nic.link = link;
    let (name, same) = (nic.name.clone(), definition == record.definition);
    if same {
        // It is asked for once more all the same: whatever took the cable out, this puts it in.
        super::catch_up(&job.machine()?.card).await;
        let changed = vec![reply::Redefined {
            what: format!("link of NIC {name}: {} already", link.word()),
            effective: "now".into(),
        }];
        return Ok(shown(&record, &definition, changed));
    }
    define(job, &record, definition).await
}
