//! Old rows of the journal, in files beside the store: one row a line, each file named after its first and
//! last row. A file is written whole, under another name first, and only then its rows leave the store; so at
//! every moment each row is in one of the two, and one that is in both is taken out of the file's folder when
//! the next agent begins.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use skerry_stanzas::audit::{LINE_BYTES_MAX, Row};

use crate::crash;

/// The ending of a file that is still being written.
const PART: &str = "part";

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) path: PathBuf,
}

impl Segment {
    fn named(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(".jsonl")?;
        let (first, last) = name.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        Some(Self { first, last, path })
    }

    /// Its lines. One that is too long is cut, and so is no row.
    pub(crate) fn lines(&self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut reader = BufReader::new(fs::File::open(&self.path)?);
        loop {
            let mut line = Vec::new();
            let read = io::Read::take(&mut reader, LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(lines);
            }
            // A last line without its end was cut.
            let whole = line.pop_if(|byte| *byte == b'\n').is_some();
            let mut line = String::from_utf8_lossy(&line).into_owned();
            if !whole {
                line.push('…');
            }
            lines.push(line);
        }
    }
}

/// The files there are whose rows are not in the store any more, in their order.
pub(crate) fn list(folder: &Path, anchor: u64) -> io::Result<Vec<Segment>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        found.extend(Segment::named(entry?.path()).filter(|segment| segment.last <= anchor));
    }
    found.sort();
    Ok(found)
}

/// Removes what an agent left that ended while it wrote: rows that are in the store still.
pub(crate) fn tidy(folder: &Path, anchor: u64) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let is_part = path.extension().is_some_and(|ending| ending == PART);
        if is_part || Segment::named(path.clone()).is_some_and(|segment| segment.last > anchor) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Writes rows into a file of their own, which is there whole or not at all.
pub(crate) fn write(folder: &Path, rows: &[Row]) -> io::Result<()> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{:012}-{:012}.jsonl", first.seq, last.seq));
    let part = path.with_extension(PART);
    let mut file = io::BufWriter::new(fs::File::create(&part)?);
    for row in rows {
        writeln!(file, "{}", row.line())?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    crash::point("audit-written");
    fs::rename(&part, &path)?;
    fs::File::open(folder)?.sync_all()?;
    crash::point("audit-named");
    Ok(())
}
