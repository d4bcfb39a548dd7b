//! Images that go from host to host. What is said goes over the stream ([`Share`]); the bytes go straight
//! from the host that has the image to the one that takes it, by TLS with keys made for this one share.
//!
//! | the host that has it | the host that takes it |
//! |---|---|
//! | [`sending`] | [`receiving`] |
//! | connects, again when it broke | listens, and says which byte is next |
//! | sends the rest, and the hash of all | hashes what comes, compares, and makes an image of it |
//!
//! Neither keeps anything for a share that ended with its agent: half an image goes with the agent that was
//! taking it, and the other one is told when it asks.

pub(crate) mod receiving;
pub(crate) mod sending;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use skerry_stanzas::payload::{
    Share,
    share::{ASK, Answer, CALL_OFF, OFFER, WANT},
};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt},
    sync::watch,
};
use uuid::Uuid;
use xmpp_parsers::jid::{BareJid, Jid};

use crate::{agent::Agent, migration::Unheard};

/// Shares that go on at once, in both directions.
const SHARES_MAX: usize = 8;
/// Ends that are remembered, for who asks.
const ENDS_MAX: usize = 64;
/// How long a connection, or a part of it, may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long the two may not reach each other before it is given up.
const APART_MAX: Duration = Duration::from_secs(60);
/// How long until it is tried again, or asked after.
const AGAIN: Duration = Duration::from_secs(1);
/// How much is read and written at once.
const PIECE_BYTES: usize = 256 << 10;
/// The longest line about how it goes.
const LINE_BYTES_MAX: u64 = 4096;

/// What the host that takes an image says on the way, a line each.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    /// It has the bytes before this one.
    From(u64),
    /// So many of a hundred are done.
    Percent(u8),
    /// It is over.
    End(Answer),
}

/// A share that goes on.
struct Open {
    peer: BareJid,
    called_off: watch::Sender<bool>,
    /// It goes to its end.
    decided: bool,
}

/// The shares of this host.
#[derive(Default)]
pub(crate) struct Shares {
    open: Mutex<HashMap<Uuid, Open>>,
    ends: Mutex<VecDeque<(Uuid, BareJid, Answer)>>,
}

/// A share that goes on until this is dropped.
pub(crate) struct Going {
    agent: Agent,
    id: Uuid,
    pub(crate) peer: Jid,
    called_off: watch::Receiver<bool>,
}

impl Shares {
    fn open(&self) -> MutexGuard<'_, HashMap<Uuid, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> MutexGuard<'_, VecDeque<(Uuid, BareJid, Answer)>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of one, for the host it is shared with.
    fn standing(&self, id: Uuid, peer: &BareJid) -> Answer {
        if self.open().get(&id).is_some_and(|open| open.peer == *peer) {
            return Answer::GoesOn;
        }
        let ends = self.ends();
        let end = ends.iter().find(|(one, host, _)| *one == id && host == peer);
        end.map_or(Answer::Nothing, |(_, _, answer)| answer.clone())
    }

    fn call_off(&self, id: Uuid, peer: &BareJid) -> Answer {
        if let Some(open) = self.open().get(&id).filter(|open| open.peer == *peer)
            && !open.decided
        {
            open.called_off.send_replace(true);
            return Answer::Failed { why: "it was called off".into() };
        }
        self.standing(id, peer)
    }
}

impl Going {
    /// Notes that one goes on; `None` when there are too many.
    pub(crate) fn begin(agent: &Agent, id: Uuid, peer: &Jid) -> Option<Self> {
        let mut open = agent.inner.shares.open();
        if open.len() >= SHARES_MAX || open.contains_key(&id) {
            return None;
        }
        let (tells, called_off) = watch::channel(false);
        open.insert(id, Open { peer: peer.to_bare(), called_off: tells, decided: false });
        drop(open);
        Some(Self { agent: agent.clone(), id, peer: peer.clone(), called_off })
    }

    /// From now on it goes to its end; false if it was called off just before.
    pub(crate) fn decide(&self) -> bool {
        let mut open = self.agent.inner.shares.open();
        let Some(open) = open.get_mut(&self.id) else { return false };
        open.decided = !*open.called_off.borrow();
        open.decided
    }

    /// Waits until the other host calls it off.
    pub(crate) async fn called_off(&self) {
        let mut called_off = self.called_off.clone();
        if called_off.wait_for(|off| *off).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// It is over so, for who asks.
    pub(crate) fn ended(&self, answer: Answer) {
        let mut ends = self.agent.inner.shares.ends();
        while ends.len() >= ENDS_MAX {
            ends.pop_front();
        }
        ends.push_back((self.id, self.peer.to_bare(), answer));
    }

    /// What the other host knows of it.
    pub(crate) async fn ask(&self) -> Result<Answer, Unheard> {
        self.agent.tell_share(&self.peer, self.id, ASK, &()).await
    }

    /// Calls it off there.
    pub(crate) async fn call_off(&self) -> Result<Answer, Unheard> {
        self.agent.tell_share(&self.peer, self.id, CALL_OFF, &()).await
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.agent.inner.shares.open().remove(&self.id);
    }
}

impl Agent {
    /// Another host says a word about a share. `from` is a host that [`Agent::is_peer`] knows; `None` if it
    /// makes no sense.
    pub async fn share_said(&self, from: &Jid, share: &Share) -> Option<Answer> {
        let id: Uuid = share.id.parse().ok()?;
        Some(match share.word.as_str() {
            OFFER => self.image_offered(from, id, share.content()?).await,
            WANT => self.image_wanted(from, id, share.content()?).await,
            ASK => self.inner.shares.standing(id, &from.to_bare()),
            CALL_OFF => self.inner.shares.call_off(id, &from.to_bare()),
            _ => return None,
        })
    }

    /// Says a word about a share to another host.
    pub(crate) async fn tell_share(
        &self,
        to: &Jid,
        id: Uuid,
        word: &str,
        content: &(impl Serialize + Sync),
    ) -> Result<Answer, Unheard> {
        let peers = self.inner.passages.peers().ok_or(Unheard::Lost)?;
        let content = serde_json::to_string(content).unwrap_or_default();
        let share = Share { word: word.to_owned(), id: id.to_string(), content };
        let answer = peers.share(to, share).await;
        tracing::debug!(%to, share = %id, word, ?answer, "said to another host");
        answer
    }
}

/// One line of what the other host says.
async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> Option<Line> {
    let mut text = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut text).await.ok()?;
    serde_json::from_slice(&text).ok()
}
