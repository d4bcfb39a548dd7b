//! What a witness has of heads: a file to which lines are only added, and what of it new heads are held
//! against. A host that tells heads without end, or contradicts itself without end, does not fill the disk
//! by it.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufReader, Write as _},
    path::Path,
};

use serde_json::json;
use skerry_stanzas::audit::{Head, Heads, Noted};
use tokio::time::Instant;

use super::lines::Lines;
use crate::failure::{Failure, Kind, Outcome};

/// Heads of a host that are held in memory; the file has all.
const HELD_MAX: usize = 50_000;
/// The longest line of the file that is read: a head, or an alarm, is shorter.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Heads of a host that are taken in at once: those that its server kept while we were away. A host tells
/// no more than one a second.
const HEADS_AT_ONCE: f64 = 2000.0;
const HEADS_PER_S: f64 = 2.0;
/// The same for its contradictions: the first says it all.
const ALARMS_AT_ONCE: f64 = 20.0;
const ALARMS_PER_S: f64 = 1.0 / 600.0;

/// How often something may still be done: so often at once, and so often in the long run.
struct Allowance {
    left: f64,
    at_once: f64,
    per_s: f64,
    since: Instant,
}

impl Allowance {
    fn of(at_once: f64, per_s: f64) -> Self {
        Self { left: at_once, at_once, per_s, since: Instant::now() }
    }

    fn take(&mut self) -> bool {
        let since = std::mem::replace(&mut self.since, Instant::now());
        self.left =
            (self.left + self.since.duration_since(since).as_secs_f64() * self.per_s).min(self.at_once);
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

/// What is known of one host.
struct Known {
    heads: Heads,
    more_heads: Allowance,
    more_alarms: Allowance,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            heads: Heads::default(),
            more_heads: Allowance::of(HEADS_AT_ONCE, HEADS_PER_S),
            more_alarms: Allowance::of(ALARMS_AT_ONCE, ALARMS_PER_S),
        }
    }
}

/// What became of a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is kept.
    New,
    /// It is known; or one of too many.
    Nothing,
    /// It contradicts what is there: how.
    Alarm(String),
}

/// The file, and what of it new heads are held against.
pub(super) struct Book {
    file: File,
    hosts: BTreeMap<String, Known>,
}

impl Book {
    /// Opens it, and reads what is there.
    pub(super) fn open(path: &Path) -> Outcome<Self> {
        let wrong = |what: String| Failure::usage(format!("{}: {what}", path.display()));
        let unread = |error: io::Error| wrong(error.to_string());
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path).map_err(unread)?;
        let mut hosts: BTreeMap<String, Known> = BTreeMap::new();
        let mut lines = Lines::of(BufReader::new(&file), LINE_BYTES_MAX);
        let mut ended = true;
        while let Some((line, whole)) = lines.next().map_err(unread)? {
            ended = whole;
            let Ok(head) = serde_json::from_str::<Head>(&line) else { continue };
            let known = &mut hosts.entry(head.host.clone()).or_default().heads;
            if let Noted::Contradicts(why) = known.note(&head) {
                return Err(Failure::new(Kind::Refused, format!("{}: {why}", path.display())));
            }
            known.keep_newest(HELD_MAX);
        }
        if !ended {
            // It ended while it wrote: what is whole stays.
            file.write_all(b"\n")?;
        }
        Ok(Self { file, hosts })
    }

    /// The heads of a host that are held in memory.
    pub(super) fn heads(&self, host: &str) -> Option<&Heads> {
        self.hosts.get(host).map(|known| &known.heads)
    }

    /// Takes a head in. A contradiction is written down, too.
    pub(super) fn note(&mut self, head: &Head) -> Outcome<Taken> {
        let known = self.hosts.entry(head.host.clone()).or_default();
        let newer = known.heads.newest().is_none_or(|newest| newest.sequence < head.sequence);
        if newer && !known.more_heads.take() {
            return Ok(Taken::Nothing);
        }
        let noted = known.heads.note(head);
        known.heads.keep_newest(HELD_MAX);
        match noted {
            Noted::Known => Ok(Taken::Nothing),
            Noted::Newer => {
                let Head { host, sequence, hash, at } = head;
                let seen = seen();
                self.write(
                    &json!({ "seen": seen, "host": host, "sequence": sequence, "hash": hash, "at": at }),
                )?;
                Ok(Taken::New)
            }
            Noted::Contradicts(why) => self.contradicts(&head.host, &why.to_string(), &json!(head)),
        }
    }

    /// Writes down that a host contradicts itself, and how; of very many, some.
    pub(super) fn contradicts(&mut self, host: &str, alarm: &str, by: &serde_json::Value) -> Outcome<Taken> {
        if !self.hosts.entry(host.to_owned()).or_default().more_alarms.take() {
            return Ok(Taken::Nothing);
        }
        self.write(&json!({ "seen": seen(), "alarm": alarm, "offered": by }))?;
        Ok(Taken::Alarm(alarm.to_owned()))
    }

    fn write(&mut self, line: &serde_json::Value) -> Outcome<()> {
        writeln!(self.file, "{line}")?;
        Ok(self.file.sync_data()?)
    }
}

fn seen() -> String {
    chrono::Utc::now().to_rfc3339()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn head(sequence: u64, fill: &str) -> Head {
        Head {
            host: "kvm1.example.org".into(),
            sequence,
            hash: fill.repeat(32),
            at: "2026-11-23T17:00:00+00:00".into(),
        }
    }

    #[test]
    fn what_goes_back_or_forks_is_shouted_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads.jsonl");
        let mut book = Book::open(&path).unwrap();
        assert_eq!(book.note(&head(3, "aa")).unwrap(), Taken::New);
        assert_eq!(book.note(&head(3, "aa")).unwrap(), Taken::Nothing, "told twice");
        assert_eq!(book.note(&head(9, "bb")).unwrap(), Taken::New);
        let mut book = Book::open(&path).unwrap();
        let Taken::Alarm(forked) = book.note(&head(9, "cc")).unwrap() else { panic!() };
        assert!(forked.contains("forked"), "{forked}");
        let Taken::Alarm(back) = book.note(&head(5, "dd")).unwrap() else { panic!() };
        assert!(back.contains("went back from entry 9 to 5"), "{back}");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4, "two heads and two alarms: {text}");
        // What a trail is held against is what was seen first.
        let heads = Heads::of_lines(&text, None).unwrap();
        assert_eq!((heads.len(), heads.newest().unwrap().hash.as_str()), (2, "bb".repeat(32).as_str()));
        assert!(Book::open(&path).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_tells_without_end_fills_no_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads.jsonl");
        let mut book = Book::open(&path).unwrap();
        let lines = || std::fs::read_to_string(&path).unwrap().lines().count();
        book.note(&head(1, "aa")).unwrap();
        let known = book.hosts.get_mut("kvm1.example.org").unwrap();
        assert!((known.more_heads.left - (HEADS_AT_ONCE - 1.0)).abs() < 0.1);
        known.more_heads.left = 3.0;
        for sequence in 2..1000 {
            book.note(&head(sequence, "aa")).unwrap();
        }
        assert_eq!(lines(), 4);
        for _ in 0..1000 {
            book.note(&head(1, "bb")).unwrap();
        }
        assert_eq!(lines(), 4 + 20);
        // Later as many as an honest one can tell, and its contradictions as often as they are of use.
        tokio::time::advance(std::time::Duration::from_secs(20)).await;
        for sequence in 1000..2000 {
            book.note(&head(sequence, "aa")).unwrap();
            book.note(&head(1, "cc")).unwrap();
        }
        assert_eq!(lines(), 4 + 20 + 40);
    }
}
