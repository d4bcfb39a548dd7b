//! The screen as a stream: a viewer's conversation with it (RFB), for `skerry vnc` and whoever else opens
//! a bytestream to it.
//!
//! The command `vnc` gives a ticket: for this person and this machine, for a minute, for one stream. The
//! stream takes the right to `vnc` as long as it is open, asked for with every block in either direction;
//! keys and the pointer take the right to `type`, asked for likewise. Who has it not, or asked only to
//! look, looks on: what they type is left out ([`filter`]). Who may type is in the journal, as with the
//! console, with how long the screen was open; what is typed is not.

mod filter;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hypervisor_core::{driver::Viewing, machine::MachineId};
use skerry_stanzas::{
    command::Declaration,
    refusal::{Reason, Refusal},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use xmpp_parsers::jid::{BareJid, Jid};

use self::filter::Filter;
use crate::{
    agent::Agent,
    asked::{Door, Target},
    console::{self, Entry},
    dispatch::Slot,
    handler,
    journal::Accepted,
    machine::Machine,
};

/// What the session id of a stream begins with that shows a ticket.
pub(crate) const SID: &str = "vnc:";
/// How long a ticket is good for.
pub(crate) const TICKET_MAX: Duration = Duration::from_secs(60);
/// Tickets of one person, and of all, that may wait to be used.
const TICKETS_PER_PERSON: usize = 8;
const TICKETS_ALL: usize = 256;
/// The most that is given at a time, in bytes.
pub(crate) const TOGETHER_MAX: usize = 32 << 10;
/// How long a screen may take to read what a viewer says.
const SAYING_MAX: Duration = Duration::from_secs(10);

/// The right to one viewer of one machine, for its person, once.
struct Ticket {
    person: BareJid,
    machine: MachineId,
    view_only: bool,
    since: Instant,
}

/// The tickets that wait to be used.
#[derive(Default)]
pub(crate) struct Tickets(Mutex<HashMap<String, Ticket>>);

impl Tickets {
    /// A new one: 122 bits that nobody guesses.
    pub(crate) fn give(
        &self,
        person: BareJid,
        machine: MachineId,
        view_only: bool,
    ) -> Result<String, Refusal> {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|_, ticket| ticket.since.elapsed() < TICKET_MAX);
        let own = tickets.values().filter(|ticket| ticket.person == person).count();
        if own >= TICKETS_PER_PERSON || tickets.len() >= TICKETS_ALL {
            return Err(Refusal::new(Reason::Limit, "Too many tickets for screens wait to be used.")
                .hint("Try again in a minute."));
        }
        let word = uuid::Uuid::new_v4().simple().to_string();
        tickets.insert(word.clone(), Ticket { person, machine, view_only, since: Instant::now() });
        Ok(word)
    }

    /// Takes it, when it is this person's. A ticket that somebody else shows stays its owner's.
    fn take(&self, person: &BareJid, word: &str) -> Option<Ticket> {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|_, ticket| ticket.since.elapsed() < TICKET_MAX);
        tickets.get(word).filter(|ticket| ticket.person == *person)?;
        tickets.remove(word)
    }
}

/// An open screen: what it shows. [`Looker`] speaks to it. The journal's entry is closed when it is dropped.
pub struct ScreenStream {
    reader: ReadHalf<Box<dyn Viewing>>,
    looker: Looker,
    since: Instant,
    _entry: Option<Entry>,
    _slot: Slot,
}

/// Speaks to a screen, for as long as its caller may; cheap to clone.
#[derive(Clone)]
pub struct Looker(Arc<Looking>);

struct Looking {
    agent: Agent,
    caller: Jid,
    target: Target,
    view_only: bool,
    machine: Arc<Machine>,
    to: tokio::sync::Mutex<(Filter, WriteHalf<Box<dyn Viewing>>)>,
}

impl Agent {
    /// Opens the screen a ticket is for. `at` is where it was shown: the machine's own address, or its
    /// host's.
    ///
    /// # Errors
    /// No such ticket, no right any more, not running, no screen, or too much open already.
    pub async fn view(&self, caller: &Jid, at: &Target, ticket: &str) -> Result<ScreenStream, Refusal> {
        let (looking, typing) = declarations()?;
        let ticket = self.inner.tickets.take(&caller.to_bare(), ticket).ok_or_else(|| {
            Refusal::new(Reason::NotFound, "That ticket is not good, or no longer.")
                .hint("Each is for one viewer, within a minute: ask for another one with vnc.")
        })?;
        let machine = self.inner.machines.get(ticket.machine).ok_or_else(|| {
            Refusal::new(Reason::NotFound, "The machine that ticket is for is not there any more.")
        })?;
        let name = machine.record().name.clone();
        let target = Target::Machine(name.clone());
        if *at != Target::Host && *at != target {
            return Err(Refusal::new(Reason::BadRequest, "That ticket is for another machine."));
        }
        let permit = self.permit(caller, looking, &target)?;
        let may_type =
            if ticket.view_only { None } else { self.permit_at_once(caller, typing, &target).ok() };
        let slots = if may_type.is_some() { &self.inner.jobs } else { &self.inner.reads };
        let slot = slots.take(&permit.person())?;
        let stream = handler::screen_of(&machine)?
            .view(machine.card.id)
            .await
            .map_err(|error| handler::screen_error(&machine, error))?;
        let entry = match &may_type {
            None => None,
            Some(permit) => {
                let accepted = Accepted {
                    caller: caller.to_string(),
                    rule: permit.rule().into(),
                    door: Door::Adhoc,
                    permission: looking.permission(),
                    machine: Some(machine.card.id.0),
                    name: Some(name.to_string()),
                    args: serde_json::json!({ "stream": true }),
                    key: None,
                    because: None,
                    hops: Vec::new(),
                    signature: None,
                };
                Some(Entry::open(self, accepted, "screen").await?)
            }
        };
        let (reader, writer) = tokio::io::split(stream);
        let looker = Looker(Arc::new(Looking {
            agent: self.clone(),
            caller: caller.clone(),
            target,
            view_only: ticket.view_only,
            machine,
            to: tokio::sync::Mutex::new((Filter::new(), writer)),
        }));
        Ok(ScreenStream { reader, looker, since: Instant::now(), _entry: entry, _slot: slot })
    }
}

fn declarations() -> Result<(&'static Declaration, &'static Declaration), Refusal> {
    Ok((console::declaration("vnc")?, console::declaration("type")?))
}

impl ScreenStream {
    /// What the screen says since, as much as there is at once; `None` when it is over: the machine runs
    /// no longer, or its viewer may not look any more.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; TOGETHER_MAX];
        let count = self.reader.read(&mut bytes).await.unwrap_or(0);
        if count == 0 || self.looker.may_look().is_err() {
            return None;
        }
        bytes.truncate(count);
        Some(bytes)
    }

    /// To speak to it.
    pub fn looker(&self) -> Looker {
        self.looker.clone()
    }

    /// For how long it has been open.
    pub fn open_for(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Looker {
    /// Whether its caller may look still.
    ///
    /// # Errors
    /// No longer.
    pub fn may_look(&self) -> Result<(), Refusal> {
        let Looking { agent, caller, target, .. } = &*self.0;
        agent.permit(caller, declarations()?.0, target).map(drop)
    }

    /// Says what a viewer says, but for what it may not.
    ///
    /// # Errors
    /// It may not look any more, speaks otherwise, or the screen is not there any more.
    pub async fn say(&self, bytes: &[u8]) -> Result<(), Refusal> {
        self.may_look()?;
        let Looking { agent, caller, target, view_only, machine, to } = &*self.0;
        let may_type = !view_only && agent.permit_at_once(caller, declarations()?.1, target).is_ok();
        let mut to = to.lock().await;
        let (filter, writer) = &mut *to;
        let passed = filter
            .pass(bytes, may_type)
            .map_err(|odd| Refusal::new(Reason::BadRequest, format!("It is over: {odd}.")))?;
        let said = async {
            writer.write_all(&passed).await?;
            writer.flush().await
        };
        match tokio::time::timeout(SAYING_MAX, said).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                let name = &machine.record().name;
                Err(Refusal::new(Reason::Conflict, format!("The screen of {name} is gone.")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_ticket_is_its_owners_and_for_once() {
        let (ann, eve) = (BareJid::new("ann@example.org").unwrap(), BareJid::new("eve@example.org").unwrap());
        let (tickets, machine) = (Tickets::default(), MachineId::fresh());
        let word = tickets.give(ann.clone(), machine, true).unwrap();
        assert!(tickets.take(&eve, &word).is_none());
        assert!(
            tickets.take(&ann, &word).is_some_and(|ticket| ticket.machine == machine && ticket.view_only)
        );
        assert!(tickets.take(&ann, &word).is_none(), "once");
        for _ in 0..TICKETS_PER_PERSON {
            tickets.give(ann.clone(), machine, false).unwrap();
        }
        assert_eq!(tickets.give(ann, machine, false).unwrap_err().reason, Reason::Limit);
        tickets.give(eve, machine, false).unwrap();
    }
}
