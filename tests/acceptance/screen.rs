//! The screen of a real guest, as people get to see it: uploaded to the server, in band, in a file; and
//! keys that reach the guest.

use std::path::Path;

use skerry_stanzas::ns;
use skerry_tests::{
    client::{Client, PATIENCE},
    lab::{Lab, Wanted},
};

/// More than an empty screen takes as PNG.
const BYTES_MIN: usize = 1000;

struct Guest {
    lab: Lab,
    client: Client,
    jid: String,
    node: &'static str,
    /// Before a command in the chat.
    named: &'static str,
}

impl Guest {
    async fn booted(server: &'static str, link: &'static str) -> Self {
        let lab = Wanted::new(server, link).machines(1).real_guests().up().await.unwrap();
        let machine = &lab.record.machines[0];
        let (node, named) = if machine.jid == machine.host { ("machine/web1/", "web1 ") } else { ("", "") };
        let (jid, client) = (machine.jid.clone(), lab.client("operator").await.unwrap());
        let guest = Self { lab, client, jid, node, named };
        guest.says("start", &[]).await;
        while !guest.says("console", &["--lines=500"]).await.contains("skerry guest ready") {
            guest.says("send", &["--line="]).await;
        }
        guest
    }

    async fn says(&self, verb: &str, argv: &[&str]) -> String {
        let answer = self.client.command(&self.jid, &format!("{}{verb}", self.node), argv).await.unwrap();
        answer.note.unwrap().text
    }

    /// The file behind an address, by the authority of the lab.
    async fn get(&self, url: &str) -> Vec<u8> {
        let tls = skerry_link::https(Some(&self.lab.record.server.ca)).unwrap();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap();
        let answer = client.get(url).timeout(PATIENCE).send().await.unwrap().error_for_status().unwrap();
        assert_eq!(answer.headers()["content-type"], "image/png");
        answer.bytes().await.unwrap().to_vec()
    }

    async fn is_shown(&mut self) {
        let text = format!("{}screenshot", self.named);
        self.client.say(&self.jid.clone(), &text).await.unwrap();
        let message = self
            .client
            .expect("a picture", |stanza| stanza.name() == "message" && stanza.has_child("x", "jabber:x:oob"))
            .await
            .unwrap();
        let body = message.get_child("body", ns::CLIENT).unwrap().text();
        let oob = message.get_child("x", "jabber:x:oob").unwrap().get_child("url", "jabber:x:oob").unwrap();
        assert_eq!(body, oob.text(), "clients show a picture whose address is all there is");
        is_picture(&self.get(&body).await);
    }

    async fn is_saved(&self, file: &Path) -> Vec<u8> {
        let file_name = file.display().to_string();
        let done = self.lab.skerry("viewer", &["screenshot", "web1", "--out", &file_name]).await.unwrap();
        assert!(done.status.success(), "{done:?}");
        let saved = std::fs::read(file).unwrap();
        is_picture(&saved);
        saved
    }
}

#[track_caller]
fn is_picture(file: &[u8]) {
    assert!(file.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(file.len() >= BYTES_MIN, "{} bytes of nothing", file.len());
}

async fn a_screen_is_seen_and_typed_at(server: &'static str, link: &'static str) {
    let mut guest = Guest::booted(server, link).await;
    guest.is_shown().await;
    let folder = tempfile::tempdir().unwrap();
    let before = guest.is_saved(&folder.path().join("before.png")).await;
    let typed = guest.says("type", &["--text=echo Typed >/dev/ttyS0; echo Seen", "--enter"]).await;
    assert_eq!(typed, "Typed on the keyboard of web1: 34 keys.");
    while !guest.says("console", &["--lines=500"]).await.contains("Typed") {
        guest.says("send", &["--line="]).await;
    }
    let kept = folder.path().join("after.png");
    assert_ne!(guest.is_saved(&kept).await, before, "what was typed is seen");
    if let Some(shown) = std::env::var_os("SKERRY_SHOW") {
        std::fs::copy(kept, Path::new(&shown).join(format!("{server}-{link}.png"))).unwrap();
    }
    guest.lab.down().await.unwrap();
}

#[tokio::test]
async fn a_screen_is_seen_by_a_component_of_prosody() {
    a_screen_is_seen_and_typed_at("prosody", "component").await;
}

#[tokio::test]
async fn a_screen_that_was_cleared_is_said_to_be_blank() {
    let guest = Guest::booted("prosody", "component").await;
    assert!(!guest.says("screenshot", &[]).await.contains("is blank"));
    // Neither a cursor is left, nor anything else.
    guest.says("send", &["--line=printf '\\033[?25l\\033[2J\\033[H' >/dev/tty1"]).await;
    let mut said = guest.says("screenshot", &[]).await;
    while !said.contains("is blank: nothing was drawn on it yet") {
        guest.says("send", &["--line="]).await;
        said = guest.says("screenshot", &[]).await;
    }
    assert!(said.contains("cid:sha1+"), "its picture is there all the same: {said}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blank.png");
    let done =
        guest.lab.skerry("viewer", &["screenshot", "web1", "--out", file.to_str().unwrap()]).await.unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(std::fs::read(&file).unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
    guest.says("type", &["--text=echo awake"]).await;
    while guest.says("screenshot", &[]).await.contains("is blank") {
        guest.says("send", &["--line="]).await;
    }
    guest.lab.down().await.unwrap();
}

#[tokio::test]
async fn a_screen_is_seen_by_an_account_on_ejabberd() {
    a_screen_is_seen_and_typed_at("ejabberd", "single").await;
}

#[tokio::test]
async fn a_screen_is_seen_by_a_component_of_ejabberd() {
    a_screen_is_seen_and_typed_at("ejabberd", "component").await;
}
