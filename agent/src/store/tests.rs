#![allow(clippy::unwrap_used, clippy::panic)]
use std::sync::Mutex;

use futures::FutureExt;
use xmpp_parsers::jid::BareJid;

use super::*;
use crate::store::{
    events::{self, Happening},
    schema,
};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state.db")).unwrap();
    (folder, store)
}

async fn note(store: &Store, text: &str) -> Result<u64, StoreError> {
    let happening = Happening { what: "test", sentence: text.into(), ..Happening::default() };
    store.run(move |connection| events::append(connection, happening)).await.map(|event| event.sequence)
}

#[tokio::test]
async fn a_failing_piece_of_work_leaves_nothing_and_spoils_no_other() {
    let (_folder, store) = store();
    let good = (0..50).map(|n| {
        let store = store.clone();
        async move { note(&store, &n.to_string()).await }.boxed_local()
    });
    let bad = (0..50).map(|_| {
        let store = store.clone();
        async move {
            let work = |connection: &Connection| {
                events::append(connection, Happening { what: "gone", ..Happening::default() })?;
                Err::<u64, _>(StoreError::Taken)
            };
            store.run(work).await
        }
        .boxed_local()
    });
    let done = futures::future::join_all(good.zip(bad).flat_map(|(good, bad)| [good, bad])).await;
    assert_eq!(done.iter().filter(|one| one.is_ok()).count(), 50);
    let kept = store.run(|connection| events::after(connection, 0, 1000)).await.unwrap();
    assert!(kept.iter().all(|event| event.what == "test"));
    assert_eq!(kept.iter().map(|event| event.sequence).collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_follows_a_commit_follows_in_the_order_of_the_commits() {
    let (_folder, store) = store();
    let told = Arc::new(Mutex::new(Vec::new()));
    let work = (0..200).map(|_| {
        let told = Arc::clone(&told);
        store.run_then(
            |connection| events::append(connection, Happening::default()),
            move |event| told.lock().unwrap().push(event.sequence),
        )
    });
    futures::future::join_all(work).await;
    assert_eq!(*told.lock().unwrap(), (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_disk_is_a_clear_error_and_what_was_written_stays() {
    let (_folder, store) = store();
    note(&store, "before").await.unwrap();
    let limit = |connection: &Connection| {
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        Ok(connection
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))?)
    };
    store.run(limit).await.unwrap();
    let error = note(&store, &"x".repeat(1 << 20)).await.unwrap_err();
    assert!(matches!(error, StoreError::Full), "{error:?}");
    assert_eq!(note(&store, "after").await.unwrap(), 2, "nothing of the failed one is left");
}

#[tokio::test]
async fn only_the_newest_events_are_kept() {
    let (_folder, store) = store();
    let fill = |connection: &Connection| {
        for _ in 0..events::KEEP + 5 {
            events::append(connection, Happening::default())?;
        }
        Ok(())
    };
    store.run(fill).await.unwrap();
    let first = store.run(|connection| events::after(connection, 0, 1)).await.unwrap();
    assert_eq!(first[0].sequence, 6);
}

#[tokio::test]
async fn a_damaged_or_later_file_is_refused_with_a_reason() {
    let (folder, store) = store();
    let file = folder.path().join("state.db");
    store.run(|connection| Ok(connection.execute_batch("PRAGMA user_version = 99")?)).await.unwrap();
    store.close().await;
    assert!(matches!(Store::open(&file), Err(StoreError::Newer { found: 99, .. })));
    std::fs::write(&file, "this was a database once, before the disk went bad ".repeat(100)).unwrap();
    for rest in ["state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(rest));
    }
    assert!(matches!(Store::open(&file), Err(StoreError::Damaged(_))));
}

#[tokio::test]
async fn facts_and_subscriptions_outlive_the_store() {
    let (folder, store) = store();
    let ann = BareJid::new("ann@example.org").unwrap();
    let subscriptions = store.subscriptions();
    let presence =
        |target: &str, state| PresenceSubscription { target: target.into(), jid: ann.clone(), state };
    let node =
        |target: &str| PubsubSubscription { target: target.into(), node: "n".into(), jid: ann.clone() };
    subscriptions.set_presence(presence("web1", SubscriptionState::Asked)).await.unwrap();
    subscriptions.set_presence(presence("web1", SubscriptionState::Both)).await.unwrap();
    subscriptions.set_presence(presence("host", SubscriptionState::From)).await.unwrap();
    subscriptions.remove_presence("host", &ann).await.unwrap();
    subscriptions.add_pubsub(node("web1")).await.unwrap();
    subscriptions.add_pubsub(node("web1")).await.unwrap();
    subscriptions.add_pubsub(node("host")).await.unwrap();
    subscriptions.remove_pubsub(&node("host")).await.unwrap();
    subscriptions.retarget("web1", Some("web2")).await.unwrap();
    store.run(|connection| schema::set_fact(connection, "boot", "one")).await.unwrap();
    store.close().await;
    let store = Store::open(&folder.path().join("state.db")).unwrap();
    let subscriptions = store.subscriptions();
    assert_eq!(subscriptions.presence().await.unwrap(), [presence("web2", SubscriptionState::Both)]);
    assert_eq!(subscriptions.pubsub().await.unwrap(), [node("web2")]);
    let boot = store.run(|connection| schema::fact(connection, "boot")).await.unwrap();
    assert_eq!(boot.as_deref(), Some("one"));
    subscriptions.retarget("web2", None).await.unwrap();
    assert!(subscriptions.presence().await.unwrap().is_empty());
}
