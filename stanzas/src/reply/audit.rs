//! What the commands of the audit trail answer.

use chrono::{DateTime, Utc};

use super::{Reply, measure};
use crate::safe::safe_line;

reply! {
    /// Something that was asked, and what came of it.
    AuditEntry {
        /// The number of its row.
        number: u64,
        /// When.
        at: DateTime<Utc>,
        /// Who asked: the full address; of several that were counted together an address, a domain or `*`.
        who: String,
        /// Through which door; none of several.
        door: Option<String>,
        /// What: the permission.
        what: String,
        /// The machine that was named.
        machine: Option<String>,
        /// The rule that allowed it; none of what was refused.
        rule: Option<String>,
        /// The arguments, as JSON.
        args: Option<String>,
        /// Whether it was carried out: `done`, `refused`, `failed`, `open`, `unknown`.
        result: String,
        /// What was answered.
        outcome: String,
        /// When it was answered.
        ended: Option<DateTime<Utc>>,
        /// How many times, of what was counted.
        times: u64,
        /// Why, as who asked says.
        because: Option<String>,
        /// What it passed on its way.
        way: Vec<String>,
        /// The hash of its row.
        hash: String,
    }
}
reply! {
    /// Entries of the audit trail.
    AuditEntries {
        /// Oldest first.
        entries: Vec<AuditEntry>,
        /// Where a search goes on: before this entry. None when that was all.
        before: Option<u64>,
        /// Whether one was asked for by its number.
        one: bool,
    }
}
reply! {
    /// A page of the audit trail.
    AuditPage {
        /// The rows, each a line of JSON.
        rows: Vec<String>,
        /// Where the next page begins: after this entry. None when that was all.
        after: Option<u64>,
    }
}
reply! {
    /// The audit trail is whole.
    AuditVerified {
        /// The number of the first entry that is here; 0 when there is none.
        first: u64,
        /// The number of the last.
        last: u64,
        /// The hash of the last.
        hash: String,
        /// How many heads of witnesses it was held against.
        held: u64,
    }
}
reply! {
    /// Somebody who is told each head.
    WitnessLine {
        /// The address.
        jid: String,
        /// Whether it is in the configuration; else it was made by command.
        configured: bool,
    }
}
reply! {
    /// Who is told each head.
    WitnessList {
        /// One line each.
        witnesses: Vec<WitnessLine>,
    }
}
reply! {
    /// Somebody is told each head from now on, or no more.
    WitnessChanged {
        /// The address.
        jid: String,
        /// What happened, in a sentence.
        sentence: String,
    }
}

impl AuditEntry {
    fn what(&self) -> String {
        let verb =
            self.what.split_once('.').map_or(self.what.as_str(), |(_, verb)| verb).replacen('-', " ", 1);
        match &self.machine {
            Some(machine) => format!("{verb} {machine}"),
            None => verb,
        }
    }

    fn line(&self) -> String {
        let said = self.outcome.lines().find(|line| !line.starts_with("```")).unwrap_or_default();
        let outcome = match (self.times, self.result.as_str(), said) {
            (2.., ..) => format!("refused {} times", self.times),
            (_, "open", _) => "under way".to_owned(),
            (_, "refused" | "failed", said) => format!("{}: {}", self.result, safe_line(said, 80)),
            (_, _, said) => safe_line(said, 80),
        };
        let because = self.because.as_ref().map(|why| format!(" (because {})", safe_line(why, 80)));
        format!(
            "- {} {} {}, {}: {outcome}{}",
            self.number,
            measure::moment(self.at),
            self.what(),
            self.who.split('/').next().unwrap_or_default(),
            because.unwrap_or_default()
        )
    }

    fn whole(&self) -> String {
        let mut lines = vec![format!("*{}*: {} by {}", self.number, self.what(), self.who)];
        let mut say = |name: &str, value: Option<String>| {
            lines.extend(value.filter(|value| !value.is_empty()).map(|value| format!("- {name}: {value}")));
        };
        say("when", Some(self.at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)));
        say("because", self.because.as_ref().map(|why| safe_line(why, 240)));
        say("by way of", Some(self.way.join("; ")));
        say("door", self.door.clone());
        say("allowed by", self.rule.clone());
        say("arguments", self.args.as_ref().map(|args| safe_line(args, 1000)));
        say("result", Some(self.result.clone()));
        say("times", (self.times > 1).then(|| self.times.to_string()));
        say("answered", Some(safe_line(self.outcome.lines().next().unwrap_or_default(), 240)));
        say("ended", self.ended.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)));
        say("hash", Some(self.hash.clone()));
        lines.join("\n")
    }
}

impl Reply for AuditEntries {
    fn text(&self) -> String {
        let mut text = match self.entries.as_slice() {
            [] => return "There is nothing like that in the audit trail.".into(),
            [one] if self.one => one.whole(),
            entries => entries.iter().map(AuditEntry::line).collect::<Vec<_>>().join("\n"),
        };
        if let Some(before) = self.before {
            text.push_str(&format!("\nThere is more: add before={before}."));
        }
        text
    }
}

impl Reply for AuditPage {
    fn text(&self) -> String {
        let count = measure::count(self.rows.len() as u64, "entry");
        match self.after {
            Some(after) => format!(
                "{count}; the next page begins with after={after}. \"skerry audit export\" writes all of it into a file."
            ),
            None => format!("{count}, and no more. \"skerry audit export\" writes all of it into a file."),
        }
    }
}

impl Reply for AuditVerified {
    fn text(&self) -> String {
        if self.last == 0 {
            return "The audit trail is empty.".into();
        }
        let held = match self.held {
            0 => "; it was not held against a witness, without whom a missing end is not seen".to_owned(),
            held => format!("; it agrees with {}", measure::count(held, "head")),
        };
        let first = match self.first {
            1 => String::new(),
            first => format!(" (it begins with entry {first}: what was before is not here)"),
        };
        format!(
            "The audit trail is whole up to entry {}{first}{held}.\nIts hash is {}.",
            self.last, self.hash
        )
    }
}

impl Reply for WitnessList {
    fn text(&self) -> String {
        if self.witnesses.is_empty() {
            return "Nobody is told the heads of the audit trail. \"witness add JID\" changes that.".into();
        }
        let line = |witness: &WitnessLine| {
            let from = if witness.configured { " (by the configuration)" } else { "" };
            format!("- {}{from}", witness.jid)
        };
        self.witnesses.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Reply for WitnessChanged {
    fn text(&self) -> String {
        self.sentence.clone()
    }
}
