//! Data forms (XEP-0004) from the declarations, and what people filled in back into the one grammar.
//!
//! What clients choke on decides the shape: every field has a type and a label, there is one
//! `<instructions/>`, and no `<reported/>` table.

mod result;
mod submitted;

use minidom::Element;
use xmpp_parsers::{
    data_forms::{DataForm, DataFormType, Field, FieldType, Option_},
    data_forms_validate::{Datatype, Method, Validate},
};

use crate::{
    command::{
        Declaration,
        argument::{Argument, BECAUSE, Takes},
    },
    element::set,
    ns,
    safe::{safe_line, safe_value},
};
pub use result::result;
pub use submitted::{VALUES_MAX, argv, confirmed, confirmed_because, keep, machine_of, nothing_given};

/// The field that names the machine, in forms of machine commands at their host.
pub const MACHINE: &str = "machine";
/// The field that answers a confirmation.
pub const CONFIRM: &str = "confirm";

/// The choice that leaves open what need not be chosen. It is no name anything could have. An empty value
/// would say the same, but Profanity 0.13 dies of one, and Converse.js 14 sends the label instead.
const NOT_CHOSEN: &str = "(not chosen)";

/// The form of a command: one field an argument. `choices` gives the real choices of an argument by
/// its name (empty when it is free), `present` the value it has now.
pub fn form(
    declaration: &Declaration,
    choices: impl Fn(&str) -> Vec<String>,
    present: impl Fn(&str) -> Option<String>,
) -> DataForm {
    let (fields, instructions) = asking(declaration.shown_arguments(), choices, present);
    envelope(DataFormType::Form, declaration.about().to_owned(), &instructions, fields)
}

/// The same for one of [`Declaration::steps`], counted from 0; all of it when there are none.
///
/// Each field has the same place in every step: where an earlier step had one, a hidden field stands for it.
/// Converse.js 14 keeps what is at a place from one form to the next, and would show in it what was typed
/// into the field that was there before.
pub fn step(
    declaration: &Declaration,
    at: usize,
    choices: impl Fn(&str) -> Vec<String>,
    present: impl Fn(&str) -> Option<String>,
) -> DataForm {
    let steps = declaration.steps();
    let Some(named) = steps.get(at) else { return form(declaration, choices, present) };
    let arguments = declaration.arguments().iter();
    let asked = arguments.clone().filter(|argument| argument.step.as_deref() == Some(*named));
    let asked = asked.chain(declaration.because().filter(|_| at + 1 == steps.len()));
    let (fields, instructions) = asking(asked, choices, present);
    let before = arguments.take_while(|argument| argument.step.as_deref() != Some(*named));
    let held = before.map(|argument| Field::new(&format!("{}-asked", argument.name), FieldType::Hidden));
    let fields = held.chain(fields).collect();
    let instructions = format!("Step {} of {}: {named}. {instructions}", at + 1, steps.len());
    envelope(DataFormType::Form, declaration.about().to_owned(), &instructions, fields)
}

/// What was given so far, and is not so already, in one line: `name web1; memory 1G`.
pub fn summary(
    declaration: &Declaration,
    given: &DataForm,
    present: impl Fn(&str) -> Option<String>,
) -> String {
    let mut said: Vec<String> = Vec::new();
    for argument in declaration.shown_arguments() {
        let Some(field) = given.fields.iter().find(|field| field.var.as_ref() == Some(&argument.name)) else {
            continue;
        };
        let Ok(words) = submitted::words(argument, field) else { continue };
        let now = present(&argument.name);
        for word in words {
            let value = word.split_once('=').map_or("yes", |(_, value)| value);
            let same = now.as_deref().is_some_and(|now| now.trim_end() == value.trim_end());
            match &argument.takes {
                _ if same => {}
                Takes::Secret => said.push(format!("{} ***", argument.name)),
                Takes::Lines => said.push(format!("{} anew", argument.name)),
                _ => said.push(format!("{} {}", argument.name, safe_line(value, 60))),
            }
        }
    }
    said.join("; ")
}

/// The fields of these arguments, and which of them are needed.
fn asking<'a>(
    arguments: impl Iterator<Item = &'a Argument>,
    choices: impl Fn(&str) -> Vec<String>,
    present: impl Fn(&str) -> Option<String>,
) -> (Vec<Field>, String) {
    let fields: Vec<Field> =
        arguments.map(|argument| field(argument, choices(&argument.name), present(&argument.name))).collect();
    // By name: not every client marks what is required.
    let needed = fields.iter().filter(|field| field.required).filter_map(|field| field.var.as_deref());
    let needed: Vec<&str> = needed.collect();
    let instructions = match needed.as_slice() {
        [] => "All of it may be left as it is.".to_owned(),
        all if all.len() == fields.len() => format!("Needed: {}.", all.join(", ")),
        some => format!("Needed: {}. The rest may be left as it is.", some.join(", ")),
    };
    (fields, instructions)
}

/// The same form with a leading field that names the machine: for nodes at a host.
#[must_use]
pub fn with_machine(mut form: DataForm, names: Vec<String>) -> DataForm {
    let mut field = Field::new(MACHINE, FieldType::ListSingle);
    field.label = Some("The machine".into());
    field.required = true;
    if let [only] = names.as_slice() {
        field.values.push(only.clone());
    }
    field.options = names.into_iter().map(option).collect();
    let after_form_type = usize::from(form.form_type().is_some());
    form.fields.insert(after_form_type, field);
    form.instructions = Some("Choose the machine, and fill in what is marked as required.".into());
    form
}

/// The form that asks whether it is really meant: `sentence` says exactly what will happen.
pub fn confirm(title: &str, sentence: &str) -> DataForm {
    let mut field = Field::new(CONFIRM, FieldType::Boolean).with_value("0");
    field.label = Some("Yes, do it".into());
    field.required = true;
    let mut because = Field::new(BECAUSE, FieldType::TextSingle);
    because.label = Some("Why, for the audit".into());
    envelope(DataFormType::Form, title.to_owned(), sentence, vec![field, because])
}

/// The submitted form for these arguments: what a program sends with its first `execute`, and the
/// inverse of [`argv`]. Words that are not `--name` or `--name=value` are left out.
pub fn submit(argv: &[String]) -> DataForm {
    let mut fields: Vec<Field> = Vec::new();
    for word in argv.iter().filter_map(|word| word.strip_prefix("--")) {
        let (name, value) = word.split_once('=').unwrap_or((word, "1"));
        let value = safe_value(value);
        match fields.iter_mut().find(|field| field.var.as_deref() == Some(name)) {
            Some(field) => field.values.push(value),
            None => fields.push(Field::new(name, FieldType::TextSingle).with_value(&value)),
        }
    }
    for field in fields.iter_mut().filter(|field| field.values.len() > 1) {
        field.type_ = FieldType::TextMulti;
    }
    DataForm::new(DataFormType::Submit, ns::COMMAND, fields)
}

/// The submitted form that answers a confirmation.
pub fn submit_confirm(yes: bool) -> DataForm {
    let field = Field::new(CONFIRM, FieldType::Boolean).with_value(if yes { "1" } else { "0" });
    DataForm::new(DataFormType::Submit, ns::COMMAND, vec![field])
}

/// The element of a form, with the type written out in every field: some clients lose the value of
/// a field without one, and the default is left out otherwise.
pub fn to_element(form: &DataForm) -> Element {
    let mut element = Element::from(form.clone());
    if form.type_ != DataFormType::Submit {
        for field in element.children_mut().filter(|child| child.is("field", ns::FORMS)) {
            if field.attr("type").is_none() {
                set(field, "type", Some("text-single"));
            }
        }
    }
    element
}

fn envelope(type_: DataFormType, title: String, instructions: &str, fields: Vec<Field>) -> DataForm {
    let mut form = DataForm::new(type_, ns::COMMAND, fields);
    form.title = Some(title);
    form.instructions = Some(safe_value(instructions));
    form
}

fn field(argument: &Argument, choices: Vec<String>, present: Option<String>) -> Field {
    let choices = match &argument.takes {
        Takes::Choice(words) => words.clone(),
        _ => choices,
    };
    let kind = match &argument.takes {
        Takes::Switch => FieldType::Boolean,
        Takes::Secret => FieldType::TextPrivate,
        _ if argument.many || argument.takes == Takes::Lines => FieldType::TextMulti,
        _ if !choices.is_empty() => FieldType::ListSingle,
        Takes::Address => FieldType::JidSingle,
        _ => FieldType::TextSingle,
    };
    let mut field = Field::new(&argument.name, kind.clone());
    field.label = Some(argument.help.clone());
    field.required = argument.required;
    let value = present
        .filter(|_| argument.takes != Takes::Secret)
        .or_else(|| argument.default.clone())
        .map(|value| safe_value(&value));
    match value {
        // A value a line, as XEP-0004 has it.
        Some(value) if argument.takes == Takes::Lines => {
            field.values.extend(value.lines().map(str::to_owned));
        }
        value => field.values.extend(value),
    }
    match kind {
        FieldType::Boolean if field.values.is_empty() => field.values.push("0".into()),
        FieldType::ListSingle => offer(&mut field, choices),
        _ => {}
    }
    if argument.takes == Takes::Whole {
        field.validate = Some(Validate {
            datatype: Some(Datatype::Integer),
            method: Some(Method::Range { min: Some("0".into()), max: None }),
            list_range: None,
        });
    }
    field
}

/// Puts the choices in. What need not be chosen can be left open: some clients would otherwise send
/// the first choice for the person. The only choice there is is made. A present value that is no choice
/// any more stays possible.
fn offer(field: &mut Field, choices: Vec<String>) {
    if !field.required && field.values.is_empty() {
        field.options.push(option(NOT_CHOSEN.to_owned()));
        field.values.push(NOT_CHOSEN.to_owned());
    }
    let choices: Vec<String> = choices.iter().map(|choice| safe_value(choice)).collect();
    if field.values.is_empty()
        && let [only] = choices.as_slice()
    {
        field.values.push(only.clone());
    }
    let lost = field.values.iter().find(|value| *value != NOT_CHOSEN && !choices.contains(value)).cloned();
    field.options.extend(choices.into_iter().chain(lost).map(option));
}

fn option(value: String) -> Option_ {
    Option_ { label: Some(value.clone()), value }
}

#[cfg(test)]
#[path = "form/tests.rs"]
mod tests;
