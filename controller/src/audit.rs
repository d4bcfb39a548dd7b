//! `skerry audit export`, and `skerry audit verify` against what witnesses have: the whole trail, page by
//! page, or from a file. What is checked here is checked without believing the host.

mod book;
mod entries;
mod fetching;
mod kept;
mod lines;
pub mod witness;

use std::{
    fs,
    io::{self, BufReader, Write},
    path::Path,
};

use skerry_stanzas::{
    audit::{self, Check, Checked, Heads, LINE_BYTES_MAX, Row},
    reply::{AuditPage, AuditVerified, Reply as _},
    signature::Keys,
};

use self::{kept::Kept, lines::Lines};
use crate::{
    call::Reply,
    cli::{Asked, AuditVerifyArgs, Output},
    config::Config,
    failure::{Failure, Kind, Outcome},
    fleet::Fleet,
    plan::{self, Planned},
    render::{Answered, render},
    session::Session,
};

/// The most that is taken of a trail at once: some 30 million entries.
const TRAIL_BYTES_MAX: u64 = 16 << 30;
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
        let mut trail = Trail::of(args, asked.host.as_deref())?;
        trail.add_file(file)?;
        return trail.finish(output);
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
        let mut trail = Trail::of(args, Some(&host))?;
        pages(planned, session, |row| trail.add(&row)).await?;
        return trail.finish(output);
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
async fn pages(planned: &Planned, session: &Session, each: impl FnMut(Row) -> Outcome<()>) -> Outcome<()> {
    let after = planned.call.argv.iter().find_map(|word| word.strip_prefix("--after=")?.parse().ok());
    all_pages(&planned.who, after.unwrap_or(0), each, async |after| {
        let mut call = planned.call.clone();
        // A trail is exported to be verified, too.
        call.declaration = export();
        call.node = export().verb.to_owned();
        call.argv = vec![format!("--after={after}"), format!("--limit={PAGE}")];
        let reply = call.look(session).await?;
        serde_json::from_value(reply.json)
            .map_err(|_| Failure::new(Kind::Internal, format!("{} answered no page", planned.who)))
    })
    .await
}

/// Goes on as long as there are pages, each of which has to bring some further: a host that says there is
/// more, and gives what was there or nothing, would never end.
async fn all_pages(
    who: &str,
    mut after: u64,
    mut each: impl FnMut(Row) -> Outcome<()>,
    fetch: impl AsyncFn(u64) -> Outcome<AuditPage>,
) -> Outcome<()> {
    let mut bytes: u64 = 0;
    loop {
        let page = fetch(after).await?;
        let before = after;
        for line in &page.rows {
            bytes += line.len() as u64;
            let odd = || format!("what comes after entry {after} is no entry: it was altered");
            let row = Row::parse(line).ok_or_else(|| Failure::new(Kind::Refused, odd()))?;
            after = after.max(row.seq);
            each(row)?;
        }
        if page.after.is_none() {
            return Ok(());
        }
        if after == before {
            let text = format!("{who} says there is more after entry {after}, and does not give it");
            return Err(Failure::new(Kind::Refused, text));
        }
        if bytes > TRAIL_BYTES_MAX {
            let size = TRAIL_BYTES_MAX >> 30;
            return Err(Failure::new(Kind::Refused, format!("{who} gave {size} GiB, up to entry {after}"))
                .hint(format!(
                    "If it can be as much as that, go on with after={after}, into another file."
                )));
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

/// A trail that is gone through, and all it is held against.
struct Trail {
    check: Check,
    kept: Kept,
    signatures: Signatures,
}

impl Trail {
    fn of(args: &AuditVerifyArgs, host: Option<&str>) -> Outcome<Self> {
        let signatures = Signatures::of(args)?;
        let heads = heads(args, host)?;
        let kept = Kept::beside(args.against.as_deref(), &heads)?;
        Ok(Self { check: Check::against(heads), kept, signatures })
    }

    fn add(&mut self, row: &Row) -> Outcome<()> {
        self.kept.hold(row)?;
        self.check.add(row).map_err(flawed)?;
        self.signatures.add(row)
    }

    /// All of a file that was exported.
    fn add_file(&mut self, file: &Path) -> Outcome<()> {
        let unread = |error: io::Error| Failure::usage(format!("{}: {error}", file.display()));
        let reader = BufReader::new(fs::File::open(file).map_err(unread)?);
        let mut lines = Lines::of(reader, LINE_BYTES_MAX);
        while let Some((line, whole)) = lines.next().map_err(unread)? {
            // The last line has an end as well: without it, it was cut.
            match Row::parse(&line).filter(|_| whole) {
                Some(row) => {
                    self.kept.hold(&row)?;
                    self.check.add_line(&line).map_err(flawed)?;
                    self.signatures.add(&row)?;
                }
                None => self.check.add_line("").map_err(flawed)?,
            }
        }
        Ok(())
    }

    fn checked(self) -> Outcome<(Checked, u64, Signatures)> {
        self.kept.finish()?;
        Ok((self.check.finish().map_err(flawed)?, self.kept.held, self.signatures))
    }

    fn finish(self, output: Output) -> Outcome<()> {
        show(self.checked()?, output)
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

fn show((checked, kept, signatures): (Checked, u64, Signatures), output: Output) -> Outcome<()> {
    let Checked { first, last, hash, held, .. } = checked;
    let verified = AuditVerified { first, last, hash: audit::hex(&hash), held };
    let mut reply = Reply { text: verified.text(), json: serde_json::json!(verified) };
    if kept > 0 {
        reply.text.push_str(&format!(" Entries that are as their witness has them: {kept}."));
        reply.json["kept"] = kept.into();
    }
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

    pub(super) fn trail(rows: u64) -> Vec<Row> {
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

    fn head(host: &str, row: &Row) -> Head {
        Head { host: host.into(), sequence: row.seq, hash: hex(&row.hash), at: row.at.clone() }
    }

    pub(super) fn heads_of(rows: &[&Row]) -> Heads {
        let mut heads = Heads::default();
        rows.iter().for_each(|row| drop(heads.note(&head("kvm1.example.org", row))));
        heads
    }

    #[tokio::test]
    async fn a_host_that_says_there_is_more_has_to_give_it() {
        let rows = trail(9);
        let got = async |page: &dyn Fn(u64) -> AuditPage| {
            let mut seen = 0;
            let count = |_| {
                seen += 1;
                Ok(())
            };
            let ended = all_pages("kvm1", 0, count, async |after| Ok(page(after))).await;
            ended.map(|()| seen).map_err(|failure| failure.text)
        };
        let lines = |from: usize, to: usize| rows[from..to].iter().map(Row::line).collect::<Vec<_>>();
        let whole = |after: u64| match after {
            0 => AuditPage { rows: lines(0, 5), after: Some(5) },
            _ => AuditPage { rows: lines(5, 9), after: None },
        };
        assert_eq!(got(&whole).await, Ok(9));
        let nothing = |after: u64| AuditPage { rows: Vec::new(), after: Some(after + 1000) };
        assert!(got(&nothing).await.unwrap_err().contains("more after entry 0, and does not give it"));
        let same = |_| AuditPage { rows: lines(0, 5), after: Some(5) };
        assert!(got(&same).await.unwrap_err().contains("more after entry 5"));
    }

    #[test]
    fn what_was_changed_is_shown_as_its_witness_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, against) = (folder.path().join("trail.jsonl"), folder.path().join("heads.jsonl"));
        let rows = trail(9);
        let kept = entries::path(&against, "kvm1.example.org");
        fs::create_dir(entries::folder(&against)).unwrap();
        let lines = |rows: &[Row]| rows.iter().map(|row| row.line() + "\n").collect::<String>();
        fs::write(&kept, lines(&rows[2..7])).unwrap();
        let head = serde_json::to_string(&head("kvm1.example.org", &rows[6])).unwrap();
        fs::write(&against, head + "\n").unwrap();
        let args = AuditVerifyArgs { file: Some(file.clone()), against: Some(against), keys: None };
        let check = |rows: &[Row]| {
            fs::write(&file, lines(rows)).unwrap();
            let mut trail = Trail::of(&args, None)?;
            trail.add_file(&file)?;
            trail.checked().map(|(_, kept, _)| kept)
        };
        assert_eq!(check(&rows).unwrap(), 5);
        assert_eq!(check(&rows[4..]).unwrap(), 3, "the oldest were moved away");
        // Written anew from entry 5 on: the chain is whole, and only what is kept says where it begins.
        let mut anew = rows.clone();
        anew[4].body = "{\"caller\":\"eve@x\"}".into();
        for at in 4..9 {
            anew[at].prev = anew[at - 1].hash.clone();
            anew[at].hash = anew[at].computed();
        }
        let changed = check(&anew).unwrap_err();
        assert!(changed.text.contains("entry 5 is not what it was"), "{changed:?}");
        let hint = changed.hint.unwrap();
        assert!(hint.contains("It was: ") && hint.contains("ann@x") && hint.contains("eve@x"), "{hint}");
        let cut = check(&rows[..4]).unwrap_err();
        assert!(cut.text.contains("it ends before entry 5, which its witness has"), "{cut:?}");
        assert!(cut.hint.unwrap().contains("\"seq\":5"));
        let missing = check(&[&rows[..4], &rows[5..]].concat()).unwrap_err();
        assert!(missing.text.contains("entry 5 is missing"), "{missing:?}");
        fs::write(&kept, lines(&rows[2..7]).replacen("ann@x", "eve@x", 1)).unwrap();
        assert!(check(&rows).unwrap_err().text.contains("kvm1.example.org.jsonl: entry 3 was altered"));
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
        let head = |host: &str, row: &Row| serde_json::to_string(&head(host, row)).unwrap() + "\n";
        let other = head("kvm2.example.org", &rows[0]);
        fs::write(&against, head("kvm1.example.org", &rows[4]) + "{\"alarm\":\"x\"}\n" + &other).unwrap();
        let args = AuditVerifyArgs { file: Some(file.clone()), against: Some(against), keys: None };
        let check = |host: Option<&str>| {
            let mut trail = Trail::of(&args, host)?;
            trail.add_file(&file)?;
            trail.checked().map(|(checked, ..)| checked)
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
