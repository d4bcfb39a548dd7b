//! Who may what, on a real server, by form and by chat; and a role that is taken away while the agent
//! runs is gone at once.

use minidom::Element;
use nix::sys::signal::Signal;
use skerry_tests::{
    client::{Client, shown},
    lab::{Lab, Wanted},
    requests::from,
    vitals::until,
};
use xmpp_parsers::{jid::Jid, ns as xep};

fn bare(jid: &str) -> String {
    Jid::new(jid).unwrap().to_bare().to_string()
}

/// Each role: one command it may give and one it may not, by both doors.
async fn each_role_gets_its_due(server: &'static str, link: &'static str) {
    let lab = Wanted::new(server, link).up().await.unwrap();
    let host = lab.host().jid.clone();
    let admin = lab.client("admin").await.unwrap();
    admin.reach(&host).await.unwrap();
    admin.done(&host, "create", &["--name=web1", "--image=linux"]).await.unwrap();
    let mut operator = lab.client("operator").await.unwrap();
    let mut viewer = lab.client("viewer").await.unwrap();
    let mut stranger = lab.client("stranger").await.unwrap();

    operator.done(&host, "machine/web1/start", &[]).await.unwrap();
    let no = operator.refused(&host, "machine/web1/delete", &[]).await.unwrap();
    assert!(no.starts_with("forbidden: "), "{no}");
    operator.say(&host, "web1 pause").await.unwrap();
    operator.hear(&bare(&host), "paused").await.unwrap();
    operator.say(&host, "web1 delete").await.unwrap();
    operator.hear(&bare(&host), "admin").await.unwrap();

    viewer.done(&host, "machine/web1/status", &[]).await.unwrap();
    let no = viewer.refused(&host, "machine/web1/start", &[]).await.unwrap();
    assert!(no.starts_with("forbidden: "), "{no}");
    viewer.say(&host, "list").await.unwrap();
    viewer.hear(&bare(&host), "web1").await.unwrap();
    viewer.say(&host, "web1 resume").await.unwrap();
    viewer.hear(&bare(&host), "operator").await.unwrap();

    let no = stranger.refused(&host, "list", &[]).await.unwrap();
    assert!(no.starts_with("forbidden: "), "{no}");
    stranger.say(&host, "list").await.unwrap();
    let words = stranger.hear(&bare(&host), "administrator").await.unwrap();
    assert!(!words.contains("web1"), "{words}");
    if link == "component" {
        // Whether there is a machine is not a stranger's to know.
        let machine = format!("web1@{host}");
        let there = stranger.refused(&machine, "status", &[]).await.unwrap();
        let absent = stranger.refused(&format!("web9@{host}"), "status", &[]).await.unwrap();
        assert_eq!(there, absent);
    }
    let no = stranger.befriend(&host).await.unwrap_err().to_string();
    assert!(no.ends_with("does not want us"), "{no}");
    assert_eq!(admin.state(&host, "web1").await.unwrap(), "paused");
}

#[tokio::test]
async fn prosody_component() {
    each_role_gets_its_due("prosody", "component").await;
}

#[tokio::test]
async fn ejabberd_single() {
    each_role_gets_its_due("ejabberd", "single").await;
}

/// Rewrites the agent's configuration and tells it so.
async fn reload(lab: &Lab, old: &str, new: &str) {
    let file = &lab.host().config;
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(old), "{text}");
    std::fs::write(file, text.replace(old, new)).unwrap();
    lab.host().signal(Signal::SIGHUP).unwrap();
}

/// Waits until somebody is no more than a name in the contact list. (Who asked for the list is told;
/// this client did not.)
async fn subscription_ends(client: &Client, whom: &str) {
    let query = || Element::bare("query", xep::ROSTER);
    loop {
        let roster = client.ask("get", None, query()).await.unwrap();
        let items = roster.get_child("query", xep::ROSTER).unwrap();
        let item = items.children().find(|item| item.attr("jid") == Some(whom));
        if item.is_none_or(|item| !matches!(item.attr("subscription"), Some("to" | "both"))) {
            return;
        }
    }
}

async fn a_role_taken_away_is_gone(server: &'static str, link: &'static str) {
    let lab = Wanted::new(server, link).up().await.unwrap();
    let host = lab.host().jid.clone();
    let mut operator = lab.client("operator").await.unwrap();
    operator.reach(&host).await.unwrap();
    operator.befriend(&host).await.unwrap();
    let admin = lab.client("admin").await.unwrap();
    admin.done(&host, "create", &["--name=web1", "--image=linux"]).await.unwrap();
    operator.done(&host, "machine/web1/start", &[]).await.unwrap();

    // A mistake in the file changes nothing.
    reload(&lab, "operator = [\"operator@skerry.test\"]", "operator = [").await;
    until("a word of the mistake", || lab.host().log().contains("the configuration is wrong")).await.unwrap();
    operator.done(&host, "machine/web1/pause", &[]).await.unwrap();

    reload(&lab, "operator = [", "operator = []").await;
    let gone = |it: &Element| it.name() == "presence" && from(it, &bare(&host)) && shown(it) == "unavailable";
    operator.expect("the host's goodbye", gone).await.unwrap();
    subscription_ends(&operator, &bare(&host)).await;
    let no = operator.refused(&host, "machine/web1/resume", &[]).await.unwrap();
    assert!(no.starts_with("forbidden: "), "{no}");
    assert_eq!(admin.state(&host, "web1").await.unwrap(), "paused");
}

#[tokio::test]
async fn taken_away_on_a_component() {
    a_role_taken_away_is_gone("prosody", "component").await;
}

#[tokio::test]
async fn taken_away_on_an_account() {
    a_role_taken_away_is_gone("prosody", "single").await;
}
