//! Ad-hoc sessions (XEP-0050 §3.1): each is of one person, has a deadline, and there are only so many.
//!
//! A finished one is kept until its deadline with its answer, so that a request repeated after a break
//! gets the same answer and does nothing twice.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use skerry_stanzas::adhoc::{AdhocCommand, Condition};
use tokio::time::Instant;
use xmpp_parsers::{data_forms::DataForm, jid::BareJid};

use super::{adhoc::Place, lock, stanza::fresh_id};
use crate::asked::Target;

/// How long a person may think.
pub(crate) const DEADLINE: Duration = Duration::from_secs(600);
/// The most sessions of one person: of more the oldest goes, as clients forget to cancel.
pub(crate) const PERSON_MAX: usize = 16;
/// The most sessions.
pub(crate) const EVERYBODY_MAX: usize = 4096;

/// How far a session is.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// The machine is to be chosen.
    Choose,
    /// The arguments are to be filled in: those of this step, counted from 0.
    Fill(usize),
    /// It is to be confirmed, under this code.
    Confirm(String),
    /// It is over, and this was the answer.
    Over(Box<AdhocCommand>),
}

/// One session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Its id, which nobody can guess.
    pub(crate) id: String,
    /// The node it was begun at.
    pub(crate) node: String,
    /// Which command, and where.
    pub(crate) place: Place,
    /// On what.
    pub(crate) target: Option<Target>,
    /// How far it is.
    pub(crate) stage: Stage,
    /// What was given so far, in all steps.
    pub(crate) filled: Option<DataForm>,
    /// How often it was tried: a corrected form is another request.
    pub(crate) tries: u32,
    /// Whether the result form is not wanted.
    pub(crate) json_only: bool,
    /// Whose.
    pub(crate) owner: BareJid,
    deadline: Instant,
}

impl Session {
    /// A new one.
    pub(crate) fn new(owner: BareJid, node: String, place: Place) -> Self {
        let target = place.target();
        Self {
            id: fresh_id(),
            node,
            place,
            target,
            stage: Stage::Choose,
            filled: None,
            tries: 0,
            json_only: false,
            owner,
            deadline: Instant::now() + DEADLINE,
        }
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Session>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        lock(&self.0)
    }

    /// The session of this id, of this person, at this node.
    pub(crate) fn find(&self, id: &str, owner: &BareJid, node: &str) -> Result<Session, Condition> {
        let sessions = self.lock();
        let session = sessions.get(id).filter(|session| session.owner == *owner && session.node == node);
        let session = session.ok_or(Condition::BadSessionid)?;
        match session.deadline > Instant::now() {
            true => Ok(session.clone()),
            false => Err(Condition::SessionExpired),
        }
    }

    /// Keeps a session, with a new deadline. False when there are too many.
    pub(crate) fn keep(&self, mut session: Session) -> bool {
        let mut sessions = self.lock();
        session.deadline = Instant::now() + DEADLINE;
        if !sessions.contains_key(&session.id) {
            if sessions.len() >= EVERYBODY_MAX {
                forget_expired(&mut sessions, Duration::ZERO);
            }
            if sessions.len() >= EVERYBODY_MAX {
                return false;
            }
            let own = sessions.values().filter(|known| known.owner == session.owner);
            let mut own: Vec<(Instant, String)> =
                own.map(|known| (known.deadline, known.id.clone())).collect();
            own.sort();
            let over = (own.len() + 1).saturating_sub(PERSON_MAX);
            for (_, oldest) in own.into_iter().take(over) {
                sessions.remove(&oldest);
            }
        }
        sessions.insert(session.id.clone(), session);
        true
    }

    /// Whether there is a session of this id.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// Ends a session.
    pub(crate) fn end(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Forgets those long expired. For a while they are kept, to be able to say so.
    pub(crate) fn sweep(&self) {
        forget_expired(&mut self.lock(), DEADLINE);
    }
}

fn forget_expired(sessions: &mut HashMap<String, Session>, grace: Duration) {
    let now = Instant::now();
    sessions.retain(|_, session| session.deadline + grace > now);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn session(owner: &str) -> Session {
        let place = Place::find("list", &Target::Host).unwrap();
        Session::new(owner.parse().unwrap(), "list".into(), place)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_its_owners_until_its_deadline() {
        let sessions = Sessions::default();
        let (ann, bob) = ("ann@x.org".parse().unwrap(), "bob@x.org".parse().unwrap());
        let session = session("ann@x.org");
        let id = session.id.clone();
        assert!(sessions.keep(session));
        assert!(sessions.find(&id, &ann, "list").is_ok());
        assert_eq!(sessions.find(&id, &bob, "list").unwrap_err(), Condition::BadSessionid);
        assert_eq!(sessions.find(&id, &ann, "create").unwrap_err(), Condition::BadSessionid);
        assert_eq!(sessions.find("guess", &ann, "list").unwrap_err(), Condition::BadSessionid);
        tokio::time::advance(DEADLINE).await;
        sessions.sweep();
        assert_eq!(sessions.find(&id, &ann, "list").unwrap_err(), Condition::SessionExpired);
        tokio::time::advance(DEADLINE).await;
        sessions.sweep();
        assert_eq!(sessions.find(&id, &ann, "list").unwrap_err(), Condition::BadSessionid);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_only_so_many() {
        let sessions = Sessions::default();
        let first = session("ann@x.org");
        let first_id = first.id.clone();
        sessions.keep(first);
        for _ in 0..PERSON_MAX {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(sessions.keep(session("ann@x.org")));
        }
        assert_eq!(sessions.lock().len(), PERSON_MAX);
        assert!(!sessions.lock().contains_key(&first_id), "the oldest went");
        for n in PERSON_MAX..EVERYBODY_MAX {
            assert!(sessions.keep(session(&format!("u{n}@x.org"))));
        }
        assert!(!sessions.keep(session("one@more.org")));
    }
}
