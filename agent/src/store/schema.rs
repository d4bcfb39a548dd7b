//! The schema of state.db, and the steps from each version of it to the next.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// Step `n` leads from version `n` to `n + 1`. A step that was released is never changed.
const STEPS: &[&str] = &[
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

     CREATE TABLE machines (
         id TEXT PRIMARY KEY,
         name TEXT NOT NULL,
         -- Equal for names that look alike (UTS 39).
         skeleton TEXT NOT NULL,
         definition TEXT NOT NULL,
         driver TEXT NOT NULL,
         wanted TEXT NOT NULL,
         state TEXT NOT NULL,
         generation INTEGER NOT NULL,
         labels TEXT NOT NULL,
         autostart INTEGER NOT NULL,
         protected INTEGER NOT NULL,
         created_at TEXT NOT NULL,
         created_by TEXT NOT NULL,
         deleted_at TEXT,
         deleted_by TEXT
     ) STRICT;
     CREATE UNIQUE INDEX machines_name ON machines (name) WHERE deleted_at IS NULL;
     CREATE UNIQUE INDEX machines_skeleton ON machines (skeleton) WHERE deleted_at IS NULL;

     CREATE TABLE journal (
         seq INTEGER PRIMARY KEY AUTOINCREMENT,
         at TEXT NOT NULL,
         kind TEXT NOT NULL,
         entry TEXT NOT NULL,
         body TEXT NOT NULL,
         prev_hash BLOB NOT NULL,
         hash BLOB NOT NULL
     ) STRICT;
     CREATE INDEX journal_entry ON journal (entry, kind);
     CREATE INDEX journal_machine ON journal (json_extract(body, '$.machine')) WHERE kind = 'accepted';
     CREATE INDEX journal_key ON journal (json_extract(body, '$.caller'), json_extract(body, '$.key'))
         WHERE kind = 'accepted';
     CREATE TRIGGER journal_unchanged BEFORE UPDATE ON journal
         BEGIN SELECT RAISE (ABORT, 'the journal is append-only'); END;
     CREATE TRIGGER journal_kept BEFORE DELETE ON journal
         BEGIN SELECT RAISE (ABORT, 'the journal is append-only'); END;

     CREATE TABLE events (
         sequence INTEGER PRIMARY KEY AUTOINCREMENT,
         event TEXT NOT NULL
     ) STRICT;

     CREATE TABLE presence_subscriptions (
         target TEXT NOT NULL,
         jid TEXT NOT NULL,
         state TEXT NOT NULL,
         PRIMARY KEY (target, jid)
     ) STRICT, WITHOUT ROWID;

     CREATE TABLE pubsub_subscriptions (
         target TEXT NOT NULL,
         node TEXT NOT NULL,
         jid TEXT NOT NULL,
         PRIMARY KEY (target, node, jid)
     ) STRICT, WITHOUT ROWID;",
    // What machines were made of, the present included; those of before begin with what they have.
    "CREATE TABLE definitions (
         machine TEXT NOT NULL,
         number INTEGER NOT NULL,
         at TEXT NOT NULL,
         who TEXT NOT NULL,
         what TEXT NOT NULL,
         definition TEXT NOT NULL,
         PRIMARY KEY (machine, number)
     ) STRICT, WITHOUT ROWID;
     INSERT INTO definitions
         SELECT id, 1, created_at, created_by, 'the first known', definition FROM machines;",
    "CREATE TABLE images (
         digest TEXT PRIMARY KEY,
         name TEXT NOT NULL UNIQUE,
         kind TEXT NOT NULL,
         format TEXT NOT NULL,
         size_bytes INTEGER NOT NULL,
         source TEXT NOT NULL,
         about TEXT NOT NULL,
         made_at TEXT NOT NULL,
         made_by TEXT NOT NULL,
         -- The journal's entry that brought it.
         entry TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;

     -- What each address of the web held when it was first used.
     CREATE TABLE pins (
         url TEXT PRIMARY KEY,
         digest TEXT NOT NULL,
         at TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;",
    "ALTER TABLE machines ADD COLUMN restarts TEXT NOT NULL DEFAULT '{}';",
    // What this host is to machines that moved, or move, and where those went that are gone.
    "CREATE TABLE handovers (
         machine TEXT PRIMARY KEY,
         standing TEXT NOT NULL,
         peer TEXT NOT NULL,
         about TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE tombstones (name TEXT PRIMARY KEY, address TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    // What was used: a ring of minutes and one of hours, each row with all of its time.
    "CREATE TABLE samples (
         -- How long it is, in seconds.
         period INTEGER NOT NULL,
         slot INTEGER NOT NULL,
         -- When it began, in seconds since 1970.
         at INTEGER NOT NULL,
         samples TEXT NOT NULL,
         PRIMARY KEY (period, slot)
     ) STRICT;",
    "CREATE TABLE alerts (
         number INTEGER PRIMARY KEY AUTOINCREMENT,
         person TEXT NOT NULL,
         -- None: the host.
         machine TEXT,
         rule TEXT NOT NULL,
         -- The journal's entry that asked for it.
         entry TEXT NOT NULL,
         since TEXT,
         seen REAL,
         told TEXT
     ) STRICT;

     CREATE TABLE quiet (
         person TEXT PRIMARY KEY,
         hours TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;",
    "CREATE TABLE networks (
         name TEXT PRIMARY KEY,
         definition TEXT NOT NULL,
         made_at TEXT NOT NULL,
         made_by TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;

     -- The address each NIC has on each network, for its life.
     CREATE TABLE lent (
         network TEXT NOT NULL,
         machine TEXT NOT NULL,
         nic TEXT NOT NULL,
         address TEXT NOT NULL,
         PRIMARY KEY (network, machine, nic),
         UNIQUE (network, address)
     ) STRICT, WITHOUT ROWID;",
    // What an image is the same as, where it came from another host.
    "ALTER TABLE images ADD COLUMN same_as TEXT NOT NULL DEFAULT '';",
    // The external snapshots of a machine, and what its disks stand on: with where they are, or not at all.
    r#"ALTER TABLE machines ADD COLUMN layers TEXT NOT NULL DEFAULT '{"snapshots":[],"stands":{}}';"#,
    // What was granted to whom, and the roles defined here. A number is never used again.
    "CREATE TABLE grants (
         number INTEGER PRIMARY KEY AUTOINCREMENT,
         body TEXT NOT NULL,
         entry TEXT NOT NULL
     ) STRICT;
     CREATE INDEX grants_of_entry ON grants (entry);

     CREATE TABLE roles (
         name TEXT PRIMARY KEY,
         holds TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;",
    "CREATE TABLE devices (
         name TEXT PRIMARY KEY,
         mapping TEXT NOT NULL,
         made_at TEXT NOT NULL,
         made_by TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;

     -- Devices that machines have, each one machine's.
     CREATE TABLE loans (
         device TEXT PRIMARY KEY,
         machine TEXT NOT NULL,
         name TEXT NOT NULL,
         lent TEXT NOT NULL,
         -- The host's, which has it back afterwards.
         driver TEXT
     ) STRICT, WITHOUT ROWID;",
    // Requests that wait for the consent of others, and what asks for it.
    "CREATE TABLE requests (
         -- The number it has in the journal.
         entry TEXT PRIMARY KEY,
         body TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;

     CREATE TABLE policies (
         name TEXT PRIMARY KEY,
         body TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;",
    // Whether a device is handed over also while the host itself uses it.
    "ALTER TABLE devices ADD COLUMN even_in_use INTEGER NOT NULL DEFAULT 0;",
    // The last row of the journal that is in a file beside it. It only goes on, and to rows that are there;
    // nothing but what it has passed leaves the table.
    "CREATE TABLE journal_anchor (
         one INTEGER PRIMARY KEY CHECK (one = 1),
         seq INTEGER NOT NULL,
         hash BLOB NOT NULL
     ) STRICT;
     INSERT INTO journal_anchor VALUES (1, 0, x'');
     CREATE TRIGGER journal_anchor_forward BEFORE UPDATE ON journal_anchor
         WHEN NOT EXISTS (SELECT 1 FROM journal WHERE seq = NEW.seq AND hash = NEW.hash)
         BEGIN SELECT RAISE (ABORT, 'the journal is append-only'); END;
     CREATE TRIGGER journal_anchor_kept BEFORE DELETE ON journal_anchor
         BEGIN SELECT RAISE (ABORT, 'the journal is append-only'); END;
     DROP TRIGGER journal_kept;
     CREATE TRIGGER journal_kept BEFORE DELETE ON journal
         WHEN OLD.seq > (SELECT seq FROM journal_anchor)
         BEGIN SELECT RAISE (ABORT, 'the journal is append-only'); END;",
    // Who had rights on a machine when it went. What a file of rights brought. How much people may have.
    "ALTER TABLE tombstones ADD COLUMN saw TEXT NOT NULL DEFAULT '[]';
     ALTER TABLE roles ADD COLUMN of_set TEXT;
     CREATE TABLE quotas (to_whom TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;",
];

/// Opens the file, checks it, and brings it to the newest version.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    // FULL: what was answered is on the disk, also after a power cut.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
         PRAGMA busy_timeout = 5000; PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -1024;",
    )?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::Damaged(verdict));
    }
    migrate(&connection)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (version, step) in STEPS.iter().enumerate().skip(found as usize) {
        connection.execute_batch(&format!("BEGIN; {step} PRAGMA user_version = {}; COMMIT;", version + 1))?;
    }
    Ok(())
}

/// A fact about the host that outlives the agent (the boot it last saw, say).
pub(crate) fn fact(connection: &Connection, name: &str) -> Result<Option<String>, StoreError> {
    use rusqlite::OptionalExtension;
    let mut query = connection.prepare_cached("SELECT value FROM facts WHERE name = ?1")?;
    Ok(query.query_row([name], |row| row.get(0)).optional()?)
}

/// Writes a fact down.
pub(crate) fn set_fact(connection: &Connection, name: &str, value: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
        )?
        .execute([name, value])?;
    Ok(())
}
