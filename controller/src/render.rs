//! Answers, as they are shown: a table for people, JSON for programs, plain lines for pipes.
//!
//! A list is a reply with one array of objects in it, whatever it is called; any other reply has a
//! text of its own. JSON of a list is the array, of one target an object, of several an array of
//! objects.

pub mod json;
mod plain;
mod table;

use std::io::Write;

use serde_json::{Map, Value};

use crate::{call::Reply, cli::Output, failure::Outcome};

/// An answer, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The name of the host or machine that answered.
    pub who: String,
    /// The host's address, for lists of several hosts.
    pub host: String,
    /// What it said.
    pub reply: Reply,
}

/// Shows what was answered. `one`: a single target was named, so a program gets it unwrapped.
///
/// # Errors
/// Nobody reads it.
pub fn render(out: &mut impl Write, output: Output, answers: &[Answered], one: bool) -> Outcome<()> {
    // In a table of one host the heading of a column that says always the same is in the way.
    let told = output != Output::Table || answers.len() > 1;
    match (output, rows(answers, told)) {
        (Output::Json, Some(rows)) => json::array(out, rows.into_iter().map(Value::Object).collect()),
        (Output::Json, None) => json::replies(out, answers, one),
        (Output::Table, Some(rows)) => table::show(out, &rows, table::width()),
        (Output::Plain, Some(rows)) => plain::rows(out, &rows),
        (Output::Table | Output::Plain, None) => plain::texts(out, answers),
    }
}

/// The rows, when every answer is a list. `told`: each says of which host it is.
fn rows(answers: &[Answered], told: bool) -> Option<Vec<Map<String, Value>>> {
    let mut rows = Vec::new();
    for answer in answers {
        for item in list(&answer.reply.json)? {
            let mut row = item.as_object()?.clone();
            if told && !answer.host.is_empty() && !row.contains_key("host") {
                row.insert("host".into(), Value::String(answer.host.clone()));
            }
            rows.push(row);
        }
    }
    (!answers.is_empty()).then_some(rows)
}

/// The one array of objects of a list reply.
fn list(json: &Value) -> Option<&Vec<Value>> {
    let mut values = json.as_object()?.values();
    match (values.next(), values.next()) {
        (Some(Value::Array(items)), None) if items.iter().all(Value::is_object) => Some(items),
        _ => None,
    }
}

/// A value in one line, as a person or `cut` reads it.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::Bool(yes) => (if *yes { "yes" } else { "no" }).to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    line(&text)
}

/// What stands in one place of a table or a list, whoever wrote it: one line that steers nothing.
fn line(text: &str) -> String {
    skerry_stanzas::safe::safe_line(text, 400)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn answered(who: &str, json: Value, text: &str) -> Answered {
        Answered {
            who: who.into(),
            host: format!("{who}.example.org"),
            reply: Reply { text: text.into(), json },
        }
    }

    fn shown(output: Output, answers: &[Answered], one: bool) -> String {
        let mut out = Vec::new();
        render(&mut out, output, answers, one).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn machines() -> Vec<Answered> {
        let line = |name: &str, host: &str, labels: Value| {
            json!({"name": name, "jid": format!("{name}@{host}"), "host": host, "state": "running",
                   "driver": "qemu", "vcpus": 1, "memory_mib": 512, "labels": labels})
        };
        vec![
            answered(
                "kvm1",
                json!({"machines": [line("web1", "kvm1.example.org", json!(["prod", "web"]))]}),
                "…",
            ),
            answered("kvm2", json!({"machines": [line("db", "kvm2.example.org", json!([]))]}), "…"),
        ]
    }

    #[test]
    fn a_list_is_one_json_array_of_objects() {
        let value: Value = serde_json::from_str(&shown(Output::Json, &machines(), false)).unwrap();
        assert_eq!(value.as_array().unwrap().len(), 2);
        for key in ["name", "jid", "host", "state"] {
            assert!(value[1][key].is_string(), "{key}");
        }
        assert_eq!(shown(Output::Json, &[answered("kvm1", json!({"machines": []}), "")], true), "[]\n");
    }

    #[test]
    fn a_list_is_lines_of_columns_in_a_pipe() {
        assert_eq!(
            shown(Output::Plain, &machines(), false),
            "web1\trunning\tweb1@kvm1.example.org\tkvm1.example.org\tqemu\t1\t512\tprod, web\n\
             db\trunning\tdb@kvm2.example.org\tkvm2.example.org\tqemu\t1\t512\t\n"
        );
    }

    #[test]
    fn rows_of_several_hosts_say_of_which() {
        let answers = [
            answered("kvm1", json!({"images": [{"name": "linux"}]}), ""),
            answered("kvm2", json!({"images": [{"name": "debian"}]}), ""),
        ];
        assert_eq!(
            shown(Output::Plain, &answers, false),
            "linux\tkvm1.example.org\ndebian\tkvm2.example.org\n"
        );
        assert_eq!(shown(Output::Plain, &answers[..1], true), "linux\tkvm1.example.org\n");
    }

    #[test]
    fn one_target_is_an_object_and_several_are_an_array() {
        let answers = [
            answered("web1", json!({"name": "web1"}), "web1 is running."),
            answered("web2", json!({"name": "web2"}), "web2 is running."),
        ];
        assert_eq!(shown(Output::Json, &answers[..1], true), "{\n  \"name\": \"web1\"\n}\n");
        let value: Value = serde_json::from_str(&shown(Output::Json, &answers, false)).unwrap();
        assert_eq!(value[1]["name"], "web2");
        assert_eq!(shown(Output::Table, &answers, false), "web1 is running.\nweb2 is running.\n");
    }

    #[test]
    fn texts_of_several_say_whose_they_are() {
        let version = |host: &str| answered(host, json!({"agent": "0.1.0"}), "Skerry agent 0.1.0");
        let answers = [version("kvm1"), version("kvm2")];
        assert_eq!(
            shown(Output::Plain, &answers, false),
            "kvm1: Skerry agent 0.1.0\nkvm2: Skerry agent 0.1.0\n"
        );
        assert_eq!(shown(Output::Table, &answers[..1], true), "Skerry agent 0.1.0\n");
    }

    #[test]
    fn what_a_guest_wrote_cannot_steer_the_terminal() {
        let evil = json!({"machines": [{"name": "a\u{1b}[31m\tb\nc", "b\u{7f}\u{9b}31m\nc\u{202e}": "d"}]});
        let evil = answered("kvm1", evil, "");
        for output in [Output::Table, Output::Plain] {
            crate::fuzz::is_shown(&shown(output, std::slice::from_ref(&evil), true));
        }
        assert_eq!(shown(Output::Plain, &[evil], true).lines().count(), 1);
        let name = "a\u{7f}\u{9b}31m\u{202e}b";
        let evil = answered("kvm1", json!({ "name": name }), "");
        let said = shown(Output::Json, &[evil], true);
        assert!(said.is_ascii() && !said.contains('\u{7f}'), "{said:?}");
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["name"], name);
    }
}
