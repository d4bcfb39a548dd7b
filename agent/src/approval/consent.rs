//! Agreeing, refusing, taking back, and doing without.

use std::sync::Arc;

use chrono::Utc;
use skerry_stanzas::{
    refusal::{Reason, Refusal},
    reply::{RequestLine, measure},
    signature::Signed,
};
use xmpp_parsers::jid::BareJid;

use super::{
    Open,
    request::{Agreed, Emergency, Request, Says, Shown, Stage, lacks},
};
use crate::{agent::Agent, crash, rights::Subject, signing::Proof, store::approvals as rows};

/// Nothing of this code that this person has to do with; the same whether there is one or not.
fn none(code: &str) -> Refusal {
    let code = skerry_stanzas::safe::safe_line(code, 20);
    Refusal::new(
        Reason::NotFound,
        format!("No request {code} waits for you: it is over, or is none of yours."),
    )
    .field("code")
    .hint("\"request list\" shows those that wait.")
}

/// The signature of a consent to this request, where there has to be one.
fn signature_for(request: &Request, proof: Option<&Proof>) -> Result<Option<Signed>, Refusal> {
    match proof.filter(|proof| proof.request == Some(request.id)) {
        Some(proof) => Ok(Some(proof.signed.clone())),
        None if !request.signed => Ok(None),
        // It was not there yet when a signature was looked for.
        None => Err(Refusal::new(Reason::Unsigned, "That needs your signature.").hint("Say it again.")),
    }
}

impl Agent {
    /// What a request is about, as it is now.
    pub(crate) fn about<T>(&self, request: &Request, then: impl FnOnce(Subject<'_>) -> T) -> T {
        match request.machine {
            None => then(Subject::Host),
            Some(id) => match self.inner.machines.get(id) {
                Some(machine) => then(Subject::Machine(&machine.record())),
                None => then(Subject::Absent),
            },
        }
    }

    /// Whose consent it still needs, in words.
    pub(crate) fn still_missing(&self, request: &Request) -> Vec<String> {
        if request.emergency.is_some() {
            return Vec::new();
        }
        let (rights, keys, now) = (self.rights(), self.inner.signing.keys(), Utc::now());
        self.about(request, |on| {
            request.missing(&rights, &keys, &on, now).map(|(need, count)| lacks(need, count)).collect()
        })
    }

    /// Whether this person can agree to it.
    pub(crate) fn can_agree_to(&self, person: &BareJid, request: &Request) -> bool {
        let (rights, now) = (self.rights(), Utc::now());
        self.about(request, |on| request.takes(person, &rights, &on, now))
    }

    pub(crate) fn can_do_without(&self, person: &BareJid, request: &Request) -> bool {
        let (rights, now) = (self.rights(), Utc::now());
        let Some(it) = request.declaration() else { return false };
        self.about(request, |on| {
            let has = |role: &String| rights.has_role(person, role, &on, now);
            request.needs.iter().all(|need| need.emergency.as_ref().is_some_and(has))
                && rights.decide(person, it, &on, now).allowed
        })
    }

    /// The request of this code that waits, if this person may know of it.
    fn waiting(&self, person: &BareJid, code: &str) -> Result<Open, Refusal> {
        let open = self.inner.approvals.find(code).ok_or_else(|| none(code))?;
        if !self.may_see_request(person, &open.request) {
            return Err(none(code));
        }
        match &open.request.stage {
            Stage::Waiting if Utc::now() < open.request.until => Ok(open),
            Stage::Waiting => Err(none(code)),
            Stage::Begun => {
                Err(Refusal::new(Reason::Conflict, format!("That is being done already: {code}.")))
            }
            Stage::Over(sentence) => Err(Refusal::new(Reason::Conflict, sentence.clone())),
        }
    }

    /// Whether this person may know of a request: theirs, theirs to agree to, or they may see all.
    pub(crate) fn may_see_request(&self, person: &BareJid, request: &Request) -> bool {
        request.is_by(person)
            || self.can_agree_to(person, request)
            || self.sees_all_rights(person)
            || self.can_do_without(person, request)
    }

    /// The request that the message of this id asked this person about, if it waits.
    pub(crate) fn question_to(&self, person: &BareJid, id: &str) -> Option<Request> {
        let open = self.inner.approvals.open();
        let asks =
            |shown: &Shown| shown.says == Says::Question && shown.id == id && shown.to.to_bare() == *person;
        let mut waiting = open.values().map(|open| &open.request).filter(|it| it.stage == Stage::Waiting);
        waiting.find(|request| request.messages.iter().any(asks)).cloned()
    }

    /// A person agrees.
    ///
    /// # Errors
    /// There is none of this code that waits for them; it is theirs; their role does not suffice.
    pub(crate) async fn agree(
        &self,
        person: &BareJid,
        code: &str,
        proof: Option<&Proof>,
    ) -> Result<RequestLine, Refusal> {
        let _one = self.inner.approvals.deciding.lock().await;
        let open = self.waiting(person, code)?;
        let request = &open.request;
        if request.is_by(person) {
            return Err(Refusal::new(Reason::NotAllowed, "You asked for it: somebody else has to agree.")
                .hint(format!("\"withdraw {}\" takes it back.", request.code)));
        }
        if !self.can_agree_to(person, request) {
            let needs = self.still_missing(request).join(" and ");
            return Err(Refusal::new(Reason::NotAllowed, "You cannot agree to that.")
                .hint(format!("It needs {needs}.")));
        }
        if request.agreed.iter().any(|agreed| agreed.who == *person) {
            return Ok(self.request_line(request, "You agreed to that before."));
        }
        let signature = signature_for(request, proof)?;
        let agreed = Agreed { who: person.clone(), at: Utc::now(), signature };
        let request =
            self.store_change(&request.code, move |request| request.agreed.push(agreed.clone())).await?;
        let missing = self.still_missing(&request);
        let opens = request.opens(Utc::now()).filter(|at| *at > Utc::now());
        let command = request.command();
        let sentence = match (missing.as_slice(), opens) {
            ([], None) => format!("You agreed: {command} is carried out."),
            ([], Some(at)) => format!("You agreed: {command} is carried out at {}.", measure::moment(at)),
            (missing, _) => format!("You agreed. {command} still needs {}.", missing.join(" and ")),
        };
        Ok(self.request_line(&request, &sentence))
    }

    /// A person refuses; one is enough.
    ///
    /// # Errors
    /// There is none of this code that waits for them, or their role does not suffice.
    pub(crate) async fn reject(&self, person: &BareJid, code: &str) -> Result<RequestLine, Refusal> {
        let _one = self.inner.approvals.deciding.lock().await;
        let open = self.waiting(person, code)?;
        if !open.request.is_by(person) && !self.can_agree_to(person, &open.request) {
            return Err(Refusal::new(
                Reason::NotAllowed,
                "You cannot refuse that: it is not yours to agree to.",
            ));
        }
        let did = if open.request.is_by(person) { "Taken back" } else { "Rejected" };
        let sentence = format!("{did} by {person}: nothing was done.");
        let refusal = Refusal::new(Reason::NotAllowed, sentence.clone());
        self.end_request(&open, refusal).await?;
        Ok(self.request_line(&open.request, &sentence))
    }

    /// Who asked takes it back.
    ///
    /// # Errors
    /// There is none of this code that they asked for.
    pub(crate) async fn withdraw(&self, person: &BareJid, code: &str) -> Result<RequestLine, Refusal> {
        let is_theirs = self.inner.approvals.find(code).is_some_and(|open| open.request.is_by(person));
        if !is_theirs {
            return Err(none(code));
        }
        self.reject(person, code).await
    }

    /// Somebody does without consent, in an emergency; everybody concerned is told.
    ///
    /// # Errors
    /// There is none of this code; their role does not suffice; no reason was given.
    pub(crate) async fn break_glass(
        &self,
        person: &BareJid,
        code: &str,
        because: &str,
        proof: Option<&Proof>,
    ) -> Result<RequestLine, Refusal> {
        let _one = self.inner.approvals.deciding.lock().await;
        let open = self.waiting(person, code)?;
        let because = skerry_stanzas::safe::safe_line(because.trim(), 400);
        if because.is_empty() {
            return Err(Refusal::new(Reason::BadRequest, "Why can it not wait?").field("because"));
        }
        if !self.can_do_without(person, &open.request) {
            return Err(Refusal::new(Reason::NotAllowed, "You cannot do without approval here.")
                .hint("\"policy list\" says who can, if anybody."));
        }
        let signature = signature_for(&open.request, proof)?.map(Box::new);
        let command = open.request.command();
        let asker = &open.request.accepted.caller;
        let text = format!(
            "Emergency: {person} does without approval what {asker} asked for: {command} ({}), because \"{because}\".",
            open.request.code
        );
        let everybody = self.everybody_of(&open.request).await;
        let people = everybody.into_iter().filter(|one| one != person).map(|one| (one, false));
        let rooms = open.request.rooms.iter().cloned().map(|room| (room, true));
        let says = |(one, in_room)| Shown::new(one, in_room, Says::Emergency(text.clone()));
        let messages: Vec<Shown> = people.chain(rooms).map(says).collect();
        let emergency = Emergency { by: person.clone(), because, signature };
        let done_without = move |request: &mut Request| {
            request.emergency = Some(emergency.clone());
            request.messages.extend(messages.iter().cloned());
        };
        let request = self.store_change(&open.request.code, done_without).await?;
        Ok(self.request_line(
            &request,
            &format!("{command} is carried out without approval. Everybody is told."),
        ))
    }

    /// Changes a request: in the store first, then here.
    pub(super) async fn write_request(
        &self,
        code: &str,
        change: impl Fn(&mut Request) + Send + Sync + 'static,
    ) -> Result<Request, Refusal> {
        let id = self.inner.approvals.find(code).ok_or_else(|| none(code))?.request.id;
        let change = Arc::new(change);
        let write = Arc::clone(&change);
        let is_there = self.inner.store.run(move |connection| rows::change(connection, id, &*write)).await?;
        let changed = self.inner.approvals.change(code, &*change).filter(|_| is_there);
        changed.ok_or_else(|| none(code))
    }

    /// The same, and there may be something to do then.
    pub(super) async fn store_change(
        &self,
        code: &str,
        change: impl Fn(&mut Request) + Send + Sync + 'static,
    ) -> Result<Request, Refusal> {
        let request = self.write_request(code, change).await?;
        crash::point("approval-stored");
        self.inner.approvals.changed.notify_one();
        Ok(request)
    }

    pub(crate) fn request_line(&self, request: &Request, sentence: &str) -> RequestLine {
        request.line(self.still_missing(request), Utc::now(), sentence.to_owned())
    }
}
