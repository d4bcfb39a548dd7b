#![allow(clippy::unwrap_used, clippy::panic)]
use serde_json::json;

use super::*;
use crate::store::Store;

fn start(key: Option<&str>, machine: Uuid) -> Accepted {
    Accepted {
        caller: "ann@example.org/phone".into(),
        rule: "roles.admin names ann@example.org".into(),
        door: Door::Chat,
        permission: "machine.start".into(),
        machine: Some(machine),
        name: Some("web1".into()),
        args: json!({}),
        key: key.map(str::to_owned),
        because: None,
        hops: Vec::new(),
        signature: None,
    }
}

fn done() -> Outcome {
    Outcome::Done { text: "web1 is running.".into(), json: json!({ "state": "running" }) }
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state.db")).unwrap();
    (folder, store)
}

#[tokio::test]
async fn an_entry_is_open_until_it_is_closed_and_the_log_shows_both() {
    let (_folder, store) = store();
    let (machine, entry) = (Uuid::now_v7(), Uuid::now_v7());
    store.run(move |connection| accept(connection, entry, &start(None, machine))).await.unwrap();
    assert_eq!(store.run(open).await.unwrap()[0].entry, entry);
    let line = store.run(move |connection| about(connection, machine, 10)).await.unwrap();
    assert_eq!((line[0].what.as_str(), line[0].outcome.as_str()), ("start", ""));
    store.run(move |connection| close(connection, entry, &done())).await.unwrap();
    assert!(store.run(open).await.unwrap().is_empty());
    let line = store.run(move |connection| about(connection, machine, 10)).await.unwrap();
    assert_eq!(line[0].outcome, "web1 is running.");
    assert!(store.run(|connection| about(connection, Uuid::now_v7(), 10)).await.unwrap().is_empty());
}

#[tokio::test]
async fn only_the_same_caller_key_and_words_are_a_repetition() {
    let (_folder, store) = store();
    let (machine, entry) = (Uuid::now_v7(), Uuid::now_v7());
    store.run(move |connection| accept(connection, entry, &start(Some("7"), machine))).await.unwrap();
    let before = |request: Accepted| store.run(move |connection| repeated(connection, &request));
    assert!(matches!(before(start(Some("7"), machine)).await.unwrap(), Some(Repeated::Open)));
    store.run(move |connection| close(connection, entry, &done())).await.unwrap();
    let Some(Repeated::Ended(outcome)) = before(start(Some("7"), machine)).await.unwrap() else { panic!() };
    assert_eq!(*outcome, done());
    let other = |change: fn(&mut Accepted)| {
        let mut request = start(Some("7"), machine);
        change(&mut request);
        request
    };
    for request in [
        other(|request| request.key = Some("8".into())),
        other(|request| request.key = None),
        other(|request| request.caller = "ann@example.org/desk".into()),
        other(|request| request.permission = "machine.kill".into()),
        other(|request| request.args = json!({ "wait": 5 })),
    ] {
        assert!(before(request.clone()).await.unwrap().is_none(), "{request:?}");
    }
}

#[tokio::test]
async fn an_altered_row_breaks_the_chain_and_a_row_cannot_be_changed_in_passing() {
    let (_folder, store) = store();
    for _ in 0..5 {
        let entry = Uuid::now_v7();
        store.run(move |connection| accept(connection, entry, &start(None, entry))).await.unwrap();
    }
    assert_eq!(store.run(|connection| verify(connection, 100)).await.unwrap(), 5);
    let meddle = "UPDATE journal SET body = replace(body, 'ann', 'eve') WHERE seq = 3";
    assert!(store.run(|connection| Ok(connection.execute_batch(meddle)?)).await.is_err());
    store
        .run(|connection| {
            connection.execute_batch("DROP TRIGGER journal_unchanged")?;
            Ok(connection.execute_batch(meddle)?)
        })
        .await
        .unwrap();
    let error = store.run(|connection| verify(connection, 100)).await.unwrap_err();
    assert!(error.to_string().contains("entry 3 was altered"), "{error}");
}

#[test]
fn the_log_shows_the_first_line_that_says_something() {
    let line = |text: &str| Outcome::Done { text: text.into(), json: json!({}) }.line();
    assert_eq!(line("web1 is running."), "web1 is running.");
    assert_eq!(line("```\nlogin: root\n$ \n```"), "login: root");
    assert_eq!(line("```console\n\n  ready\n```"), "ready");
    assert_eq!(line("```\n```"), "");
}
