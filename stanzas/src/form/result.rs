//! Any reply as a result form: typed, labelled fields for clients, made from its JSON alone.

use serde_json::{Map, Value};
use xmpp_parsers::data_forms::{DataForm, DataFormType, Field, FieldType};

use crate::{ns, safe::safe_value};

/// What happened, in words, which the note says already; and what programs read, which the TOML says.
const SAID: [&str; 2] = ["sentence", "definition"];

/// The form of a reply: a field for each top-level value that is not null; an array of objects
/// becomes one text-multi field, a line for each. Anything but an object becomes the one field `result`.
pub fn result(title: &str, reply: &Value) -> DataForm {
    let fields = match reply {
        Value::Object(object) => {
            let told = object.iter().filter(|(name, _)| !SAID.contains(&name.as_str()));
            told.filter_map(|(name, value)| field(name, value)).collect()
        }
        other => field("result", other).into_iter().collect(),
    };
    let mut form = DataForm::new(DataFormType::Result_, ns::COMMAND, fields);
    form.title = Some(safe_value(title));
    form
}

fn field(name: &str, value: &Value) -> Option<Field> {
    let (kind, values) = match value {
        Value::Null => return None,
        Value::Bool(yes) => (FieldType::Boolean, vec![if *yes { "1" } else { "0" }.to_owned()]),
        Value::Number(number) => (FieldType::TextSingle, vec![number.to_string()]),
        Value::String(text) => scalar(name, text),
        Value::Array(items) => (FieldType::TextMulti, lines(items)),
        Value::Object(object) => (FieldType::TextMulti, object.iter().filter_map(said).collect()),
    };
    let mut field = Field::new(name, kind);
    field.label = Some(label(name));
    field.values = values;
    Some(field)
}

fn scalar(name: &str, text: &str) -> (FieldType, Vec<String>) {
    let text = safe_value(text);
    if text.contains('\n') {
        return (FieldType::TextMulti, text.lines().map(str::to_owned).collect());
    }
    let kind = if matches!(name, "jid" | "host") { FieldType::JidSingle } else { FieldType::TextSingle };
    (kind, vec![text])
}

fn lines(items: &[Value]) -> Vec<String> {
    let objects: Vec<&Map<String, Value>> = items.iter().filter_map(Value::as_object).collect();
    if !objects.is_empty() && objects.len() == items.len() {
        return objects.into_iter().map(row).collect();
    }
    items.iter().map(cell).collect()
}

/// What a row is about, then the rest of it by name: clients show lines in narrow boxes and letters of
/// unlike widths, where columns stand nowhere near their heads.
fn row(object: &Map<String, Value>) -> String {
    let mut values = object.iter();
    let first = values.next().map(|(_, value)| cell(value)).unwrap_or_default();
    let rest: Vec<_> = values.filter_map(said).collect();
    match rest.is_empty() {
        true => first,
        false => format!("{first}; {}", rest.join("; ")),
    }
}

/// `State: running`, unless there is nothing to say.
fn said((name, value): (&String, &Value)) -> Option<String> {
    let text = cell(value);
    let empty = value.is_null() || text.is_empty();
    (!empty).then(|| format!("{}: {text}", label(name)))
}

/// A value in one line.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::String(text) => safe_value(text).replace(['\n', '\t'], " "),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => safe_value(&other.to_string()),
    }
}

/// `memory_free_mib` as `Memory free (MiB)`.
fn label(name: &str) -> String {
    let (words, unit) = match name {
        _ if name.ends_with("_mib") => (name.trim_end_matches("_mib"), " (MiB)"),
        _ if name.ends_with("_seconds") => (name.trim_end_matches("_seconds"), " (s)"),
        _ if name.ends_with("_at") => (name.trim_end_matches("_at"), " at"),
        _ => (name, ""),
    };
    let words = match words {
        "jid" => "address".to_owned(),
        "cpu" => "processor time".to_owned(),
        "cpus" | "vcpus" => "processors".to_owned(),
        other => safe_value(other).replace('_', " "),
    };
    let mut chars = words.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}{unit}", chars.as_str())
}
