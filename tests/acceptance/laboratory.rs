//! The lab itself: what everything else stands on.

use minidom::Element;
use skerry_tests::lab::Wanted;
use xmpp_parsers::ns as xep;

/// Logs in as everybody, crashes the server, logs in again; nothing is left afterwards.
async fn a_server_is_up_and_gone(server: &'static str) {
    let mut lab = Wanted::new(server, "component").hosts(0).up().await.unwrap();
    for role in ["admin", "operator", "viewer", "stranger"] {
        lab.client(role).await.unwrap();
    }
    lab.crash("server").await.unwrap();
    lab.start("server").await.unwrap();
    lab.client("admin").await.unwrap();
    assert!(!lab.processes().is_empty());
    lab.down().await.unwrap();
    assert_eq!(lab.processes(), Vec::<i32>::new());
    lab.down().await.unwrap();
}

/// As soon as it is up: hosts are found, nothing waits for a thousand presences, and a list that is larger
/// than a server takes in one stanza comes all the same.
#[tokio::test]
async fn a_thousand_machines_are_listed_as_soon_as_they_are_up() {
    for link in ["component", "single"] {
        let lab = Wanted::new("prosody", link).machines(1000).up().await.unwrap();
        let output = lab.skerry("admin", &["-o", "json", "list"]).await.unwrap();
        assert!(output.status.success(), "{link}: {}", String::from_utf8_lossy(&output.stderr));
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(rows.len(), 1000, "{link}");
    }
}

/// Everybody and every machine are contacts of each other, and nobody is left asking.
async fn contacts_are_mutual(server: &'static str, link: &'static str) {
    let lab = Wanted::new(server, link).machines(2).up().await.unwrap();
    for role in ["admin", "operator", "viewer"] {
        let client = lab.client(role).await.unwrap();
        let roster = client.ask("get", None, Element::bare("query", xep::ROSTER)).await.unwrap();
        let items: Vec<&Element> = roster.children().flat_map(Element::children).collect();
        assert_eq!(items.len(), if link == "component" { 3 } else { 1 }, "{role}");
        assert!(items.iter().all(|item| item.attr("subscription") == Some("both")), "{role}: {items:?}");
    }
}

#[tokio::test]
async fn contacts_are_mutual_on_a_component() {
    contacts_are_mutual("prosody", "component").await;
}

#[tokio::test]
async fn contacts_are_mutual_on_an_account() {
    contacts_are_mutual("ejabberd", "single").await;
}

#[tokio::test]
async fn prosody_is_up_and_gone() {
    a_server_is_up_and_gone("prosody").await;
}

#[tokio::test]
async fn ejabberd_is_up_and_gone() {
    a_server_is_up_and_gone("ejabberd").await;
}

#[tokio::test]
async fn a_lab_is_started_once() {
    let lab = Wanted::new("prosody", "component").hosts(0).up().await.unwrap();
    let before = lab.processes();
    let dir = lab.dir().display().to_string();
    let again = skerry_tests::lab::run(&["lab", "up", "--detach", "--dir", &dir]).await.unwrap();
    assert!(String::from_utf8_lossy(&again.stdout).contains("up already"), "{again:?}");
    assert_eq!(lab.processes(), before);
}

#[tokio::test]
async fn a_folder_with_something_else_in_it_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("precious");
    std::fs::write(&file, "mine").unwrap();
    let dir = folder.path().display().to_string();
    let refused =
        skerry_tests::lab::run(&["lab", "up", "--detach", "--dir", &dir, "--hosts", "0"]).await.unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("something else in it"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
