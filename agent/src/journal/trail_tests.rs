#![allow(clippy::unwrap_used, clippy::panic)]
use rusqlite::{Connection, types::Value};
use skerry_stanzas::audit::{Head, hex};
use uuid::Uuid;

use super::*;
use crate::{
    asked::Door,
    journal::{self, Accepted, Outcome},
};

fn accepted(name: &str) -> Accepted {
    Accepted {
        caller: "ann@example.org/é".into(),
        rule: "roles.admin".into(),
        door: Door::Chat,
        permission: "machine.kill".into(),
        machine: None,
        name: Some(name.into()),
        args: serde_json::json!({ "wait": 1.5 }),
        key: Some(name.into()),
        because: Some("the disk is full".into()),
        hops: Vec::new(),
        signature: None,
    }
}

/// A trail with so many commands, each of two rows; the last one has no end when `open`.
async fn trail(commands: usize, open: bool) -> (tempfile::TempDir, Trail) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state.db")).unwrap();
    let fill = move |connection: &Connection| {
        for n in 0..commands {
            let entry = Uuid::now_v7();
            journal::accept(connection, entry, &accepted(&format!("web{n}")))?;
            if !(open && n + 1 == commands) {
                let done = Outcome::Done { text: "ok".into(), json: serde_json::json!({}) };
                journal::close(connection, entry, &done)?;
            }
        }
        Ok(())
    };
    store.run(fill).await.unwrap();
    let trail = Trail::new(store, folder.path());
    (folder, trail)
}

const SOON: Keep = Keep { rows: 8, age: Duration::ZERO };

async fn put_away(trail: &Trail) -> usize {
    let mut files = 0;
    while trail.rotate(SOON).await.unwrap() {
        files += 1;
    }
    files
}

/// What is wrong with the table, looked at as [`Trail::verify`] does.
fn flaw(connection: &Connection) -> Option<Flaw> {
    let (mut check, mut from) = (Check::default().after(0, Vec::new()), None);
    loop {
        match rows::walk(connection, &mut check, from, CHUNK).unwrap() {
            Ok(Some(last)) => from = Some(last),
            Ok(None) => return check.finish().err(),
            Err(flaw) => return Some(flaw),
        }
    }
}

#[tokio::test]
async fn every_single_bit_of_every_field_of_every_stored_row_is_missed_when_it_is_turned() {
    let (_folder, trail) = trail(2, true).await;
    let meddle = |connection: &Connection| {
        // The indexes read the body as JSON, and would refuse what is none.
        let free = "DROP TRIGGER journal_unchanged; DROP INDEX journal_machine; DROP INDEX journal_key";
        connection.execute_batch(free)?;
        assert_eq!(flaw(connection), None);
        let mut turned = 0;
        for seq in 1..=3_i64 {
            for bit in 0..64 {
                let other = seq ^ (1_i64 << bit);
                // The table holds each number once.
                if connection.execute("UPDATE journal SET seq = ?1 WHERE seq = ?2", [other, seq]).is_ok() {
                    assert!(flaw(connection).is_some(), "bit {bit} of the number of row {seq}");
                    connection.execute("UPDATE journal SET seq = ?1 WHERE seq = ?2", [seq, other])?;
                    turned += 1;
                }
            }
            for column in ["at", "kind", "entry", "body", "prev_hash", "hash"] {
                let read = format!("SELECT CAST({column} AS BLOB) FROM journal WHERE seq = ?1");
                let whole: Vec<u8> = connection.query_row(&read, [seq], |row| row.get(0))?;
                let kind = if column.ends_with("hash") { "BLOB" } else { "TEXT" };
                let write = format!("UPDATE journal SET {column} = CAST(?1 AS {kind}) WHERE seq = ?2");
                let mut write = connection.prepare(&write)?;
                for (byte, bit) in (0..whole.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
                    let mut other = whole.clone();
                    other[byte] ^= 1 << bit;
                    write.execute((Value::Blob(other), seq))?;
                    assert!(flaw(connection).is_some(), "bit {bit} of byte {byte} of {column} of row {seq}");
                    turned += 1;
                }
                write.execute((Value::Blob(whole), seq))?;
            }
        }
        assert_eq!(flaw(connection), None, "all was put back");
        Ok(turned)
    };
    let turned: u64 = trail.store.run(meddle).await.unwrap();
    assert!(turned > 3000, "{turned}");
}

#[tokio::test]
async fn what_is_taken_out_of_the_store_is_missed_also_at_its_end() {
    let (_folder, trail) = trail(3, false).await;
    let newest = trail.newest().await.unwrap().unwrap();
    for gone in 1..=6_i64 {
        let take = move |connection: &Connection| {
            connection.execute_batch("SAVEPOINT before; DROP TRIGGER journal_kept")?;
            connection.execute("DELETE FROM journal WHERE seq = ?1", [gone])?;
            let found = flaw(connection);
            // Who is careful has the numbers begin anew as well; then it takes a witness.
            connection.execute("UPDATE sqlite_sequence SET seq = seq - 1 WHERE name = 'journal'", [])?;
            let careful = flaw(connection);
            connection.execute_batch("ROLLBACK TO before; RELEASE before")?;
            Ok((found, careful))
        };
        let (found, careful) = trail.store.run(take).await.unwrap();
        let gone = u64::try_from(gone).unwrap();
        match gone {
            6 => assert_eq!((found, careful), (Some(Flaw::Missing(6, 6)), None)),
            _ => assert_eq!(found, Some(Flaw::Missing(gone, gone))),
        }
    }
    let head = Head { host: "kvm1".into(), sequence: 6, hash: hex(&newest.hash), at: newest.at };
    let later = Head { sequence: 9, ..head.clone() };
    let mut heads = Heads::default();
    heads.note(&head);
    assert_eq!(trail.verify(heads.clone()).await.unwrap().unwrap().held, 1);
    heads.note(&later);
    assert_eq!(trail.verify(heads).await.unwrap(), Err(Flaw::Truncated(6, later)));
}

#[tokio::test]
async fn the_store_lets_nothing_go_but_what_is_in_a_file() {
    let (_folder, trail) = trail(3, false).await;
    for meddling in [
        "UPDATE journal SET body = '{}' WHERE seq = 2",
        "DELETE FROM journal WHERE seq = 1",
        "UPDATE journal_anchor SET seq = 99, hash = x'00'",
        "UPDATE journal_anchor SET seq = 2, hash = x'00'",
        "DELETE FROM journal_anchor",
    ] {
        let tried = trail.store.run(move |connection| Ok(connection.execute_batch(meddling)?)).await;
        assert!(tried.is_err(), "{meddling}");
    }
}

#[tokio::test]
async fn old_rows_go_into_files_and_the_chain_goes_on() {
    let (folder, trail) = trail(40, false).await;
    let whole = trail.after(0, 1000).await.unwrap();
    assert_eq!(whole.len(), 80);
    let files = put_away(&trail).await;
    assert_eq!(files, 18, "as long as there are 8 rows, and 4 for a file");
    let left = trail.store.run(|connection| rows::after(connection, None, 1000)).await.unwrap();
    assert_eq!(left.len(), 80 - 4 * files);
    assert_eq!(trail.after(0, 1000).await.unwrap(), whole, "nothing is gone, nothing there twice");
    assert_eq!(trail.after(30, 50).await.unwrap(), whole[30..]);
    assert_eq!(trail.after(10, 5).await.unwrap(), whole[10..15]);
    let mut back = trail.before(u64::MAX, 1000).await.unwrap();
    back.reverse();
    assert_eq!(back, whole);
    assert_eq!(
        trail.before(21, 3).await.unwrap().iter().map(|row| row.seq).collect::<Vec<_>>(),
        [20, 19, 18]
    );
    let checked = trail.verify(Heads::default()).await.unwrap().unwrap();
    assert_eq!((checked.first, checked.last), (1, 80));
    // It goes on after what is in files.
    trail
        .store
        .run(|connection| journal::accept(connection, Uuid::now_v7(), &accepted("db1")))
        .await
        .unwrap();
    assert_eq!(trail.verify(Heads::default()).await.unwrap().unwrap().last, 81);
    let of = |n: usize| {
        let mut files: Vec<_> = std::fs::read_dir(folder.path().join("audit"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        files.swap_remove(n)
    };
    let text = std::fs::read_to_string(of(3)).unwrap();
    std::fs::write(of(3), text.replacen("ann@", "eve@", 1)).unwrap();
    assert_eq!(trail.verify(Heads::default()).await.unwrap(), Err(Flaw::Altered(13)));
    std::fs::write(of(3), text.trim_end()).unwrap();
    assert!(trail.verify(Heads::default()).await.unwrap().is_err(), "its end is cut off");
    std::fs::remove_file(of(3)).unwrap();
    assert_eq!(trail.verify(Heads::default()).await.unwrap(), Err(Flaw::Missing(13, 16)));
    std::fs::remove_file(of(17 - 1)).unwrap();
    assert_eq!(trail.verify(Heads::default()).await.unwrap(), Err(Flaw::Missing(13, 16)));
}

#[tokio::test]
async fn what_is_open_or_young_stays_where_it_is_looked_for() {
    let (_folder, trail) = trail(40, true).await;
    let day = Keep { age: Duration::from_secs(24 * 3600), ..SOON };
    assert!(!trail.rotate(day).await.unwrap(), "all of it is young");
    put_away(&trail).await;
    assert_eq!(trail.store.run(journal::open).await.unwrap().len(), 1);
    // The one without an end is the oldest that is left.
    let fill = |connection: &Connection| {
        for n in 0..40 {
            let entry = Uuid::now_v7();
            journal::accept(connection, entry, &accepted(&format!("db{n}")))?;
            journal::close(connection, entry, &Outcome::Unknown { text: String::new() })?;
        }
        Ok(())
    };
    trail.store.run(fill).await.unwrap();
    put_away(&trail).await;
    assert_eq!(trail.store.run(journal::open).await.unwrap().len(), 1, "it is still to be settled");
    let repeated = |name: &'static str| {
        let request = accepted(name);
        trail.store.run(move |connection| journal::repeated(connection, &request))
    };
    assert!(matches!(repeated("web39").await.unwrap(), Some(journal::Repeated::Open)));
    assert!(matches!(repeated("db39").await.unwrap(), Some(journal::Repeated::Ended(_))));
    assert_eq!(trail.after(0, 1000).await.unwrap().len(), 159);
}
