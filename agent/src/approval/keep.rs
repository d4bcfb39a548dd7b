//! The one task that carries out what is approved, ends what waited too long, and tells of both.

use std::sync::Weak;

use chrono::{DateTime, Utc};
use skerry_stanzas::refusal::{Reason, Refusal};
use uuid::Uuid;

use super::{
    Open,
    carry::told_of,
    group,
    request::{Request, Stage},
};
use crate::{
    agent::{Agent, Inner},
    journal,
    store::{StoreError, approvals as rows},
};

/// At most so long is slept before the clock is looked at again: it may have been set.
const LOOK: std::time::Duration = std::time::Duration::from_secs(3600);
/// How long until what could not be done is tried again.
const AGAIN: chrono::TimeDelta = chrono::TimeDelta::seconds(5);

/// Looks after the requests until the agent ends.
pub(crate) async fn keep(inner: Weak<Inner>) {
    loop {
        let Some(agent) = inner.upgrade().map(|inner| Agent { inner }) else { return };
        let changed = std::sync::Arc::clone(&agent.inner.approvals.changed);
        let next = agent.look_after_requests().await;
        drop(agent);
        let wait = next.map_or(LOOK, |next| (next - Utc::now()).to_std().unwrap_or_default()).min(LOOK);
        let _ = tokio::time::timeout(wait, changed.notified()).await;
    }
}

impl Agent {
    /// Takes up the requests and rules there were, once what an earlier life left open is settled.
    pub(crate) async fn take_up_requests(&self) -> Result<(), StoreError> {
        let (requests, kept) = self
            .inner
            .store
            .run(|connection| Ok((rows::all(connection)?, rows::policies(connection)?)))
            .await?;
        self.inner.approvals.change_policies(|policies| policies.kept = kept);
        for mut request in requests {
            if request.stage == Stage::Begun {
                // The journal was settled before: it knows the end.
                let id = request.id;
                let ended = self.inner.store.run(move |connection| journal::ended(connection, id)).await?;
                let sentence = ended.as_ref().map_or_else(|| "How it ended is not known.".into(), told_of);
                request.end(&sentence);
                let end = move |request: &mut Request| request.end(&sentence);
                self.inner.store.run(move |connection| rows::change(connection, id, end)).await?;
            }
            self.inner.approvals.open().insert(request.code.clone(), Open::new(request, None));
        }
        Ok(())
    }

    /// Does what is to be done about each request; when there is something to do next.
    pub(crate) async fn look_after_requests(&self) -> Option<DateTime<Utc>> {
        let _one = self.inner.approvals.deciding.lock().await;
        let mut next: Option<DateTime<Utc>> = None;
        for group in self.inner.approvals.groups() {
            let then = match self.look_after_group(&group).await {
                Ok(then) => then,
                Err(refusal) => {
                    let code = group.first().map(|open| open.request.code.as_str());
                    tracing::warn!(code, %refusal, "a request could not be looked after");
                    Some(Utc::now() + AGAIN)
                }
            };
            next = [next, then].into_iter().flatten().min();
        }
        next
    }

    async fn look_after_group(&self, group: &[Open]) -> Result<Option<DateTime<Utc>>, Refusal> {
        let all: Vec<Request> = group.iter().map(|open| open.request.clone()).collect();
        let code = group::code(&all);
        if let Some(until) = self.inner.approvals.gathered(&code, Utc::now()) {
            return Ok(Some(until));
        }
        // What cannot be sent now is when the link is up again, which is told here.
        self.send_what_is_unsent(&all).await?;
        let is_over = |request: &Request| matches!(request.stage, Stage::Over(_));
        if all.iter().all(is_over) {
            if self.tell_the_end(&all).await {
                let ids: Vec<Uuid> = all.iter().map(|request| request.id).collect();
                let remove =
                    move |connection: &_| ids.iter().try_for_each(|id| rows::remove(connection, *id));
                self.inner.store.run(remove).await?;
                let mut open = self.inner.approvals.open();
                all.iter().for_each(|request| drop(open.remove(&request.code)));
            }
            return Ok(None);
        }
        let mut next: Option<DateTime<Utc>> = None;
        for open in group {
            let then = self.look_after_request(open).await?;
            next = [next, then].into_iter().flatten().min();
        }
        Ok(next)
    }

    async fn look_after_request(&self, open: &Open) -> Result<Option<DateTime<Utc>>, Refusal> {
        let request = &open.request;
        match &request.stage {
            Stage::Begun | Stage::Over(_) => Ok(None),
            Stage::Waiting => {
                let now = Utc::now();
                let approved = request.emergency.is_some() || self.still_missing(request).is_empty();
                if now >= request.until {
                    let why = if approved { "its hours did not come" } else { "not enough agreed" };
                    let text = format!(
                        "The time for {} ({}) is over and {why}: nothing was done.",
                        request.command(),
                        request.code
                    );
                    let refusal = Refusal::new(Reason::Lapsed, text).hint("Ask again, if it is still meant.");
                    self.end_request(open, refusal).await?;
                    return Ok(Some(now));
                }
                if !approved {
                    return Ok(Some(request.until));
                }
                let opens = if request.emergency.is_some() { Some(now) } else { request.opens(now) };
                match opens {
                    Some(at) if at <= now => {
                        let begun = self.begin_request(open).await?;
                        Ok((!begun).then_some(now + AGAIN))
                    }
                    at => Ok(Some(at.unwrap_or(request.until).min(request.until))),
                }
            }
        }
    }
}
