//! Rights as they are written in a file that can be kept: roles, grants, what is denied, quotas.
//!
//! ```toml
//! [roles]
//! night = ["start", "shutdown"]
//!
//! [[grant]]                         # and [[deny]]
//! to = "eve@elsewhere.org"
//! what = ["night", "snapshot"]
//! on = ["web1", "label:lab"]        # all, when left out
//! until = "2027-01-31 18:00"
//! because = "she is on call"
//!
//! [[quota]]
//! to = "everyone"
//! machines = 5
//! memory = "16G"
//! ```

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Deserialize;
use toml::{Table, Value};

use crate::config::keys::nearest;

const TOP: &[&str] = &["roles", "grant", "deny", "quota"];
const TERMS: &[&str] = &["to", "what", "on", "until", "because"];
const QUOTA: &[&str] = &["to", "machines", "vcpus", "memory", "disk", "snapshots"];

/// What a file says.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Written {
    #[serde(default)]
    pub(crate) roles: BTreeMap<String, Words>,
    #[serde(default)]
    pub(crate) grant: Vec<Terms>,
    #[serde(default)]
    pub(crate) deny: Vec<Terms>,
    #[serde(default)]
    pub(crate) quota: Vec<QuotaTerms>,
}

/// One word, or several.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Words {
    One(String),
    Many(Vec<String>),
}

impl Words {
    /// As a command would have them: `a, b`.
    pub(crate) fn line(&self) -> String {
        self.list().join(", ")
    }

    pub(crate) fn list(&self) -> Vec<String> {
        match self {
            Self::One(word) => vec![word.clone()],
            Self::Many(words) => words.clone(),
        }
    }
}

/// What is granted, or denied.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Terms {
    pub(crate) to: String,
    pub(crate) what: Words,
    pub(crate) on: Option<Words>,
    pub(crate) until: Option<String>,
    pub(crate) because: Option<String>,
}

/// How much somebody may have.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct QuotaTerms {
    pub(crate) to: String,
    pub(crate) machines: Option<u64>,
    pub(crate) vcpus: Option<u64>,
    pub(crate) memory: Option<String>,
    pub(crate) disk: Option<String>,
    pub(crate) snapshots: Option<u64>,
}

/// Reads a file.
///
/// # Errors
/// What is wrong with it, in a sentence without an end.
pub(crate) fn read(text: &str) -> Result<Written, String> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
        let at = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        format!("{at}{}", error.message().lines().next().unwrap_or("it is no TOML"))
    })?;
    known("", &table, TOP)?;
    for (section, keys) in [("grant", TERMS), ("deny", TERMS), ("quota", QUOTA)] {
        let Some(list) = table.get_mut(section) else { continue };
        let Value::Array(list) = list else {
            return Err(format!("{section} is a list: write [[{section}]]"));
        };
        for (nth, one) in list.iter_mut().enumerate() {
            let place = format!("{section} {}", nth + 1);
            let Value::Table(one) = one else { return Err(format!("{place} is no table")) };
            known(&place, one, keys)?;
            // A moment may be written as one, too.
            if let Some(until) = one.get_mut("until")
                && let Value::Datetime(at) = until
            {
                *until = Value::String(at.to_string().replacen('T', " ", 1));
            }
        }
    }
    let mut written = Written::default();
    for (section, value) in table {
        let wrong = |error: toml::de::Error| format!("{section}: {}", error.message());
        match section.as_str() {
            "roles" => written.roles = value.try_into().map_err(wrong)?,
            "grant" => written.grant = each(&section, value)?,
            "deny" => written.deny = each(&section, value)?,
            _ => written.quota = each(&section, value)?,
        }
    }
    Ok(written)
}

fn each<T: serde::de::DeserializeOwned>(section: &str, list: Value) -> Result<Vec<T>, String> {
    let Value::Array(list) = list else { return Ok(Vec::new()) };
    let read = |(nth, one): (usize, Value)| {
        one.try_into().map_err(|error: toml::de::Error| format!("{section} {}: {}", nth + 1, error.message()))
    };
    list.into_iter().enumerate().map(read).collect()
}

fn known(place: &str, table: &Table, keys: &[&str]) -> Result<(), String> {
    let Some(odd) = table.keys().find(|key| !keys.contains(&key.as_str())) else { return Ok(()) };
    let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
    let odd = skerry_stanzas::safe::safe_line(odd, 40);
    Err(match nearest(&odd, keys) {
        Some(near) => format!("{place}there is no {odd:?}; is {near:?} meant?"),
        None => format!("{place}there is no {odd:?}; there are: {}", keys.join(", ")),
    })
}

/// Writes a file, piece by piece.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) String);

impl Writer {
    /// A section, and a remark that holds nothing but names and times of ours.
    pub(crate) fn begin(&mut self, section: &str, remark: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        let remark = if remark.is_empty() { String::new() } else { format!(" # {remark}") };
        let _never = writeln!(self.0, "{gap}{section}{remark}");
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        let _never = writeln!(self.0, "{key} = {}", Value::String(value.to_owned()));
    }

    pub(crate) fn number(&mut self, key: &str, value: u64) {
        let _never = writeln!(self.0, "{key} = {value}");
    }

    pub(crate) fn list(&mut self, key: &str, values: &[String]) {
        let values: Vec<Value> = values.iter().cloned().map(Value::String).collect();
        let _never = writeln!(self.0, "{key} = {}", Value::Array(values));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let mut writer = Writer::default();
        writer.begin("[roles]", "");
        writer.list("night", &["machine.start".into()]);
        writer.begin("[[grant]]", "3, by ann@example.org");
        writer.text("to", "eve@elsewhere.org");
        writer.list("what", &["night".into(), "snapshot".into()]);
        writer.text("because", "she said \"yes\"\nand\\no");
        writer.begin("[[quota]]", "");
        writer.text("to", "everyone");
        writer.number("machines", 5);
        let read = read(&writer.0).unwrap();
        assert_eq!(read.roles["night"].list(), ["machine.start"]);
        assert_eq!(read.grant[0].what.line(), "night, snapshot");
        assert_eq!(read.grant[0].because.as_deref(), Some("she said \"yes\"\nand\\no"));
        assert_eq!((read.quota[0].machines, read.quota[0].vcpus), (Some(5), None));
        assert!(read.deny.is_empty());
    }

    #[test]
    fn moments_and_single_words_are_as_people_write_them() {
        let read = read("deny = [{ to = \"x@y\", what = \"kill\", until = 2027-01-31 18:00:00 }]").unwrap();
        assert_eq!(read.deny[0].what.line(), "kill");
        assert_eq!(read.deny[0].until.as_deref(), Some("2027-01-31 18:00:00"));
    }

    #[test]
    fn what_is_not_known_is_refused_with_the_nearest() {
        for (text, says) in [
            ("grants = []", "there is no \"grants\"; is \"grant\" meant?"),
            (
                "[[grant]]\nto = \"x\"\nwhat = \"y\"\nuntill = \"z\"",
                "grant 1: there is no \"untill\"; is \"until\" meant?",
            ),
            ("[[quota]]\nto = \"x\"\ncpus = 1", "quota 1: there is no \"cpus\"; is \"vcpus\" meant?"),
            ("[[deny]]\nto = \"x\"", "deny 1: missing field `what`"),
            ("[[grant]]\nto = 3\nwhat = \"y\"", "grant 1: invalid type"),
            ("grant = 3", "grant is a list: write [[grant]]"),
            ("\n\n[[grant", "line 3: "),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(says), "{text}: {error}");
        }
    }
}
