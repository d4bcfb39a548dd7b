//! Machines that move to other hosts and come from them: the hand-over of
//! [`hypervisor_core::handover`], carried out.
//!
//! Who may run a machine is decided there, purely; here its effects are done one by one: written to the
//! store, asked of the driver, said to the other host through [`Peers`].

pub(crate) mod arriving;
pub(crate) mod journal;
pub(crate) mod leaving;
mod passage;
pub(crate) mod recovery;
pub(crate) mod rights;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
};

use async_trait::async_trait;
use hypervisor_core::{
    handover::{Attempt, Effect, Input, Message, Pass, Standing, Word, step},
    machine::{MachineId, MachineName},
};
use skerry_stanzas::payload::{
    Handover, Share,
    migration::{Offer, Plan, Refused},
    share::Answer,
};
use tokio::sync::{mpsc, watch};
use xmpp_parsers::jid::{BareJid, Jid};

pub(crate) use self::passage::{End, Options, View};
use self::{journal::Row, passage::Heard};
use crate::{agent::Agent, store::StoreError};

/// Machines that may be on their way at once, in both directions.
const PASSAGES_MAX: usize = 64;
/// Words of the other host that may wait to be dealt with.
const HEARD_MAX: usize = 16;
/// People who are told of a machine's new address.
const WATCHERS_MAX: usize = 300;
/// The word that asks for a [`Plan`], and the one that says that a machine which does not run was sent.
pub(crate) const PLAN: &str = "plan";
pub(crate) const SENT: &str = "sent";

/// How long who settles a hand-over waits until it is settled.
const RESOLVE_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// What came of a person's word on a hand-over.
pub(crate) enum Resolved {
    /// It is settled so.
    Done,
    /// There was nothing to settle.
    NothingToDo,
    /// The other host can be heard.
    AnswersStill(Jid),
}

/// Why another host did not hear.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unheard {
    /// It answered that it will not.
    #[error("{0}")]
    Refused(String),
    /// It did not answer.
    #[error("it does not answer")]
    Lost,
}

/// The way to other hosts.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Says a word; returns when it was heard.
    ///
    /// # Errors
    /// It was not, as far as is known.
    async fn say(&self, to: &Jid, word: Handover) -> Result<(), Unheard>;

    /// Asks what would become of an offer.
    ///
    /// # Errors
    /// There is no answer.
    async fn plan(&self, to: &Jid, word: Handover) -> Result<Plan, Unheard>;

    /// Says a word about an image that is shared, and hears the answer.
    ///
    /// # Errors
    /// There is none.
    async fn share(&self, to: &Jid, word: Share) -> Result<Answer, Unheard>;

    /// Who sees a machine of this host at an address of its own.
    fn watchers(&self, _machine: MachineId) -> Vec<BareJid> {
        Vec::new()
    }
}

/// A machine on its way.
struct Open {
    peer: Jid,
    heard: mpsc::Sender<Heard>,
    /// Told of nothing: it ends with this.
    over: watch::Sender<()>,
}

/// All that is on its way, and what is gone.
#[derive(Default)]
pub(crate) struct Passages {
    open: Mutex<HashMap<MachineId, Open>>,
    peers: RwLock<Option<Weak<dyn Peers>>>,
    /// The addresses of machines that were here, and who had rights on them.
    gone: RwLock<HashMap<String, (Jid, Vec<rights::Saw>)>>,
    /// What was last planned for whom, until it is confirmed.
    pub(crate) plans: Mutex<HashMap<uuid::Uuid, String>>,
}

impl Passages {
    fn open(&self) -> MutexGuard<'_, HashMap<MachineId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn peers(&self) -> Option<Arc<dyn Peers>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }

    /// A place for one more; `None` if it is on its way already, or there are too many.
    fn begin(&self, id: MachineId, peer: &Jid) -> Option<mpsc::Receiver<Heard>> {
        let mut open = self.open();
        if open.contains_key(&id) || open.len() >= PASSAGES_MAX {
            return None;
        }
        let (heard, hears) = mpsc::channel(HEARD_MAX);
        open.insert(id, Open { peer: peer.clone(), heard, over: watch::Sender::default() });
        Some(hears)
    }

    fn end(&self, id: MachineId) {
        self.open().remove(&id);
    }

    /// Waits until a machine is not on its way any more.
    async fn over(&self, id: MachineId) {
        let over = self.open().get(&id).map(|open| open.over.subscribe());
        if let Some(mut over) = over {
            // Nothing is ever sent: an error is its end.
            while over.changed().await.is_ok() {}
        }
    }

    /// Tells a passage something; false if there is none.
    fn tell(&self, id: MachineId, heard: Heard) -> bool {
        let open = self.open();
        // One that has too much to hear misses some: all is said again.
        open.get(&id).map(|open| open.heard.try_send(heard)).is_some()
    }

    fn moved_away(&self, name: &MachineName, address: &Jid, saw: Vec<rights::Saw>) {
        let mut gone = self.gone.write().unwrap_or_else(PoisonError::into_inner);
        gone.insert(name.to_string(), (address.clone(), saw));
    }

    fn saw(&self, name: &MachineName) -> Vec<rights::Saw> {
        let gone = self.gone.read().unwrap_or_else(PoisonError::into_inner);
        gone.get(name.as_str()).map(|(_, saw)| saw.clone()).unwrap_or_default()
    }

    fn forget_gone(&self, name: &MachineName) {
        self.gone.write().unwrap_or_else(PoisonError::into_inner).remove(name.as_str());
    }
}

impl Agent {
    /// From now on other hosts are reached by this, as long as it is there.
    pub fn peers_by(&self, peers: Weak<dyn Peers>) {
        *self.inner.passages.peers.write().unwrap_or_else(PoisonError::into_inner) = Some(peers);
    }

    /// The address of a machine that moved away from here, and whose name nobody has here now.
    pub fn moved_away(&self, name: &MachineName) -> Option<Jid> {
        if self.inner.machines.named(name).is_some() {
            return None;
        }
        let gone = self.inner.passages.gone.read().unwrap_or_else(PoisonError::into_inner);
        gone.get(name.as_str()).map(|(address, _)| address.clone())
    }

    /// The same in words: a host whose machines have no address of their own is asked for them itself.
    pub fn where_it_went(&self, name: &MachineName) -> Option<String> {
        let address = self.moved_away(name)?;
        Some(match self.is_peer(&address.to_bare()) {
            true => format!("{name} moved to the host {}: ask for it there.", address.to_bare()),
            false => format!("{name} moved: it is {address} now."),
        })
    }

    /// Who saw a machine where it came from.
    pub(crate) async fn watched_before(&self, id: MachineId) -> Vec<BareJid> {
        let row = self.row(id).await.ok().flatten();
        let watchers = row.map(|row| row.about.offer.watchers).unwrap_or_default();
        watchers.iter().filter_map(|person| BareJid::new(person).ok()).take(WATCHERS_MAX).collect()
    }

    /// Whether machines may move to this host and come from it.
    pub fn is_peer(&self, host: &BareJid) -> bool {
        self.config().peers.values().any(|peer| peer.to_bare() == *host)
    }

    /// What would become of this offer. `from` is a host that [`Agent::is_peer`] knows.
    pub async fn plan_for(&self, from: &Jid, word: &Handover) -> Option<Plan> {
        let (id, _, _) = taken_apart(word).filter(|_| word.word == PLAN)?;
        let offer: Offer = word.content()?;
        tracing::debug!(%from, machine = %id, "asked for a plan");
        Some(self.consider(id, &offer).await.plan)
    }

    /// Another host said a word. `from` is a host that [`Agent::is_peer`] knows. False if it makes no sense.
    pub async fn heard(&self, from: &Jid, word: Handover) -> bool {
        let Some((id, pass, said)) = taken_apart(&word) else { return false };
        let known = self.inner.passages.open().get(&id).map(|open| open.peer.to_bare() == from.to_bare());
        let heard = match said {
            Some(said) => Heard::Word(Message { word: said, pass }, word.content.clone()),
            None if word.word == SENT => Heard::Sent(pass),
            None => return false,
        };
        match known {
            Some(true) => {
                self.inner.passages.tell(id, heard);
            }
            // Another host's business is another host's.
            Some(false) if said == Some(Word::Offer) => {
                self.refuse(from, id, pass, "it is on its way already")
            }
            Some(false) => {}
            None => match said {
                Some(Word::Offer) => self.offered_one(from, id, pass, &word).await,
                Some(said) => self.answer_for(from, id, Message { word: said, pass }).await,
                None => {}
            },
        }
        true
    }

    /// A machine is offered that nobody is busy with.
    async fn offered_one(&self, from: &Jid, id: MachineId, pass: Pass, word: &Handover) {
        let Some(offer) = word.content::<Offer>() else {
            return self.refuse(from, id, pass, "the offer makes no sense");
        };
        let Ok(row) = self.row(id).await else {
            return self.refuse(from, id, pass, "its own state cannot be read");
        };
        let standing = row.map_or(Standing::Away { epoch: 0 }, |row| row.standing);
        let considered = self.consider(id, &offer).await;
        if let Some(reason) = considered.plan.reasons.first() {
            let reasons = considered.plan.reasons.join("; ");
            tracing::info!(%from, machine = %offer.name, reason, "an offer is not taken");
            return self.refuse(from, id, pass, &reasons);
        }
        self.arrive(from, id, standing, pass, offer, considered).await;
    }

    /// What is said about a machine that nobody is busy with: from what is known of it.
    async fn answer_for(&self, from: &Jid, id: MachineId, message: Message) {
        let Ok(row) = self.row(id).await else { return };
        let standing = match (&row, self.inner.machines.get(id).is_some()) {
            (Some(row), _) => row.standing,
            (None, true) => Standing::Owner { epoch: 1 },
            (None, false) => Standing::Away { epoch: 0 },
        };
        for effect in step(standing, Input::Heard(message)).effects {
            // Nobody is busy with it, so there is nothing but words to give.
            if let Effect::Say(answer) = effect {
                let handed = row.as_ref().filter(|_| answer.word == Word::Commit).map(rights::handed);
                self.say_to(from, id, answer, handed.unwrap_or_default());
            }
        }
    }

    fn refuse(&self, to: &Jid, id: MachineId, pass: Pass, why: &str) {
        let refused = Refused { reasons: vec![why.to_owned()] };
        let content = serde_json::to_string(&refused).unwrap_or_default();
        self.say_to(to, id, Message { word: Word::Refuse, pass }, content);
    }

    /// Says a word, without waiting whether it is heard: what matters is said again.
    fn say_to(&self, to: &Jid, id: MachineId, message: Message, content: String) {
        let (agent, to) = (self.clone(), to.clone());
        tokio::spawn(async move {
            let _ = agent.try_say(&to, id, message.word.word(), message.pass, content).await;
        });
    }

    /// Says a word, and waits whether it is heard.
    async fn try_say(
        &self,
        to: &Jid,
        id: MachineId,
        word: &str,
        pass: Pass,
        content: String,
    ) -> Result<(), Unheard> {
        let peers = self.inner.passages.peers().ok_or(Unheard::Lost)?;
        let handover = Handover {
            word: word.to_owned(),
            machine: id.to_string(),
            attempt: pass.attempt.to_string(),
            epoch: pass.epoch,
            content,
        };
        let said = peers.say(to, handover).await;
        tracing::debug!(%to, machine = %id, word, epoch = pass.epoch, ?said, "said to another host");
        said
    }

    /// Ends a hand-over by what a person knows of the other host.
    pub(crate) async fn resolve_move(&self, id: MachineId, keep: bool) -> Resolved {
        let Ok(Some(row)) = self.row(id).await else { return Resolved::NothingToDo };
        let heard = match (row.standing, keep) {
            (Standing::HandedOver { .. }, true) => Heard::Keep,
            (Standing::HandedOver { .. }, false) => Heard::Resolve(Word::Taken),
            (Standing::Received { .. }, true) => Heard::Resolve(Word::Commit),
            (Standing::Received { .. }, false) => Heard::Resolve(Word::Abort),
            _ => return Resolved::NothingToDo,
        };
        let Some(pass) = row.standing.pass() else { return Resolved::NothingToDo };
        // One that can be heard settles it by itself, and better.
        let word =
            if matches!(row.standing, Standing::HandedOver { .. }) { Word::Commit } else { Word::Ready };
        if self.try_say(&row.peer, id, word.word(), pass, String::new()).await.is_ok() {
            return Resolved::AnswersStill(row.peer);
        }
        if !self.inner.passages.tell(id, heard) {
            return Resolved::NothingToDo;
        }
        // What is not settled by then goes on.
        let _ = tokio::time::timeout(RESOLVE_MAX, self.inner.passages.over(id)).await;
        Resolved::Done
    }

    /// What is written down of a machine's hand-overs.
    pub(crate) async fn row(&self, id: MachineId) -> Result<Option<Row>, StoreError> {
        self.inner.store.run(move |connection| journal::find(connection, id)).await
    }
}

/// Which machine and attempt it is about, and the word, if it is one of the hand-over's.
fn taken_apart(handover: &Handover) -> Option<(MachineId, Pass, Option<Word>)> {
    let id = MachineId(handover.machine.parse().ok()?);
    let attempt = Attempt(handover.attempt.parse().ok()?);
    // Below the first epoch that can be passed on nothing makes sense, nor at the end of numbers.
    let epoch = Some(handover.epoch).filter(|epoch| (2..u64::MAX / 2).contains(epoch))?;
    let word = Word::ALL.into_iter().find(|word| word.word() == handover.word);
    Some((id, Pass { attempt, epoch }, word))
}
