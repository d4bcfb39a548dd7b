//! The whole trail, whether in the store or in the files beside it: read, verified, and kept from growing
//! in the store.

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use skerry_stanzas::audit::{Check, Checked, Flaw, Heads, Row};

use super::{
    REPEAT_HOURS,
    rows::{self, Anchor},
    segments::{self, Segment},
};
use crate::{
    crash,
    store::{Store, StoreError},
};

/// Rows read at a time: the store is somebody else's in between.
const CHUNK: usize = 512;

/// How much of the trail stays in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest rows.
    pub rows: u64,
    /// And whatever is younger: a repeated request finds its first answer in the store.
    pub age: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self { rows: 20_000, age: Duration::from_secs(REPEAT_HOURS.unsigned_abs() * 3600) }
    }
}

/// The trail. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Trail {
    store: Store,
    folder: PathBuf,
}

/// Why it could not be told whether the trail is whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrailError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the files of the audit trail cannot be read or written: {0}")]
    Files(#[from] std::io::Error),
}

impl Trail {
    pub(crate) fn new(store: Store, state: &std::path::Path) -> Self {
        Self { store, folder: state.join("audit") }
    }

    /// The newest row.
    pub(crate) async fn newest(&self) -> Result<Option<Row>, StoreError> {
        self.store.run(rows::newest).await
    }

    async fn segments(&self) -> Result<(Anchor, Vec<Segment>), TrailError> {
        let anchor = self.store.run(rows::anchor).await?;
        let found = segments::list(&self.folder, anchor.seq)?;
        Ok((anchor, found))
    }

    /// Up to `limit` rows before a number, newest first. A row of a file that is none is left out here:
    /// [`Trail::verify`] says so.
    pub(crate) async fn before(&self, seq: u64, limit: usize) -> Result<Vec<Row>, TrailError> {
        let mut found = self.store.run(move |connection| rows::before(connection, seq, limit)).await?;
        if found.len() >= limit {
            return Ok(found);
        }
        let (_, files) = self.segments().await?;
        for file in files.into_iter().rev().filter(|file| file.first < seq) {
            let mut rows = read(file).await?;
            rows.reverse();
            found.extend(rows.into_iter().filter(|row| row.seq < seq));
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Up to `limit` rows after a number, oldest first.
    pub(crate) async fn after(&self, seq: u64, limit: usize) -> Result<Vec<Row>, TrailError> {
        let mut found = Vec::new();
        let (anchor, files) = self.segments().await?;
        for file in files.into_iter().filter(|file| file.last > seq) {
            found.extend(read(file).await?.into_iter().filter(|row| row.seq > seq));
            if found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
        let (from, left) = (seq.max(anchor.seq), limit - found.len());
        found.extend(self.store.run(move |connection| rows::after(connection, Some(from), left)).await?);
        Ok(found)
    }

    /// Goes through all of it.
    ///
    /// # Errors
    /// It could not be read; or, inside, what is wrong with it.
    pub(crate) async fn verify(&self, heads: Heads) -> Result<Result<Checked, Flaw>, TrailError> {
        let (anchor, files) = self.segments().await?;
        let mut check = Check::against(heads);
        // Without files all there is follows the anchor: the first row of all, while nothing was put away.
        if files.is_empty() {
            check = check.after(anchor.seq, anchor.hash);
        }
        for file in files {
            let lines =
                tokio::task::spawn_blocking(move || file.lines()).await.map_err(std::io::Error::other)??;
            for line in lines {
                if let Err(flaw) = check.add_line(&line) {
                    return Ok(Err(flaw));
                }
            }
        }
        let mut from = None;
        loop {
            let walk = move |connection: &_| {
                let walked = rows::walk(connection, &mut check, from, CHUNK)?;
                Ok((check, walked))
            };
            let (walking, walked) = self.store.run(walk).await?;
            check = walking;
            match walked {
                Ok(Some(last)) => from = Some(last),
                Ok(None) => break,
                Err(flaw) => return Ok(Err(flaw)),
            }
        }
        Ok(check.finish())
    }

    /// Moves old rows into a file, when there are enough of them. Those of a command that is under way stay,
    /// and so do those that a repeated request may ask for.
    pub(crate) async fn rotate(&self, keep: Keep) -> Result<bool, TrailError> {
        let due = move |connection: &rusqlite::Connection| {
            let anchor = rows::anchor(connection)?.seq;
            let (size, newest) = (segment_rows(keep), rows::newest(connection)?.map_or(0, |row| row.seq));
            if newest < anchor.saturating_add(keep.rows + size) {
                return Ok(Vec::new());
            }
            let open = rows::oldest_open(connection)?.unwrap_or(u64::MAX);
            let rows = rows::after(connection, Some(anchor), usize::try_from(size).unwrap_or(usize::MAX))?;
            let young = Utc::now() - keep.age;
            let stays = |row: &Row| row.seq >= open || time(&row.at).is_none_or(|at| at > young);
            // All of a file or nothing: many small files are no use.
            Ok(if rows.iter().any(stays) { Vec::new() } else { rows })
        };
        let rows = self.store.run(due).await?;
        let Some(last) = rows.last() else { return Ok(false) };
        let through = Anchor { seq: last.seq, hash: last.hash.clone() };
        let folder = self.folder.clone();
        let written = tokio::task::spawn_blocking(move || segments::write(&folder, &rows)).await;
        written.map_err(std::io::Error::other)??;
        self.store.run(move |connection| rows::cut(connection, &through)).await?;
        crash::point("audit-cut");
        Ok(true)
    }

    /// Removes what an agent left that ended in between. Called before anything is written.
    pub(crate) async fn tidy(&self) -> Result<(), TrailError> {
        let anchor = self.store.run(rows::anchor).await?;
        Ok(segments::tidy(&self.folder, anchor.seq)?)
    }
}

/// How many rows go into a file.
fn segment_rows(keep: Keep) -> u64 {
    (keep.rows / 4).clamp(4, 4096)
}

async fn read(file: Segment) -> std::io::Result<Vec<Row>> {
    let lines = tokio::task::spawn_blocking(move || file.lines()).await.map_err(std::io::Error::other)??;
    Ok(lines.iter().filter_map(|line| Row::parse(line)).collect())
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
}

#[cfg(test)]
#[path = "trail_tests.rs"]
mod tests;
