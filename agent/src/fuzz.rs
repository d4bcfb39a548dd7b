//! What a fuzzer feeds the agent with, and what has to hold whatever it makes up: see `scripts/fuzz`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use chrono::{DateTime, FixedOffset, TimeZone, Utc};

pub use crate::viewer::fuzz::viewer;
use crate::{
    alerts::quiet::Quiet,
    approval::window::Window,
    config::Config,
    rights::{
        Whom,
        quota::Bound,
        role::{Defined, read as read_role},
        until,
        written::{self, Terms, Words, Writer, Written},
    },
};

/// A sentence for people, or a part of one: not long, and nothing but text.
fn is_said(said: &str) {
    assert!(!said.trim().is_empty() && said.len() <= 20_000, "{} bytes: {said}", said.len());
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "no text: {said:?}");
}

/// The agent's own configuration: whoever writes it is told what is wrong, and nothing is taken that cannot
/// be used.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let config = match Config::parse(text, Path::new("skerry.toml")) {
        Ok(config) => config,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    config.roles().map_err(|error| assert!(!error.to_string().is_empty())).ok();
    if let Ok(policies) = config.policies() {
        assert_eq!(policies.len(), config.approval.len());
    }
    assert!((Utc::now() + config.trash.keep) > Utc::now(), "a day that there is");
    assert!(config.differs(&config.clone()).is_empty());
}

fn terms(to: &mut Writer, section: &str, terms: &Terms) {
    to.begin(section, "made up");
    to.text("to", &terms.to);
    to.list("what", &terms.what.list());
    if let Some(on) = &terms.on {
        to.list("on", &on.list());
    }
    for (key, value) in [("until", &terms.until), ("because", &terms.because)] {
        if let Some(value) = value {
            to.text(key, value);
        }
    }
}

/// As the agent writes such a file.
fn in_a_file(written: &Written) -> String {
    let mut to = Writer::default();
    to.begin("[roles]", "");
    for (name, words) in &written.roles {
        to.list(&toml::Value::String(name.clone()).to_string(), &words.list());
    }
    written.grant.iter().for_each(|grant| terms(&mut to, "[[grant]]", grant));
    written.deny.iter().for_each(|deny| terms(&mut to, "[[deny]]", deny));
    for quota in &written.quota {
        to.begin("[[quota]]", "");
        to.text("to", &quota.to);
        let numbers = [("machines", quota.machines), ("vcpus", quota.vcpus), ("snapshots", quota.snapshots)];
        let texts = [("memory", &quota.memory), ("disk", &quota.disk)];
        numbers.into_iter().filter_map(|(key, value)| Some((key, value?))).for_each(|(k, v)| to.number(k, v));
        texts.into_iter().filter_map(|(k, v)| Some((k, v.as_ref()?))).for_each(|(k, v)| to.text(k, v));
    }
    to.0
}

/// One word and a list of it are the same.
fn listed(mut written: Written) -> Written {
    let list = |words: &mut Words| *words = Words::Many(words.list());
    written.roles.values_mut().for_each(list);
    for terms in written.grant.iter_mut().chain(&mut written.deny) {
        list(&mut terms.what);
        terms.on.iter_mut().for_each(list);
    }
    written
}

/// A file of rights for `apply`: what is read is read the same from the file that is written of it.
pub fn rights_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = match written::read(text) {
        Ok(read) => listed(read),
        Err(why) => return is_said(&why),
    };
    let file = in_a_file(&read);
    // What no file can say is a quota beyond what TOML counts to.
    let again = written::read(&file).unwrap_or_else(|why| panic!("{why}: {file}"));
    assert_eq!(listed(again), read, "{file}");
}

/// Words that people write times, hours, people and roles with: what is read can be written, and means the
/// same; a moment is one that can be shown, and hours that open do so in the coming week.
pub fn terms_of_rights(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let zone = FixedOffset::east_opt(7200).unwrap();
    let now: DateTime<FixedOffset> = zone.with_ymd_and_hms(2026, 11, 23, 13, 30, 0).unwrap();
    for moment in [until::read(text, &now), until::fixed(text, &now)].into_iter().flatten() {
        let shown = moment.to_rfc3339();
        assert_eq!(
            DateTime::parse_from_rfc3339(&shown).map(|at| at.with_timezone(&Utc)),
            Ok(moment),
            "{text:?}"
        );
        skerry_stanzas::reply::measure::moment(moment);
    }
    if let Some(window) = Window::read(text) {
        let written = window.to_string();
        assert_eq!(Window::read(&written).as_ref(), Some(&window), "{written}");
        let opens = window.opens(&now).unwrap();
        assert!(opens >= now && opens <= now + chrono::Duration::days(8), "{written} opens {opens}");
        assert!(window.is_open(&opens.with_timezone(&zone)), "{written} is not open at {opens}");
    }
    if let Some(whom) = Whom::read(text) {
        assert_eq!(Whom::read(&whom.to_string()), Some(whom.clone()), "{whom}");
    }
    if let Some(bound) = Bound::read(text) {
        assert_eq!(Bound::read(&bound.to_string()), Some(bound.clone()));
    }
    match read_role(text, &Defined::new()) {
        Ok(role) => assert_eq!(read_role(&role, &Defined::new()).as_ref(), Ok(&role)),
        Err((why, _)) => is_said(&why),
    }
    let (hours, zone) = text.split_once('\n').unwrap_or((text, ""));
    if let Err(refusal) = Quiet::parse(hours, zone) {
        is_said(&refusal.sentence());
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn config() {
        replay("config", super::config, 1500);
    }

    #[test]
    fn rights_file() {
        replay("rights_file", super::rights_file, 1500);
    }

    #[test]
    fn terms_of_rights() {
        replay("terms_of_rights", super::terms_of_rights, 2000);
    }

    #[test]
    fn viewer() {
        replay("viewer", super::viewer, 3000);
    }
}
