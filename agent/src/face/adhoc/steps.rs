//! A form in several steps (XEP-0050 §3.4): forth and back, with all that was given kept.

use skerry_stanzas::{
    adhoc::{Action, Actions},
    command::{Declaration, Effect},
    form,
    refusal::{Reason, Refusal},
};
use xmpp_parsers::data_forms::DataForm;

use super::{Step, asked, key_of};
use crate::{
    asked::Target,
    face::{
        Face,
        session::{Session, Stage},
        stanza::Inquiry,
    },
};

/// The steps of a form: at least one.
fn count(declaration: &Declaration) -> usize {
    declaration.steps().len().max(1)
}

/// The last of them.
pub(super) fn last(declaration: &Declaration) -> usize {
    count(declaration) - 1
}

/// The step that asks for what a refusal is about.
fn of_field(declaration: &Declaration, refusal: &Refusal) -> Option<usize> {
    // A definition has nics where an argument is one nic.
    let field = refusal.field.as_deref()?;
    let is = |name: &str| name == field || field.strip_suffix('s') == Some(name);
    let argument = declaration.arguments().iter().find(|argument| is(&argument.name))?;
    let step = argument.step.as_deref();
    Some(declaration.steps().iter().position(|named| Some(*named) == step).unwrap_or(0))
}

/// What may be done in the stage that is shown.
pub(super) fn actions(session: &Session) -> Actions {
    let declaration = session.place.declaration();
    let chosen_here = session.place.target().is_none();
    let destroys = declaration.effect == Effect::Destroy;
    let stage = |prev: bool, next: bool, complete: bool| Actions {
        default: if next { Action::Next } else { Action::Complete },
        prev,
        next,
        complete,
    };
    match &session.stage {
        Stage::Choose => {
            let last = declaration.arguments().is_empty() && !destroys;
            stage(false, !last, last)
        }
        Stage::Fill(at) => {
            // Whatever is needed was asked for: the rest may be left as it is.
            let later = &declaration.steps()[(at + 1).min(declaration.steps().len())..];
            let asked_later =
                |step: &Option<String>| step.as_deref().is_some_and(|step| later.contains(&step));
            let mut needed = declaration.arguments().iter().filter(|argument| argument.required);
            let complete = !destroys && !needed.any(|argument| asked_later(&argument.step));
            stage(chosen_here || *at > 0, destroys || *at < last(declaration), complete)
        }
        Stage::Confirm(_) => stage(session.filled.is_some() || chosen_here, false, true),
        Stage::Over(_) => stage(false, false, true),
    }
}

impl Face {
    /// A step was filled in: on to the next, or all of it is carried out.
    pub(super) async fn filled(
        &self,
        inquiry: &Inquiry,
        mut session: Session,
        target: Target,
        (at, action): (usize, Action),
        form: &DataForm,
    ) -> Step {
        let declaration = session.place.declaration();
        let wrong = form::argv(declaration, form).err();
        let kept = session.filled.get_or_insert_with(form::nothing_given);
        form::keep(declaration, kept, form);
        let argv = match wrong.map_or_else(|| form::argv(declaration, kept), Err) {
            Ok(argv) => argv,
            Err(refusal) => return self.mend(session, at, &refusal).await,
        };
        if action == Action::Complete || at >= last(declaration) {
            let key = key_of(&session);
            return self.run(inquiry, session, target, argv, key).await;
        }
        let asked = asked(inquiry, &session, target, argv, None);
        match self.agent.look_over(asked).await {
            Err(refusal) if refusal.reason == Reason::NotAllowed && refusal.field.is_none() => {
                self.sessions.end(&session.id);
                Err(refusal.into())
            }
            // What is wrong with a step that is still to come is said there.
            Err(refusal) if of_field(declaration, &refusal).is_some_and(|step| step <= at) => {
                self.mend(session, at, &refusal).await
            }
            Err(_) | Ok(()) => self.show_form(session, at + 1, None).await,
        }
    }

    /// Shows the step that has the error.
    pub(super) async fn mend(&self, session: Session, at: usize, refusal: &Refusal) -> Step {
        let at = of_field(session.place.declaration(), refusal).unwrap_or(at);
        self.show_form(session, at, Some(refusal)).await
    }

    /// Whether somebody who filled in a form can do something about a refusal: they can mend what they
    /// gave. Nothing was done yet.
    pub(super) fn mends(session: &Session, refusal: &Refusal) -> bool {
        session.filled.is_some()
            && (refusal.reason == Reason::BadRequest
                || of_field(session.place.declaration(), refusal).is_some())
    }

    /// The step before, with what this one was given so far.
    pub(super) async fn step_back(&self, mut session: Session, at: usize, form: Option<&DataForm>) -> Step {
        if let Some(form) = form {
            let kept = session.filled.get_or_insert_with(form::nothing_given);
            form::keep(session.place.declaration(), kept, form);
        }
        self.show_form(session, at - 1, None).await
    }
}
