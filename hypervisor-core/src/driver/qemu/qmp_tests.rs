#![allow(clippy::unwrap_used, clippy::panic)]

use tokio::io::DuplexStream;

use super::*;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": ["oob"]}}"#;

/// The other end: says and hears whole lines.
struct Peer(BufReader<DuplexStream>);

impl Peer {
    async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
        self.0.get_mut().write_all(b"\r\n").await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        let mut heard = String::new();
        self.0.read_line(&mut heard).await.unwrap();
        serde_json::from_str(&heard).unwrap()
    }
}

async fn connected() -> (Client, mpsc::Receiver<Event>, Peer) {
    let (ours, theirs) = tokio::io::duplex(4096);
    let mut peer = Peer(BufReader::new(theirs));
    let script = async {
        peer.say(GREETING).await;
        let asked = peer.hear().await;
        assert_eq!(asked["execute"], "qmp_capabilities");
        peer.say(&format!(r#"{{"return": {{}}, "id": {}, "new-in-99": [1]}}"#, asked["id"])).await;
    };
    let (greeted, ()) = tokio::join!(Client::greet_by(ours, None), script);
    let (client, events) = greeted.unwrap();
    (client, events, peer)
}

#[tokio::test]
async fn answers_find_their_question_whatever_the_order() {
    let (client, mut events, mut peer) = connected().await;
    let script = async {
        let (first, second) = (peer.hear().await, peer.hear().await);
        assert_eq!(second["arguments"], json!({"a": 1}));
        peer.say(r#"{"event": "STOP", "timestamp": {"seconds": 1}}"#).await;
        peer.say(&format!(r#"{{"id": {}, "return": "second"}}"#, second["id"])).await;
        peer.say(r#"{"id": 4711, "return": "nobody asked"}"#).await;
        peer.say(r#"{"something": "new"}"#).await;
        peer.say(&format!(r#"{{"id": {}, "return": "first"}}"#, first["id"])).await;
    };
    let (first, second, ()) =
        tokio::join!(client.ask("one", None), client.ask("two", Some(json!({"a": 1}))), script);
    assert_eq!((first.unwrap(), second.unwrap()), (json!("first"), json!("second")));
    assert_eq!(events.recv().await.unwrap().name, "STOP");
}

#[tokio::test]
async fn a_refusal_carries_qemus_sentence() {
    let (client, _events, mut peer) = connected().await;
    let script = async {
        let asked = peer.hear().await;
        let said = format!(
            r#"{{"id": {}, "error": {{"class": "GenericError", "desc": "no such disk"}}}}"#,
            asked["id"]
        );
        peer.say(&said).await;
    };
    let (answer, ()) = tokio::join!(client.ask("eject", None), script);
    assert_eq!(answer.unwrap_err().to_string(), "QEMU refused eject: no such disk");
}

#[tokio::test]
async fn events_before_the_end_are_all_told_and_who_waits_is_let_go() {
    let (client, mut events, mut peer) = connected().await;
    let script = async {
        peer.hear().await;
        peer.say(r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#).await;
        drop(peer);
    };
    let (answer, ()) = tokio::join!(client.ask("query-status", None), script);
    assert!(matches!(answer, Err(QmpError::Closed)));
    let event = events.recv().await.unwrap();
    assert!(event.by_guest());
    assert_eq!(event.reason(), "guest-shutdown");
    assert_eq!(events.recv().await, None);
    assert!(matches!(client.ask("query-status", None).await, Err(QmpError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_not_waited_for_for_ever() {
    let (client, _events, _peer) = connected().await;
    assert!(matches!(client.ask("query-status", None).await, Err(QmpError::TimedOut("query-status"))));
    assert!(client.waiting.lock().unwrap().as_ref().unwrap().is_empty());
}

#[tokio::test]
async fn strangers_and_overlong_lines_end_it() {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    theirs.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
    assert!(matches!(Client::greet_by(ours, None).await, Err(QmpError::Stranger)));

    let (client, mut events, mut peer) = connected().await;
    let flood = tokio::spawn(async move {
        let mut sent = 0_usize;
        while peer.0.get_mut().write_all(&[b'x'; 1024]).await.is_ok() {
            sent += 1024;
        }
        sent
    });
    assert_eq!(events.recv().await, None);
    assert!(matches!(client.ask("query-status", None).await, Err(QmpError::Closed)));
    drop(client);
    assert!(flood.await.unwrap() <= LINE_MAX + 16 * 1024);
}
