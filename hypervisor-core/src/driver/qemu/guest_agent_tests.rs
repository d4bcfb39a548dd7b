#![allow(clippy::unwrap_used, clippy::panic)]

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::driver::guest_agent::OUTPUT_BYTES_MAX;

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

#[tokio::test(start_paused = true)]
async fn one_that_does_not_answer_is_not_waited_for() {
    assert!(why(guest(b"", &[]).sync(1).await).starts_with("no guest agent answers"));
    assert!(why(guest(b"", &[]).ask("guest-info", &json!({})).await).starts_with("no guest agent answers"));
}

#[test]
fn an_end_is_taken_as_it_was() {
    let ended = json!({"exited": true, "exitcode": 3, "out-data": "aGkK", "err-data": "bm8K"});
    let expected =
        Ran { code: Some(3), signal: None, output: b"hi\n".to_vec(), errors: b"no\n".to_vec(), cut: false };
    assert_eq!(asking::ran(&ended), expected);
}

#[tokio::test]
async fn a_file_is_read_to_its_end_and_closed() {
    let open = r#"{"return": 7}"#;
    let piece = r#"{"return": {"count": 3, "buf-b64": "aGkK", "eof": false}}"#;
    let end = r#"{"return": {"count": 0, "buf-b64": "", "eof": true}}"#;
    let done = r#"{"return": {}}"#;
    let mut talk = guest(b"", &[open, piece, end, done]);
    let part = asking::read_by(&mut talk, "/etc/motd", 0, 100).await.unwrap();
    assert_eq!(part, FilePart { bytes: b"hi\n".to_vec(), ends: true });
    // More than was asked for, and none that ends: it is closed all the same, and said so.
    for odd in [r#"{"return": {"buf-b64": "aGkK"}}"#, r#"{"return": {"buf-b64": "?"}}"#] {
        let mut talk = guest(b"", &[open, odd, done]);
        assert!(why(asking::read_by(&mut talk, "/x", 0, 2).await).contains("is no guest agent"), "{odd}");
    }
}

#[tokio::test]
async fn a_file_is_written_and_one_that_takes_nothing_is_no_file() {
    let (open, done) = (r#"{"return": 7}"#, r#"{"return": {}}"#);
    let (two, one) = (r#"{"return": {"count": 2}}"#, r#"{"return": {"count": 1}}"#);
    asking::write_by(&mut guest(b"", &[open, two, one, done, done]), "/x", b"hi\n", true).await.unwrap();
    let none = r#"{"return": {"count": 0}}"#;
    let written = asking::write_by(&mut guest(b"", &[open, none, done]), "/x", b"hi", false).await;
    assert!(why(written).contains("is no guest agent"));
    let full = r#"{"error": {"desc": "No space left on device"}}"#;
    let written = asking::write_by(&mut guest(b"", &[open, full, done]), "/x", b"hi", false).await;
    assert!(why(written).contains("No space left"));
}

#[tokio::test]
async fn what_a_guest_may_not_say_is_missing_and_the_rest_is_there() {
    let no = r#"{"error": {"desc": "Command guest-network-get-interfaces has been disabled"}}"#;
    let os = r#"{"return": {"pretty-name": "Debian 12", "kernel-release": "6.1"}}"#;
    let mut talk =
        guest(b"", &[r#"{"return": {"version": "7.2"}}"#, no, os, r#"{"return": {"host-name": "web1"}}"#]);
    let mut seen = GuestSeen::default();
    seeing::ask_all(&mut talk, &mut seen).await.unwrap();
    let word = |text: &str| Some(text.to_owned());
    let expected = GuestSeen {
        agent: word("7.2"),
        os: word("Debian 12"),
        kernel: word("6.1"),
        hostname: word("web1"),
        addresses: vec![],
    };
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_a_guest_makes_up_is_bounded() {
    let refused = format!(r#"{{"error": {{"desc": "no\u001b[2J{}"}}}}"#, "x".repeat(1000));
    let said = why(guest(b"", &[&refused]).ask("guest-info", &json!({})).await);
    assert!(said.len() < 300 && !said.contains('\u{1b}'), "{said}");
    let said = why(guest(b"", &["not json"]).ask("guest-info", &json!({})).await);
    assert!(said.contains("is no guest agent"), "{said}");
    let endless = vec![b'x'; LINE_MAX + 1];
    let (ours, mut theirs) = duplex(LINE_MAX * 2);
    theirs.write_all(&endless).await.unwrap();
    assert!(why(Talk { stream: BufReader::new(ours) }.sync(1).await).contains("says too much"));
    let much =
        json!({ "out-data": BASE64.encode(vec![b'y'; OUTPUT_BYTES_MAX + 1]), "exitcode": 1_u64 << 40 });
    let ran = asking::ran(&much);
    assert_eq!((ran.output.len(), ran.cut, ran.code), (OUTPUT_BYTES_MAX, true, None));
}

#[test]
fn what_is_given_back_is_added_up_and_a_no_is_kept() {
    let answer = json!({"paths": [
        {"path": "/", "trimmed": 4096, "minimum": 0},
        {"path": "/boot", "error": "the \u{7}trim\u{0} failed"},
        {"path": "/srv", "trimmed": u64::MAX},
        {"path": "/odd", "trimmed": "much"},
    ]});
    let trimmed = asking::trimmed(&answer);
    assert_eq!((trimmed.bytes, trimmed.file_systems), (u64::MAX, 3));
    assert_eq!(trimmed.refused.as_deref(), Some("the trim failed"));
    assert_eq!(asking::trimmed(&json!({"paths": {}})), Trimmed::default());
}
