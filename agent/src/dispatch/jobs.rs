//! What is under way: every accepted command until it has ended, with a code people can type, how far
//! it is, and, while it can be undone, the way to call it off.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use skerry_stanzas::{
    command::{Declaration, Effect},
    refusal::{Reason, Refusal},
    reply::JobLine,
};
use tokio::sync::watch;
use uuid::Uuid;
use xmpp_parsers::jid::BareJid;

use super::notes::Notes;
use crate::confirm;

/// What is known of one that is under way.
pub(crate) struct Going {
    /// For people; unique among what is under way. Empty for what only looks, which is in no list.
    pub(crate) code: String,
    /// Its number in the journal.
    pub(crate) id: Uuid,
    /// What was asked, as people say it.
    pub(crate) what: String,
    /// The machine it is about.
    pub(crate) machine: Option<String>,
    /// Who asked.
    pub(crate) by: BareJid,
    started_at: DateTime<Utc>,
    said: watch::Sender<Said>,
    called_off: watch::Sender<Option<BareJid>>,
    ended: watch::Sender<bool>,
    /// What it left for an agent that comes after this one.
    pub(super) notes: Notes,
}

/// How it goes.
#[derive(Clone, Default)]
struct Said {
    sentence: String,
    percent: Option<u8>,
    can_be_cancelled: bool,
}

/// All that is under way, by code. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Jobs(Arc<Mutex<BTreeMap<String, Arc<Going>>>>);

/// The entry of one of them: gone when dropped.
pub(crate) struct Listed {
    jobs: Jobs,
    going: Arc<Going>,
}

impl Going {
    /// Keeps what was said last.
    pub(crate) fn say(&self, sentence: &str) {
        self.said.send_modify(|said| sentence.clone_into(&mut said.sentence));
    }

    /// Keeps how far it is, with the sentence for it; whether that is news.
    pub(crate) fn reach(&self, percent: u8, sentence: &str) -> bool {
        self.said.send_if_modified(|said| {
            let news = said.percent.replace(percent) != Some(percent);
            if news {
                sentence.clone_into(&mut said.sentence);
            }
            news
        })
    }

    /// What was said last, and how far it is, when it says so.
    pub(crate) fn told(&self) -> (String, Option<u8>) {
        let said = self.said.borrow();
        (said.sentence.clone(), said.percent)
    }

    /// Waits until it says that it is farther than `percent`.
    pub(crate) async fn farther(&self, percent: Option<u8>) {
        let mut said = self.said.subscribe();
        // The other end is in here, and so there.
        let _ = said.wait_for(|said| said.percent != percent).await;
    }

    /// Whether it is over.
    pub(crate) fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    /// In a list.
    pub(crate) fn line(&self) -> JobLine {
        let said = self.said.borrow().clone();
        JobLine {
            id: self.code.clone(),
            what: self.what.clone(),
            machine: self.machine.clone(),
            by: self.by.to_string(),
            started_at: self.started_at,
            percent: said.percent,
            sentence: said.sentence,
            can_be_cancelled: said.can_be_cancelled,
        }
    }

    /// Asks it to stop.
    ///
    /// # Errors
    /// It cannot be undone any more, or never could.
    pub(crate) fn call_off(&self, by: &BareJid) -> Result<(), Refusal> {
        // Held: until it is told, it does not pass the point of no return.
        let said = self.said.borrow();
        if !said.can_be_cancelled {
            let text = format!("\"{}\" ({}) cannot be cancelled now.", self.what, self.code);
            return Err(Refusal::new(Reason::Conflict, text).hint("It ends by itself."));
        }
        self.called_off.send_replace(Some(by.clone()));
        Ok(())
    }

    /// Does work that leaves nothing when it is dropped. If it is called off meanwhile, that is the
    /// refusal; once this has answered with the outcome, it cannot be called off any more.
    pub(crate) async fn unless_called_off<T>(
        &self,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        self.said.send_modify(|said| said.can_be_cancelled = true);
        let mut called_off = self.called_off.subscribe();
        let outcome = tokio::select! {
            Ok(by) = called_off.wait_for(Option::is_some) => Err(by.clone()),
            outcome = work => Ok(outcome),
        };
        self.said.send_modify(|said| said.can_be_cancelled = false);
        let by = match outcome {
            Err(by) => by,
            Ok(outcome) => match called_off.borrow().clone() {
                Some(by) => Some(by),
                None => return outcome,
            },
        };
        let by = by.map_or_else(String::new, |by| format!(" by {by}"));
        Err(Refusal::new(Reason::Conflict, format!("\"{}\" was cancelled{by}: nothing was done.", self.what)))
    }
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Going>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be known of a new one. It is not in the list yet.
    pub(crate) fn begin(
        &self,
        id: Uuid,
        declaration: &Declaration,
        machine: Option<String>,
        by: BareJid,
    ) -> Going {
        let code = match declaration.effect {
            Effect::Read => String::new(),
            Effect::Change | Effect::Destroy => {
                let known = self.lock();
                confirm::fresh_code(|code| known.contains_key(code))
            }
        };
        Going {
            code,
            id,
            what: declaration.spoken(),
            machine,
            by,
            started_at: Utc::now(),
            said: watch::Sender::default(),
            called_off: watch::Sender::new(None),
            ended: watch::Sender::new(false),
            notes: Notes::default(),
        }
    }

    /// Puts it into the list, for as long as the answer is kept.
    pub(crate) fn list(&self, going: Arc<Going>) -> Listed {
        self.lock().insert(going.code.clone(), Arc::clone(&going));
        Listed { jobs: self.clone(), going }
    }

    /// Everything under way, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Going>> {
        let mut all: Vec<Arc<Going>> = self.lock().values().cloned().collect();
        all.sort_by_key(|going| going.id);
        all
    }

    /// One of them.
    pub(crate) fn find(&self, code: &str) -> Option<Arc<Going>> {
        self.lock().get(&code.trim().to_lowercase()).cloned()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut list = self.jobs.lock();
        if list.get(&self.going.code).is_some_and(|listed| listed.id == self.going.id) {
            list.remove(&self.going.code);
        }
        self.going.ended.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use skerry_stanzas::command::COMMANDS;
    use tokio::sync::oneshot;

    use super::*;

    fn ann() -> BareJid {
        BareJid::new("ann@example.org").unwrap()
    }

    fn begun(jobs: &Jobs) -> Arc<Going> {
        let create = COMMANDS.iter().find(|declaration| declaration.verb == "create").unwrap();
        Arc::new(jobs.begin(Uuid::now_v7(), create, None, ann()))
    }

    #[test]
    fn what_is_under_way_is_listed_until_it_is_over() {
        let jobs = Jobs::default();
        let going = begun(&jobs);
        let listed = jobs.list(Arc::clone(&going));
        assert_eq!(jobs.all().len(), 1);
        assert!(going.reach(45, "45 %") && !going.reach(45, ""), "the same percent is no news");
        let line = jobs.find(&format!(" {} ", going.code.to_uppercase())).unwrap().line();
        assert_eq!((line.percent, line.sentence.as_str(), line.can_be_cancelled), (Some(45), "45 %", false));
        let ended = going.ended();
        drop(listed);
        assert!(jobs.all().is_empty() && *ended.borrow());
    }

    #[tokio::test]
    async fn work_that_is_called_off_is_dropped() {
        let jobs = Jobs::default();
        let going = begun(&jobs);
        assert_eq!(going.call_off(&ann()).unwrap_err().reason, Reason::Conflict, "nothing to undo yet");
        let (held, dropped) = oneshot::channel::<()>();
        let (at_work, works) = oneshot::channel::<()>();
        let work = async move {
            at_work.send(()).unwrap();
            let _held = held;
            std::future::pending::<Result<(), Refusal>>().await
        };
        let calling = async {
            works.await.unwrap();
            going.call_off(&ann()).unwrap();
        };
        let (refused, ()) = tokio::join!(going.unless_called_off(work), calling);
        assert!(refused.unwrap_err().text.contains("cancelled by ann@example.org"));
        assert!(dropped.await.is_err(), "what the work held is gone");
        assert!(going.call_off(&ann()).is_err(), "once is enough");
    }

    #[tokio::test]
    async fn work_that_is_done_cannot_be_called_off() {
        let jobs = Jobs::default();
        let going = begun(&jobs);
        assert_eq!(going.unless_called_off(async { Ok(7) }).await.unwrap(), 7);
        assert!(going.call_off(&ann()).is_err());
    }
}
