//! One line of `skerry events`, in each form.

use std::io::Write;

use chrono::{DateTime, Local, SecondsFormat, Utc};
use skerry_stanzas::{payload::Event, safe::safe_line};

use crate::{cli::Output, failure::Outcome, fleet::Host, render::json::inert};

/// The longest text shown, in characters.
const TEXT_CHARS_MAX: usize = 400;

/// An event, or what is missing, of one host.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// When; of a gap, when it was seen.
    pub(super) at: DateTime<Utc>,
    host: Host,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Event(Event),
    Gap { from: u64, to: u64 },
}

impl Line {
    pub(super) fn event(host: &Host, event: Event) -> Self {
        Self { at: event.at, host: host.clone(), what: What::Event(event) }
    }

    pub(super) fn gap(host: &Host, from: u64, to: u64, at: DateTime<Utc>) -> Self {
        Self { at, host: host.clone(), what: What::Gap { from, to } }
    }

    /// Shows it at once: whoever reads it waits for it.
    pub(super) fn show(&self, out: &mut impl Write, output: Output) -> Outcome<()> {
        let line = match output {
            Output::Table => self.for_people(),
            Output::Plain => self.in_columns(),
            Output::Json => inert(&self.json().to_string()),
        };
        writeln!(out, "{line}")?;
        out.flush()?;
        Ok(())
    }

    fn for_people(&self) -> String {
        let at = self.at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S");
        let text = match &self.what {
            What::Event(event) => {
                let by = event.by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default();
                safe_line(&format!("{}{by}", event.sentence), TEXT_CHARS_MAX)
            }
            What::Gap { from, to } => format!("[events {from} to {to} are no longer there]"),
        };
        format!("{at}  {}  {text}", self.host.name)
    }

    fn in_columns(&self) -> String {
        let at = self.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let (sequence, what, machine, state, text) = match &self.what {
            What::Event(event) => (
                event.sequence.to_string(),
                event.what.as_str(),
                event.machine.as_deref().unwrap_or_default(),
                event.state.as_deref().unwrap_or_default(),
                event.sentence.as_str(),
            ),
            What::Gap { from, to } => (format!("{from}-{to}"), "gap", "", "", ""),
        };
        let jid = self.host.jid.to_string();
        [at.as_str(), &jid, &sequence, what, machine, state, text]
            .map(|cell| safe_line(cell, TEXT_CHARS_MAX))
            .join("\t")
    }

    fn json(&self) -> serde_json::Value {
        let host = self.host.jid.to_string();
        match &self.what {
            What::Event(event) => serde_json::json!({
                "host": host,
                "sequence": event.sequence,
                "at": event.at.to_rfc3339_opts(SecondsFormat::Secs, true),
                "what": event.what,
                "machine": event.machine,
                "state": event.state,
                "generation": event.generation,
                "by": event.by,
                "sentence": event.sentence,
            }),
            What::Gap { from, to } => serde_json::json!({"host": host, "gap": {"from": from, "to": to}}),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use xmpp_parsers::jid::Jid;

    use super::*;

    fn host() -> Host {
        Host { jid: Jid::new("kvm1.example.org").unwrap(), name: "kvm1".into() }
    }

    fn event() -> Event {
        Event {
            sequence: 7,
            at: DateTime::UNIX_EPOCH,
            what: "machine.started".into(),
            machine: Some("web1".into()),
            state: Some("running".into()),
            generation: Some(4),
            by: Some("ann@example.org".into()),
            sentence: "web1 is\u{1b}[31m running.".into(),
        }
    }

    fn shown(line: &Line, output: Output) -> String {
        let mut out = Vec::new();
        line.show(&mut out, output).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_line_a_thing_in_each_form() {
        let line = Line::event(&host(), event());
        assert!(shown(&line, Output::Table).ends_with("  kvm1  web1 is running. (ann@example.org)\n"));
        assert_eq!(
            shown(&line, Output::Plain),
            "1970-01-01T00:00:00Z\tkvm1.example.org\t7\tmachine.started\tweb1\trunning\tweb1 is running.\n"
        );
        let json: serde_json::Value = serde_json::from_str(&shown(&line, Output::Json)).unwrap();
        assert_eq!(
            (&json["host"], &json["sequence"], &json["state"]),
            (&"kvm1.example.org".into(), &7.into(), &"running".into())
        );
    }

    #[test]
    fn a_gap_is_a_line_of_its_own() {
        let gap = Line::gap(&host(), 3, 5, DateTime::UNIX_EPOCH);
        assert!(shown(&gap, Output::Table).contains("[events 3 to 5 are no longer there]"));
        assert!(shown(&gap, Output::Plain).contains("\t3-5\tgap\t"));
        let json: serde_json::Value = serde_json::from_str(&shown(&gap, Output::Json)).unwrap();
        assert_eq!(json, serde_json::json!({"host": "kvm1.example.org", "gap": {"from": 3, "to": 5}}));
    }
}
