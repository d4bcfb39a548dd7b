//! The rows of the journal as they are in the store, for looking at and for moving them out.

use rusqlite::{Connection, OptionalExtension, types::ValueRef};
use skerry_stanzas::audit::{Chain, Check, Flaw, Row};

use crate::store::StoreError;

/// The last row that is in a file, and not in the store any more; number 0 and no hash when there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) seq: u64,
    pub(crate) hash: Vec<u8>,
}

/// What is stored is taken as it is: a byte that was changed may be no text any more, nor a number of ours.
fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let bytes = |at: usize| {
        Ok::<_, rusqlite::Error>(match row.get_ref(at)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => Vec::new(),
        })
    };
    let text = |at: usize| Ok::<_, rusqlite::Error>(String::from_utf8_lossy(&bytes(at)?).into_owned());
    Ok(Row {
        seq: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
        at: text(1)?,
        kind: text(2)?,
        entry: text(3)?,
        body: text(4)?,
        prev: bytes(5)?,
        hash: bytes(6)?,
    })
}

const COLUMNS: &str = "seq, at, kind, entry, body, prev_hash, hash";

fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// The rows after a number, oldest first; with no number all, also those whose number cannot be right.
pub(crate) fn after(connection: &Connection, seq: Option<u64>, limit: usize) -> Result<Vec<Row>, StoreError> {
    let mut query = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM journal WHERE seq > ?1 ORDER BY seq LIMIT ?2"))?;
    let found = query.query_map((seq.map_or(i64::MIN, number), limit), read)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The rows before a number, newest first.
pub(crate) fn before(connection: &Connection, seq: u64, limit: usize) -> Result<Vec<Row>, StoreError> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM journal WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2"
    ))?;
    let found = query.query_map((number(seq), limit), read)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The newest row.
pub(crate) fn newest(connection: &Connection) -> Result<Option<Row>, StoreError> {
    Ok(before(connection, u64::MAX, 1)?.pop())
}

/// Looks at the next rows after a number; where to go on, or none when that were all. What is written
/// meanwhile is looked at as well.
pub(crate) fn walk(
    connection: &Connection,
    check: &mut Check,
    from: Option<u64>,
    limit: usize,
) -> Result<Result<Option<u64>, Flaw>, StoreError> {
    let rows = after(connection, from, limit)?;
    for row in &rows {
        if let Err(flaw) = check.add(row) {
            return Ok(Err(flaw));
        }
    }
    let numbered = numbered(connection)?;
    Ok(match rows.last() {
        Some(row) => Ok(Some(row.seq)),
        None if numbered > check.last() => Err(Flaw::Missing(check.last() + 1, numbered)),
        None => Ok(None),
    })
}

/// How far the numbers were given out; more than the newest row has when some are gone.
pub(crate) fn numbered(connection: &Connection) -> Result<u64, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'journal'")?;
    let seq: i64 = query.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(seq).unwrap_or(0))
}

/// The anchor.
pub(crate) fn anchor(connection: &Connection) -> Result<Anchor, StoreError> {
    let mut query = connection.prepare_cached("SELECT seq, hash FROM journal_anchor")?;
    let found: Option<(i64, Vec<u8>)> =
        query.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (seq, hash) = found.unwrap_or_default();
    Ok(Anchor { seq: u64::try_from(seq).unwrap_or(0), hash })
}

/// The number of the oldest row that something is still to be done about.
pub(crate) fn oldest_open(connection: &Connection) -> Result<Option<u64>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT min(seq) FROM journal AS one WHERE kind = 'accepted' AND NOT EXISTS
             (SELECT 1 FROM journal WHERE entry = one.entry AND kind = 'closed')",
    )?;
    let seq: Option<i64> = query.query_row([], |row| row.get(0))?;
    Ok(seq.and_then(|seq| u64::try_from(seq).ok()))
}

/// Takes the rows up to and with this one out of the store: they are in a file.
pub(crate) fn cut(connection: &Connection, through: &Anchor) -> Result<(), StoreError> {
    let seq = number(through.seq);
    connection.execute("UPDATE journal_anchor SET seq = ?1, hash = ?2", (seq, &through.hash))?;
    connection.execute("DELETE FROM journal WHERE seq <= ?1", [seq])?;
    Ok(())
}

/// Walks the newest `count` rows of the chain.
///
/// # Errors
/// [`StoreError::Damaged`] with the first row that does not fit.
pub(crate) fn verify(connection: &Connection, count: usize) -> Result<u64, StoreError> {
    let mut rows = before(connection, u64::MAX, count)?;
    rows.reverse();
    let anchor = anchor(connection)?;
    let is_whole = rows.first().is_some_and(|first| first.seq <= anchor.seq + 1);
    let mut chain = match anchor.seq > 0 && is_whole {
        true => Chain::after(anchor.seq, anchor.hash),
        false => Chain::default(),
    };
    for row in &rows {
        chain
            .add(row)
            .map_err(|flaw| StoreError::Damaged(format!("the journal was tampered with: {flaw}")))?;
    }
    Ok(rows.len() as u64)
}
