//! What the commands about schedules of snapshots answer.

use chrono::{DateTime, Utc};

use super::{Reply, measure};

reply! {
    /// One schedule.
    ScheduleLine {
        /// Its name.
        name: String,
        /// From one to the next.
        every: String,
        /// The time of the day, in UTC, where one is kept to.
        at: Option<String>,
        /// How many of its snapshots are kept.
        keep: u64,
        /// When the next is due.
        due: DateTime<Utc>,
        /// In whose name they are taken.
        by: String,
    }
}
reply! {
    /// The schedules of a machine.
    Schedules {
        /// The machine.
        name: String,
        /// One line each.
        schedules: Vec<ScheduleLine>,
        /// What was changed, when something was.
        sentence: Option<String>,
    }
}

impl Reply for Schedules {
    fn text(&self) -> String {
        if let Some(sentence) = &self.sentence {
            return sentence.clone();
        }
        if self.schedules.is_empty() {
            let name = &self.name;
            return format!(
                "No snapshots of {name} are taken by themselves. Such as: snapshot schedule nightly every=1d keep=7 \
                 at=03:00"
            );
        }
        let lines = self.schedules.iter().map(|line| {
            let at = line.at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
            let (due, by) = (measure::moment(line.due), line.by.split('/').next().unwrap_or_default());
            format!(
                "\n- {}: every {}{at}, {} kept, the next {due}, for {by}",
                line.name, line.every, line.keep
            )
        });
        format!("Snapshots of {} are taken:{}", self.name, lines.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_list_says_when_the_next_is_due() {
        let line = ScheduleLine {
            name: "nightly".into(),
            every: "1day".into(),
            at: Some("03:00".into()),
            keep: 7,
            due: "2026-11-24T03:00:00Z".parse().unwrap(),
            by: "ann@example.org/phone".into(),
        };
        let list = Schedules { name: "web1".into(), schedules: vec![line], sentence: None };
        assert_eq!(
            list.text(),
            "Snapshots of web1 are taken:\n- nightly: every 1day at 03:00, 7 kept, the next 2026-11-24 03:00 UTC, for \
             ann@example.org"
        );
        let none = Schedules { schedules: vec![], ..list };
        assert!(none.text().contains("snapshot schedule nightly"));
    }
}
