//! A trail held against the entries its witness has: not only that it was changed is said then, but what it
//! was.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use skerry_stanzas::{
    audit::{Chain, Heads, LINE_BYTES_MAX, Row},
    safe::safe_line,
};

use super::{entries, lines::Lines};
use crate::failure::{Failure, Kind, Outcome};

/// As much of an entry as is shown.
const SHOWN_CHARS_MAX: usize = 2000;

/// What a witness has of one host, gone through beside the trail.
#[derive(Default)]
pub(super) struct Kept {
    path: PathBuf,
    lines: Option<Lines<BufReader<File>>>,
    chain: Chain,
    next: Option<Row>,
    /// There was an entry of the trail already.
    begun: bool,
    /// So many are as they were.
    pub(super) held: u64,
}

impl Kept {
    /// What is kept beside a file of heads for the host they are of; nothing is well.
    ///
    /// # Errors
    /// It cannot be read, or was changed.
    pub(super) fn beside(against: Option<&Path>, heads: &Heads) -> Outcome<Self> {
        let (Some(against), Some(head)) = (against, heads.newest()) else { return Ok(Self::default()) };
        let path = entries::path(against, &head.host);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Failure::usage(format!("{}: {error}", path.display()))),
        };
        let lines = Some(Lines::of(BufReader::new(file), LINE_BYTES_MAX));
        let mut kept = Self { path, lines, ..Self::default() };
        kept.advance()?;
        Ok(kept)
    }

    fn advance(&mut self) -> Outcome<()> {
        let wrong = |what: String| Failure::usage(format!("{}: {what}", self.path.display()));
        let Some(lines) = &mut self.lines else { return Ok(()) };
        self.next = match lines.next_whole().map_err(|error| wrong(error.to_string()))? {
            None => None,
            Some(line) => {
                let row = Row::parse(&line).ok_or_else(|| wrong("a line of it is no entry".to_owned()))?;
                self.chain.add(&row).map_err(|flaw| wrong(flaw.to_string()))?;
                Some(row)
            }
        };
        Ok(())
    }

    /// The next row of the trail.
    ///
    /// # Errors
    /// It is not what it was, or one before it is not there.
    pub(super) fn hold(&mut self, row: &Row) -> Outcome<()> {
        while let Some(kept) = self.next.as_ref().filter(|kept| kept.seq <= row.seq) {
            if kept.seq < row.seq && self.begun {
                return Err(lost(&format!("entry {} is missing", kept.seq), kept, None));
            }
            if kept.seq == row.seq && kept != row {
                return Err(lost(&format!("entry {} is not what it was", row.seq), kept, Some(row)));
            }
            self.held += u64::from(kept.seq == row.seq);
            self.advance()?;
        }
        self.begun = true;
        Ok(())
    }

    /// That was all of it.
    ///
    /// # Errors
    /// There is more here.
    pub(super) fn finish(&self) -> Outcome<()> {
        match &self.next {
            Some(kept) => {
                let what =
                    format!("it ends before entry {}, which its witness has, with those after it", kept.seq);
                Err(lost(&format!("{what}, in {}", self.path.display()), kept, None))
            }
            None => Ok(()),
        }
    }
}

/// What is wrong, and what it was.
fn lost(what: &str, kept: &Row, now: Option<&Row>) -> Failure {
    let shown = |row: &Row| safe_line(&row.line(), SHOWN_CHARS_MAX);
    let now = now.map(|now| format!(" It is now: {}", shown(now))).unwrap_or_default();
    Failure::new(Kind::Refused, format!("the audit trail is not whole: {what}"))
        .hint(format!("It was: {}{now}", shown(kept)))
}
