//! What each command does: the only place where a wire type meets a machine type.

mod adopt;
mod alerts;
mod apply;
mod approvals;
mod audit;
mod clone;
mod console;
mod create;
mod define;
mod delete;
mod devices;
pub(crate) mod disks;
mod edit;
mod evacuate;
mod firewall;
mod grants;
mod graph;
pub(crate) mod guest;
mod host;
mod image;
mod jobs;
pub(crate) mod keys;
mod life;
mod migrate;
mod network;
mod nics;
mod numbers;
mod policies;
pub(crate) mod quotas;
mod release;
mod rights;
mod roles;
mod screen;
mod show;
pub(crate) mod snapshots;
pub(crate) mod storage;
mod telling;
mod trash;

use std::future::Future;

use hypervisor_core::{lifecycle::Request, machine::MachineName};
use skerry_stanzas::{
    address::{self, AddressError},
    command::{Command, Declaration, Object},
    refusal::{Reason, Refusal},
    reply::Changed,
};

pub(crate) use self::{
    adopt::unadopt,
    clone::unclone,
    console::said as console_error,
    create::unbuild,
    define::{allowed_files, asked as asked_of, cd::NONE as NO_CD, live::catch_up},
    firewall::{ALL as ALL_RULES, is_so as rules_are_so},
    host::{disk_free_mib, host_memory_mib},
    image::{is_image_name, tidy_exports},
    migrate::moved,
    network::is_so as network_is_so,
    numbers::{sort, tenths, whole},
    screen::{said as screen_error, screen as screen_of},
    show::LOOK_MAX,
    trash::{empty_trash, house},
};
use crate::{
    agent::Agent,
    dispatch::Job,
    machine::{Machine, Record},
};

/// Carries out one command.
pub(crate) trait Handle<C: Command> {
    /// Does it, and answers when it is done.
    fn handle(&self, job: &Job, command: C) -> impl Future<Output = Result<C::Reply, Refusal>> + Send;

    /// What stands in its way, looked at before anything is done: what takes something away, and cannot be
    /// done at all, is not worth a question; and a form in steps says at a step what is wrong with it.
    fn obstacle(&self, _job: &Job, _command: &C) -> impl Future<Output = Result<(), Refusal>> + Send {
        std::future::ready(Ok(()))
    }

    /// Whether who gives it is asked whether it is meant, where it takes something away.
    fn asks(&self, _job: &Job, _command: &C) -> bool {
        true
    }

    /// What it takes of what is somebody's to have, looked at before anything is done.
    fn takes(
        &self,
        _job: &Job,
        _command: &C,
    ) -> impl Future<Output = Result<Option<quotas::Takes>, Refusal>> + Send {
        std::future::ready(Ok(None))
    }

    /// What exactly it will do, for the question whether it is meant.
    fn warning(&self, job: &Job, _command: &C) -> String {
        format!("\"{}\" cannot be undone.", job.permit.declaration().spoken())
    }
}

/// What a command asks of a machine's life, when it does.
pub(crate) fn request_of(declaration: &Declaration) -> Option<Request> {
    match declaration.object {
        Object::Host => None,
        Object::Machine => Request::ALL.into_iter().find(|request| request.word() == declaration.verb),
    }
}

/// Whether a command makes a machine, whose identity is then the job's number.
pub(crate) fn makes_machine(declaration: &Declaration) -> bool {
    declaration.object == Object::Host && matches!(declaration.verb, "create" | "adopt")
}

/// Whether a machine's driver has what a command needs.
pub(crate) fn can(machine: &Machine, declaration: &Declaration) -> bool {
    let has = &machine.card.driver.probe().capabilities;
    declaration.needs.is_none_or(|needs| has.iter().any(|capability| capability.word() == needs))
}

/// Reads a name somebody gave.
pub(crate) fn name(text: &str, field: &str) -> Result<MachineName, Refusal> {
    let text = text.trim();
    MachineName::new(text).map_err(|error| {
        // Capitals, mostly: an address would make them small, and so would not be that of this name.
        let hint = match address::written(text).filter(|written| MachineName::new(written.as_str()).is_ok()) {
            Some(written) if written != text => format!("Write it {written}."),
            _ => "Use lower-case letters, digits, - and _, such as web1.".into(),
        };
        Refusal::new(Reason::BadRequest, format!("{text:?} cannot be a name: {error}."))
            .field(field)
            .hint(hint)
    })
}

impl Agent {
    /// The answer of a command that changes a machine.
    pub(crate) fn changed(&self, record: &Record, sentence: String) -> Changed {
        Changed {
            name: record.name.to_string(),
            jid: self.addresses().machine(&record.name).to_string(),
            state: record.state.word().into(),
            generation: record.generation,
            sentence,
        }
    }

    /// Refuses a new name that no address can hold, or that is or looks like another machine's.
    pub(crate) async fn free(&self, name: &MachineName, field: &str) -> Result<(), Refusal> {
        if let Err(error) = self.addresses().hold(name) {
            let (text, hint) = match error {
                AddressError::Altered(written) => (
                    format!("In an address {name} is written {written}."),
                    format!("Take {written} for a name."),
                ),
                error => (format!("{name} cannot be a name: {error}."), "Choose another name.".into()),
            };
            return Err(Refusal::new(Reason::BadRequest, text).field(field).hint(hint));
        }
        let wanted = name.clone();
        let found =
            self.inner.store.run(move |connection| crate::store::machines::like(connection, &wanted)).await?;
        match found {
            None => Ok(()),
            Some(same) if same == name.as_str() => {
                Err(Refusal::new(Reason::Conflict, format!("There is a machine {name} already."))
                    .field(field)
                    .hint("Choose another name."))
            }
            Some(other) => Err(Refusal::new(
                Reason::Conflict,
                format!("{name} looks like {other}, which is a machine here already."),
            )
            .field(field)
            .hint("Choose a name nobody can mistake for it.")),
        }
    }
}
