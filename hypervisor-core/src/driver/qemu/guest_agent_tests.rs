#![allow(clippy::unwrap_used, clippy::panic)]

use tokio::io::{DuplexStream, duplex};

use super::*;

/// A guest that has said something already, and answers each line it hears with the next of these.
fn guest(stale: &[u8], answers: &[&str]) -> Talk<DuplexStream> {
    let (ours, theirs) = duplex(1 << 20);
    let (stale, answers) = (stale.to_vec(), answers.iter().map(ToString::to_string).collect::<Vec<_>>());
    tokio::spawn(async move {
        let mut theirs = BufReader::new(theirs);
        theirs.get_mut().write_all(&stale).await.unwrap();
        for answer in answers {
            line(&mut theirs, LINE_MAX).await.unwrap();
            theirs.get_mut().write_all(answer.as_bytes()).await.unwrap();
            theirs.get_mut().write_all(b"\n").await.unwrap();
        }
        // It stays, and is silent.
        std::future::pending::<()>().await;
    });
    Talk { stream: BufReader::new(ours) }
}

fn command() -> Vec<String> {
    vec!["uname".into(), "-a".into()]
}

fn why(result: Result<impl std::fmt::Debug, DriverError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn what_was_said_to_others_is_thrown_away() {
    let mut talk = guest(b"{\"return\": 7}\n{\"ret", &["\u{0}"]);
    drop(talk.stream.fill_buf().await);
    let (ours, theirs) = duplex(4096);
    let mut talk = Talk { stream: BufReader::new(ours) };
    let mut theirs = BufReader::new(theirs);
    theirs.get_mut().write_all(b"{\"return\": 7}\n{\"ret\xff{\"return\": 42}\n").await.unwrap();
    talk.sync(42).await.unwrap();
}

#[tokio::test]
async fn a_command_is_asked_after_until_it_has_ended() {
    let ended = r#"{"return": {"exited": true, "exitcode": 3, "out-data": "aGkK", "err-data": "bm8K"}}"#;
    let mut talk = guest(b"", &[r#"{"return": {"pid": 9}}"#, r#"{"return": {"exited": false}}"#, ended]);
    let ran = talk.run(&command(), Duration::from_secs(60)).await.unwrap();
    let expected =
        Ran { code: Some(3), signal: None, output: b"hi\n".to_vec(), errors: b"no\n".to_vec(), cut: false };
    assert_eq!(ran, expected);
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_end_or_does_not_answer_is_not_waited_for() {
    let not_yet = [r#"{"return": {"exited": false}}"#; 200];
    let mut talk = guest(b"", &[&[r#"{"return": {"pid": 9}}"#], &not_yet[..]].concat());
    let error = talk.run(&command(), Duration::from_secs(30)).await.unwrap_err();
    assert!(matches!(error, DriverError::TimedOut { .. }), "{error:?}");
    assert!(why(guest(b"", &[]).sync(1).await).starts_with("no guest agent answers"));
}

#[tokio::test]
async fn what_a_guest_makes_up_is_bounded() {
    let refused = format!(r#"{{"error": {{"desc": "no\u001b[2J{}"}}}}"#, "x".repeat(1000));
    let said = why(guest(b"", &[&refused]).run(&command(), Duration::from_secs(1)).await);
    assert!(said.len() < 300 && !said.contains('\u{1b}'), "{said}");
    for odd in ["{}", "[]", "\"x\"", "{\"return\": {\"pid\": \"9\"}}", "not json"] {
        let said = why(guest(b"", &[odd]).run(&command(), Duration::from_secs(1)).await);
        assert!(said.contains("is no guest agent"), "{odd}: {said}");
    }
    let endless = vec![b'x'; LINE_MAX + 1];
    let (ours, mut theirs) = duplex(LINE_MAX * 2);
    theirs.write_all(&endless).await.unwrap();
    assert!(why(Talk { stream: BufReader::new(ours) }.sync(1).await).contains("says too much"));
    let much =
        json!({ "out-data": BASE64.encode(vec![b'y'; OUTPUT_BYTES_MAX + 1]), "exitcode": 1_u64 << 40 });
    let ran = ran(&much);
    assert_eq!((ran.output.len(), ran.cut, ran.code), (OUTPUT_BYTES_MAX, true, None));
}
