//! The serial console as a stream: what the guest writes, as it writes it, and keys typed into it.
//!
//! Looking takes the right to the command `console`, typing the right to `send`, asked for with every
//! key. One person types at a time: who has begun has the keyboard until they leave, or have not used
//! it for a minute; the others look on. A stream whose caller may type is in the journal like a
//! command: opened before a byte goes through, closed with how long it was open. What is typed is not
//! recorded: it holds passwords.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hypervisor_core::machine::MachineId;
use skerry_stanzas::{
    command::{COMMANDS, Declaration, Object},
    refusal::{Reason, Refusal},
};
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};
use uuid::Uuid;
use xmpp_parsers::jid::Jid;

use crate::{
    agent::Agent,
    asked::{Door, Target},
    dispatch::Slot,
    handler,
    journal::{self, Accepted, Outcome},
    machine::Machine,
};

/// What stands where a slow reader missed output.
const MISSED: &[u8] = b"\r\n[some output was missed]\r\n";

/// Who has not typed for so long has left the keyboard.
const HELD_FOR: Duration = Duration::from_secs(60);

/// What is given at a time, in bytes, when much has piled up.
const TOGETHER_MAX: usize = 16 << 10;

/// An open console: its output. [`Keys`] types into it. The journal's entry is closed when it is dropped.
pub struct ConsoleStream {
    /// What is said before anything of the guest's.
    first: Option<Vec<u8>>,
    output: broadcast::Receiver<Vec<u8>>,
    keys: Keys,
    since: Instant,
    _entry: Option<Entry>,
    _slot: Slot,
}

/// Types into a console, for as long as its caller may; cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<Typist>);

struct Typist {
    agent: Agent,
    caller: Jid,
    target: Target,
    machine: Arc<Machine>,
    number: Uuid,
}

/// The journal's open entry of a stream.
pub(crate) struct Entry {
    agent: Agent,
    id: Uuid,
    since: Instant,
    what: &'static str,
}

impl Agent {
    /// Opens the serial console of a machine that runs. Who may look and not type is told so first.
    ///
    /// # Errors
    /// No right to it, no such machine, no console, not running, or too much open already.
    pub async fn console(&self, caller: &Jid, target: &Target, door: Door) -> Result<ConsoleStream, Refusal> {
        let (looking, typing) = (declaration("console")?, declaration("send")?);
        let permit = self.permit(caller, looking, target)?;
        let Target::Machine(name) = target else {
            return Err(Refusal::new(Reason::BadRequest, "Which machine? A host has no console."));
        };
        let machine = self.inner.machines.find(name)?;
        let none = || Refusal::new(Reason::NotSupported, format!("{name} has no console."));
        if !handler::can(&machine, looking) {
            return Err(none());
        }
        let may_type = self.permit_at_once(caller, typing, target);
        let slots = if may_type.is_ok() { &self.inner.jobs } else { &self.inner.reads };
        let slot = slots.take(&permit.person())?;
        let console = machine.card.driver.console().ok_or_else(none)?;
        let output =
            console.follow(machine.card.id).await.map_err(|error| handler::console_error(&machine, error))?;
        let (first, entry) = match may_type {
            Err(_) if self.permit(caller, typing, target).is_ok() => {
                (Some(looks_on("has to be agreed to: use send")), None)
            }
            Err(_) => (Some(looks_on(&format!("takes the role {}", typing.role.word()))), None),
            Ok(permit) => {
                let accepted = Accepted {
                    caller: caller.to_string(),
                    rule: permit.rule().into(),
                    door,
                    permission: typing.permission(),
                    machine: Some(machine.card.id.0),
                    name: Some(name.to_string()),
                    args: serde_json::json!({ "stream": true }),
                    key: None,
                    because: None,
                    hops: Vec::new(),
                    signature: None,
                };
                (None, Some(Entry::open(self, accepted, "console").await?))
            }
        };
        let (caller, target) = (caller.clone(), target.clone());
        let first = first.or_else(|| self.inner.keyboards.held(&machine).map(|by| typed_by(&by)));
        let number = Uuid::now_v7();
        let keys = Keys(Arc::new(Typist { agent: self.clone(), caller, target, machine, number }));
        Ok(ConsoleStream { first, output, keys, since: Instant::now(), _entry: entry, _slot: slot })
    }
}

pub(crate) fn declaration(verb: &str) -> Result<&'static Declaration, Refusal> {
    COMMANDS
        .iter()
        .find(|declaration| declaration.object == Object::Machine && declaration.verb == verb)
        .ok_or_else(|| Refusal::new(Reason::NotSupported, "This agent has no consoles."))
}

fn looks_on(typing: &str) -> Vec<u8> {
    format!("[You are welcome to look on; typing {typing}.]\r\n").into_bytes()
}

impl Entry {
    /// Written before a byte goes through.
    pub(crate) async fn open(agent: &Agent, accepted: Accepted, what: &'static str) -> Result<Self, Refusal> {
        let entry = Self { agent: agent.clone(), id: Uuid::now_v7(), since: Instant::now(), what };
        let id = entry.id;
        agent.inner.store.run(move |connection| journal::accept(connection, id, &accepted)).await?;
        Ok(entry)
    }
}

impl ConsoleStream {
    /// What the guest wrote since, all that is there; `None` when it runs no longer, or its caller may not
    /// look any more.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let mut bytes = match self.output.recv().await {
            Ok(bytes) => bytes,
            Err(RecvError::Lagged(_)) => MISSED.to_vec(),
            Err(RecvError::Closed) => return None,
        };
        self.keys.may_look().ok()?;
        while bytes.len() < TOGETHER_MAX {
            match self.output.try_recv() {
                Ok(more) => bytes.extend(more),
                Err(TryRecvError::Lagged(_)) => bytes.extend(MISSED),
                // An end comes with the next call.
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Some(bytes)
    }

    /// To type with.
    pub fn keys(&self) -> Keys {
        self.keys.clone()
    }

    /// For how long it has been open.
    pub fn open_for(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Keys {
    /// Whether its caller may look still.
    ///
    /// # Errors
    /// No longer.
    pub fn may_look(&self) -> Result<(), Refusal> {
        let Typist { agent, caller, target, .. } = &*self.0;
        agent.permit(caller, declaration("console")?, target).map(drop)
    }

    /// Types.
    ///
    /// # Errors
    /// No right to it, or no longer; the machine runs no longer, or its console does not take it.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let Typist { agent, caller, target, machine, number } = &*self.0;
        agent.permit_at_once(caller, declaration("send")?, target)?;
        agent.inner.keyboards.take(machine, *number, caller)?;
        let console = machine.card.driver.console();
        let console = console.ok_or_else(|| Refusal::new(Reason::NotSupported, "It has no console."))?;
        console.send(machine.card.id, bytes).await.map_err(|error| handler::console_error(machine, error))
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        self.agent.inner.keyboards.leave(&self.machine, self.number);
    }
}

/// Who types on which console.
#[derive(Default)]
pub(crate) struct Keyboards(Mutex<HashMap<MachineId, Held>>);

/// A keyboard in somebody's hands.
struct Held {
    number: Uuid,
    by: Jid,
    since: Instant,
}

impl Keyboards {
    /// Takes it, or keeps it.
    fn take(&self, machine: &Machine, number: Uuid, by: &Jid) -> Result<(), Refusal> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = |held: &&Held| held.number != number && held.since.elapsed() < HELD_FOR;
        if let Some(held) = held.get(&machine.card.id).filter(others) {
            let text = format!("{} types there just now.", held.by.to_bare());
            return Err(Refusal::new(Reason::NotAllowed, text)
                .hint("You look on; type when they have left, or have been silent for a minute."));
        }
        held.insert(machine.card.id, Held { number, by: by.clone(), since: Instant::now() });
        Ok(())
    }

    /// Who has it.
    fn held(&self, machine: &Machine) -> Option<Jid> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(&machine.card.id).filter(|held| held.since.elapsed() < HELD_FOR).map(|held| held.by.clone())
    }

    fn leave(&self, machine: &Machine, number: Uuid) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(&machine.card.id).is_some_and(|held| held.number == number) {
            held.remove(&machine.card.id);
        }
    }
}

fn typed_by(by: &Jid) -> Vec<u8> {
    format!("[{} types here just now; you look on until they leave.]\r\n", by.to_bare()).into_bytes()
}

impl Drop for Entry {
    fn drop(&mut self) {
        let seconds = self.since.elapsed().as_secs();
        let outcome = Outcome::Done {
            text: format!(
                "The {} was open for {}.",
                self.what,
                humantime::format_duration(Duration::from_secs(seconds))
            ),
            json: serde_json::json!({ "seconds": seconds }),
        };
        let (agent, id) = (self.agent.clone(), self.id);
        // Without a runtime the agent is at its end; the next one settles the entry.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let closed =
                agent.inner.store.run(move |connection| journal::close(connection, id, &outcome)).await;
            if let Err(error) = closed {
                tracing::error!(%id, %error, "the journal's entry stays open");
            }
        });
    }
}
