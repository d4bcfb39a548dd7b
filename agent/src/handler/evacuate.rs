//! Evacuate: all machines of a host go to the others, by what these have room for.

use std::sync::{Arc, PoisonError};

use skerry_stanzas::{
    command::host,
    payload::migration::Storage,
    refusal::{Reason, Refusal},
    reply::{Evacuated, EvacuatedLine},
};
use xmpp_parsers::jid::Jid;

use super::{
    Handle,
    migrate::{Wish, bandwidth},
};
use crate::{agent::Agent, dispatch::Job, machine::Machine};

/// Where a machine would go, or why nowhere.
struct Place {
    machine: Arc<Machine>,
    to: Result<Jid, String>,
}

impl Agent {
    /// The hosts to go to: those that are named, or all.
    fn hosts(&self, named: &[String]) -> Result<Vec<Jid>, Refusal> {
        let hosts: Vec<Jid> = match named {
            [] => self.config().peers.values().cloned().collect(),
            named => named.iter().map(|name| self.peer(name)).collect::<Result<_, _>>()?,
        };
        if hosts.is_empty() {
            return Err(Refusal::new(Reason::Conflict, "There is no host to move to.")
                .hint("The agent's configuration names them: [peers] kvm2 = \"kvm2.example.org\"."));
        }
        Ok(hosts)
    }

    /// A place for each machine, the largest first: where the most memory is free.
    async fn places(&self, job: &Job, hosts: &[Jid]) -> Vec<Place> {
        let mut machines = self.inner.machines.all();
        machines.sort_by_key(|machine| std::cmp::Reverse(machine.record().definition.memory_mib));
        let mut given: Vec<u64> = vec![0; hosts.len()];
        let mut places = Vec::new();
        for machine in machines {
            let record = machine.record();
            let mut best: Option<(u64, usize)> = None;
            let mut why = "no host answers".to_owned();
            for (at, host) in hosts.iter().enumerate() {
                let planned = match self.leaving(&machine, &job.by(), host, Storage::Auto, false).await {
                    Ok(mut leaving) => leaving.plan(self).await,
                    Err(refusal) => Err(refusal),
                };
                match planned {
                    Ok(plan) => {
                        let free = plan.memory_free_mib.saturating_sub(given[at]);
                        let fits = free >= record.definition.memory_mib;
                        if fits && best.is_none_or(|(most, _)| free > most) {
                            best = Some((free, at));
                        } else if !fits {
                            why = format!("{host} would have no memory left for it");
                        }
                    }
                    Err(refusal) => why = refusal.text.trim_end_matches('.').to_owned(),
                }
            }
            let to = match best {
                Some((_, at)) => {
                    given[at] += record.definition.memory_mib;
                    Ok(hosts[at].clone())
                }
                None => Err(why),
            };
            places.push(Place { machine, to });
        }
        places
    }
}

impl Handle<host::Evacuate> for Agent {
    /// The plan is made here, since who is asked whether it is meant has to see it.
    async fn obstacle(&self, job: &Job, command: &host::Evacuate) -> Result<(), Refusal> {
        bandwidth(command.bandwidth.as_deref())?;
        let places = self.places(job, &self.hosts(&command.to)?).await;
        if places.iter().all(|place| place.to.is_err()) {
            let reasons: Vec<String> = places.iter().map(say).collect();
            let text = match reasons.is_empty() {
                true => "There is no machine to move.".to_owned(),
                false => format!("No machine can be moved. {}", reasons.join(" ")),
            };
            return Err(Refusal::new(Reason::Conflict, text));
        }
        let plan: Vec<String> = places.iter().map(say).collect();
        let mut plans = self.inner.passages.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.insert(job.id, plan.join(" "));
        Ok(())
    }

    fn warning(&self, job: &Job, _command: &host::Evacuate) -> String {
        let mut plans = self.inner.passages.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = plans.remove(&job.id).unwrap_or_default();
        format!("This moves all machines away, one after the other, as far as it goes. {plan}")
    }

    async fn handle(&self, job: &Job, command: host::Evacuate) -> Result<Evacuated, Refusal> {
        let hosts = self.hosts(&command.to)?;
        let bytes_per_second = bandwidth(command.bandwidth.as_deref())?;
        let wish = Wish { dry_run: false, bytes_per_second, storage: Storage::Auto, postcopy: false };
        let places = self.places(job, &hosts).await;
        let mut machines = Vec::new();
        for Place { machine, to } in places {
            let name = machine.record().name.to_string();
            let moved = match to {
                Ok(to) => match self.move_one(job, &machine, &to, wish).await {
                    Ok(migrated) => Ok(migrated.to),
                    Err(refusal) => Err(refusal.text),
                },
                Err(why) => Err(format!("{why}.")),
            };
            let (to, why_not) = match moved {
                Ok(to) => (Some(to), None),
                Err(why) => (None, Some(why)),
            };
            job.say(match &to {
                Some(to) => format!("{name} is on {to} now."),
                None => format!("{name} stayed."),
            });
            machines.push(EvacuatedLine { name, to, why_not });
        }
        Ok(Evacuated { machines })
    }
}

fn say(place: &Place) -> String {
    let name = &place.machine.record().name;
    match &place.to {
        Ok(to) => format!("{name} to {to}."),
        Err(why) => format!("{name} stays: {why}."),
    }
}
