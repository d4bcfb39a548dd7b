//! Ad-hoc commands (XEP-0050): the declared commands as nodes with forms.
//!
//! A command goes through as many of these stages as it needs: choose the machine, fill in the
//! arguments (in several steps where there are many), confirm. A form sent with the very first request is
//! taken as it is: bots need one stanza, and two where something is destroyed.

mod definition;
pub(super) mod place;
mod stages;
mod steps;

use std::{sync::Arc, time::Duration};

use hypervisor_core::machine::MachineName;
use minidom::Element;
use skerry_stanzas::{
    adhoc::{Action, AdhocCommand, Condition, Note, NoteKind, Status},
    form,
    payload::{Definition, Together},
    refusal::{Reason, Refusal},
    reply::UNDER_WAY,
    signature::Signature,
    styling,
};
use xmpp_parsers::{
    data_forms::{DataForm, DataFormType},
    jid::BareJid,
};

pub(crate) use place::Place;

use super::{
    Face,
    session::{Session, Stage},
    stanza::{Fault, Inquiry},
};
use crate::{
    asked::{Answer, Asked, Door, Target},
    hop,
};

/// How long an answer may take before it says that the work goes on.
const PATIENCE: Duration = Duration::from_secs(15);

impl From<Condition> for Fault {
    fn from(condition: Condition) -> Self {
        Fault::whole(condition.to_element())
    }
}

/// What a request leads to: a whole answer, or a fault.
type Step = Result<AdhocCommand, Fault>;

impl Face {
    /// Answers a `<command/>`.
    pub(crate) async fn command(self: &Arc<Self>, inquiry: &Inquiry) -> Result<Element, Fault> {
        let request = AdhocCommand::parse(&inquiry.payload)?;
        let form = request.form.clone().filter(|form| form.type_ != DataFormType::Cancel);
        let answer = match &request.sessionid {
            None => self.begin(inquiry, &request, form).await?,
            Some(id) => {
                let owner = inquiry.from.to_bare();
                let mut session = self.sessions.find(id, &owner, &request.node)?;
                session.json_only |= request.json_only;
                self.follow(inquiry, session, request.asked(), form).await?
            }
        };
        Ok(answer.to_element())
    }

    async fn begin(&self, inquiry: &Inquiry, request: &AdhocCommand, form: Option<DataForm>) -> Step {
        if matches!(request.asked(), Action::Prev | Action::Cancel) {
            return Err(Condition::BadAction.into());
        }
        let person = inquiry.from.to_bare();
        let place = Place::find(&request.node, &inquiry.target).ok_or_else(|| {
            Fault::from(Refusal::new(
                Reason::NotFound,
                format!("There is no command {:?} here.", request.node),
            ))
        })?;
        let mut session = Session::new(person.clone(), request.node.clone(), place.clone());
        session.json_only = request.json_only;
        let key = format!("{} {} {}", inquiry.from, inquiry.id, request.node);
        if form.is_some() || request.definition.is_some() {
            let given = (&form.unwrap_or_else(form::nothing_given), request.definition.as_ref());
            return self.all_at_once(inquiry, session, given, key).await;
        }
        let declaration = place.declaration();
        let permitted = self.agent.permits(&person, declaration);
        if !self.is_offered(&person, &place) {
            // The agent itself says no, and why: no right, or not now.
            let target = session.target.clone();
            if let Some(target) = target.or_else(|| (!permitted).then_some(Target::Host)) {
                return self.run(inquiry, session, target, Vec::new(), key).await;
            }
            let text = format!("There is no machine here that could {} now.", declaration.spoken());
            let refusal = Refusal::new(Reason::Conflict, text).hint("Ask for the list to see how they are.");
            return Ok(failed(&session, &refusal));
        }
        match &session.target {
            None => self.show_choice(session, None),
            Some(target) if declaration.arguments().is_empty() => {
                let target = target.clone();
                self.run(inquiry, session, target, Vec::new(), key).await
            }
            Some(_) => self.show_form(session, 0, None).await,
        }
    }

    /// Everything was sent with the first request.
    async fn all_at_once(
        &self,
        inquiry: &Inquiry,
        mut session: Session,
        (form, definition): (&DataForm, Option<&Definition>),
        key: String,
    ) -> Step {
        let target = match &session.target {
            Some(target) => target.clone(),
            None => match self.chosen(&session.owner, form) {
                Ok(target) => target,
                Err(refusal) => {
                    let named = form::machine_of(form).ok().and_then(|name| MachineName::new(name).ok());
                    let target = named.map_or(Target::Host, Target::Machine);
                    return Ok(self.refused(inquiry, &session, target, &refusal).await);
                }
            },
        };
        let declaration = session.place.declaration();
        let typed = definition.map(|definition| definition::word(declaration, definition)).transpose();
        let words = form::argv(declaration, form);
        let argv = match words.and_then(|words| Ok(words.into_iter().chain(typed?).collect())) {
            Ok(argv) => argv,
            Err(refusal) => return Ok(self.refused(inquiry, &session, target, &refusal).await),
        };
        session.target = Some(target.clone());
        self.run(inquiry, session, target, argv, key).await
    }

    /// What was sent cannot be asked of the agent at all: why not is said, and noted.
    async fn refused(
        &self,
        inquiry: &Inquiry,
        session: &Session,
        target: Target,
        refusal: &Refusal,
    ) -> AdhocCommand {
        self.agent.note_refused(&asked(inquiry, session, target, Vec::new(), None), refusal).await;
        failed(session, refusal)
    }

    /// The machine a form chooses.
    fn chosen(&self, person: &BareJid, form: &DataForm) -> Result<Target, Refusal> {
        let name = form::machine_of(form)?;
        let missing = || {
            let old = MachineName::new(name.clone()).ok();
            let told = |old: &MachineName| {
                self.agent.may_follow(person, &Target::Host)
                    || self.agent.knows(person, &Target::Machine(old.clone()))
            };
            let went = old.filter(told).and_then(|name| self.agent.where_it_went(&name));
            if let Some(went) = went {
                return Refusal::new(Reason::NotFound, went);
            }
            let names = self.agent.machines_for(person);
            let near = skerry_stanzas::words::nearest(&name, names.iter().map(|seen| seen.name.as_str()));
            let refusal = Refusal::new(Reason::NotFound, format!("There is no machine {name} here."));
            match near {
                Some(near) => refusal.hint(format!("Did you mean {near}?")),
                None => refusal.hint("Ask for the list to see which there are."),
            }
        };
        let machine = MachineName::new(name.clone()).map_err(|_| missing())?;
        let target = Target::Machine(machine.clone());
        match self.agent.machine(&machine).filter(|_| self.agent.knows(person, &target)) {
            Some(_) => Ok(target),
            None => Err(missing().field(form::MACHINE)),
        }
    }

    /// A request within a session.
    async fn follow(
        &self,
        inquiry: &Inquiry,
        session: Session,
        action: Action,
        form: Option<DataForm>,
    ) -> Step {
        if let Stage::Over(answer) = &session.stage {
            return match action {
                Action::Cancel | Action::Prev => Err(Condition::BadAction.into()),
                Action::Execute | Action::Next | Action::Complete => Ok((**answer).clone()),
            };
        }
        if action != Action::Cancel
            && !self.agent.permits(&inquiry.from.to_bare(), session.place.declaration())
        {
            // Taken away since: the agent itself says so.
            let target = session.target.clone().unwrap_or(Target::Host);
            let key = key_of(&session);
            return self.run(inquiry, session, target, Vec::new(), key).await;
        }
        match action {
            Action::Cancel => Ok(self.cancel(inquiry, &session)),
            Action::Prev => self.back(inquiry, session, form.as_ref()).await,
            Action::Next if !steps::actions(&session).next => Err(Condition::BadAction.into()),
            // Execute is whatever comes next; and who completes too early is led on to what is missing.
            Action::Execute | Action::Next | Action::Complete => {
                self.on(inquiry, session, action, form).await
            }
        }
    }

    fn cancel(&self, inquiry: &Inquiry, session: &Session) -> AdhocCommand {
        self.decline(inquiry, session);
        self.sessions.end(&session.id);
        AdhocCommand { status: Some(Status::Canceled), ..answer(session) }
    }

    fn decline(&self, inquiry: &Inquiry, session: &Session) {
        if let (Stage::Confirm(code), Some(target)) = (&session.stage, &session.target) {
            self.agent.decline(&inquiry.from, target, Some(code));
        }
    }

    async fn back(&self, inquiry: &Inquiry, mut session: Session, form: Option<&DataForm>) -> Step {
        let declaration = session.place.declaration();
        let has_arguments = !declaration.arguments().is_empty();
        match &session.stage {
            Stage::Confirm(_) if has_arguments => {
                self.decline(inquiry, &session);
                session.tries += 1;
                self.show_form(session, steps::last(declaration), None).await
            }
            Stage::Fill(at @ 1..) => {
                let at = *at;
                self.step_back(session, at, form).await
            }
            Stage::Confirm(_) | Stage::Fill(_) if session.place.target().is_none() => {
                self.decline(inquiry, &session);
                session.tries += 1;
                session.target = None;
                self.show_choice(session, None)
            }
            _ => Err(Condition::BadAction.into()),
        }
    }

    async fn on(
        &self,
        inquiry: &Inquiry,
        mut session: Session,
        action: Action,
        form: Option<DataForm>,
    ) -> Step {
        let Some(form) = form else { return Err(Condition::BadPayload.into()) };
        match (&session.stage, session.target.clone()) {
            (Stage::Confirm(code), Some(target)) => {
                let code = code.clone();
                self.confirmed(inquiry, session, target, &code, &form).await
            }
            (Stage::Fill(at), Some(target)) => {
                let at = *at;
                self.filled(inquiry, session, target, (at, action), &form).await
            }
            _ => match self.chosen(&session.owner, &form) {
                Ok(target) => {
                    session.target = Some(target.clone());
                    match session.place.declaration().arguments().is_empty() {
                        true => {
                            let key = key_of(&session);
                            self.run(inquiry, session, target, Vec::new(), key).await
                        }
                        false => self.show_form(session, 0, None).await,
                    }
                }
                Err(refusal) => self.show_choice(session, Some(&refusal)),
            },
        }
    }

    async fn confirmed(
        &self,
        inquiry: &Inquiry,
        session: Session,
        target: Target,
        code: &str,
        form: &DataForm,
    ) -> Step {
        let yes = match form::confirmed(form) {
            Ok(yes) => yes,
            Err(refusal) => return Err(refusal.into()),
        };
        if !yes {
            self.decline(inquiry, &session);
            let text = "Nothing was done: it was not confirmed.".to_owned();
            return Ok(self.over(session, NoteKind::Warn, text, None));
        }
        match form::confirmed_because(session.place.declaration(), form) {
            Ok(because) => self.agent.explain(&inquiry.from.to_bare(), &target, code, because),
            Err(refusal) => return Err(refusal.into()),
        }
        let key = Some(format!("{} yes", key_of(&session)));
        let answer = self.agent.confirm(&inquiry.from, &target, Some(code), Door::Adhoc, key, None).await;
        self.answered(session, answer).await
    }

    async fn run(
        &self,
        inquiry: &Inquiry,
        session: Session,
        target: Target,
        argv: Vec<String>,
        key: String,
    ) -> Step {
        let asked = asked(inquiry, &session, target, argv, Some(key));
        let answer = self.agent.ask(asked, None).await;
        self.answered(session, answer).await
    }

    async fn answered(&self, session: Session, answer: Answer) -> Step {
        match answer {
            Answer::Done { text, json } => Ok(self.over(session, NoteKind::Info, text, Some(json))),
            Answer::Confirm(question) => self.show_confirmation(session, &question),
            // A person who filled in a form can mend it; a bot that sent all at once gets a last word.
            Answer::Refused(refusal) if Self::mends(&session, &refusal) => {
                let at = match &session.stage {
                    Stage::Fill(at) => *at,
                    _ => 0,
                };
                self.mend(session, at, &refusal).await
            }
            Answer::Refused(refusal) if refusal.reason == Reason::NotAllowed => {
                self.sessions.end(&session.id);
                Err(refusal.into())
            }
            Answer::Refused(refusal) => {
                Ok(failed(&session, &refusal)).inspect(|last| self.keep_last(session, last))
            }
        }
    }

    fn over(
        &self,
        session: Session,
        kind: NoteKind,
        text: String,
        json: Option<serde_json::Value>,
    ) -> AdhocCommand {
        let title = session.place.declaration().about();
        let last = AdhocCommand {
            status: Some(Status::Completed),
            note: Some(Note { kind, text: styling::plain(&text) }),
            form: json.as_ref().filter(|_| !session.json_only).map(|json| form::result(title, json)),
            definition: json.as_ref().filter(|_| !session.json_only).and_then(defined),
            json,
            ..answer(&session)
        };
        match last.json.as_ref().is_some_and(|json| json.get(UNDER_WAY).is_some()) {
            // The same step taken again waits for the end of it.
            true if self.sessions.has(&session.id) => drop(self.sessions.keep(session)),
            true => {}
            false => self.keep_last(session, &last),
        }
        last
    }

    /// Keeps the last word of a session, for who asks again. A request without one has no session.
    fn keep_last(&self, mut session: Session, last: &AdhocCommand) {
        if self.sessions.has(&session.id) {
            session.stage = Stage::Over(Box::new(last.clone()));
            session.filled = None;
            self.sessions.keep(session);
        }
    }
}

/// What a machine is made of, where the answer says it.
fn defined(json: &serde_json::Value) -> Option<Definition> {
    json.get("definition")?.as_object().cloned().map(Definition)
}

/// What makes the request of a session this one and no other.
fn key_of(session: &Session) -> String {
    format!("{} {}", session.id, session.tries)
}

/// What is asked of the agent.
fn asked(
    inquiry: &Inquiry,
    session: &Session,
    target: Target,
    argv: Vec<String>,
    key: Option<String>,
) -> Asked {
    Asked {
        caller: inquiry.from.clone(),
        target,
        declaration: session.place.declaration(),
        argv,
        door: Door::Adhoc,
        key,
        patience: PATIENCE,
        hops: hop::said(&inquiry.payload),
        together: Together::of(&inquiry.payload),
        signature: Signature::of(&inquiry.payload),
    }
}

/// An answer within a session, still without content.
fn answer(session: &Session) -> AdhocCommand {
    AdhocCommand {
        node: session.node.clone(),
        sessionid: Some(session.id.clone()),
        ..AdhocCommand::default()
    }
}

/// It ran and was refused, or failed: that is an outcome, not a broken stanza.
fn failed(session: &Session, refusal: &Refusal) -> AdhocCommand {
    AdhocCommand {
        status: Some(Status::Completed),
        note: Some(Note { kind: NoteKind::Error, text: refusal.sentence() }),
        json: Some(serde_json::json!({ "refusal": refusal })),
        ..answer(session)
    }
}

/// Another stage, with what may be done in it.
fn stage(session: &Session, form: DataForm, refusal: Option<&Refusal>) -> AdhocCommand {
    AdhocCommand {
        status: Some(Status::Executing),
        actions: Some(steps::actions(session)),
        note: refusal.map(|refusal| Note { kind: NoteKind::Error, text: refusal.sentence() }),
        form: Some(form),
        ..answer(session)
    }
}
