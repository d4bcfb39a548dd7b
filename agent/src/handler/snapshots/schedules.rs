//! Schedules: snapshots that are taken by themselves, and deleted when there are enough newer ones.
//!
//! They stand in a file in the machine's folder, and so go where it goes. Each snapshot is asked for as any
//! other, in the name of who made the schedule, with what that person may do then: in the journal, one at a
//! time, and once for each moment, however often the agent was restarted.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::Path,
    time::Duration,
};

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use skerry_stanzas::{
    command::machine::{SnapshotSchedule, SnapshotSchedules, SnapshotUnschedule},
    refusal::{Reason, Refusal},
    reply::{self, ScheduleLine, measure},
};

use super::{SNAPSHOTS_MAX, is_name};
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    handler::{Handle, storage::no_file},
};

/// The file's name.
const FILE: &str = "schedules.json";
/// Schedules of one machine.
const SCHEDULES_MAX: usize = 8;
/// The shortest and the longest time between two.
const EVERY: std::ops::RangeInclusive<u64> = 300..=366 * DAY;
const DAY: u64 = 86_400;
/// The longest name: a moment follows it.
const NAME_MAX: usize = 20;

/// When snapshots are to be taken of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schedule {
    /// Seconds from one to the next.
    every: u64,
    /// How many are kept.
    pub(crate) keep: usize,
    /// At which time of the day, where that was said.
    at: Option<NaiveTime>,
    /// Who made it: in whose name they are taken.
    pub(crate) by: String,
    /// When the next is due.
    pub(crate) due: DateTime<Utc>,
    /// Those that were taken, or about to be, and are not known to be gone; oldest first.
    #[serde(default)]
    pub(crate) taken: Vec<String>,
}

/// All of a machine, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schedules(pub(crate) BTreeMap<String, Schedule>);

impl Schedule {
    /// The first moment after `now` at which one is due, when one was due at `before`. Those in between were
    /// missed, and are not made up for.
    pub(crate) fn next(&self, before: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let every = i64::try_from(self.every).unwrap_or(i64::MAX).max(1);
        let gone = (now - before).num_seconds().max(0);
        let steps = gone / every + 1;
        before + TimeDelta::try_seconds(every.saturating_mul(steps)).unwrap_or(TimeDelta::days(366))
    }

    /// When the first is due.
    fn first(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let Some(at) = self.at else { return self.next(now, now) };
        let today = now.date_naive().and_time(at).and_utc();
        if today > now { today } else { today + Days::new(1) }
    }

    /// What the one of this moment is called.
    pub(crate) fn name(title: &str, due: DateTime<Utc>) -> String {
        format!("{title}-{}", due.format("%Y%m%d-%H%M"))
    }

    fn line(&self, name: &str) -> ScheduleLine {
        ScheduleLine {
            name: name.to_owned(),
            every: humantime::format_duration(Duration::from_secs(self.every)).to_string(),
            at: self.at.map(|at| at.format("%H:%M").to_string()),
            keep: self.keep as u64,
            due: self.due,
            by: self.by.clone(),
        }
    }
}

impl Schedules {
    /// Those of a machine; none where there are none, or where they cannot be read.
    pub(crate) fn read(folder: &Path) -> Self {
        let Ok(text) = fs::read(folder.join(FILE)) else { return Self::default() };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::error!(folder = %folder.display(), %error, "its schedules cannot be read");
            Self::default()
        })
    }

    /// Writes them in place of the old ones: killed at any moment, there are the ones or the others.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let beside = folder.join("schedules.json.new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(beside, folder.join(FILE))
    }
}

impl Handle<SnapshotSchedule> for Agent {
    async fn handle(&self, job: &Job, command: SnapshotSchedule) -> Result<reply::Schedules, Refusal> {
        let machine = job.machine()?;
        let folder = &machine.card.folder;
        let refused = |field: &str, text: String| Refusal::new(Reason::BadRequest, text).field(field);
        if !is_name(&command.name) || command.name.len() > NAME_MAX {
            return Err(refused("name", format!("{:?} cannot be the name of a schedule.", command.name))
                .hint("Begin with a letter; small letters, digits, - _ and . may follow, 20 in all."));
        }
        let every = command.every.as_secs();
        if !EVERY.contains(&every) {
            return Err(refused("every", "Every five minutes to once a year is possible.".into()));
        }
        let at = command.at.as_deref().map(time_of_day).transpose()?;
        if at.is_some() && !every.is_multiple_of(DAY) {
            return Err(refused("at", "A time of the day goes with whole days only: every=1d.".into()));
        }
        let keep = usize::try_from(command.keep).unwrap_or(usize::MAX);
        // One task at a time changes them: nobody else's change is lost.
        let _alone = self.inner.schedules.lock().await;
        let mut schedules = Schedules::read(folder);
        let others = schedules.0.iter().filter(|(name, _)| **name != command.name);
        let kept: usize = others.map(|(_, schedule)| schedule.keep).sum();
        if keep == 0 || kept.saturating_add(keep) >= SNAPSHOTS_MAX {
            let text = format!("One to {} can be kept here.", SNAPSHOTS_MAX.saturating_sub(kept + 1));
            return Err(refused("keep", text).hint("A machine has 32 snapshots at most, all together."));
        }
        if schedules.0.len() >= SCHEDULES_MAX && !schedules.0.contains_key(&command.name) {
            let text = format!("A machine has {SCHEDULES_MAX} schedules at most.");
            return Err(Refusal::new(Reason::Limit, text));
        }
        let taken = schedules.0.remove(&command.name).map(|before| before.taken).unwrap_or_default();
        let mut schedule = Schedule { every, keep, at, by: job.by(), due: Utc::now(), taken };
        schedule.due = schedule.first(Utc::now());
        let due = schedule.due;
        schedules.0.insert(command.name.clone(), schedule);
        schedules.write(folder).map_err(|error| no_file(&machine.record().name, &error))?;
        crash::point("schedule-written");
        let name = machine.record().name.to_string();
        let sentence = format!(
            "Snapshots of {name} are taken by the schedule {}: the next at {}, and {keep} are kept.",
            command.name,
            measure::moment(due)
        );
        self.tell(job, &machine.record(), "machine.snapshot-scheduled", &sentence).await;
        Ok(reply::Schedules { name, schedules: lines(&schedules), sentence: Some(sentence) })
    }
}

impl Handle<SnapshotSchedules> for Agent {
    async fn handle(&self, job: &Job, _command: SnapshotSchedules) -> Result<reply::Schedules, Refusal> {
        let machine = job.machine()?;
        let schedules = lines(&Schedules::read(&machine.card.folder));
        Ok(reply::Schedules { name: machine.record().name.to_string(), schedules, sentence: None })
    }
}

impl Handle<SnapshotUnschedule> for Agent {
    async fn handle(&self, job: &Job, command: SnapshotUnschedule) -> Result<reply::Schedules, Refusal> {
        let machine = job.machine()?;
        let name = machine.record().name.to_string();
        let _alone = self.inner.schedules.lock().await;
        let mut schedules = Schedules::read(&machine.card.folder);
        if schedules.0.remove(&command.name).is_none() {
            let text = format!("{name} has no schedule {:?}.", command.name);
            let names: Vec<&str> = schedules.0.keys().map(String::as_str).collect();
            let refusal = Refusal::new(Reason::NotFound, text).field("name");
            return Err(match names.as_slice() {
                [] => refusal.hint("It has none."),
                names => refusal.hint(format!("It has: {}.", names.join(", "))),
            });
        }
        let written = schedules.write(&machine.card.folder);
        written.map_err(|error| no_file(&machine.record().name, &error))?;
        crash::point("schedule-written");
        let sentence = format!("The schedule {} of {name} is ended. What it took stays.", command.name);
        self.tell(job, &machine.record(), "machine.snapshot-unscheduled", &sentence).await;
        Ok(reply::Schedules { name, schedules: lines(&schedules), sentence: Some(sentence) })
    }
}

fn lines(schedules: &Schedules) -> Vec<ScheduleLine> {
    schedules.0.iter().map(|(name, schedule)| schedule.line(name)).collect()
}

fn time_of_day(text: &str) -> Result<NaiveTime, Refusal> {
    NaiveTime::parse_from_str(text.trim(), "%H:%M").map_err(|_| {
        Refusal::new(Reason::BadRequest, format!("{text:?} is no time of the day."))
            .field("at")
            .hint("Such as 03:00; it is meant in UTC.")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn schedule(every: u64, at: Option<&str>) -> Schedule {
        let at = at.map(|at| time_of_day(at).unwrap());
        Schedule { every, keep: 3, at, by: "ann@example.org".into(), due: Utc::now(), taken: vec![] }
    }

    #[test]
    fn what_was_missed_is_taken_once() {
        let hourly = schedule(3600, None);
        let (due, now) = (at("2026-11-23T10:00:00Z"), at("2026-11-23T10:00:01Z"));
        assert_eq!(hourly.next(due, now), at("2026-11-23T11:00:00Z"));
        assert_eq!(hourly.next(due, at("2026-11-23T15:30:00Z")), at("2026-11-23T16:00:00Z"));
        assert_eq!(hourly.next(due, at("2026-11-23T11:00:00Z")), at("2026-11-23T12:00:00Z"));
        // A clock that was put back.
        assert_eq!(hourly.next(due, at("2026-11-23T08:00:00Z")), at("2026-11-23T11:00:00Z"));
    }

    #[test]
    fn a_time_of_the_day_is_kept() {
        let nightly = schedule(DAY, Some("03:00"));
        assert_eq!(nightly.first(at("2026-11-23T02:59:00Z")), at("2026-11-23T03:00:00Z"));
        assert_eq!(nightly.first(at("2026-11-23T03:00:00Z")), at("2026-11-24T03:00:00Z"));
        let due = at("2026-11-23T03:00:00Z");
        assert_eq!(nightly.next(due, at("2026-11-30T12:00:00Z")), at("2026-12-01T03:00:00Z"));
        assert_eq!(Schedule::name("daily", due), "daily-20261123-0300");
        assert!(time_of_day("25:00").is_err());
    }

    #[test]
    fn they_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Schedules::read(folder.path()), Schedules::default());
        let one = Schedules(BTreeMap::from([("daily".into(), schedule(DAY, Some("03:00")))]));
        one.write(folder.path()).unwrap();
        assert_eq!(Schedules::read(folder.path()), one);
    }
}
