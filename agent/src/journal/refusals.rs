//! Refusals in the audit trail, without letting who is refused fill the disk.
//!
//! The first few refusals of a person in a minute are written down one by one, at once. What comes after
//! them is counted, and the count is written when the minute is over. Only so many people are told apart in
//! a minute, of those without any right here fewer than of those who have one; the others are counted by
//! their domain, and when there are many of those, together. So each refusal is in the trail, by itself or in
//! a count; and however many there are, a minute leaves no more than [`ROWS_MAX`] rows.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use skerry_stanzas::{
    command::Declaration,
    refusal::{Reason, Refusal},
    safe::safe_line,
};
use xmpp_parsers::jid::Jid;

use crate::asked::{Asked, Door, Hop, Target};

/// Refusals of one person in a minute that are written one by one.
const EACH_MAX: u32 = 4;
/// The same for a person without any right here.
const STRANGER_MAX: u32 = 1;
/// People with a right that are told apart in a minute.
const PEOPLE_MAX: usize = 64;
/// People without that are told apart.
const STRANGERS_MAX: usize = 8;
/// Domains of further people that are told apart.
const DOMAINS_MAX: usize = 8;
/// How long a minute is.
pub(crate) const WINDOW: std::time::Duration = std::time::Duration::from_secs(60);
/// What a minute leaves at most: people's own rows and their counts, strangers', domains, and the rest.
#[cfg(test)]
const ROWS_MAX: usize =
    PEOPLE_MAX * (EACH_MAX as usize + 1) + STRANGERS_MAX * (STRANGER_MAX as usize + 1) + DOMAINS_MAX + 1;
/// How many permissions a count names.
const NAMED_MAX: usize = 8;
/// How much of an answer is kept, in characters.
const TEXT_MAX: usize = 200;

/// The kind of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusals {
    /// One.
    One,
    /// How many more there were.
    Counted,
}

impl Refusals {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::One => "refused",
            Self::Counted => "refusals",
        }
    }
}

/// A command that was refused before it was accepted. Of its arguments nothing is kept: what is wrong with
/// them may be that a secret stands in the wrong place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Refused {
    /// Who asked: the full address.
    pub(crate) caller: String,
    /// Through which door.
    pub(crate) door: Door,
    /// What: `machine.start`.
    pub(crate) permission: String,
    /// The name of the machine that was named, whether there is one or not.
    pub(crate) name: Option<String>,
    /// Why not.
    pub(crate) reason: Reason,
    /// The argument that was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    /// What was answered, unless it may quote an argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// Why it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) because: Option<String>,
    /// What it passed on its way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hops: Vec<Hop>,
}

/// Further refusals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// Whose: a bare address, a domain, or `*`.
    pub(crate) caller: String,
    /// How many.
    pub(crate) times: u64,
    /// When the first of them was.
    pub(crate) since: DateTime<Utc>,
    /// Some of what was asked for.
    pub(crate) permissions: Vec<String>,
}

/// What is kept of a request while it is looked at.
pub(crate) struct Request {
    caller: Jid,
    door: Door,
    declaration: &'static Declaration,
    target: Target,
    because: Option<String>,
    hops: Vec<Hop>,
}

impl From<&Asked> for Request {
    fn from(asked: &Asked) -> Self {
        Self {
            caller: asked.caller.clone(),
            door: asked.door,
            declaration: asked.declaration,
            target: asked.target.clone(),
            because: asked.because().map(str::to_owned),
            hops: asked.hops.clone(),
        }
    }
}

impl Request {
    /// Who asked.
    pub(crate) fn caller(&self) -> &Jid {
        &self.caller
    }

    /// It was refused so.
    pub(crate) fn refused(self, refusal: &Refusal) -> Refused {
        let quotes = refusal.reason == Reason::BadRequest || refusal.field.is_some();
        let name = match &self.target {
            Target::Machine(name) => Some(name.to_string()),
            Target::Host => None,
        };
        Refused {
            caller: self.caller.to_string(),
            door: self.door,
            permission: self.declaration.permission(),
            name,
            reason: refusal.reason,
            field: refusal.field.as_deref().map(|field| safe_line(field, 40)),
            text: (!quotes).then(|| safe_line(&refusal.text, TEXT_MAX)),
            because: self.because,
            hops: self.hops,
        }
    }
}

/// One whose refusals are counted together.
#[derive(Default)]
struct Tally {
    /// Written one by one.
    written: u32,
    more: u64,
    since: Option<DateTime<Utc>>,
    permissions: Vec<String>,
}

#[derive(Default)]
struct Minute {
    people: HashMap<String, Tally>,
    strangers: HashMap<String, Tally>,
    domains: HashMap<String, Tally>,
    others: Tally,
}

/// The refusals of the minute that is now.
#[derive(Default)]
pub(crate) struct Counter {
    minute: Mutex<Minute>,
}

/// One of a table with room for so many.
fn entry<'a>(table: &'a mut HashMap<String, Tally>, key: &str, max: usize) -> Option<&'a mut Tally> {
    match table.contains_key(key) || table.len() < max {
        true => Some(table.entry(key.to_owned()).or_default()),
        false => None,
    }
}

impl Counter {
    fn lock(&self) -> MutexGuard<'_, Minute> {
        self.minute.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this one is to be written by itself; else it is counted.
    pub(crate) fn takes(&self, caller: &Jid, known: bool, permission: &str, now: DateTime<Utc>) -> bool {
        self.put(caller, (known, true), permission, now)
    }

    /// Counts one, whatever else there is of that person.
    pub(crate) fn counts(&self, caller: &Jid, known: bool, permission: &str, now: DateTime<Utc>) {
        self.put(caller, (known, false), permission, now);
    }

    fn put(
        &self,
        caller: &Jid,
        (known, by_itself): (bool, bool),
        permission: &str,
        now: DateTime<Utc>,
    ) -> bool {
        let mut minute = self.lock();
        let Minute { people, strangers, domains, others } = &mut *minute;
        let (person, domain) = (caller.to_bare().to_string(), caller.domain().to_string());
        let (table, people_max, each_max) = match known {
            true => (people, PEOPLE_MAX, EACH_MAX),
            false => (strangers, STRANGERS_MAX, STRANGER_MAX),
        };
        let tally = match entry(table, &person, people_max) {
            Some(tally) if by_itself && tally.written < each_max => {
                tally.written += 1;
                return true;
            }
            Some(tally) => tally,
            None => entry(domains, &domain, DOMAINS_MAX).unwrap_or(others),
        };
        tally.more += 1;
        tally.since.get_or_insert(now);
        if tally.permissions.len() < NAMED_MAX && tally.permissions.iter().all(|known| known != permission) {
            tally.permissions.push(permission.to_owned());
        }
        false
    }

    /// The minute is over: what was counted, to be written.
    pub(crate) fn over(&self) -> Vec<Counted> {
        let Minute { people, strangers, domains, others } = mem::take(&mut *self.lock());
        let tallies = people.into_iter().chain(strangers).chain(domains).chain([("*".to_owned(), others)]);
        let mut counted: Vec<Counted> = tallies
            .filter_map(|(caller, tally)| {
                let since = tally.since?;
                Some(Counted { caller, times: tally.more, since, permissions: tally.permissions })
            })
            .collect();
        counted.sort_by(|one, other| (one.since, &one.caller).cmp(&(other.since, &other.caller)));
        counted
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    /// Refuses so many people so many things each; how many rows came of it, and how many refusals they are.
    fn flood(people: usize, domains: usize, each: usize, known: bool) -> (usize, u64) {
        let counter = Counter::default();
        let mut rows = 0;
        for n in 0..people {
            let caller = Jid::new(&format!("p{n}@d{}.example/x", n % domains)).unwrap();
            for what in 0..each {
                let permission = format!("machine.{what}");
                rows += usize::from(counter.takes(&caller, known, &permission, Utc::now()));
            }
        }
        let counted = counter.over();
        assert!(counted.iter().all(|counted| counted.permissions.len() <= NAMED_MAX));
        assert!(counter.over().is_empty(), "they are written once");
        (rows + counted.len(), rows as u64 + counted.iter().map(|counted| counted.times).sum::<u64>())
    }

    #[test]
    fn none_is_lost_and_no_flood_leaves_more_than_so_many_rows() {
        for (people, domains, each) in [(1, 1, 1), (1, 1, 4000), (500, 1, 20), (3000, 3000, 3)] {
            for known in [true, false] {
                let (rows, refusals) = flood(people, domains, each, known);
                assert_eq!(refusals, (people * each) as u64, "{people} {domains} {each} {known}");
                assert!(rows <= ROWS_MAX, "{rows} rows of {people} {domains} {each} {known}");
                assert!(known || rows <= 2 * STRANGERS_MAX + DOMAINS_MAX + 1, "{rows} of strangers");
            }
        }
        assert_eq!(flood(1, 1, 4, true), (4, 4), "a few are written one by one");
        assert_eq!(flood(1, 1, 4000, true), (5, 4000));
        assert_eq!(flood(3000, 3000, 3, false), (2 * STRANGERS_MAX + DOMAINS_MAX + 1, 9000));
    }

    #[test]
    fn what_is_only_counted_is_not_written_by_itself() {
        let counter = Counter::default();
        let otto = Jid::new("otto@example.org/x").unwrap();
        counter.counts(&otto, true, "host.create", Utc::now());
        assert!(counter.takes(&otto, true, "host.create", Utc::now()));
        counter.counts(&otto, true, "host.list", Utc::now());
        assert_eq!(counter.over()[0].times, 2);
    }

    #[test]
    fn a_flood_of_strangers_hides_nobody_who_has_a_right() {
        let counter = Counter::default();
        for n in 0..10_000 {
            let eve = Jid::new(&format!("e{n}@x{n}.example/x")).unwrap();
            counter.takes(&eve, false, "host.create", Utc::now());
        }
        assert!(counter.takes(&Jid::new("otto@example.org/x").unwrap(), true, "host.create", Utc::now()));
    }
}
