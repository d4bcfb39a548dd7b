//! The stages in which something is asked: the machine, the arguments, whether it is meant.

use std::collections::HashMap;

use skerry_stanzas::{
    adhoc::{Action, Actions, AdhocCommand},
    command::Effect,
    form,
    refusal::Refusal,
};
use xmpp_parsers::data_forms::{DataForm, FieldType};

use super::{Step, stage};
use crate::{
    asked::{Confirmation, Target},
    face::{
        Face,
        session::{Session, Stage},
        stanza::Fault,
    },
};

/// A stage that is followed by another.
const fn more(prev: bool) -> Actions {
    Actions { default: Action::Next, prev, next: true, complete: false }
}

impl Face {
    fn kept(&self, session: Session, answer: AdhocCommand) -> Step {
        match self.sessions.keep(session) {
            true => Ok(answer),
            false => Err(Fault::busy("Too many commands are open here. Try again in a few minutes.")),
        }
    }

    /// Asks for the machine.
    pub(super) fn show_choice(&self, mut session: Session, refusal: Option<&Refusal>) -> Step {
        session.stage = Stage::Choose;
        let declaration = session.place.declaration();
        let last = declaration.arguments().is_empty() && declaration.effect != Effect::Destroy;
        let mut blank = form::form(declaration, |_| Vec::new(), |_| None);
        blank.fields.retain(|field| field.type_ == FieldType::Hidden);
        let names = self.agent.machines().into_iter().map(|seen| seen.name.to_string()).collect();
        let mut form = form::with_machine(blank, names);
        form.instructions = Some("Choose the machine.".to_owned());
        let actions = if last { Actions::last(false) } else { more(false) };
        let answer = stage(&session, actions, form, refusal);
        self.kept(session, answer)
    }

    /// Asks for the arguments, showing the values they have now, or those that were just tried.
    pub(super) async fn show_form(&self, mut session: Session, refusal: Option<&Refusal>) -> Step {
        session.stage = Stage::Fill;
        session.tries += u32::from(refusal.is_some());
        let declaration = session.place.declaration();
        let target = session.target.clone().unwrap_or(Target::Host);
        let (mut choices, mut present) = (HashMap::new(), HashMap::new());
        for argument in declaration.arguments() {
            let offered = self.agent.choices(declaration, &argument.name, &target).await;
            choices.insert(argument.name.as_str(), offered);
            if let Some(value) = self.agent.present(declaration, &argument.name, &target).await {
                present.insert(argument.name.as_str(), value);
            }
        }
        let mut form = form::form(
            declaration,
            |name| choices.get(name).cloned().unwrap_or_default(),
            |name| present.get(name).cloned(),
        );
        if let Some(filled) = &session.filled {
            refill(&mut form, filled);
        }
        let prev = session.place.target().is_none();
        let actions = match declaration.effect {
            Effect::Destroy => more(prev),
            Effect::Read | Effect::Change => Actions::last(prev),
        };
        let answer = stage(&session, actions, form, refusal);
        self.kept(session, answer)
    }

    /// Asks whether it is really meant.
    pub(super) fn show_confirmation(&self, mut session: Session, question: &Confirmation) -> Step {
        session.stage = Stage::Confirm(question.code.clone());
        let declaration = session.place.declaration();
        let sentence = format!("{} Can be confirmed for {}.", question.sentence, question.time_left());
        let prev = session.filled.is_some() || session.place.target().is_none();
        let form = form::confirm(declaration.about(), &sentence);
        let answer = stage(&session, Actions::last(prev), form, None);
        self.kept(session, answer)
    }
}

/// Puts what was tried into the form again.
fn refill(form: &mut DataForm, filled: &DataForm) {
    for field in form.fields.iter_mut().filter(|field| field.type_ != FieldType::Hidden) {
        let tried = filled.fields.iter().find(|tried| tried.var == field.var);
        if let Some(tried) = tried {
            field.values = tried.values.iter().map(|value| skerry_stanzas::safe::safe_value(value)).collect();
        }
    }
}
