//! From a command to a request, and from an approved request to the command.

use std::time::Duration;

use chrono::Utc;
use hypervisor_core::machine::MachineId;
use skerry_stanzas::{
    command::{
        Effect,
        argument::{BECAUSE, Takes},
    },
    refusal::{Reason, Refusal},
    reply::{REQUEST, UNDER_WAY, measure},
    safe::safe_line,
};
use xmpp_parsers::jid::Jid;

use super::{
    ALL_MAX, Open, PER_PERSON_MAX, group,
    policy::Policy,
    request::{Need, Request, Says, Shown, Stage, hash, lacks},
};
use crate::{
    agent::Agent,
    asked::{Answer, Asked, Target},
    crash,
    dispatch::{Job, Ready},
    journal::{self, Accepted, Outcome},
    store::{StoreError, approvals as rows, events::Happening},
};

/// The longest words of a command that are kept for later, in bytes.
const WORDS_BYTES_MAX: usize = 128 * 1024;
/// So much of what was given is shown to those who are asked; the hash stands for all of it.
const EFFECT_CHARS_MAX: usize = 1500;
const ENDED_ELSEWHERE: &str = "That request is over.";

impl Agent {
    /// A request in place of the command: written down, then shown to who can agree.
    ///
    /// # Errors
    /// Too many wait; nobody could agree; it may not be done before it would end.
    pub(crate) async fn put_request(
        &self,
        asked: &Asked,
        job: &Job,
        accepted: Accepted,
        ready: &dyn Ready,
        policies: Vec<Policy>,
    ) -> Result<Answer, Refusal> {
        let _one = self.inner.approvals.deciding.lock().await;
        if let Some(open) = self.asked_before(&accepted) {
            return Ok(self.waits_together(&open.request));
        }
        let machine = job.machine().ok().map(|machine| machine.card.id);
        let mut request = self.draw_up(asked, job, accepted, machine, policies)?;
        request.effect = self.effect_of(asked, job, ready);
        let words = (!asked.declaration.has_secret()).then(|| asked.argv.clone());
        if words.as_ref().is_some_and(|words| words.iter().map(String::len).sum::<usize>() > WORDS_BYTES_MAX)
        {
            return Err(Refusal::new(Reason::Limit, "That is too long to wait for approval."));
        }
        request.words = words;
        request.messages = self.to_be_asked(&request).await?;
        let stored = request.clone();
        self.inner
            .store
            .run(move |connection| {
                journal::ask(connection, stored.id, &stored.accepted)?;
                rows::insert(connection, &stored)
            })
            .await?;
        crash::point("request-stored");
        self.inner.audit.written();
        let secret = request.words.is_none().then(|| asked.argv.clone());
        self.inner.approvals.open().insert(request.code.clone(), Open::new(request.clone(), secret));
        self.inner.approvals.changed.notify_one();
        let sentence = format!("{} asks for approval of {} ({}).", job.by(), request.command(), request.code);
        self.note_request("host.approval-asked", &request, sentence).await;
        Ok(self.waits_together(&request))
    }

    fn draw_up(
        &self,
        asked: &Asked,
        job: &Job,
        accepted: Accepted,
        machine: Option<MachineId>,
        policies: Vec<Policy>,
    ) -> Result<Request, Refusal> {
        let person = asked.person();
        let groups = self.inner.approvals.groups();
        let theirs = groups.iter().filter(|all| all.iter().any(|one| one.request.is_by(&person))).count();
        if groups.iter().map(Vec::len).sum::<usize>() >= ALL_MAX || theirs >= PER_PERSON_MAX {
            return Err(Refusal::new(Reason::Limit, "Too many requests wait for approval.")
                .hint("\"request list\" shows them; \"withdraw CODE\" takes one of yours back."));
        }
        // A signature is of one command: so each is asked for by itself.
        let signed = policies.iter().any(|policy| policy.signed);
        let together = asked.together.as_ref().filter(|_| !signed);
        let code = self.inner.approvals.fresh_code(&person, together);
        let now = Utc::now();
        let within = policies.iter().map(|policy| policy.within).min().unwrap_or_default();
        let need = |policy: &Policy| Need {
            policy: policy.name.clone(),
            count: policy.need,
            from: policy.from.clone(),
            emergency: policy.emergency.clone(),
        };
        let request = Request {
            id: job.id,
            code,
            hash: hash(&accepted.permission, machine, &accepted.args),
            accepted,
            machine,
            words: None,
            effect: String::new(),
            needs: policies.iter().filter(|policy| policy.makes_wait()).map(need).collect(),
            during: policies.iter().filter_map(|policy| policy.during.clone()).collect(),
            reactions: policies.iter().all(|policy| policy.reactions),
            signed: policies.iter().any(|policy| policy.signed),
            rooms: policies.iter().filter_map(|policy| policy.room.clone()).collect(),
            at: now,
            until: now + within,
            agreed: Vec::new(),
            emergency: None,
            messages: Vec::new(),
            stage: Stage::Waiting,
        };
        if let Some(hours) = request.hours_missed(now)
            && request.needs.iter().any(|need| need.emergency.is_none())
        {
            return Err(Refusal::new(
                Reason::Conflict,
                format!(
                    "That may be done {}, and a request waits no longer than {}.",
                    hours,
                    measure::duration(within.as_secs())
                ),
            )
            .hint("Ask again nearer to the time."));
        }
        Ok(request)
    }

    /// What exactly will be done, in a sentence; with the words that were given, but for secrets.
    fn effect_of(&self, asked: &Asked, job: &Job, ready: &dyn Ready) -> String {
        let declaration = asked.declaration;
        let secret = |word: &&String| {
            let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
            let known = declaration.arguments().iter().find(|argument| argument.name == name);
            known.is_some_and(|argument| argument.takes == Takes::Secret)
        };
        let reason = asked.because().map(|why| format!("--{BECAUSE}={why}"));
        let given = asked.argv.iter().filter(|word| !secret(word) && Some(*word) != reason.as_ref());
        let given: Vec<&str> = given.map(|word| word.trim_start_matches("--")).collect();
        let what = match declaration.effect {
            Effect::Destroy => ready.warning(self, job),
            Effect::Read | Effect::Change => format!("{}.", declaration.about()),
        };
        match given.is_empty() {
            true => what,
            false => format!("{what} ({})", safe_line(&given.join(", "), EFFECT_CHARS_MAX)),
        }
    }

    /// The messages to those who can agree.
    async fn to_be_asked(&self, request: &Request) -> Result<Vec<Shown>, Refusal> {
        let (rights, now) = (self.rights(), Utc::now());
        for need in &request.needs {
            let (mut people, others) = self.about(request, |on| rights.with_role(&need.from, &on, now));
            people.retain(|person| !request.is_by(person));
            if !others && people.len() < usize::from(need.count) {
                let text = format!(
                    "That needs the consent of {}, and there are not so many besides you.",
                    lacks(need, need.count)
                );
                return Err(Refusal::new(Reason::NotAllowed, text)
                    .hint(format!("An admin can grant the role, or change the policy {}.", need.policy)));
            }
        }
        let people = self.everybody_of(request).await;
        let to_ask = people.into_iter().filter(|person| !request.is_by(person));
        let to_ask = to_ask.map(|person| Shown::new(person, false, Says::Question));
        let rooms = request.rooms.iter().map(|room| Shown::new(room.clone(), true, Says::Question));
        // Who is asked about another of them is asked about this one by the same message.
        let others = self.inner.approvals.meant_by(group::group_of(&request.code));
        let asked: Vec<&Shown> = others.iter().flat_map(|open| &open.request.messages).collect();
        let is_new = |one: &Shown| !asked.iter().any(|it| it.to == one.to && it.in_room == one.in_room);
        Ok(to_ask.chain(rooms).filter(is_new).collect())
    }

    /// A request that waits already, of the same words of the same person.
    pub(crate) fn asked_before(&self, accepted: &Accepted) -> Option<Open> {
        let open = self.inner.approvals.open();
        let same = |one: &&Open| {
            let request = &one.request.accepted;
            let by = |text: &str| Jid::new(text).ok().map(|jid| jid.to_bare());
            one.request.stage == Stage::Waiting
                && request.permission == accepted.permission
                && request.name == accepted.name
                && request.args == accepted.args
                && by(&request.caller) == by(&accepted.caller)
        };
        open.values().find(same).cloned()
    }

    /// What is answered to who asks the same again: at once that it waits, but a repetition with the same key
    /// waits for the end, as long as its asker does.
    pub(crate) async fn wait_for_request(
        &self,
        open: Open,
        key: Option<&String>,
        patience: Duration,
    ) -> Answer {
        if key.is_none() || key != open.request.accepted.key.as_ref() {
            return self.waits_together(&open.request);
        }
        let mut outcome = open.outcome.subscribe();
        // The other end goes with the request.
        drop(open.outcome);
        let ended = tokio::time::timeout(patience, outcome.wait_for(Option::is_some)).await;
        match ended {
            Ok(Ok(outcome)) => outcome.clone().map_or_else(|| over(ENDED_ELSEWHERE), Outcome::answer),
            Ok(Err(_)) => over(ENDED_ELSEWHERE),
            Err(_) => {
                let now = self.inner.approvals.find(&open.request.code);
                let request = now.map_or(open.request, |open| open.request);
                self.waits_together(&request)
            }
        }
    }

    /// The answer to who asked for what a code stands for; none if that waits no more.
    pub(crate) fn waits_by_code(&self, code: &str) -> Option<String> {
        match self.waits_together(&self.inner.approvals.meant_by(code).first()?.request) {
            Answer::Done { text, .. } => Some(text),
            Answer::Refused(_) | Answer::Confirm(_) => None,
        }
    }

    /// The answer to who asked: it waits, with those it belongs to.
    fn waits_together(&self, request: &Request) -> Answer {
        let meant = self.inner.approvals.meant_by(group::group_of(&request.code));
        let mut all: Vec<Request> = meant.into_iter().map(|open| open.request).collect();
        all.retain(|request| request.stage == Stage::Waiting);
        if all.is_empty() {
            all.push(request.clone());
        }
        waits(&all, &self.missing_of(&all))
    }

    /// Ends a request without doing it: the journal has it as refused.
    ///
    /// # Errors
    /// When that cannot be stored: it goes on waiting.
    pub(super) async fn end_request(&self, open: &Open, refusal: Refusal) -> Result<(), Refusal> {
        let (request, outcome) = (&open.request, Outcome::Refused(refusal));
        let (id, accepted, closed) = (request.id, request.accepted.clone(), outcome.clone());
        self.inner
            .store
            .run(move |connection| {
                journal::accept(connection, id, &accepted)?;
                journal::close(connection, id, &closed)?;
                close(connection, id, &closed)
            })
            .await?;
        crash::point("request-ended");
        self.inner.audit.written();
        self.request_is_over(&request.code, outcome).await;
        Ok(())
    }

    /// What became of a request is known and stored: tells who waits, and lets the rest be told.
    pub(crate) async fn request_is_over(&self, code: &str, outcome: Outcome) {
        let sentence = told_of(&outcome);
        let known = self.inner.approvals.change(code, |request| request.end(&sentence));
        if let Some(open) = self.inner.approvals.open().get_mut(code) {
            open.words = None;
            open.outcome.send_replace(Some(outcome));
        }
        self.inner.approvals.changed.notify_one();
        if let Some(request) = known {
            let sentence = format!("{} ({code}): {sentence}", request.command());
            self.note_request("host.approval-ended", &request, sentence).await;
        }
    }

    async fn note_request(&self, what: &'static str, request: &Request, sentence: String) {
        let happening = Happening {
            what,
            machine: request.accepted.name.clone(),
            by: Some(request.accepted.caller.clone()),
            sentence,
            ..Happening::default()
        };
        if let Err(error) = self.inner.publisher.note(happening).await {
            tracing::warn!(%error, "what became of a request could not be noted");
        }
    }

    /// Writes down that a request is carried out from now on: from here it is the journal's.
    ///
    /// # Errors
    /// When that cannot be stored.
    pub(crate) async fn begin_approved(&self, request: &Request, accepted: Accepted) -> Result<(), Refusal> {
        let id = request.id;
        self.inner
            .store
            .run(move |connection| {
                journal::accept(connection, id, &accepted)?;
                rows::change(connection, id, |request| request.stage = Stage::Begun).map(drop)
            })
            .await?;
        crash::point("approval-begun");
        self.inner.audit.written();
        self.inner.approvals.change(&request.code, |request| request.stage = Stage::Begun);
        Ok(())
    }

    /// Carries an approved request out, if that is still right: the asker may, the machine is there, the
    /// command is the one that was agreed to. True when it has begun or ended; false to try again later.
    ///
    /// # Errors
    /// When the store cannot take it.
    pub(super) async fn begin_request(&self, open: &Open) -> Result<bool, Refusal> {
        let request = &open.request;
        let words = request.words.as_ref().or(open.words.as_ref());
        let (Some(caller), Some(declaration), Some(words)) = (request.caller(), request.declaration(), words)
        else {
            let text = "The agent was started anew, and keeps no secret for so long: ask again.";
            return self.end_request(open, Refusal::new(Reason::Lapsed, text)).await.map(|()| true);
        };
        let target = match request.machine.map(|id| self.inner.machines.get(id)) {
            None => Target::Host,
            Some(Some(machine)) => Target::Machine(machine.record().name.clone()),
            Some(None) => {
                let text = format!("The machine of {} is gone: nothing was done.", request.command());
                return self.end_request(open, Refusal::new(Reason::NotFound, text)).await.map(|()| true);
            }
        };
        let asked = Asked {
            caller,
            target,
            declaration,
            argv: words.clone(),
            door: request.accepted.door,
            key: request.accepted.key.clone(),
            patience: Duration::ZERO,
            hops: request.hops(),
            together: None,
            signature: None,
        };
        match self.carry_out_approved(asked, request).await {
            Ok(begun) => Ok(begun),
            // All are told, and it was them who may.
            Err(refusal) if refusal.reason == Reason::NotAllowed => {
                let who = request.person().map(|person| person.to_string()).unwrap_or_default();
                let refusal =
                    Refusal { text: format!("{who} may not do that any more: nothing was done."), ..refusal };
                self.end_request(open, refusal).await.map(|()| true)
            }
            Err(refusal) => self.end_request(open, refusal).await.map(|()| true),
        }
    }
}

/// Writes down that a request is over, together with its end in the journal.
pub(crate) fn close(
    connection: &rusqlite::Connection,
    entry: uuid::Uuid,
    outcome: &Outcome,
) -> Result<(), StoreError> {
    let sentence = told_of(outcome);
    rows::change(connection, entry, |request| request.end(&sentence)).map(drop)
}

/// What all are told of an end. What the command answered is for who asked alone: they may see it, and others
/// perhaps not.
pub(crate) fn told_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { .. } => "It is done.".to_owned(),
        Outcome::Refused(refusal) => refusal.text.clone(),
        Outcome::Unknown { text } => text.clone(),
    }
}

fn over(text: &str) -> Answer {
    Answer::Refused(Refusal::new(Reason::Lapsed, text).hint("\"log\" shows what became of it."))
}

/// The answer to who asked: they wait.
fn waits(all: &[Request], missing: &[String]) -> Answer {
    let (code, command) = (group::code(all), group::command(all));
    let until = all.iter().min_by_key(|one| one.until).map(Request::time_left).unwrap_or_default();
    let messages = all.iter().flat_map(|one| &one.messages);
    let asked =
        messages.filter(|shown| shown.says == Says::Question).map(|shown| shown.to.to_bare().to_string());
    let asked = group::unlike(asked);
    let asked = match asked.as_slice() {
        [] => format!("Tell somebody who has it to say: approve {code}"),
        people => format!("I asked {}", people.join(", ")),
    };
    let hours = all.iter().find_map(|one| one.hours_missed(Utc::now()));
    let signed = if all.iter().any(|one| one.signed) { ", signed" } else { "" };
    let needs = match (missing, hours) {
        (_, Some(hours)) => {
            format!("may be done {hours} only, or in an emergency (break glass {code} because …)")
        }
        ([], None) => "is approved, and waits for its time".to_owned(),
        (missing, None) => format!("needs the consent of {}{signed}", missing.join(" and ")),
    };
    let sentence = format!("{command} {needs} ({code}). {asked}; it waits for {until}.");
    let json = serde_json::json!({ "sentence": sentence, UNDER_WAY: true, REQUEST: code });
    Answer::Done { text: sentence, json }
}
