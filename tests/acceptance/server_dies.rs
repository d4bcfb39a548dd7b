//! kill -9 of the server: when it is back, everything is as it was, and nobody had to do anything.

use std::time::Duration;

use minidom::Element;
use skerry_stanzas::ns;
use skerry_tests::{
    client::{Client, PATIENCE, shown},
    lab::Wanted,
    requests::{events, from},
    vitals::until,
};
use xmpp_parsers::{jid::Jid, ns as xep};

fn bare(jid: &str) -> String {
    Jid::new(jid).unwrap().to_bare().to_string()
}

/// Waits until everybody is seen like this, in whatever order they come: address, show, status.
async fn sees(client: &mut Client, wanted: &[(&str, &str, &str)]) {
    let mut missing = wanted.to_vec();
    while !missing.is_empty() {
        let what = format!("{missing:?}");
        let seen = client.expect(&what, |it| missing.iter().any(|wanted| is_seen(it, wanted))).await.unwrap();
        missing.retain(|wanted| !is_seen(&seen, wanted));
    }
}

fn is_seen(presence: &Element, (whom, show, status): &(&str, &str, &str)) -> bool {
    presence.name() == "presence"
        && from(presence, whom)
        && shown(presence) == *show
        && presence.get_child("status", ns::CLIENT).is_some_and(|words| words.text().contains(status))
}

/// Waits until a name is among the events a host's node holds.
async fn happened(client: &Client, host: &str, what: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let all = client.happenings(host).await.unwrap();
        if all.iter().any(|(_, name, _)| name == what) {
            return;
        }
        // On an account they come by its server, a moment later.
        assert!(tokio::time::Instant::now() < deadline, "{what} is not among {all:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn all_is_right_again(server: &'static str, link: &'static str) {
    let mut lab = Wanted::new(server, link).up().await.unwrap();
    let component = link == "component";
    let host = lab.host().jid.clone();
    let machine = format!("web1@{}", bare(&host));
    let mut ann = lab.client("admin").await.unwrap();
    ann.reach(&host).await.unwrap();
    ann.done(&host, "create", &["--name=web1", "--image=linux"]).await.unwrap();
    ann.done(&host, "machine/web1/define", &["--cmdline=fake.start=4s"]).await.unwrap();
    ann.befriend(&host).await.unwrap();
    if component {
        let subscribe = format!(
            "<pubsub xmlns='{}'><subscribe node='{}' jid='{}'/></pubsub>",
            xep::PUBSUB,
            ns::EVENTS,
            ann.jid.to_bare()
        );
        ann.ask("set", Some(&host), subscribe.parse().unwrap()).await.unwrap();
        ann.befriend(&machine).await.unwrap();
    }

    lab.is_written_down(&ann).await.unwrap();

    // It begins to start, the server dies, and it runs before the server is back.
    ann.say(&host, "web1 start").await.unwrap();
    while ann.state(&host, "web1").await.unwrap() != "starting" {}
    lab.crash("server").await.unwrap();
    let world = lab.host().state().join("fake.json");
    until("the start", || std::fs::read_to_string(&world).is_ok_and(|it| it.contains("\"running\"")))
        .await
        .unwrap();
    lab.start("server").await.unwrap();

    // Who stayed logged in sees it, by its own reconnection, and can go on.
    let seen_host = bare(&host);
    let all = [(seen_host.as_str(), "available", "1 of 1 running"), (machine.as_str(), "available", "")];
    let all = if component { &all[..] } else { &all[..1] };
    sees(&mut ann, all).await;
    ann.done(&host, "machine/web1/pause", &[]).await.unwrap();
    if component {
        sees(&mut ann, &[(&machine, "away", "")]).await;
        ann.done(&host, "machine/web1/resume", &[]).await.unwrap();
        let told = |it: &Element| events(it).iter().any(|(_, what, _)| what == "machine.resumed");
        ann.expect("the event of a subscriber", told).await.unwrap();
    } else {
        ann.done(&host, "machine/web1/resume", &[]).await.unwrap();
    }
    happened(&ann, &host, "machine.started").await;
    happened(&ann, &host, "machine.resumed").await;

    // Who logs in anew sees the same.
    let mut anew = lab.client("admin").await.unwrap();
    sees(&mut anew, all).await;
    anew.done(&host, "machine/web1/pause", &[]).await.unwrap();
    sees(&mut anew, &[(&seen_host, "available", "0 of 1 running")]).await;
}

#[tokio::test]
async fn prosody_component() {
    all_is_right_again("prosody", "component").await;
}

#[tokio::test]
async fn prosody_single() {
    all_is_right_again("prosody", "single").await;
}

#[tokio::test]
async fn ejabberd_component() {
    all_is_right_again("ejabberd", "component").await;
}

#[tokio::test]
async fn ejabberd_single() {
    all_is_right_again("ejabberd", "single").await;
}
