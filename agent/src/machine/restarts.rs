//! When a machine that ended without being asked to is started again. Pure policy: no clock, no I/O.
//!
//! Soon at first and then ever later, so that a guest that cannot run does not keep its host busy; and
//! after [`TRIES_MAX`] tries in vain no more, so that somebody looks. One that ran for [`STEADY`] is
//! taken to run well: what it did before is forgotten.

use chrono::{DateTime, TimeDelta, Utc};
use hypervisor_core::{
    definition::Restart,
    lifecycle::{Event, Exit, State, Wanted},
};
use serde::{Deserialize, Serialize};

use super::Record;

/// How often it is tried in vain.
pub(crate) const TRIES_MAX: u32 = 5;
/// How long the first try waits; each further one twice as long as the one before.
const PAUSE_FIRST: TimeDelta = TimeDelta::seconds(5);
/// How long it has to run for its earlier tries to be forgotten.
const STEADY: TimeDelta = TimeDelta::minutes(10);

/// How often a machine was started again lately, and when it is the next time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Restarts {
    /// Tries since somebody started it, or since it last ran for long enough.
    pub(crate) tries: u32,
    /// Since when it runs.
    pub(crate) since: Option<DateTime<Utc>>,
    /// When it is started again.
    pub(crate) due: Option<DateTime<Utc>>,
}

impl Restarts {
    /// After how long it is started the next time, when it was started again `tries` times before.
    fn pause(tries: u32) -> TimeDelta {
        PAUSE_FIRST * 2_i32.saturating_pow(tries.min(TRIES_MAX))
    }

    /// What to add to how it is; nothing when it is not to be started again.
    pub(crate) fn sentence(&self) -> Option<String> {
        let due = self.due?;
        Some(format!("started again at {} UTC, try {} of {TRIES_MAX}", due.format("%H:%M:%S"), self.tries))
    }
}

/// What an event makes of it: `now` is what the machine has become by it. `asked` when somebody asked
/// for what happened.
pub(crate) fn after(
    before: &Record,
    event: &Event,
    asked: bool,
    now: &Record,
    at: DateTime<Utc>,
) -> Restarts {
    let was = before.restarts;
    match event {
        // A start that was due is one of the tries; any other begins anew.
        Event::StartAccepted if was.due.is_some() && !asked => Restarts { due: None, ..was },
        Event::StartAccepted | Event::KilledNow => Restarts::default(),
        Event::Started => Restarts { since: Some(at), due: None, ..was },
        _ if now.state == before.state => was,
        _ if is_due(before, now) => tried(was, at),
        _ => match now.state {
            State::Stopped(_) => Restarts::default(),
            _ => Restarts { due: None, ..was },
        },
    }
}

/// Whether it ended in a way after which it is started again.
fn is_due(before: &Record, now: &Record) -> bool {
    // One that moves is the other host's as much as ours: nobody starts it behind the other's back.
    if now.wanted == Wanted::Stopped || matches!(before.state, State::Migrating(_)) {
        return false;
    }
    applies(now)
}

/// Whether its policy has something to say about how it is.
fn applies(record: &Record) -> bool {
    match (record.definition.restart, &record.state) {
        (Restart::OnFailure | Restart::Always, State::Failed(_)) => true,
        (Restart::Always, State::Stopped(Exit::ByGuest | Exit::Found)) => true,
        (Restart::No | Restart::OnFailure | Restart::Always, _) => false,
    }
}

/// After its policy may have been changed: what no longer follows from it is not done.
pub(crate) fn redefined(record: &Record) -> Restarts {
    match record.restarts.due {
        Some(_) if !applies(record) => Restarts::default(),
        _ => record.restarts,
    }
}

/// Whether it is started again when its guest has shut itself down: not while it was asked to.
pub(crate) fn brings_back(record: &Record) -> bool {
    record.definition.restart == Restart::Always && record.state != State::Stopping
}

fn tried(was: Restarts, at: DateTime<Utc>) -> Restarts {
    let steady = was.since.is_some_and(|since| at - since >= STEADY);
    let tries = if steady { 0 } else { was.tries };
    match tries < TRIES_MAX {
        true => Restarts { tries: tries + 1, since: None, due: Some(at + Restarts::pause(tries)) },
        false => Restarts { tries, since: None, due: None },
    }
}

/// What is told besides that it ended; nothing when that says it all.
pub(crate) fn told(before: &Record, now: &Record, at: DateTime<Utc>) -> Option<String> {
    if now.state == before.state || !is_due(before, now) {
        return None;
    }
    let Restarts { tries, due, .. } = now.restarts;
    Some(match due {
        Some(due) => {
            let seconds = (due - at).num_seconds();
            format!("It is started again in {seconds} s (try {tries} of {TRIES_MAX}).")
        }
        None => format!("It was started again {TRIES_MAX} times, and is left alone now."),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hypervisor_core::{
        definition::{Boot, Definition},
        lifecycle::{Cause, Side, next},
        machine::{MachineId, MachineName},
    };

    use super::*;

    fn running(restart: Restart) -> Record {
        let definition = Definition { restart, ..Definition::new(1, 64, Boot::Disk) };
        let name = MachineName::new("web1").unwrap();
        Record::new(MachineId::fresh(), name, definition, "fake", State::Running, "ann".into())
    }

    fn happens(before: &Record, event: &Event, asked: bool, at: DateTime<Utc>) -> Record {
        let mut now = Record { state: next(&before.state, event).unwrap(), ..before.clone() };
        now.restarts = after(before, event, asked, &now, at);
        now
    }

    fn crash() -> Event {
        Event::Crashed(Cause("it broke".into()))
    }

    #[test]
    fn it_is_tried_ever_later_and_then_no_more() {
        let (mut record, mut at) = (running(Restart::OnFailure), Utc::now());
        let mut pauses = Vec::new();
        loop {
            let crashed = happens(&record, &crash(), false, at);
            let Some(due) = crashed.restarts.due else {
                let said = told(&record, &crashed, at);
                assert_eq!(said.unwrap(), "It was started again 5 times, and is left alone now.");
                break;
            };
            pauses.push((due - at).num_seconds());
            at = due;
            let starting = happens(&crashed, &Event::StartAccepted, false, at);
            record = happens(&starting, &Event::Started, false, at);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80]);
        // Somebody starts it: it begins anew.
        let failed = happens(&record, &crash(), false, at);
        let started = happens(&failed, &Event::StartAccepted, true, at);
        assert_eq!(started.restarts, Restarts::default());
    }

    #[test]
    fn one_that_ran_for_long_begins_anew() {
        let (mut record, at) = (running(Restart::OnFailure), Utc::now());
        record.restarts = Restarts { tries: TRIES_MAX, since: Some(at), due: None };
        assert_eq!(happens(&record, &crash(), false, at + TimeDelta::minutes(9)).restarts.due, None);
        assert_eq!(happens(&record, &crash(), false, at + STEADY).restarts.tries, 1);
    }

    #[test]
    fn the_policy_says_after_what() {
        let at = Utc::now();
        for (restart, crashed, halted) in
            [(Restart::No, false, false), (Restart::OnFailure, true, false), (Restart::Always, true, true)]
        {
            let record = running(restart);
            assert_eq!(happens(&record, &crash(), false, at).restarts.due.is_some(), crashed);
            assert_eq!(happens(&record, &Event::GuestHalted, false, at).restarts.due.is_some(), halted);
            // What somebody asked for is never undone.
            assert_eq!(happens(&record, &Event::KilledNow, true, at).restarts.due, None);
            let unwanted = Record { wanted: Wanted::Stopped, ..record.clone() };
            assert_eq!(happens(&unwanted, &crash(), false, at).restarts.due, None);
            let moving = Record { state: State::Migrating(Side::Source), ..record };
            assert_eq!(happens(&moving, &crash(), false, at).restarts.due, None);
        }
    }
}
