//! What the commands of alerts answer.

use chrono::{DateTime, Utc};

use super::{Reply, measure};

reply! {
    /// What somebody is told of.
    AlertLine {
        /// Its number.
        number: u64,
        /// The machine; none when it is the host itself.
        machine: Option<String>,
        /// What has to be so.
        rule: String,
        /// What it has to come back to.
        clear: String,
        /// For how long, in seconds.
        for_seconds: u64,
        /// Since when it is so, when it is.
        since: Option<DateTime<Utc>>,
    }
}
reply! {
    /// What somebody is told of, and when not.
    AlertList {
        /// The host.
        host: String,
        /// One line an alert.
        alerts: Vec<AlertLine>,
        /// The hours at which they are told nothing.
        quiet: Option<String>,
    }
}
reply! {
    /// Somebody is told of something, or no more.
    AlertChanged {
        /// Its number.
        number: u64,
        /// What happened, in a sentence.
        sentence: String,
    }
}
reply! {
    /// At which hours somebody is told nothing.
    QuietHours {
        /// The hours; none when there are none.
        hours: Option<String>,
        /// What happened, in a sentence.
        sentence: String,
    }
}

impl Reply for AlertChanged {
    fn text(&self) -> String {
        self.sentence.clone()
    }
}

impl Reply for QuietHours {
    fn text(&self) -> String {
        self.sentence.clone()
    }
}

impl Reply for AlertList {
    fn text(&self) -> String {
        let quiet = self.quiet.as_ref().map(|hours| format!("\nNothing is told at {hours}."));
        let quiet = quiet.unwrap_or_default();
        if self.alerts.is_empty() {
            return format!("You are told of nothing here. To be told: alert add cpu>90%{quiet}");
        }
        let lines = self.alerts.iter().map(|alert| {
            let of = alert.machine.as_ref().unwrap_or(&self.host);
            let time = measure::duration(alert.for_seconds);
            let since = alert.since.map(|at| format!("; so since {}", measure::moment(at)));
            let since = since.unwrap_or_default();
            format!("- {}: {of} {} for {time}, until {}{since}", alert.number, alert.rule, alert.clear)
        });
        format!("You are told of:\n{}{quiet}", lines.collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn alerts_are_listed_with_what_lasts() {
        let none = AlertList { host: "kvm1".into(), alerts: vec![], quiet: None };
        assert_eq!(none.text(), "You are told of nothing here. To be told: alert add cpu>90%");
        let line = |number: u64, machine: Option<&str>, since: Option<DateTime<Utc>>| AlertLine {
            number,
            machine: machine.map(Into::into),
            rule: "cpu > 90 %".into(),
            clear: "81 %".into(),
            for_seconds: 300,
            since,
        };
        let alerts = vec![line(1, Some("web1"), Some(DateTime::UNIX_EPOCH)), line(4, None, None)];
        let list = AlertList { alerts, quiet: Some("22:00-07:00 +02:00".into()), ..none };
        assert_eq!(
            list.text(),
            "You are told of:\n- 1: web1 cpu > 90 % for 5 min, until 81 %; so since 1970-01-01 00:00 UTC\n\
             - 4: kvm1 cpu > 90 % for 5 min, until 81 %\nNothing is told at 22:00-07:00 +02:00."
        );
    }
}
