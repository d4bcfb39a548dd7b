//! The same move over the other server and the other kind of link. Hosts that are accounts have machines without
//! an address of their own: nothing is said of one, and who asks the old host for the machine is sent to the new.

use minidom::Element;
use skerry_stanzas::ns;

use crate::migration::{Scene, is_moved};

async fn ends(scene: Scene) {
    scene.lab.down().await.unwrap();
    assert_eq!(scene.lab.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_guest_counts_on_between_components_of_ejabberd() {
    let mut scene = Scene::counting_over("ejabberd", "component", &[]).await;
    let mut viewer = scene.lab.client("viewer").await.unwrap();
    viewer.befriend(&scene.jid(0)).await.unwrap();
    is_moved(&scene.moves(&[]).await);
    scene.counts_on().await;
    scene.is_gone().await;
    // Who saw it is told where it went, and asked by it from there.
    let (old, new) = (scene.jid(0), scene.jid(1));
    let is = |stanza: &Element, kind: &str, whose: &str| {
        let from = stanza.attr("from").unwrap_or_default();
        stanza.name() == "presence"
            && stanza.attr("type") == Some(kind)
            && from.split('/').next() == Some(whose)
    };
    let (mut gone, mut asks) = (None, false);
    while gone.is_none() || !asks {
        let what = "a farewell and a greeting";
        let next = viewer.expect(what, |it| is(it, "unavailable", &old) || is(it, "subscribe", &new));
        let next = next.await.unwrap();
        match next.attr("type") {
            Some("subscribe") => asks = true,
            _ => gone = next.get_child("status", ns::CLIENT).map(Element::text),
        }
    }
    assert_eq!(gone.unwrap(), format!("moved to {new}"));
    ends(scene).await;
}

async fn between_accounts(server: &'static str) {
    let mut scene = Scene::counting_over(server, "single", &[]).await;
    let plan = scene.says(0, "migrate", &["--to=kvm2", "--dry-run"]).await;
    assert!(plan.contains("that host is asked for it by its name"), "{plan}");
    let moved = scene.moves(&[]).await;
    is_moved(&moved);
    let host = scene.lab.record.hosts[1].jid.clone();
    assert_eq!(moved.matches(&host).count(), 1, "the host is named, and no address of the machine: {moved}");
    scene.counts_on().await;
    let account = host.split('/').next().unwrap();
    let went = format!("web1 moved to the host {account}: ask for it there.");
    // In a form, and in the chat.
    assert_eq!(scene.says(0, "status", &[]).await.trim(), went);
    let old = scene.lab.record.hosts[0].jid.clone();
    scene.client.say(&old, "web1 status").await.unwrap();
    scene.client.hear(old.split('/').next().unwrap(), &went).await.unwrap();
    let status = scene.says(1, "status", &[]).await;
    assert!(status.contains("Running"), "{status}");
    ends(scene).await;
}

/// From a machine with an address of its own to one without, and back.
#[tokio::test]
async fn a_guest_counts_on_between_a_component_and_an_account() {
    let mut scene = Scene::counting_over("prosody", "mixed", &[]).await;
    let plan = scene.says(0, "migrate", &["--to=kvm2", "--dry-run"]).await;
    println!("{plan}");
    is_moved(&scene.moves(&[]).await);
    scene.counts_on().await;
    let gone = scene.client.command(&scene.jid(0), "status", &[]).await.unwrap_err();
    println!("{gone:?}");
    let status = scene.says(1, "status", &[]).await;
    assert!(status.contains("Running"), "{status}");
    is_moved(&scene.moves_back().await);
    let status = scene.says(0, "status", &[]).await;
    assert!(status.contains("Running"), "its old address is its address again: {status}");
    let went = scene.says(1, "status", &[]).await;
    println!("{went}");
    ends(scene).await;
}

#[tokio::test]
async fn a_guest_counts_on_between_accounts_of_prosody() {
    between_accounts("prosody").await;
}

#[tokio::test]
async fn a_guest_counts_on_between_accounts_of_ejabberd() {
    between_accounts("ejabberd").await;
}
