//! What the commands about long work answer.

use chrono::{DateTime, Utc};

use super::{Reply, measure};

reply! {
    /// One command under way.
    JobLine {
        /// What to call it by.
        id: String,
        /// The command.
        what: String,
        /// The machine it is about.
        machine: Option<String>,
        /// Who asked for it.
        by: String,
        /// Since when.
        started_at: DateTime<Utc>,
        /// How much of it is done, in percent, when that is known.
        percent: Option<u8>,
        /// How it goes.
        sentence: String,
        /// Whether it can be called off now.
        can_be_cancelled: bool,
    }
}
reply! {
    /// What is under way.
    JobList {
        /// One line a command, oldest first.
        jobs: Vec<JobLine>,
    }
}
reply! {
    /// A command that was called off.
    Cancelled {
        /// What it was called by.
        id: String,
        /// What became of it.
        sentence: String,
    }
}

impl Reply for JobList {
    fn text(&self) -> String {
        if self.jobs.is_empty() {
            return "Nothing is under way.".into();
        }
        let lines = self.jobs.iter().map(|job| {
            let on = job.machine.as_ref().map(|machine| format!(" of {machine}")).unwrap_or_default();
            let since = measure::moment(job.started_at);
            let says = if job.sentence.is_empty() { String::new() } else { format!("\n  {}", job.sentence) };
            format!("- {}: {}{on}, for {}, since {since}{says}", job.id, job.what, job.by)
        });
        let lines: Vec<String> = lines.collect();
        let mut text = format!("Under way:\n{}", lines.join("\n"));
        if let Some(job) = self.jobs.iter().find(|job| job.can_be_cancelled) {
            text.push_str(&format!("\nTo call one off: job cancel {}", job.id));
        }
        text
    }
}

impl Reply for Cancelled {
    fn text(&self) -> String {
        self.sentence.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_is_under_way_says_how_far_it_is_and_how_to_call_it_off() {
        assert_eq!(JobList { jobs: vec![] }.text(), "Nothing is under way.");
        let job = JobLine {
            id: "66jf".into(),
            what: "image import".into(),
            machine: None,
            by: "ann@example.org".into(),
            started_at: DateTime::UNIX_EPOCH,
            percent: Some(45),
            sentence: "debian-12 is being fetched: 45 %.".into(),
            can_be_cancelled: true,
        };
        let text = JobList { jobs: vec![job.clone()] }.text();
        assert_eq!(
            text,
            "Under way:\n- 66jf: image import, for ann@example.org, since 1970-01-01 00:00 UTC\n\
             \x20 debian-12 is being fetched: 45 %.\nTo call one off: job cancel 66jf"
        );
        let fixed = JobLine { can_be_cancelled: false, machine: Some("web1".into()), ..job };
        let text = JobList { jobs: vec![fixed] }.text();
        assert!(text.contains("image import of web1") && !text.contains("call one off"), "{text}");
    }
}
