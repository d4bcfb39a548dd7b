//! The audit trail, for those who may look at it, and who is told its heads.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use skerry_stanzas::{
    audit::{self, Head, Heads, Row},
    command::host,
    refusal::{Reason, Refusal},
    reply::{AuditEntries, AuditEntry, AuditPage, AuditVerified, WitnessChanged, WitnessLine, WitnessList},
};
use xmpp_parsers::jid::BareJid;

use super::Handle;
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    journal::{
        Accepted, Outcome,
        refusals::{Counted, Refused},
        trail::TrailError,
    },
};

/// The most entries in one answer.
const ENTRIES_MAX: usize = 200;
/// Rows that one search looks at; it says where to go on.
const LOOKED_MAX: usize = 20_000;
/// Rows read at a time.
const CHUNK: usize = 1000;
/// About how much of the trail goes into one page: well below what a server takes in one stanza.
const PAGE_BYTES: usize = 32 * 1024;
/// The most witnesses made by command.
const WITNESSES_MAX: usize = 16;

impl From<TrailError> for Refusal {
    fn from(error: TrailError) -> Self {
        match error {
            TrailError::Store(error) => error.into(),
            TrailError::Files(error) => {
                crate::reference::internal("The audit trail could not be read", &error)
            }
        }
    }
}

/// What a search wants.
#[derive(Default)]
struct Wanted {
    text: Option<String>,
    who: Option<String>,
    what: Option<String>,
    machine: Option<String>,
    since: Option<DateTime<Utc>>,
    refused: bool,
}

impl Wanted {
    fn fits(&self, entry: &AuditEntry) -> bool {
        let who = |wanted: &String| {
            let bare = entry.who.split('/').next().unwrap_or_default();
            bare == wanted || bare.split_once('@').is_some_and(|(_, domain)| domain == wanted)
        };
        let verb = || entry.what.split_once('.').map_or("", |(_, verb)| verb);
        let what = |wanted: &String| entry.what == *wanted || verb() == wanted.replace(' ', "-");
        let refused = matches!(entry.result.as_str(), "refused" | "failed");
        self.who.as_ref().is_none_or(who)
            && self.what.as_ref().is_none_or(what)
            && self.machine.as_ref().is_none_or(|wanted| entry.machine.as_ref() == Some(wanted))
            && (refused || !self.refused)
            && self.text.as_ref().is_none_or(|wanted| says(entry, wanted))
    }
}

/// Whether a text stands anywhere in an entry, whatever its capitals.
fn says(entry: &AuditEntry, wanted: &str) -> bool {
    let wanted = wanted.to_lowercase();
    let parts = [Some(&entry.who), Some(&entry.what), entry.machine.as_ref(), entry.args.as_ref()];
    let more = [Some(&entry.outcome), entry.because.as_ref(), entry.rule.as_ref()];
    parts.into_iter().chain(more).flatten().any(|part| part.to_lowercase().contains(&wanted))
}

fn read<T: DeserializeOwned>(row: &Row) -> Option<T> {
    serde_json::from_str(&row.body).ok()
}

fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).unwrap_or_default()
}

/// An entry about which nothing is known yet but its row.
fn blank(row: &Row) -> AuditEntry {
    AuditEntry {
        number: row.seq,
        at: time(&row.at),
        who: String::new(),
        door: None,
        what: String::new(),
        machine: None,
        rule: None,
        args: None,
        result: "unknown".into(),
        outcome: String::new(),
        ended: None,
        times: 1,
        because: None,
        way: Vec::new(),
        hash: audit::hex(&row.hash),
    }
}

fn door(door: crate::asked::Door) -> Option<String> {
    serde_json::to_value(door).ok()?.as_str().map(str::to_owned)
}

/// What a row says, with the row that ended it; none of a row that ends another.
fn entry(row: &Row, end: Option<&Row>) -> Option<AuditEntry> {
    let blank = blank(row);
    match row.kind.as_str() {
        "accepted" | "asked" => {
            let accepted: Accepted = read(row)?;
            let outcome: Option<Outcome> = end.and_then(read);
            let (result, outcome) = match outcome {
                // What became of it has an entry of its own.
                _ if row.kind == "asked" => ("asked", "others have to agree".to_owned()),
                None => ("open", String::new()),
                Some(Outcome::Done { text, .. }) => ("done", text),
                Some(Outcome::Refused(refusal)) => ("failed", refusal.text),
                Some(Outcome::Unknown { text }) => ("unknown", text),
            };
            Some(AuditEntry {
                who: accepted.caller,
                door: door(accepted.door),
                what: accepted.permission,
                machine: accepted.name,
                rule: Some(accepted.rule),
                args: Some(accepted.args.to_string()).filter(|args| args != "{}" && args != "null"),
                result: result.into(),
                outcome,
                ended: end.map(|end| time(&end.at)),
                because: accepted.because,
                way: accepted.hops.iter().map(crate::hop::Hop::sentence).collect(),
                ..blank
            })
        }
        "refused" => {
            let refused: Refused = read(row)?;
            let what = refused
                .field
                .map(|field| format!("{} is wrong", skerry_stanzas::safe::safe_line(&field, 40)));
            Some(AuditEntry {
                who: refused.caller,
                door: door(refused.door),
                what: refused.permission,
                machine: refused.name,
                result: "refused".into(),
                outcome: refused.text.or(what).unwrap_or_else(|| refused.reason.word().to_owned()),
                because: refused.because,
                way: refused.hops.iter().map(crate::hop::Hop::sentence).collect(),
                ..blank
            })
        }
        "refusals" => {
            let counted: Counted = read(row)?;
            Some(AuditEntry {
                who: counted.caller,
                what: counted.permissions.join(", "),
                result: "refused".into(),
                outcome: format!("{} more since {}", counted.times, counted.since.to_rfc3339()),
                times: counted.times,
                ..blank
            })
        }
        _ => None,
    }
}

impl Agent {
    /// Goes back through the trail from before a number, until so many are found or enough was looked at.
    async fn search_back(
        &self,
        before: Option<u64>,
        limit: usize,
        wanted: &Wanted,
    ) -> Result<AuditEntries, Refusal> {
        let (mut from, mut looked) = (before.unwrap_or(u64::MAX), 0);
        let (mut entries, mut ends) = (Vec::new(), HashMap::new());
        // What was accepted before it may have ended after it.
        if let Some(before) = before {
            let later = self.inner.trail.after(before.saturating_sub(1), CHUNK).await?;
            ends.extend(
                later.into_iter().filter(|row| row.kind == "closed").map(|row| (row.entry.clone(), row)),
            );
        }
        let more = loop {
            let rows = self.inner.trail.before(from, CHUNK).await?;
            let Some(last) = rows.last().map(|row| row.seq) else { break None };
            for row in rows {
                looked += 1;
                if row.kind == "closed" {
                    ends.insert(row.entry.clone(), row);
                    continue;
                }
                let Some(found) = entry(&row, ends.remove(&row.entry).as_ref()) else { continue };
                if wanted.since.is_some_and(|since| found.at < since) {
                    entries.reverse();
                    return Ok(AuditEntries { entries, before: None, one: false });
                }
                if wanted.fits(&found) {
                    entries.push(found);
                }
                if entries.len() >= limit {
                    break;
                }
            }
            match entries.last().filter(|_| entries.len() >= limit) {
                Some(found) => break Some(found.number),
                None if looked >= LOOKED_MAX => break Some(last),
                None => from = last,
            }
        };
        entries.reverse();
        Ok(AuditEntries { entries, before: more.filter(|more| *more > 1), one: false })
    }
}

impl Handle<host::AuditShow> for Agent {
    async fn handle(&self, _job: &Job, command: host::AuditShow) -> Result<AuditEntries, Refusal> {
        let Some(number) = command.number else {
            let limit = usize::try_from(command.last).unwrap_or(usize::MAX).clamp(1, ENTRIES_MAX);
            let found = self.search_back(None, limit, &Wanted::default()).await?;
            return Ok(AuditEntries { before: None, ..found });
        };
        let missing = || {
            Refusal::new(Reason::NotFound, format!("There is no entry {number} in the audit trail."))
                .field("number")
                .hint("\"audit show\" shows the last ones.")
        };
        let rows = self.inner.trail.after(number.saturating_sub(1), CHUNK).await?;
        let row = rows.first().filter(|row| row.seq == number).ok_or_else(missing)?;
        // The row that ends something is shown with what it ends.
        if row.kind == "closed" {
            let earlier = self.inner.trail.before(number, LOOKED_MAX).await?;
            let begun = earlier.iter().find(|begun| begun.entry == row.entry).ok_or_else(missing)?;
            let entries = entry(begun, Some(row)).into_iter().collect();
            return Ok(AuditEntries { entries, before: None, one: true });
        }
        let mut end = rows.iter().find(|end| end.entry == row.entry && end.kind == "closed").cloned();
        if end.is_none() && row.kind == "accepted" && rows.len() >= CHUNK {
            let later = self.inner.trail.after(number, LOOKED_MAX).await?;
            end = later.into_iter().find(|end| end.entry == row.entry && end.kind == "closed");
        }
        let entries: Vec<AuditEntry> = entry(row, end.as_ref()).into_iter().collect();
        match entries.is_empty() {
            true => Err(missing()),
            false => Ok(AuditEntries { entries, before: None, one: true }),
        }
    }
}

impl Handle<host::AuditSearch> for Agent {
    async fn handle(&self, _job: &Job, command: host::AuditSearch) -> Result<AuditEntries, Refusal> {
        let since = command.within.and_then(|time| chrono::Duration::from_std(time).ok());
        let wanted = Wanted {
            text: command.text,
            who: command.who,
            what: command.what,
            machine: command.machine,
            since: since.and_then(|time| Utc::now().checked_sub_signed(time)),
            refused: command.refused,
        };
        let limit = usize::try_from(command.limit).unwrap_or(usize::MAX).clamp(1, ENTRIES_MAX);
        self.search_back(command.before, limit, &wanted).await
    }
}

impl Handle<host::AuditExport> for Agent {
    async fn handle(&self, _job: &Job, command: host::AuditExport) -> Result<AuditPage, Refusal> {
        let limit = usize::try_from(command.limit).unwrap_or(usize::MAX).clamp(1, CHUNK);
        let found = self.inner.trail.after(command.after, limit).await?;
        let (count, mut bytes) = (found.len(), 0);
        let (mut rows, mut last) = (Vec::new(), None);
        for row in found {
            let line = row.line();
            bytes += line.len();
            if bytes > PAGE_BYTES && !rows.is_empty() {
                break;
            }
            last = Some(row.seq);
            rows.push(line);
        }
        let more = rows.len() < count || count == limit;
        Ok(AuditPage { rows, after: last.filter(|_| more) })
    }
}

impl Handle<host::AuditVerify> for Agent {
    async fn handle(&self, _job: &Job, command: host::AuditVerify) -> Result<AuditVerified, Refusal> {
        let mut heads = Heads::default();
        match (command.sequence, command.hash) {
            (None, None) => {}
            (Some(sequence), Some(hash)) => {
                let host = self.addresses().host().to_bare().to_string();
                let (hash, at) = (hash.trim().to_lowercase(), Utc::now().to_rfc3339());
                heads.note(&Head { host, sequence, hash, at });
            }
            (sequence, _) => {
                let field = if sequence.is_some() { "hash" } else { "sequence" };
                return Err(Refusal::new(
                    Reason::BadRequest,
                    "A head is the number and the hash of an entry.",
                )
                .field(field)
                .hint("Give both, or neither."));
            }
        }
        let checked = self.inner.trail.verify(heads).await?.map_err(|flaw| {
            tracing::error!(%flaw, "the audit trail is not whole");
            Refusal::new(Reason::Conflict, format!("The audit trail is not whole: {flaw}."))
                .hint("What comes before that place can be trusted; what comes after it proves nothing.")
        })?;
        Ok(AuditVerified {
            first: checked.first,
            last: checked.last,
            hash: audit::hex(&checked.hash),
            held: checked.held,
        })
    }
}

fn witness(text: &str) -> Result<BareJid, Refusal> {
    BareJid::new(text.trim()).map_err(|_| {
        let text = format!("{:?} is no address.", skerry_stanzas::safe::safe_line(text, 80));
        Refusal::new(Reason::BadRequest, text).field("jid").hint("Write one such as audit@other.example.")
    })
}

impl Handle<host::WitnessAdd> for Agent {
    async fn handle(&self, _job: &Job, command: host::WitnessAdd) -> Result<WitnessChanged, Refusal> {
        let jid = witness(&command.jid)?;
        let _one = self.inner.ruling.lock().await;
        let mut made = self.made_witnesses().await?;
        if made.len() >= WITNESSES_MAX && !made.contains(&jid) {
            return Err(Refusal::new(Reason::Limit, format!("There are {WITNESSES_MAX} witnesses already."))
                .hint("\"witness remove JID\" makes room."));
        }
        made.insert(jid.clone());
        self.keep_witnesses(&made).await?;
        crash::point("witness-stored");
        let sentence = format!("{jid} is told each head of the audit trail from now on.");
        Ok(WitnessChanged { jid: jid.to_string(), sentence })
    }
}

impl Handle<host::WitnessRemove> for Agent {
    async fn handle(&self, _job: &Job, command: host::WitnessRemove) -> Result<WitnessChanged, Refusal> {
        let jid = witness(&command.jid)?;
        let _one = self.inner.ruling.lock().await;
        let mut made = self.made_witnesses().await?;
        if !made.remove(&jid) {
            let text = format!("{jid} is no witness that was made by command.");
            return Err(Refusal::new(Reason::NotFound, text)
                .field("jid")
                .hint("\"witness list\" shows them all."));
        }
        self.keep_witnesses(&made).await?;
        crash::point("witness-stored");
        Ok(WitnessChanged { sentence: format!("{jid} is told no more."), jid: jid.to_string() })
    }
}

impl Handle<host::WitnessList> for Agent {
    async fn handle(&self, _job: &Job, _command: host::WitnessList) -> Result<WitnessList, Refusal> {
        let configured = self.config().audit.witnesses.clone();
        let line = |jid: BareJid| WitnessLine { configured: configured.contains(&jid), jid: jid.to_string() };
        Ok(WitnessList { witnesses: self.witnesses().await?.into_iter().map(line).collect() })
    }
}
