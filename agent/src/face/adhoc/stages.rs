//! The stages in which something is asked: the machine, the arguments, whether it is meant.

use std::collections::HashMap;

use skerry_stanzas::{adhoc::AdhocCommand, form, refusal::Refusal, safe::safe_value};
use xmpp_parsers::data_forms::{DataForm, FieldType};

use super::{Step, stage, steps};
use crate::{
    asked::{Confirmation, Target},
    face::{
        Face,
        session::{Session, Stage},
        stanza::Fault,
    },
};

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
        let mut blank = form::form(declaration, |_| Vec::new(), |_| None);
        blank.fields.retain(|field| field.type_ == FieldType::Hidden);
        let names =
            self.agent.machines_for(&session.owner).into_iter().map(|seen| seen.name.to_string()).collect();
        let mut form = form::with_machine(blank, names);
        form.instructions = Some("Choose the machine.".to_owned());
        let answer = stage(&session, form, refusal);
        self.kept(session, answer)
    }

    /// Asks for the arguments of a step, showing the values they have now, or those that were given. The last
    /// of several steps says what was given in all.
    pub(super) async fn show_form(&self, mut session: Session, at: usize, refusal: Option<&Refusal>) -> Step {
        session.stage = Stage::Fill(at);
        session.tries += u32::from(refusal.is_some());
        let declaration = session.place.declaration();
        let target = session.target.clone().unwrap_or(Target::Host);
        let (mut choices, mut present) = (HashMap::new(), HashMap::new());
        let step = declaration.steps().get(at).copied();
        for argument in declaration.arguments() {
            if argument.step.as_deref() == step {
                let offered = self.agent.choices(&session.owner, declaration, &argument.name, &target).await;
                choices.insert(argument.name.as_str(), offered);
            }
            if let Some(value) = self.agent.present(declaration, &argument.name, &target).await {
                present.insert(argument.name.as_str(), value);
            }
        }
        let mut form = form::step(
            declaration,
            at,
            |name| choices.get(name).cloned().unwrap_or_default(),
            |name| present.get(name).cloned(),
        );
        if let Some(filled) = &session.filled {
            refill(&mut form, filled);
            if at > 0 && at == steps::last(declaration) {
                let said = form::summary(declaration, filled, |name| present.get(name).cloned());
                let said = if said.is_empty() { "nothing".to_owned() } else { said };
                let instructions = form.instructions.get_or_insert_default();
                instructions.push_str(&format!(" Given so far: {said}."));
            }
        }
        if let Some(refusal) = refusal {
            // Converse.js and Profanity show no note of a stage that waits for somebody.
            let instructions = form.instructions.get_or_insert_default();
            *instructions = safe_value(&format!("{} {instructions}", refusal.sentence()));
        }
        let answer = stage(&session, form, refusal);
        self.kept(session, answer)
    }

    /// Asks whether it is really meant.
    pub(super) fn show_confirmation(&self, mut session: Session, question: &Confirmation) -> Step {
        session.stage = Stage::Confirm(question.code.clone());
        let declaration = session.place.declaration();
        let sentence = format!("{} Can be confirmed for {}.", question.sentence, question.time_left());
        let form = form::confirm(declaration.about(), &sentence);
        let answer = stage(&session, form, None);
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
