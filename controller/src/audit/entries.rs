//! The entries a witness has of one host: the lines of its trail as they were when it showed a head of
//! them, in a file to which lines are only added, the same as an export. Nothing the host says is believed:
//! each line has to follow the one before, and lead to the head.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use skerry_stanzas::audit::{Chain, Flaw, Heads, LINE_BYTES_MAX, Row, hex};

use super::lines::Lines;

/// Why a page of entries was not kept.
#[derive(Debug)]
pub(super) enum Unkept {
    /// They are not of the trail the heads are of: what is wrong.
    Contradicts(String),
    /// There is no room for more.
    Full,
    /// It gave nothing of what it showed a head of.
    Silent,
    /// The file cannot be written.
    Io(io::Error),
}

impl From<io::Error> for Unkept {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What is in the file up to some entry.
#[derive(Clone, Debug, Default)]
struct Place {
    chain: Chain,
    bytes: u64,
}

/// The file of one host.
#[derive(Debug)]
pub(super) struct Entries {
    file: File,
    /// Up to the newest entry that a head vouches for, or that was there when it was opened.
    whole: Place,
    /// Up to where it is written.
    now: Place,
    bytes_max: u64,
}

impl Entries {
    /// Opens it, and goes through what is there; where it was cut off while it wrote, it goes on before that.
    ///
    /// # Errors
    /// It cannot be used, or was changed.
    pub(super) fn open(path: &Path, bytes_max: u64) -> Result<Self, String> {
        let wrong = |what: String| format!("{}: {what}", path.display());
        let unread = |error: io::Error| wrong(error.to_string());
        let mut options = OpenOptions::new();
        // What people were doing is in it.
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).map_err(unread)?;
        let mut place = Place::default();
        let mut lines = Lines::of(BufReader::new(&file), LINE_BYTES_MAX);
        while let Some(line) = lines.next_whole().map_err(unread)? {
            let row = Row::parse(&line);
            let row = row.ok_or_else(|| wrong(format!("a line after {} bytes is no entry", place.bytes)))?;
            place.chain.add(&row).map_err(|flaw| wrong(flaw.to_string()))?;
            place.bytes += line.len() as u64 + 1;
        }
        file.set_len(place.bytes).map_err(unread)?;
        file.seek(io::SeekFrom::End(0)).map_err(unread)?;
        Ok(Self { file, whole: place.clone(), now: place, bytes_max })
    }

    /// The number of the last entry; 0 when there is none.
    pub(super) fn last(&self) -> u64 {
        self.now.chain.last().map_or(0, |(last, _)| last)
    }

    /// Takes in what a host gave of what comes after the last entry, up to its head with this number. True
    /// when that is there.
    ///
    /// # Errors
    /// It was not kept; what no head vouches for is not kept either then.
    pub(super) fn add(&mut self, page: &[String], goal: u64, heads: &Heads) -> Result<bool, Unkept> {
        let before = self.last();
        let added = page.iter().try_for_each(|line| self.add_line(line, goal, heads));
        let added = added.and_then(|()| match self.last() {
            last if last == goal => Ok(self.file.sync_data()?),
            last if last == before => Err(Unkept::Silent),
            _ => Ok(()),
        });
        match added {
            Ok(()) => Ok(self.last() == goal),
            Err(why) => {
                self.now = self.whole.clone();
                self.file.set_len(self.now.bytes)?;
                self.file.seek(io::SeekFrom::End(0))?;
                Err(why)
            }
        }
    }

    fn add_line(&mut self, line: &str, goal: u64, heads: &Heads) -> Result<(), Unkept> {
        let contradicts = |flaw: Flaw| Unkept::Contradicts(flaw.to_string());
        if self.last() >= goal {
            // It went on meanwhile: there is no head of that yet.
            return Ok(());
        }
        let row = Row::parse(line).ok_or_else(|| {
            Unkept::Contradicts(format!("what it gives after entry {} is no entry", self.last()))
        })?;
        // The first that is kept is one with a head; nothing before it could be told from a lie.
        if self.last() == 0 && row.seq != goal {
            return Err(Unkept::Contradicts(format!("it gives entry {} in the place of {goal}", row.seq)));
        }
        self.now.chain.add(&row).map_err(contradicts)?;
        let head = heads.at(row.seq);
        if let Some(head) = head.filter(|head| head.hash != hex(&row.hash)) {
            return Err(contradicts(Flaw::Forked(head.clone())));
        }
        self.now.bytes += line.len() as u64 + 1;
        if self.now.bytes > self.bytes_max {
            return Err(Unkept::Full);
        }
        writeln!(self.file, "{line}")?;
        if head.is_some() {
            self.whole = self.now.clone();
        }
        Ok(())
    }
}

/// Where the entries of a host are kept, beside a file of heads.
pub(super) fn path(heads: &Path, host: &str) -> PathBuf {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@.-_".contains(&byte);
    let name = host.bytes().fold(String::new(), |name, byte| match plain(byte) {
        true => name + char::from(byte).encode_utf8(&mut [0; 4]),
        false => name + &format!("%{byte:02x}"),
    });
    folder(heads).join(name + ".jsonl")
}

/// The folder of those of all hosts.
pub(super) fn folder(heads: &Path) -> PathBuf {
    let mut folder = heads.as_os_str().to_owned();
    folder.push(".entries");
    PathBuf::from(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::audit::tests::{heads_of, trail};

    fn lines(rows: &[Row]) -> Vec<String> {
        rows.iter().map(Row::line).collect()
    }

    #[test]
    fn what_leads_to_a_head_is_kept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kvm1.jsonl");
        let text = || std::fs::read_to_string(&path).unwrap();
        let rows = trail(12);
        let heads = heads_of(&[&rows[2], &rows[8]]);
        let mut entries = Entries::open(&path, 1 << 20).unwrap();
        assert!(entries.add(&lines(&rows[2..]), 3, &heads).unwrap(), "what comes after it has no head yet");
        assert_eq!((entries.last(), text().lines().count()), (3, 1));
        assert!(!entries.add(&lines(&rows[3..6]), 9, &heads).unwrap());
        assert!(matches!(entries.add(&[], 9, &heads), Err(Unkept::Silent)));
        assert_eq!(entries.last(), 3, "no head vouches for what it gave");

        // One that is whole by itself, and is not what the head is of.
        let mut other = trail(5);
        other[4].body = "{\"caller\":\"eve@x\"}".into();
        let mut prev = other[3].hash.clone();
        for seq in 5..=9 {
            let mut row = other.get(seq - 1).cloned().unwrap_or_else(|| rows[seq - 1].clone());
            row.prev.clone_from(&prev);
            row.hash = row.computed();
            prev.clone_from(&row.hash);
            other.truncate(seq - 1);
            other.push(row);
        }
        let altered = Row { body: "{}".into(), ..rows[4].clone() };
        let lies = [
            (lines(&other[3..]), "entry 9 is not the one a witness saw"),
            (lines(&[rows[3].clone(), altered]), "entry 5 was altered"),
            (lines(&[rows[3].clone(), rows[5].clone()]), "entry 5 is missing"),
            (lines(&[rows[3].clone(), rows[3].clone()]), "entry 4 is there twice"),
            (vec!["x".into()], "is no entry"),
        ];
        for (page, says) in lies {
            let Err(Unkept::Contradicts(what)) = entries.add(&page, 9, &heads) else { panic!("{says}") };
            assert!(what.contains(says), "{what}");
            assert_eq!((entries.last(), text().lines().count()), (3, 1), "{says}");
        }
        assert!(entries.add(&lines(&rows[3..]), 9, &heads).unwrap());
        // It is found again, but for a line that was being written.
        std::fs::write(&path, text() + "{\"seq\":10,").unwrap();
        assert_eq!(Entries::open(&path, 1 << 20).unwrap().last(), 9);
        assert_eq!(text().lines().count(), 7);
        std::fs::write(&path, text().replacen("ann@x", "eve@x", 1)).unwrap();
        assert!(Entries::open(&path, 1 << 20).unwrap_err().contains("entry 3 was altered"));
    }

    #[test]
    fn a_host_without_end_fills_no_more_than_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kvm1.jsonl");
        let rows = trail(2000);
        let heads = heads_of(&[&rows[0], &rows[1999]]);
        let mut entries = Entries::open(&path, 100_000).unwrap();
        entries.add(&lines(&rows[..1]), 1, &heads).unwrap();
        let full = rows[1..].chunks(100).map(|page| entries.add(&lines(page), 2000, &heads));
        let full: Vec<_> = full.take_while(|kept| kept.is_ok()).collect();
        assert!((1..19).contains(&full.len()), "{}", full.len());
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_name_leads_to_no_other_folder() {
        let name = |host: &str| path(Path::new("/w/heads.jsonl"), host).display().to_string();
        assert_eq!(name("kvm1@example.org"), "/w/heads.jsonl.entries/kvm1@example.org.jsonl");
        assert_eq!(name("../a/b"), "/w/heads.jsonl.entries/..%2fa%2fb.jsonl");
    }
}
