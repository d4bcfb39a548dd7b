//! The journal: every accepted command, before it runs, and how it ended. Append-only and
//! hash-chained; it is the audit trail.
//!
//! A row is never changed. `hash` is SHA-256 over the hash of the row before it and everything else in
//! the row ([`skerry_stanzas::audit`]), so a row cannot be altered, left out or put elsewhere without
//! breaking every later one. Old rows go into files beside the store ([`segments`]); the chain goes on.

pub(crate) mod refusals;
pub(crate) mod resolve;
pub(crate) mod rows;
pub(crate) mod segments;
pub(crate) mod trail;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use skerry_stanzas::{
    audit,
    command::{COMMANDS, Declaration},
    refusal::Refusal,
    reply::LogLine,
    signature::Signed,
};
use uuid::Uuid;

pub(crate) use self::{refusals::Refusals, rows::verify};
use crate::{
    asked::{Answer, Door, Hop},
    store::StoreError,
};

/// How long a repetition of a request gets the first answer.
pub(crate) const REPEAT_HOURS: i64 = 24;

/// What is written before a command runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Accepted {
    /// Who asked: the full address.
    pub(crate) caller: String,
    /// The rule that allowed it.
    pub(crate) rule: String,
    /// Through which door.
    pub(crate) door: Door,
    /// What: `machine.start`.
    pub(crate) permission: String,
    /// The identity of the machine; the entry's own for one that is to be made.
    pub(crate) machine: Option<Uuid>,
    /// Its name then.
    pub(crate) name: Option<String>,
    /// The parsed arguments.
    pub(crate) args: serde_json::Value,
    /// What makes the request this one.
    pub(crate) key: Option<String>,
    /// Why, as who asked says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) because: Option<String>,
    /// What it passed on its way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hops: Vec<Hop>,
    /// The caller's signature, where one was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<Signed>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// Done.
    Done {
        /// For people.
        text: String,
        /// For programs.
        json: serde_json::Value,
    },
    /// Refused, or failed.
    Refused(Refusal),
    /// The agent ended meanwhile, and what is seen does not say.
    Unknown {
        /// What is known.
        text: String,
    },
}

impl Outcome {
    /// As the caller gets it.
    pub(crate) fn answer(self) -> Answer {
        use skerry_stanzas::refusal::Reason;
        match self {
            Self::Done { text, json } => Answer::Done { text, json },
            Self::Refused(refusal) => Answer::Refused(refusal),
            Self::Unknown { text } => Answer::Refused(
                Refusal::new(Reason::Unavailable, text).hint("Look how things are, then decide anew."),
            ),
        }
    }

    /// In one line, for the log.
    fn line(&self) -> String {
        match self {
            Self::Done { text, .. } => first_line(text).to_owned(),
            Self::Refused(refusal) => refusal.text.clone(),
            Self::Unknown { text } => text.clone(),
        }
    }
}

/// A permission as people say it. One that no command has any more stays as it was written.
fn spoken(permission: &str) -> String {
    let found = COMMANDS.iter().find(|declaration| declaration.permission() == permission);
    found.map_or_else(|| permission.to_owned(), Declaration::spoken)
}

/// The first line that says something: what a guest wrote stands between fences (XEP-0393).
fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("```")).unwrap_or_default()
}

/// An entry that was accepted and not closed.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) entry: Uuid,
    pub(crate) accepted: Accepted,
}

/// What the journal has on a repeated request.
pub(crate) enum Repeated {
    /// It ended so.
    Ended(Box<Outcome>),
    /// It was accepted, and there is no end to it.
    Open,
}

/// Writes down that something was asked for that needs the consent of others.
pub(crate) fn ask(connection: &Connection, entry: Uuid, accepted: &Accepted) -> Result<(), StoreError> {
    append(connection, "asked", entry, &json(accepted)?)
}

/// How an entry ended, if it did.
pub(crate) fn ended(connection: &Connection, entry: Uuid) -> Result<Option<Outcome>, StoreError> {
    let mut query = connection.prepare("SELECT body FROM journal WHERE entry = ?1 AND kind = 'closed'")?;
    let body: Option<String> = query.query_row([entry.to_string()], |row| row.get(0)).optional()?;
    body.map(|body| read(&body)).transpose()
}

/// Writes down that a command is accepted. On the disk when the transaction is.
pub(crate) fn accept(connection: &Connection, entry: Uuid, accepted: &Accepted) -> Result<(), StoreError> {
    append(connection, "accepted", entry, &json(accepted)?)
}

/// Writes down how it ended.
pub(crate) fn close(connection: &Connection, entry: Uuid, outcome: &Outcome) -> Result<(), StoreError> {
    append(connection, "closed", entry, &json(outcome)?)
}

/// Writes down that something was refused, or how often.
pub(crate) fn refused(connection: &Connection, kind: Refusals, body: &str) -> Result<(), StoreError> {
    append(connection, kind.word(), Uuid::now_v7(), body)
}

fn append(connection: &Connection, kind: &str, entry: Uuid, body: &str) -> Result<(), StoreError> {
    let mut last = connection.prepare_cached("SELECT hash FROM journal ORDER BY seq DESC LIMIT 1")?;
    let prev: Vec<u8> = last.query_row([], |row| row.get(0)).optional()?.unwrap_or_default();
    let (at, entry) = (Utc::now().to_rfc3339(), entry.to_string());
    let hash = audit::link(&prev, [&at, kind, &entry, body]);
    connection
        .prepare_cached(
            "INSERT INTO journal (at, kind, entry, body, prev_hash, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((at, kind, entry, body, prev, hash))?;
    Ok(())
}

/// The entries that have no end, oldest first.
pub(crate) fn open(connection: &Connection) -> Result<Vec<Open>, StoreError> {
    let mut query = connection.prepare(
        "SELECT entry, body FROM journal AS one WHERE kind = 'accepted' AND NOT EXISTS
             (SELECT 1 FROM journal WHERE entry = one.entry AND kind = 'closed') ORDER BY seq",
    )?;
    let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        let (entry, body) = row?;
        let entry = entry.parse().map_err(|error| unreadable(&error))?;
        Ok(Open { entry, accepted: read(&body)? })
    })
    .collect()
}

/// What became of the same request, if it was made before. The same key with other words is another
/// request: clients that number their stanzas begin again at 1.
pub(crate) fn repeated(connection: &Connection, request: &Accepted) -> Result<Option<Repeated>, StoreError> {
    let Some(key) = &request.key else { return Ok(None) };
    earlier(connection, &request.caller, key, |earlier| same(earlier, request))
}

/// What became of the newest request of this caller and key that `fits`.
pub(crate) fn earlier(
    connection: &Connection,
    caller: &str,
    key: &str,
    fits: impl Fn(&Accepted) -> bool,
) -> Result<Option<Repeated>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT one.entry, one.at, one.body,
                (SELECT body FROM journal WHERE entry = one.entry AND kind = 'closed')
         FROM journal AS one
         WHERE one.kind = 'accepted' AND json_extract(one.body, '$.caller') = ?1
               AND json_extract(one.body, '$.key') = ?2 ORDER BY one.seq DESC LIMIT 16",
    )?;
    let since = Utc::now() - chrono::Duration::hours(REPEAT_HOURS);
    let rows = query.query_map((caller, key), |row| {
        Ok((row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, Option<String>>(3)?))
    })?;
    for row in rows {
        let (at, body, end) = row?;
        let earlier: Accepted = read(&body)?;
        if time(&at)? < since || !fits(&earlier) {
            continue;
        }
        return Ok(Some(match end {
            Some(end) => Repeated::Ended(Box::new(read(&end)?)),
            None => Repeated::Open,
        }));
    }
    Ok(None)
}

fn same(one: &Accepted, other: &Accepted) -> bool {
    one.permission == other.permission && one.name == other.name && one.args == other.args
}

/// Whether entries since then were put into files, and are in the store no more.
pub(crate) fn put_away_since(connection: &Connection, at: DateTime<Utc>) -> Result<bool, StoreError> {
    let mut query = connection.prepare_cached("SELECT seq, at FROM journal ORDER BY seq LIMIT 1")?;
    let oldest =
        query.query_row([], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?))).optional()?;
    match oldest {
        Some((seq, oldest)) => Ok(seq > 1 && time(&oldest)? > at),
        None => Ok(false),
    }
}

/// The newest entries about a machine, oldest first: those given to it, and the one that made it.
pub(crate) fn about(connection: &Connection, machine: Uuid, limit: u32) -> Result<Vec<LogLine>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT one.at, one.body, (SELECT body FROM journal WHERE entry = one.entry AND kind = 'closed')
         FROM journal AS one
         WHERE one.kind = 'accepted' AND json_extract(one.body, '$.machine') = ?1
         ORDER BY one.seq DESC LIMIT ?2",
    )?;
    let rows = query.query_map((machine.to_string(), limit), |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?))
    })?;
    let mut lines = Vec::new();
    for row in rows {
        let (at, body, end) = row?;
        let accepted: Accepted = read(&body)?;
        let outcome = end.map(|end| read::<Outcome>(&end)).transpose()?;
        lines.push(LogLine {
            at: time(&at)?,
            who: accepted.caller,
            what: spoken(&accepted.permission),
            outcome: outcome.map(|outcome| outcome.line()).unwrap_or_default(),
        });
    }
    lines.reverse();
    Ok(lines)
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| unreadable(&error))
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| unreadable(&error))
}

fn time(text: &str) -> Result<DateTime<Utc>, StoreError> {
    Ok(DateTime::parse_from_rfc3339(text).map_err(|error| unreadable(&error))?.to_utc())
}

fn unreadable(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unreadable(format!("the journal: {error}"))
}

#[cfg(test)]
mod tests;
