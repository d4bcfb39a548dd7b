//! The images in the store: one row each, and the checksum each address of the web had at first use.

use chrono::{DateTime, Utc};
use hypervisor_core::image::{Digest, Format, Kind};
use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::StoreError;

const COLUMNS: &str =
    "digest, name, kind, format, size_bytes, source, about, made_at, made_by, entry, same_as";

/// As many hosts as an image can come by one after the other, and still be known.
pub(crate) const SAME_AS_MAX: usize = 8;

/// An image as it stands in the store. Its file is found by its digest and kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    /// Of what it came as.
    pub(crate) digest: Digest,
    /// What people call it.
    pub(crate) name: String,
    /// A disk, or a CD.
    pub(crate) kind: Kind,
    /// What it came as.
    pub(crate) format: Format,
    /// The disk it holds, in bytes.
    pub(crate) size_bytes: u64,
    /// Where it came from.
    pub(crate) source: String,
    /// What it is, for people.
    pub(crate) about: String,
    /// When it came.
    pub(crate) made_at: DateTime<Utc>,
    /// Who brought it.
    pub(crate) made_by: String,
    /// The journal's entry that brought it.
    pub(crate) entry: Uuid,
    /// What it is the same as, by the word of the host it came from: what came there. At most
    /// [`SAME_AS_MAX`].
    pub(crate) same_as: Vec<Digest>,
}

/// Writes a new one down. [`StoreError::Taken`] when the name or the content is there.
pub(crate) fn insert(connection: &Connection, image: &Stored) -> Result<(), StoreError> {
    connection
        .prepare_cached(&format!(
            "INSERT INTO images ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
        ))?
        .execute((
            image.digest.to_string(),
            &image.name,
            image.kind.word(),
            image.format.word(),
            i64::try_from(image.size_bytes).map_err(unreadable)?,
            &image.source,
            &image.about,
            image.made_at.to_rfc3339(),
            &image.made_by,
            image.entry.to_string(),
            image.same_as.iter().map(Digest::to_string).collect::<Vec<_>>().join(" "),
        ))?;
    Ok(())
}

/// All of them, by name.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Stored>, StoreError> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM images ORDER BY name"))?;
    let rows = query.query_map([], |row| Ok(stored(row)))?;
    rows.map(|row| row?).collect()
}

/// The one of this name.
pub(crate) fn named(connection: &Connection, name: &str) -> Result<Option<Stored>, StoreError> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM images WHERE name = ?1"))?;
    query.query_row([name], |row| Ok(stored(row))).optional()?.transpose()
}

/// The one with this content.
pub(crate) fn of_content(connection: &Connection, digest: Digest) -> Result<Option<Stored>, StoreError> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM images WHERE digest = ?1"))?;
    query.query_row([digest.to_string()], |row| Ok(stored(row))).optional()?.transpose()
}

/// Gives one another name; whether there was one. [`StoreError::Taken`] when it is another's.
pub(crate) fn rename(connection: &Connection, name: &str, to: &str) -> Result<bool, StoreError> {
    let rows =
        connection.prepare_cached("UPDATE images SET name = ?2 WHERE name = ?1")?.execute((name, to))?;
    Ok(rows == 1)
}

/// Takes one out.
pub(crate) fn remove(connection: &Connection, digest: Digest) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM images WHERE digest = ?1")?.execute([digest.to_string()])?;
    Ok(())
}

/// The checksum that was found at this address when it was first used.
pub(crate) fn pinned(connection: &Connection, url: &str) -> Result<Option<Digest>, StoreError> {
    let mut query = connection.prepare_cached("SELECT digest FROM pins WHERE url = ?1")?;
    let found: Option<String> = query.query_row([url], |row| row.get(0)).optional()?;
    found.map(|digest| digest.parse().map_err(|()| unreadable("a checksum"))).transpose()
}

/// Holds an address to a checksum from now on.
pub(crate) fn pin(connection: &Connection, url: &str, digest: Digest) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO pins (url, digest, at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET digest = ?2, at = ?3",
        )?
        .execute((url, digest.to_string(), Utc::now().to_rfc3339()))?;
    Ok(())
}

fn stored(row: &Row<'_>) -> Result<Stored, StoreError> {
    let text = |column: &str| row.get::<_, String>(column);
    let size: i64 = row.get("size_bytes")?;
    let kind = text("kind")?;
    Ok(Stored {
        digest: text("digest")?.parse().map_err(|()| unreadable("a checksum"))?,
        name: text("name")?,
        kind: [Kind::Disk, Kind::Cd]
            .into_iter()
            .find(|known| known.word() == kind)
            .ok_or_else(|| unreadable("a kind"))?,
        format: text("format")?.parse().map_err(|()| unreadable("a format"))?,
        size_bytes: u64::try_from(size).map_err(unreadable)?,
        source: text("source")?,
        about: text("about")?,
        made_at: DateTime::parse_from_rfc3339(&text("made_at")?).map_err(unreadable)?.to_utc(),
        made_by: text("made_by")?,
        entry: text("entry")?.parse().map_err(unreadable)?,
        same_as: text("same_as")?.split(' ').filter_map(|digest| digest.parse().ok()).collect(),
    })
}

fn unreadable(why: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable(format!("an image: {why}"))
}
