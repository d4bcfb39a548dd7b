//! A submitted form as `--name=value` words.

use xmpp_parsers::data_forms::{DataForm, DataFormType, Field, FieldType};

use super::{CONFIRM, MACHINE, NOT_CHOSEN};
use crate::{
    command::{
        Declaration,
        argument::{Argument, BECAUSE, Takes},
    },
    ns,
    refusal::{Reason, Refusal},
    words::canonical,
};

/// The most fields of a submitted form that are looked at.
pub const FIELDS_MAX: usize = 64;
/// The most values of a submitted form, all fields together.
pub const VALUES_MAX: usize = 256;

/// What was filled in, as words for [`crate::words::parse()`]. Fields that are not declared are
/// ignored, as XEP-0004 §3.3 says; what was left blank is as if not given, unless an empty value
/// means something to the argument. Missing ones are named by `parse`.
///
/// # Errors
/// It is no submitted form of ours, over a limit, or a value cannot be one.
pub fn argv(declaration: &Declaration, form: &DataForm) -> Result<Vec<String>, Refusal> {
    check(form)?;
    let known = || declaration.all_arguments();
    let mut words = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for field in &form.fields {
        let var = field.var.as_deref().unwrap_or_default();
        let Some(argument) = known().find(|argument| argument.name == var) else { continue };
        if seen.contains(&var) {
            return Err(Refusal::new(Reason::BadRequest, format!("{var} is in the form twice.")).field(var));
        }
        seen.push(var);
        words.extend(self::words(argument, field)?);
    }
    Ok(words)
}

/// What is filled into one field, as words.
pub(super) fn words(argument: &Argument, field: &Field) -> Result<Vec<String>, Refusal> {
    if field.values.as_slice() == [NOT_CHOSEN] {
        return Ok(Vec::new());
    }
    if argument.takes == Takes::Lines {
        let lines = field.values.join("\n");
        return match lines.trim().is_empty() {
            true => Ok(Vec::new()),
            false => Ok(canonical(argument, &lines)?.into_iter().collect()),
        };
    }
    let mut words = Vec::new();
    for value in values(argument, field)? {
        words.extend(canonical(argument, value)?);
    }
    Ok(words)
}

/// A submitted form with nothing in it.
pub fn nothing_given() -> DataForm {
    DataForm::new(DataFormType::Submit, ns::COMMAND, Vec::new())
}

/// Puts what a step says to what was given before: the last word on each argument counts. What cannot be a
/// value is left out, and so is all of a form that is none of ours or too large; [`argv`] says why.
pub fn keep(declaration: &Declaration, kept: &mut DataForm, form: &DataForm) {
    if check(form).is_err() {
        return;
    }
    for argument in declaration.all_arguments() {
        let Some(given) = find(form, &argument.name).filter(|field| words(argument, field).is_ok()) else {
            continue;
        };
        let known = kept.fields.iter_mut().find(|field| field.var.as_ref() == Some(&argument.name));
        match known {
            Some(field) => field.values.clone_from(&given.values),
            None => {
                let mut field = Field::new(&argument.name, FieldType::TextSingle);
                field.values.clone_from(&given.values);
                kept.fields.push(field);
            }
        }
    }
}

/// The machine a submitted form names.
///
/// # Errors
/// It is no submitted form of ours, over a limit, or names none.
pub fn machine_of(form: &DataForm) -> Result<String, Refusal> {
    check(form)?;
    let name = find(form, MACHINE).and_then(|field| field.values.first()).map_or("", |name| name.trim());
    if name.is_empty() || name.len() > 1023 {
        return Err(Refusal::new(Reason::BadRequest, "The form names no machine.").field(MACHINE));
    }
    Ok(name.to_owned())
}

/// Whether a confirmation was answered with yes. Anything but a clear yes is a no.
///
/// # Errors
/// It is no submitted form of ours, or over a limit.
pub fn confirmed(form: &DataForm) -> Result<bool, Refusal> {
    check(form)?;
    let values = find(form, CONFIRM).map_or(&[][..], |field| &field.values);
    Ok(matches!(values, [yes] if matches!(yes.trim(), "1" | "true")))
}

/// The reason that was given with a confirmation, when there is one: as a word of the one grammar.
///
/// # Errors
/// It is too long, or no line of text.
pub fn confirmed_because(declaration: &Declaration, form: &DataForm) -> Result<Option<String>, Refusal> {
    let argument = declaration.all_arguments().find(|argument| argument.name == BECAUSE);
    let (Some(argument), Some(field)) = (argument, find(form, BECAUSE)) else { return Ok(None) };
    Ok(words(argument, field)?.pop())
}

fn find<'a>(form: &'a DataForm, var: &str) -> Option<&'a Field> {
    form.fields.iter().find(|field| field.var.as_deref() == Some(var))
}

fn check(form: &DataForm) -> Result<(), Refusal> {
    let refuse = |text: &str| Err(Refusal::new(Reason::BadRequest, text));
    match form.type_ {
        DataFormType::Submit => {}
        DataFormType::Cancel => return refuse("The form was cancelled."),
        DataFormType::Form | DataFormType::Result_ => {
            return refuse("The form must have the type submit.");
        }
    }
    if form.form_type().is_some_and(|form_type| form_type != ns::COMMAND) {
        return refuse("That is a form of something else.");
    }
    let values: usize = form.fields.iter().map(|field| field.values.len()).sum();
    if form.fields.len() > FIELDS_MAX || values > VALUES_MAX {
        return refuse("The form is too large.");
    }
    Ok(())
}

/// The values that were given: lines of a text-multi may come as one value or as several.
fn values<'a>(argument: &Argument, field: &'a Field) -> Result<Vec<&'a str>, Refusal> {
    let name = &argument.name;
    if argument.many {
        let lines: Vec<&str> = field
            .values
            .iter()
            .flat_map(|value| value.lines())
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect();
        if lines.len() > VALUES_MAX {
            return Err(Refusal::new(Reason::BadRequest, "The form is too large.").field(name));
        }
        return Ok(lines);
    }
    match field.values.as_slice() {
        [] => Ok(Vec::new()),
        [blank] if blank.is_empty() && !argument.may_be_empty => Ok(Vec::new()),
        [one] => Ok(vec![one]),
        _ => Err(Refusal::new(Reason::BadRequest, format!("{name} takes one value.")).field(name)),
    }
}
