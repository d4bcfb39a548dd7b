//! Rights on one machine for somebody who has none on the host: given in one sentence of a chat, used by form
//! and by chat, seen by no more than they reach, and gone at once when they are taken back.

use minidom::Element;
use skerry_tests::{
    client::{Client, shown},
    lab::Wanted,
    requests::from,
};
use xmpp_parsers::{jid::Jid, ns as xep};

fn bare(jid: &str) -> String {
    Jid::new(jid).unwrap().to_bare().to_string()
}

/// What disco finds below an address: each item's address and node.
async fn items(client: &Client, whom: &str) -> Vec<String> {
    let query = Element::bare("query", xep::DISCO_ITEMS);
    let answer = client.ask("get", Some(whom), query).await.unwrap();
    let items = answer.get_child("query", xep::DISCO_ITEMS).unwrap().children();
    items.map(|it| format!("{} {}", it.attr("jid").unwrap(), it.attr("node").unwrap_or_default())).collect()
}

async fn a_stranger_gets_one_machine(server: &'static str, link: &'static str) {
    let lab = Wanted::new(server, link).up().await.unwrap();
    let component = link == "component";
    let host = lab.host().jid.clone();
    let mut admin = lab.client("admin").await.unwrap();
    admin.reach(&host).await.unwrap();
    for name in ["web1", "db1"] {
        admin.done(&host, "create", &[&format!("--name={name}"), "--image=linux"]).await.unwrap();
    }
    let mut eve = lab.client("stranger").await.unwrap();
    let whom = eve.jid.to_bare().to_string();

    admin.say(&host, &format!("grant power to {whom} on web1 until 3d because she moves it")).await.unwrap();
    let said = admin.hear(&bare(&host), "has power on web1 until").await.unwrap();
    assert!(said.contains("because \"she moves it\""), "{said}");

    eve.done(&host, "machine/web1/start", &[]).await.unwrap();
    eve.say(&host, "list").await.unwrap();
    let listed = eve.hear(&bare(&host), "web1").await.unwrap();
    assert!(!listed.contains("db1"), "{listed}");
    let found = items(&eve, &host).await;
    assert!(found.iter().any(|item| item.contains("web1")), "{found:?}");
    assert!(!found.iter().any(|item| item.contains("db1")), "{found:?}");
    // Whether another machine is there is not hers to know.
    let hidden = eve.refused(&host, "machine/db1/start", &[]).await.unwrap();
    let absent = eve.refused(&host, "machine/db9/start", &[]).await.unwrap();
    assert_eq!(hidden.replace("db1", "X"), absent.replace("db9", "X"));
    let no = eve.refused(&host, "machine/web1/kill", &[]).await.unwrap();
    assert!(no.starts_with("forbidden: "), "{no}");

    let machine = format!("web1@{}", bare(&host));
    if component {
        eve.befriend(&machine).await.unwrap();
        let no = eve.befriend(&format!("db1@{}", bare(&host))).await.unwrap_err().to_string();
        assert!(no.ends_with("does not want us"), "{no}");
    } else {
        // An account shows all it has to all its contacts: its contacts are those who may see all.
        let no = eve.befriend(&host).await.unwrap_err().to_string();
        assert!(no.ends_with("does not want us"), "{no}");
    }

    admin.done(&host, "revoke", &["--number=1"]).await.unwrap();
    if component {
        let gone = |it: &Element| it.name() == "presence" && from(it, &machine) && shown(it) == "unavailable";
        eve.expect("the machine's goodbye", gone).await.unwrap();
    }
    let no = eve.refused(&host, "machine/web1/shutdown", &[]).await.unwrap();
    assert!(no.starts_with("forbidden: "), "{no}");
    assert!(no.contains("no role on this host"), "{no}");
}

#[tokio::test]
async fn prosody_component() {
    a_stranger_gets_one_machine("prosody", "component").await;
}

#[tokio::test]
async fn prosody_single() {
    a_stranger_gets_one_machine("prosody", "single").await;
}

#[tokio::test]
async fn ejabberd_component() {
    a_stranger_gets_one_machine("ejabberd", "component").await;
}

#[tokio::test]
async fn ejabberd_single() {
    a_stranger_gets_one_machine("ejabberd", "single").await;
}
