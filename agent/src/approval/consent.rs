//! Agreeing, refusing, taking back, and doing without.

use std::sync::Arc;

use chrono::Utc;
use skerry_stanzas::{
    refusal::{Reason, Refusal},
    reply::{RequestLine, measure},
    signature::Signed,
};
use uuid::Uuid;
use xmpp_parsers::jid::BareJid;

use super::{
    Open,
    group::{self, unlike},
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

/// The signature of a consent to these, where there has to be one. What takes signatures is asked for alone.
fn signature_for(all: &[Request], proof: Option<&Proof>) -> Result<Option<Signed>, Refusal> {
    match all {
        [one] if let Some(proof) = proof.filter(|proof| proof.request == Some(one.id)) => {
            Ok(Some(proof.signed.clone()))
        }
        all if !all.iter().any(|one| one.signed) => Ok(None),
        // It was not there yet when a signature was looked for.
        _ => Err(Refusal::new(Reason::Unsigned, "That needs your signature.").hint("Say it again.")),
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

    /// The requests of this code that wait, as far as this person may know of them; at least one. Nothing is
    /// added to them any more.
    fn waiting(&self, person: &BareJid, code: &str) -> Result<Vec<Open>, Refusal> {
        self.inner.approvals.gather_no_more(code);
        let mut all = self.inner.approvals.meant_by(code);
        all.retain(|open| self.may_see_request(person, &open.request));
        let (waiting, others): (Vec<Open>, Vec<Open>) =
            all.into_iter().partition(|open| open.request.stage == Stage::Waiting);
        let now = Utc::now();
        let waiting: Vec<Open> = waiting.into_iter().filter(|open| now < open.request.until).collect();
        match others.first().map(|open| &open.request.stage).filter(|_| waiting.is_empty()) {
            Some(Stage::Begun) => {
                Err(Refusal::new(Reason::Conflict, format!("That is being done already: {code}.")))
            }
            Some(Stage::Over(sentence)) => Err(Refusal::new(Reason::Conflict, sentence.clone())),
            Some(Stage::Waiting) | None if waiting.is_empty() => Err(none(code)),
            Some(Stage::Waiting) | None => Ok(waiting),
        }
    }

    /// Whose consent any of them still needs, in words.
    pub(super) fn missing_of(&self, all: &[Request]) -> Vec<String> {
        unlike(all.iter().flat_map(|request| self.still_missing(request)))
    }

    /// Whether this person may know of a request: theirs, theirs to agree to, or they may see all.
    pub(crate) fn may_see_request(&self, person: &BareJid, request: &Request) -> bool {
        request.is_by(person)
            || self.can_agree_to(person, request)
            || self.sees_all_rights(person)
            || self.can_do_without(person, request)
    }

    /// The code of what the message of this id asked this person about, if it waits; and whether a reaction
    /// is an answer to it.
    pub(crate) fn question_to(&self, person: &BareJid, id: &str) -> Option<(String, bool)> {
        let asks =
            |shown: &Shown| shown.says == Says::Question && shown.id == id && shown.to.to_bare() == *person;
        let asked = |all: &Vec<Request>| all.iter().any(|request| request.messages.iter().any(asks));
        let mut all = self.inner.approvals.groups().into_iter().map(requests).find(asked)?;
        all.retain(|request| request.stage == Stage::Waiting);
        (!all.is_empty()).then(|| (group::code(&all), all.iter().all(|request| request.reactions)))
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
        let waiting: Vec<Request> = requests(self.waiting(person, code)?);
        if waiting.iter().all(|request| request.is_by(person)) {
            return Err(Refusal::new(Reason::NotAllowed, "You asked for it: somebody else has to agree.")
                .hint(format!("\"withdraw {}\" takes it back.", group::code(&waiting))));
        }
        let mut theirs = waiting.clone();
        theirs.retain(|request| self.can_agree_to(person, request));
        if theirs.is_empty() {
            let needs = self.missing_of(&waiting).join(" and ");
            return Err(Refusal::new(Reason::NotAllowed, "You cannot agree to that.")
                .hint(format!("It needs {needs}.")));
        }
        theirs.retain(|request| !request.agreed.iter().any(|agreed| agreed.who == *person));
        if theirs.is_empty() {
            return self.request_line(&waiting, "You agreed to that before.");
        }
        let signature = signature_for(&theirs, proof)?;
        let agreed = Agreed { who: person.clone(), at: Utc::now(), signature };
        let agree = move |request: &mut Request| request.agreed.push(agreed.clone());
        self.store_changes(&theirs, agree).await?;
        let waiting = self.anew(waiting);
        let missing = self.missing_of(&waiting);
        let now = Utc::now();
        let opens = waiting.iter().filter_map(|request| request.opens(now)).filter(|at| *at > now).max();
        let command = group::command(&waiting);
        let sentence = match (missing.as_slice(), opens) {
            ([], None) => format!("You agreed: {command} is carried out."),
            ([], Some(at)) => format!("You agreed: {command} is carried out at {}.", measure::moment(at)),
            (missing, _) => format!("You agreed. {command} still needs {}.", missing.join(" and ")),
        };
        self.request_line(&waiting, &sentence)
    }

    /// A person refuses; one is enough.
    ///
    /// # Errors
    /// There is none of this code that waits for them, or their role does not suffice.
    pub(crate) async fn reject(&self, person: &BareJid, code: &str) -> Result<RequestLine, Refusal> {
        let _one = self.inner.approvals.deciding.lock().await;
        let mut theirs = self.waiting(person, code)?;
        theirs.retain(|open| open.request.is_by(person) || self.can_agree_to(person, &open.request));
        let Some(first) = theirs.first() else {
            return Err(Refusal::new(
                Reason::NotAllowed,
                "You cannot refuse that: it is not yours to agree to.",
            ));
        };
        let did = if first.request.is_by(person) { "Taken back" } else { "Rejected" };
        let sentence = format!("{did} by {person}: nothing was done.");
        for open in &theirs {
            self.end_request(open, Refusal::new(Reason::NotAllowed, sentence.clone())).await?;
        }
        self.request_line(&requests(theirs), &sentence)
    }

    /// Who asked takes it back.
    ///
    /// # Errors
    /// There is none of this code that they asked for.
    pub(crate) async fn withdraw(&self, person: &BareJid, code: &str) -> Result<RequestLine, Refusal> {
        let meant = self.inner.approvals.meant_by(code);
        if !meant.iter().any(|open| open.request.is_by(person)) {
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
        let waiting: Vec<Request> = requests(self.waiting(person, code)?);
        let because = skerry_stanzas::safe::safe_line(because.trim(), 400);
        if because.is_empty() {
            return Err(Refusal::new(Reason::BadRequest, "Why can it not wait?").field("because"));
        }
        if !waiting.iter().all(|request| self.can_do_without(person, request)) {
            return Err(Refusal::new(Reason::NotAllowed, "You cannot do without approval here.")
                .hint("\"policy list\" says who can, if anybody."));
        }
        let signature = signature_for(&waiting, proof)?.map(Box::new);
        let command = group::command(&waiting);
        let asker = waiting.first().map(|request| request.accepted.caller.clone()).unwrap_or_default();
        let text = format!(
            "Emergency: {person} does without approval what {asker} asked for: {command} ({}), because \"{because}\".",
            group::code(&waiting)
        );
        let mut told: Vec<(BareJid, bool)> = Vec::new();
        for request in &waiting {
            let people = self.everybody_of(request).await.into_iter().filter(|one| one != person);
            told.extend(people.map(|one| (one, false)));
            told.extend(request.rooms.iter().cloned().map(|room| (room, true)));
        }
        let says = |(one, in_room)| Shown::new(one, in_room, Says::Emergency(text.clone()));
        let messages: Vec<Shown> = unlike(told).into_iter().map(says).collect();
        let emergency = Emergency { by: person.clone(), because, signature };
        let first = waiting.first().map(|request| request.id);
        let done_without = move |request: &mut Request| {
            request.emergency = Some(emergency.clone());
            if Some(request.id) == first {
                request.messages.extend(messages.iter().cloned());
            }
        };
        self.store_changes(&waiting, done_without).await?;
        let sentence = format!("{command} is carried out without approval. Everybody is told.");
        self.request_line(&self.anew(waiting), &sentence)
    }

    /// The requests as they are by now.
    fn anew(&self, mut all: Vec<Request>) -> Vec<Request> {
        for request in &mut all {
            if let Some(open) = self.inner.approvals.find(&request.code) {
                *request = open.request;
            }
        }
        all
    }

    /// Changes requests, all or none: in the store first, then here.
    pub(super) async fn write_requests(
        &self,
        all: &[Request],
        change: impl Fn(&mut Request) + Send + Sync + 'static,
    ) -> Result<(), Refusal> {
        let entries: Vec<Uuid> = all.iter().map(|request| request.id).collect();
        let change = Arc::new(change);
        let write = Arc::clone(&change);
        let write = move |connection: &_| {
            entries.iter().try_for_each(|entry| rows::change(connection, *entry, &*write).map(drop))
        };
        self.inner.store.run(write).await?;
        for request in all {
            self.inner.approvals.change(&request.code, &*change);
        }
        Ok(())
    }

    /// The same, and there may be something to do then.
    pub(super) async fn store_changes(
        &self,
        all: &[Request],
        change: impl Fn(&mut Request) + Send + Sync + 'static,
    ) -> Result<(), Refusal> {
        self.write_requests(all, change).await?;
        crash::point("approval-stored");
        self.inner.approvals.changed.notify_one();
        Ok(())
    }

    /// As they are shown.
    pub(crate) fn request_line(&self, all: &[Request], sentence: &str) -> Result<RequestLine, Refusal> {
        group::line(all, self.missing_of(all), Utc::now(), sentence.to_owned()).ok_or_else(|| none(""))
    }
}

fn requests(open: Vec<Open>) -> Vec<Request> {
    open.into_iter().map(|open| open.request).collect()
}
