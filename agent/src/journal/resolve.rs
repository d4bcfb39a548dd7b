//! Entries that an agent's end left open are settled when the next one starts: the machine is looked
//! at, and the entry closed with what is seen. Nothing is carried out again.

mod alerts;
mod audit;
mod devices;
mod guest;
mod rights;
mod storage;

use hypervisor_core::{
    definition::{Definition, Link},
    image::Kind,
    lifecycle::{State, Wanted},
    machine::MachineId,
};
use serde_json::Value;
use skerry_stanzas::{
    command::machine,
    refusal::{Reason, Refusal},
    reply::Reply as _,
};
use uuid::Uuid;

use super::{Accepted, Open, Outcome};
use crate::{
    agent::Agent,
    handler::{asked_of, catch_up, network_is_so as is_so, rules_are_so, unadopt, unbuild},
    images::Places,
    machine::{Record, publisher::Change, restarts::Restarts, wording},
    store::{StoreError, definitions, events::Happening},
};

/// What looking showed.
enum Found {
    /// It is as was asked.
    Finished,
    /// It is as before: nothing was done, or it was undone.
    Undone,
    /// It cannot be told.
    Unknown,
    /// How it is closed is known.
    Told(Outcome),
}

/// Closes every open entry. Called when all machines were looked at and no request was let in yet.
pub(crate) async fn settle(agent: &Agent) -> Result<(), StoreError> {
    let open = agent.inner.store.run(super::open).await?;
    for Open { entry, accepted } in open {
        let id = accepted.machine.map(MachineId);
        let record = id.and_then(|id| agent.inner.machines.get(id)).map(|machine| machine.record());
        let mut seen = storage::found(agent, entry, &accepted).await;
        if seen.is_none() {
            seen = guest::found(agent, entry, &accepted).await;
        }
        let found = match seen {
            Some(found) => found,
            None => found(agent, entry, &accepted, record.as_deref()).await?,
        };
        if let Some(id) = id.filter(|_| matches!(found, Found::Finished)) {
            stays_off(agent, id, &accepted).await?;
            is_altered(agent, id, &accepted).await;
        }
        // Settling may have changed it.
        let record = id.and_then(|id| agent.inner.machines.get(id)).map(|machine| machine.record());
        if matches!(found, Found::Undone)
            && record.is_none()
            && is_making(&accepted)
            && let Some(id) = id
        {
            match accepted.permission.as_str() {
                "host.adopt" => unadopt(&agent.inner, id).await,
                _ => drop(unbuild(&agent.inner, id).await),
            }
        }
        if let Some(id) = id.filter(|_| record.is_none() && accepted.permission == "machine.release") {
            unadopt(&agent.inner, id).await;
        }
        let (what, outcome) = outcome(agent, &accepted, record.as_deref(), found);
        let happening = Happening {
            what,
            machine: record.as_ref().map(|record| record.name.to_string()).or_else(|| accepted.name.clone()),
            state: record.as_ref().map(|record| record.state.word().to_owned()),
            generation: record.as_ref().map(|record| record.generation),
            by: Some(accepted.caller.clone()),
            sentence: sentence(&accepted, &outcome),
        };
        tracing::warn!(%entry, permission = accepted.permission, what, "settled a command the agent's end interrupted");
        agent.inner.store.run(move |connection| super::close(connection, entry, &outcome)).await?;
        agent.inner.publisher.note(happening).await?;
    }
    storage::settle_left(agent).await;
    Ok(())
}

/// A machine that was killed, or shut down, is not to be started again because nobody was there to note
/// by whom.
async fn stays_off(agent: &Agent, id: MachineId, accepted: &Accepted) -> Result<(), StoreError> {
    let off = matches!(accepted.permission.as_str(), "machine.shutdown" | "machine.kill");
    let Some(machine) = agent.inner.machines.get(id).filter(|_| off) else { return Ok(()) };
    let before = machine.record();
    let restarts = Restarts::default();
    let record = Record { wanted: Wanted::Stopped, restarts, ..Record::clone(&before) };
    if record == *before {
        return Ok(());
    }
    let sentence = wording::is(&record.name, &record.state);
    let change = Change { what: "machine.observed", sentence, by: Some(accepted.caller.clone()) };
    agent.inner.publisher.publish(&machine.card, record, change).await
}

/// What was defined of a machine that runs may not have been made so.
async fn is_altered(agent: &Agent, id: MachineId, accepted: &Accepted) {
    let defined = matches!(
        accepted.permission.as_str(),
        "machine.define"
            | "machine.definition-revert"
            | "machine.nic-up"
            | "machine.nic-down"
            | "machine.device-attach"
            | "machine.device-detach"
    );
    if let Some(machine) = agent.inner.machines.get(id).filter(|_| defined) {
        catch_up(&machine.card).await;
    }
}

fn is_making(accepted: &Accepted) -> bool {
    matches!(accepted.permission.as_str(), "host.create" | "host.adopt")
}

/// Whether a command of a topic that has a settlement of its own did what it was to.
async fn by_topic(
    agent: &Agent,
    entry: Uuid,
    accepted: &Accepted,
    record: Option<&Record>,
) -> Result<Option<bool>, StoreError> {
    if let Some(done) = alerts::done(agent, entry, accepted).await? {
        return Ok(Some(done));
    }
    if let Some(done) = rights::done(agent, entry, accepted).await? {
        return Ok(Some(done));
    }
    if let Some(done) = audit::done(agent, accepted).await? {
        return Ok(Some(done));
    }
    devices::done(agent, accepted, record).await
}

/// What is seen of a command.
async fn found(
    agent: &Agent,
    entry: Uuid,
    accepted: &Accepted,
    record: Option<&Record>,
) -> Result<Found, StoreError> {
    let seen = |so: bool| if so { Found::Finished } else { Found::Undone };
    if matches!(accepted.permission.as_str(), "machine.migrate" | "machine.migrate-resolve") {
        let moved = match accepted.machine {
            Some(id) => crate::handler::moved(agent, MachineId(id)).await,
            None => None,
        };
        return Ok(seen(moved == Some(true)));
    }
    if let Some(done) = by_topic(agent, entry, accepted, record).await? {
        return Ok(seen(done));
    }
    let Some(record) = record else {
        return Ok(match accepted.permission.as_str() {
            "machine.delete" | "machine.release" => Found::Finished,
            "host.create" | "host.adopt" => Found::Undone,
            // What it was to call off ended with the agent.
            "host.job-cancel" => Found::Finished,
            "host.undelete" => seen(is_here(agent, accepted)),
            of_network if of_network.starts_with("host.network-") => seen(networked(agent, accepted).await?),
            "host.image-share" => Found::Told(Outcome::Unknown {
                text: "The agent was restarted meanwhile: whether the image came through is known where it went. \
                       Share it again: nothing is sent that is there."
                    .into(),
            }),
            of_image if of_image.starts_with("host.image-") => seen(imaged(agent, entry, accepted).await?),
            _ => Found::Unknown,
        });
    };
    if let Some(so) = rules_are_so(&accepted.permission, &accepted.args, record) {
        return Ok(seen(so));
    }
    let state = &record.state;
    Ok(match accepted.permission.as_str() {
        "machine.start" => seen(matches!(state, State::Running | State::Paused)),
        "machine.shutdown" => seen(matches!(state, State::Stopped(_))),
        // A process that was cut off may be taken for one that crashed.
        "machine.kill" => seen(matches!(state, State::Stopped(_) | State::Failed(_))),
        "machine.pause" => seen(*state == State::Paused),
        "machine.resume" => seen(*state == State::Running),
        "machine.rename" => {
            seen(accepted.args.get("to").and_then(Value::as_str) == Some(record.name.as_str()))
        }
        "machine.autostart" => seen(is_on(&accepted.args) == Some(record.autostart)),
        "machine.protect" => seen(is_on(&accepted.args) == Some(record.protected)),
        "machine.label" => seen(labelled(&accepted.args, &record.labels)),
        "machine.define" => {
            let cd = accepted.args.get("cd").and_then(Value::as_str);
            seen(is_defined(&accepted.args, record) && agent.is_in(&record.definition, cd).await)
        }
        "machine.nic-up" => seen(is_linked(&accepted.args, record, Link::Up)),
        "machine.nic-down" => seen(is_linked(&accepted.args, record, Link::Down)),
        "machine.definition-revert" => seen(is_reverted(agent, &accepted.args, record).await?),
        "machine.delete" | "machine.release" => Found::Undone,
        "machine.export" => seen(exported(agent, accepted, record)),
        "host.create" => created(&accepted.args, record),
        "host.adopt" => Found::Finished,
        // Whether a guest rebooted, was reset or typed to cannot be seen afterwards.
        _ => Found::Unknown,
    })
}

/// Whether a command about a network did it. What is stored is what counts: it is made so afterwards.
async fn networked(agent: &Agent, accepted: &Accepted) -> Result<bool, StoreError> {
    let name = accepted.args.get("name").and_then(Value::as_str).unwrap_or_default();
    let there = agent.inner.networks.all().await?;
    let found = there.iter().find(|network| network.name.as_str() == name);
    Ok(match accepted.permission.as_str() {
        "host.network-create" => found.is_some(),
        "host.network-delete" => found.is_none(),
        "host.network-define" => found.is_some_and(|network| is_so(&network.definition, &accepted.args)),
        _ => false,
    })
}

/// Whether a command about an image did it.
async fn imaged(agent: &Agent, entry: Uuid, accepted: &Accepted) -> Result<bool, StoreError> {
    let images = &agent.inner.images;
    let text = |key: &str| accepted.args.get(key).and_then(Value::as_str).unwrap_or_default();
    Ok(match accepted.permission.as_str() {
        "host.image-import" | "host.image-pull" | "host.image-publish" => {
            images.all().await?.iter().any(|image| image.entry == entry)
        }
        "host.image-rename" => images.named(text("to")).await?.is_some(),
        "host.image-delete" => images.named(text("name")).await?.is_none(),
        // A file that was there before is refused.
        "host.image-export" => {
            let image = images.named(text("name")).await?;
            let places = Places::of(&agent.config());
            image.is_some_and(|image| places.exported(&image.name, image.kind, text("format")).exists())
        }
        _ => false,
    })
}

/// Whether the archive is there: one that was before is refused.
fn exported(agent: &Agent, accepted: &Accepted, record: &Record) -> bool {
    let asked = accepted.args.get("name").and_then(Value::as_str);
    let name = asked.unwrap_or(record.name.as_str());
    Places::of(&agent.config()).exported(name, Kind::Disk, "ova").exists()
}

/// A machine that was to be started as well may be there without running.
fn created(args: &Value, record: &Record) -> Found {
    let start = args.get("start").and_then(Value::as_bool).unwrap_or(false);
    match start && record.state != State::Running && record.wanted != Wanted::Running {
        true => Found::Unknown,
        false => Found::Finished,
    }
}

fn is_here(agent: &Agent, accepted: &Accepted) -> bool {
    let name = accepted.args.get("name").and_then(Value::as_str);
    name.and_then(|name| hypervisor_core::machine::MachineName::new(name).ok())
        .is_some_and(|name| agent.inner.machines.named(&name).is_some())
}

fn is_on(args: &Value) -> Option<bool> {
    args.get("set").and_then(Value::as_str).map(|set| set == "on")
}

fn labelled(args: &Value, labels: &[String]) -> bool {
    let words = |key: &str| -> Vec<String> {
        args.get(key).and_then(|list| serde_json::from_value(list.clone()).ok()).unwrap_or_default()
    };
    words("add").iter().all(|label| labels.contains(label))
        && words("remove").iter().all(|label| !labels.contains(label))
}

/// Whether asking for it again would change nothing.
fn is_defined(args: &Value, record: &Record) -> bool {
    let text = |key: &str| args.get(key).and_then(Value::as_str).map(str::to_owned);
    let vcpus = args.get("vcpus").and_then(Value::as_u64).and_then(|vcpus| vcpus.try_into().ok());
    let nic = args.get("nic").and_then(|list| serde_json::from_value(list.clone()).ok());
    let asked = machine::Define {
        memory: text("memory"),
        memory_max: text("memory_max"),
        vcpus,
        vcpus_max: args.get("vcpus_max").and_then(Value::as_u64).and_then(|most| most.try_into().ok()),
        cmdline: text("cmdline"),
        note: text("note"),
        restart: args.get("restart").and_then(|word| serde_json::from_value(word.clone()).ok()),
        order: text("order"),
        delay: text("delay"),
        cd: None,
        nic: nic.unwrap_or_default(),
        toml: None,
    };
    let now = &record.definition;
    let alone = asked_of(now, &asked).is_ok_and(|definition| definition == *now);
    let Some(toml) = text("toml") else { return alone };
    // What was given besides the whole of it is in it by now.
    let whole = Definition::from_toml(&toml).ok();
    whole.and_then(|whole| asked_of(&whole, &asked).ok()).is_some_and(|definition| definition == *now)
}

/// Whether the link of the NIC that was meant is so.
fn is_linked(args: &Value, record: &Record, link: Link) -> bool {
    let name = args.get("name").and_then(Value::as_str);
    let mut meant = record.definition.nics.iter().filter(|nic| name.is_none_or(|name| nic.name == name));
    meant.next().is_some_and(|nic| nic.link == link)
}

async fn is_reverted(agent: &Agent, args: &Value, record: &Record) -> Result<bool, StoreError> {
    let Some(number) = args.get("number").and_then(Value::as_u64) else { return Ok(false) };
    let id = record.id;
    let found = agent.inner.store.run(move |connection| definitions::one(connection, id, number)).await?;
    let now = &record.definition;
    Ok(found.is_some_and(|mut found| {
        record.layers.carry_over(now, &mut found);
        found == *now
    }))
}

/// How the entry is closed, and what the event is called.
fn outcome(
    agent: &Agent,
    accepted: &Accepted,
    record: Option<&Record>,
    found: Found,
) -> (&'static str, Outcome) {
    let is =
        record.map_or_else(String::new, |record| format!(" {}", wording::is(&record.name, &record.state)));
    match found {
        Found::Told(outcome) => {
            let what = match outcome {
                Outcome::Done { .. } => "command.finished",
                Outcome::Refused(_) => "command.undone",
                Outcome::Unknown { .. } => "command.unknown",
            };
            (what, outcome)
        }
        Found::Finished => {
            let text = format!("Done, although the agent was restarted meanwhile.{is}");
            let json = match record {
                Some(record) => {
                    let changed = agent.changed(record, text.clone());
                    serde_json::json!({ "text": changed.text(), "changed": changed })
                }
                None => serde_json::json!({ "sentence": text }),
            };
            ("command.finished", Outcome::Done { text, json })
        }
        Found::Undone => {
            let text = format!("The agent was restarted meanwhile: nothing was done.{is}");
            let refusal =
                Refusal::new(Reason::Unavailable, text).hint("Give the command again, if it is still meant.");
            ("command.undone", Outcome::Refused(refusal))
        }
        Found::Unknown => {
            let verb = accepted.permission.rsplit('.').next().unwrap_or_default();
            let text =
                format!("The agent was restarted meanwhile: what came of \"{verb}\" is not known.{is}");
            ("command.unknown", Outcome::Unknown { text })
        }
    }
}

fn sentence(accepted: &Accepted, outcome: &Outcome) -> String {
    let on = accepted.name.as_ref().map_or_else(String::new, |name| format!(" of {name}"));
    format!("{}{on}, asked by {}: {}", accepted.permission, accepted.caller, outcome.line())
}
