//! `skerry audit export`, and `skerry audit verify` against what witnesses have: the whole trail, page by
//! page, or from a file. What is checked here is checked without believing the host.

pub mod witness;

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write},
    path::Path,
};

use skerry_stanzas::{
    audit::{self, Check, Checked, Heads, LINE_BYTES_MAX, Row},
    reply::{AuditPage, AuditVerified, Reply as _},
    signature::Keys,
};

use crate::{
    call::{Consent, Reply},
    cli::{Asked, AuditVerifyArgs, Output},
    config::Config,
    failure::{Failure, Kind, Outcome},
    fleet::Fleet,
    plan::{self, Planned},
    render::{Answered, render},
    session::Session,
};

/// Entries asked for at a time; the host gives fewer when they are long.
const PAGE: usize = 1000;

/// Whether this is done here and not by one question to the host.
pub fn is_ours(asked: &Asked) -> bool {
    asked.export.is_some()
        || asked
            .verify
            .as_ref()
            .is_some_and(|args| args.file.is_some() || args.against.is_some() || args.keys.is_some())
}

/// Exports or verifies.
///
/// # Errors
/// The host cannot be asked or says no, a file cannot be read or written, or the trail is not whole.
pub async fn run(asked: &Asked, config: impl FnOnce() -> Outcome<Config>, output: Output) -> Outcome<()> {
    if let Some(args) = &asked.verify
        && let Some(file) = &args.file
    {
        let signatures = Signatures::of(args)?;
        let heads = heads(args, asked.host.as_deref())?;
        return show(checked_file(file, heads, signatures)?, output);
    }
    let config = config()?;
    let session = Session::open(&config, false).await?.deaf();
    let outcome = online(asked, &session, &config, output).await;
    session.close().await;
    outcome
}

async fn online(asked: &Asked, session: &Session, config: &Config, output: Output) -> Outcome<()> {
    let fleet = Fleet::hosts(session, config).await?;
    let plan = plan::plan(asked, &fleet)?;
    let [planned] = plan.calls.as_slice() else {
        return Err(Failure::usage("each host has an audit trail of its own: name one host"));
    };
    if let Some(args) = &asked.verify {
        let host = planned.host.jid.to_bare().to_string();
        let mut signatures = Signatures::of(args)?;
        let mut check = Check::against(heads(args, Some(&host))?);
        pages(planned, session, |row| {
            check.add(&row).map_err(flawed)?;
            signatures.add(&row)
        })
        .await?;
        return show((check.finish().map_err(flawed)?, signatures), output);
    }
    let out = asked.export.as_ref().and_then(|args| args.out.as_ref());
    let mut to: Box<dyn Write + Send> = match out {
        Some(file) => Box::new(io::BufWriter::new(
            fs::File::create(file)
                .map_err(|error| Failure::new(Kind::Refused, format!("{}: {error}", file.display())))?,
        )),
        None => Box::new(io::stdout()),
    };
    let mut count: u64 = 0;
    pages(planned, session, |row| {
        count += 1;
        Ok(writeln!(to, "{}", row.line())?)
    })
    .await?;
    to.flush()?;
    if let Some(file) = out {
        eprintln!("skerry: {count} entries of {} are in {}", planned.who, file.display());
    }
    Ok(())
}

/// All rows from where the command begins, page by page.
async fn pages(
    planned: &Planned,
    session: &Session,
    mut each: impl FnMut(Row) -> Outcome<()>,
) -> Outcome<()> {
    let after = planned.call.argv.iter().find_map(|word| word.strip_prefix("--after=")?.parse().ok());
    let mut after: u64 = after.unwrap_or(0);
    let mut call = planned.call.clone();
    // A trail is exported to be verified, too.
    call.declaration = export();
    call.node = export().verb.to_owned();
    loop {
        call.argv = vec![format!("--after={after}"), format!("--limit={PAGE}")];
        let reply = call.run(session, Consent::Ask).await?.reply;
        let page: AuditPage = serde_json::from_value(reply.json)
            .map_err(|_| Failure::new(Kind::Internal, format!("{} answered no page", planned.who)))?;
        for line in &page.rows {
            let odd = || {
                Failure::new(
                    Kind::Refused,
                    format!("what comes after entry {after} is no entry: it was altered"),
                )
            };
            let row = Row::parse(line).ok_or_else(odd)?;
            each(row)?;
        }
        match page.after {
            Some(next) if next > after => after = next,
            Some(_) | None => return Ok(()),
        }
    }
}

fn export() -> &'static skerry_stanzas::command::Declaration {
    static DECLARED: skerry_stanzas::command::Declaration =
        skerry_stanzas::command::Declaration::of::<skerry_stanzas::command::host::AuditExport>();
    &DECLARED
}

/// The heads to hold a trail against.
fn heads(args: &AuditVerifyArgs, host: Option<&str>) -> Outcome<Heads> {
    let Some(file) = &args.against else { return Ok(Heads::default()) };
    let text =
        fs::read_to_string(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    let heads = Heads::of_lines(&text, host).map_err(|unfit| {
        let kind = if matches!(unfit, audit::Unfit::SeveralHosts(_)) { Kind::Usage } else { Kind::Refused };
        Failure::new(kind, unfit.to_string()).hint("The host is said with --host.")
    })?;
    match heads.is_empty() {
        true => Err(Failure::usage(format!("{} has no head of it", file.display()))),
        false => Ok(heads),
    }
}

/// Checks a file that was exported.
fn checked_file(file: &Path, heads: Heads, mut signatures: Signatures) -> Outcome<(Checked, Signatures)> {
    let unread = |error: io::Error| Failure::usage(format!("{}: {error}", file.display()));
    let mut reader = BufReader::new(fs::File::open(file).map_err(unread)?);
    let mut check = Check::against(heads);
    loop {
        let mut line = Vec::new();
        let read = io::Read::take(&mut reader, LINE_BYTES_MAX as u64).read_until(b'\n', &mut line);
        if read.map_err(unread)? == 0 {
            return Ok((check.finish().map_err(flawed)?, signatures));
        }
        // The last line has an end as well: without it, it was cut.
        let whole = line.pop_if(|byte| *byte == b'\n').is_some();
        let line = String::from_utf8(line).ok().filter(|_| whole).unwrap_or_default();
        check.add_line(&line).map_err(flawed)?;
        if let Some(row) = Row::parse(&line) {
            signatures.add(&row)?;
        }
    }
}

fn flawed(flaw: audit::Flaw) -> Failure {
    Failure::new(Kind::Refused, format!("the audit trail is not whole: {flaw}"))
        .hint("What comes before that place can be trusted; what comes after it proves nothing.")
}

/// The signatures of a trail, where there are keys to check them by.
struct Signatures {
    keys: Option<Keys>,
    right: u64,
}

impl Signatures {
    fn of(args: &AuditVerifyArgs) -> Outcome<Self> {
        let read = |file: &std::path::PathBuf| {
            let wrong = |what: String| Failure::usage(format!("{}: {what}", file.display()));
            let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
            Keys::parse(&text).map_err(|error| wrong(error.to_string()))
        };
        Ok(Self { keys: args.keys.as_ref().map(read).transpose()?, right: 0 })
    }

    fn add(&mut self, row: &Row) -> Outcome<()> {
        if let Some(keys) = &self.keys {
            self.right += audit::signatures(row, keys).map_err(|flaw| {
                Failure::new(Kind::Refused, format!("a signature in the audit trail is not right: {flaw}"))
                    .hint("A key that was taken away since has to be in the file still.")
            })?;
        }
        Ok(())
    }
}

fn show((checked, signatures): (Checked, Signatures), output: Output) -> Outcome<()> {
    let Checked { first, last, hash, held, .. } = checked;
    let verified = AuditVerified { first, last, hash: audit::hex(&hash), held };
    let mut reply = Reply { text: verified.text(), json: serde_json::json!(verified) };
    if signatures.keys.is_some() {
        reply.text.push_str(&format!(" Signatures that are right: {}.", signatures.right));
        reply.json["signatures"] = signatures.right.into();
    }
    let answers = [Answered { who: String::new(), host: String::new(), reply }];
    render(&mut io::stdout().lock(), output, &answers, true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use skerry_stanzas::audit::{Head, hex, link};

    use super::*;

    fn trail(rows: u64) -> Vec<Row> {
        let mut prev = Vec::new();
        (1..=rows)
            .map(|seq| {
                let row = Row {
                    seq,
                    at: "2026-11-23T17:00:00+00:00".into(),
                    kind: "accepted".into(),
                    entry: format!("e{seq}"),
                    body: format!("{{\"caller\":\"ann@x\",\"n\":{seq}}}"),
                    prev: prev.clone(),
                    hash: Vec::new(),
                };
                prev = link(&row.prev, [&row.at, &row.kind, &row.entry, &row.body]);
                Row { hash: prev.clone(), ..row }
            })
            .collect()
    }

    #[test]
    fn a_file_is_held_against_the_heads_of_its_host() {
        let folder = tempfile::tempdir().unwrap();
        let rows = trail(5);
        let (file, against) = (folder.path().join("trail.jsonl"), folder.path().join("heads.jsonl"));
        let write = |rows: &[Row]| {
            let lines: String = rows.iter().map(|row| row.line() + "\n").collect();
            fs::write(&file, lines).unwrap();
        };
        let head = |host: &str, row: &Row| {
            let head =
                Head { host: host.into(), sequence: row.seq, hash: hex(&row.hash), at: row.at.clone() };
            serde_json::to_string(&head).unwrap() + "\n"
        };
        let other = head("kvm2.example.org", &rows[0]);
        fs::write(&against, head("kvm1.example.org", &rows[4]) + "{\"alarm\":\"x\"}\n" + &other).unwrap();
        let args = AuditVerifyArgs { file: Some(file.clone()), against: Some(against), keys: None };
        let check = |host: Option<&str>| {
            let signatures = Signatures::of(&args)?;
            checked_file(&file, heads(&args, host)?, signatures).map(|(checked, _)| checked)
        };
        write(&rows);
        assert_eq!(check(Some("kvm1.example.org")).unwrap().held, 1);
        assert!(check(None).unwrap_err().text.contains("kvm1.example.org, kvm2.example.org"));
        write(&rows[..3]);
        let cut = check(Some("kvm1.example.org")).unwrap_err();
        assert!(cut.text.contains("ends with entry 3") && cut.text.contains("2 are missing"), "{cut}");
        assert_eq!(cut.kind, Kind::Refused);
        assert!(check(Some("kvm2.example.org")).is_ok(), "it saw the first alone");
        fs::write(&file, rows[0].line()).unwrap();
        assert!(check(Some("kvm2.example.org")).unwrap_err().text.contains("line 1"), "its end is missing");
    }
}
