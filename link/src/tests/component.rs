//! Components: many questions at once, hostile stanzas, silence, and a server that goes and comes.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use minidom::Element;
use tokio::{io::duplex, net::TcpListener, sync::mpsc, time};

use super::stage::{Peer, event, stanza, up};
use crate::{
    Link, LinkConfig, LinkEvent, Login, LoginError, ServerAddress,
    component::shake_hands,
    handle::LinkHandle,
    names,
    session::{End, LoggedIn, Session},
    wire::Setback,
};

const DOMAIN: &str = "kvm1.example";

fn config() -> LinkConfig {
    LinkConfig::new(Login::Component { domain: DOMAIN.parse().unwrap(), secret: "secret".into() })
}

/// A session over a pipe, so that the clock may be stopped; how it ends; and the server's side of it.
async fn session() -> (Link, tokio::task::JoinHandle<End>, Peer) {
    let config = Arc::new(config());
    let (ours, theirs) = duplex(1 << 20);
    let secret = "secret".into();
    let hands = shake_hands(Box::new(ours), &config, DOMAIN, &secret);
    let (wire, peer) = tokio::join!(hands, Peer::component(theirs));
    let (handle, mut orders) = LinkHandle::new(&config);
    let (told, events) = mpsc::channel(crate::outlet::CHANNEL);
    let mut session = Session::new(config.clone(), told, handle.shared.clone());
    let login = LoggedIn::component(wire.unwrap(), DOMAIN.parse().unwrap());
    let end = tokio::spawn(async move { session.run(login, &mut orders).await });
    let mut link = Link { handle, events };
    assert!(!up(&mut link).await);
    (link, end, peer)
}

fn get(to: &str) -> Element {
    names::element("iq", "jabber:client", &[("type", "get"), ("to", to)])
}

fn result(iq: &Element) -> String {
    let of = |name| iq.attr(name).unwrap();
    format!("<iq type='result' id='{}' from='{}' to='{}'/>", of("id"), of("to"), of("from"))
}

#[tokio::test(start_paused = true)]
async fn a_silence_is_no_end_as_long_as_the_server_lives() {
    let (_link, end, mut peer) = session().await;
    let began = time::Instant::now();
    for _ in 0..10 {
        let ping = peer.hear("iq").await;
        assert!(ping.has_child("ping", "urn:xmpp:ping"));
        assert_eq!((ping.attr("from"), ping.attr("to")), (Some(DOMAIN), Some(DOMAIN)));
        // The server hands it back to us: that is the sign of life.
        let id = ping.attr("id").unwrap();
        peer.say(&format!("<iq type='get' id='{id}' from='{DOMAIN}' to='{DOMAIN}'/>")).await;
    }
    assert_eq!(began.elapsed().as_secs(), 600);
    assert!(!end.is_finished());
    // Then it is dead.
    peer.hear("iq").await;
    let End::Setback(Setback::Broken(why)) = end.await.unwrap() else { panic!("no setback") };
    assert_eq!(began.elapsed().as_secs(), 675);
    assert!(why.contains("no sign of life for 75 s"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn our_own_signs_of_life_are_nobody_elses_concern() {
    let (mut link, _end, mut peer) = session().await;
    let ping = peer.hear("iq").await;
    let id = ping.attr("id").unwrap();
    peer.say(&format!("<iq type='get' id='{id}' from='{DOMAIN}'/><iq type='error' id='{id}'/><presence/>"))
        .await;
    assert_eq!(stanza(&mut link).await.name(), "presence");
}

#[tokio::test(start_paused = true)]
async fn a_half_stanza_that_goes_on_is_a_sign_of_life_too() {
    let (mut link, _end, mut peer) = session().await;
    peer.say("<message><body>").await;
    for _ in 0..20 {
        time::sleep(Duration::from_secs(50)).await;
        peer.say("more ").await;
    }
    peer.say("</body></message>").await;
    assert_eq!(stanza(&mut link).await.name(), "message");
}

#[tokio::test]
async fn ten_thousand_questions_at_once_are_all_answered() {
    let (link, _end, mut peer) = session().await;
    let serve = tokio::spawn(async move {
        for _ in 0..10_000 {
            let answer = result(&peer.hear("iq").await);
            peer.say(&answer).await;
        }
    });
    let questions = (0..10_000).map(|_| link.handle.ask(get("a@b"), Duration::from_secs(120)));
    for answer in join_all(questions).await {
        answer.unwrap();
    }
    serve.await.unwrap();
}

#[tokio::test]
async fn answers_come_although_nobody_reads_the_events() {
    let (mut link, _end, mut peer) = session().await;
    peer.say(&"<message/>".repeat(1_000)).await;
    for _ in 0..512 {
        let serve = async {
            let answer = result(&peer.hear("iq").await);
            peer.say(&answer).await;
        };
        let (answer, ()) = tokio::join!(link.handle.ask(get("a@b"), Duration::from_secs(60)), serve);
        answer.unwrap();
    }
    // Over the bound the server is no longer read from, and is again when there is room.
    let message = format!("<message><body>{}</body></message>", "t".repeat(4_096));
    let flood = tokio::spawn(async move {
        for _ in 0..3_000 {
            peer.say(&message).await;
        }
        peer
    });
    for _ in 0..1_000 {
        assert_eq!(stanza(&mut link).await.name(), "message");
    }
    // Twelve megabytes fit neither into the pipe nor into what is held.
    assert!(!flood.is_finished());
    for _ in 0..3_000 {
        assert_eq!(stanza(&mut link).await.name(), "message");
    }
    flood.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_they_said() {
    let (link, _end, mut peer) = session().await;
    let began = time::Instant::now();
    let answer = link.handle.ask(get("a@b"), Duration::from_secs(7)).await;
    assert!(matches!(answer, Err(crate::Ask::TimedOut(_))));
    assert_eq!(began.elapsed().as_secs(), 7);
    let iq = peer.hear("iq").await;
    // An answer of another id, or from somebody else, is none; one that comes late goes nowhere.
    peer.say(&result(&iq).replace("a@b", "c@d")).await;
    peer.say(&result(&iq)).await;
}

#[tokio::test]
async fn hostile_stanzas_are_answered_and_the_stream_lives() {
    let (mut link, _end, mut peer) = session().await;
    let deep = ["<x>".repeat(30_000), "</x>".repeat(30_000)].concat();
    let long = "n".repeat(9_000);
    for (inside, condition) in [(deep, "policy-violation"), (format!("<{long}/>"), "bad-request")] {
        peer.say(&format!("<message from='a@b'>{inside}</message>")).await;
        peer.say(&format!("<iq type='result' id='9' from='a@b'>{inside}</iq>")).await;
        assert_eq!(stanza(&mut link).await.attr("type"), Some("error"), "an answer becomes an error");
        peer.say(&format!("<iq type='set' id='1' from='a@b' to='{DOMAIN}'>{inside}</iq>")).await;
        let error = peer.hear("iq").await;
        assert_eq!(
            (error.attr("to"), error.attr("id"), error.attr("type")),
            (Some("a@b"), Some("1"), Some("error"))
        );
        let payload = error.get_child("error", "jabber:client").unwrap();
        assert_eq!(payload.children().next().unwrap().name(), condition);
    }
    let odd = "<presence from='a@b'><show>bogus</show><priority>999</priority></presence>";
    peer.say(odd).await;
    assert_eq!(stanza(&mut link).await.name(), "presence");
}

/// `ᵃnn` is somebody else than `ann`, and servers that know fewer letters than we pass it as it is.
#[tokio::test]
async fn who_would_be_read_as_another_is_not_heard() {
    let (mut link, _end, mut peer) = session().await;
    let asking = tokio::spawn({
        let handle = link.handle.clone();
        async move { handle.ask(get("ann@example.org"), Duration::from_secs(60)).await }
    });
    let asked = peer.hear("iq").await;
    peer.say(&result(&asked).replace("ann@", "ᵃnn@")).await;
    for said in ["<message from='ᵃnn@example.org/x'/>", "<presence from='ops@rooms.example.org/ᵃnn'/>"] {
        peer.say(said).await;
    }
    peer.say(&format!("<iq type='set' id='1' from='ᵃnn@example.org/x' to='{DOMAIN}'><q xmlns='q'/></iq>"))
        .await;
    // The first that is heard is Ann herself.
    peer.say("<message from='ann@example.org/x'/>").await;
    assert_eq!(stanza(&mut link).await.attr("from"), Some("ann@example.org/x"));
    let error = peer.hear("iq").await;
    assert_eq!((error.attr("to"), error.attr("type")), (Some("ᵃnn@example.org/x"), Some("error")));
    let payload = error.get_child("error", "jabber:client").unwrap();
    assert_eq!(payload.children().next().unwrap().name(), "jid-malformed");
    peer.say(&result(&asked)).await;
    assert_eq!(asking.await.unwrap().unwrap().attr("from"), Some("ann@example.org"));
}

#[tokio::test]
async fn a_server_that_goes_and_comes_is_found_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = config();
    config.server = ServerAddress::At(address.ip().to_string(), address.port());
    let mut link = Link::open(config);
    let (tcp, _) = listener.accept().await.unwrap();
    let (_, peer) = tokio::join!(up(&mut link), Peer::component(tcp));
    let handle = link.handle.clone();
    let asking = tokio::spawn(async move { handle.ask(get("a@b"), Duration::from_secs(60)).await });
    drop(listener);
    let mut peer = peer;
    peer.hear("iq").await;
    drop(peer);
    assert!(asking.await.unwrap().is_err(), "no answer will come");
    let mut failures = 0;
    while failures < 3 {
        match event(&mut link).await {
            LinkEvent::Down { retry_in, .. } => {
                assert!(retry_in.is_some());
                failures += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(link.handle.send(get("a@b")).await.is_err());
    let listener = TcpListener::bind(address).await.unwrap();
    let serve = async { Peer::component(listener.accept().await.unwrap().0).await };
    let (resumed, _peer) = tokio::join!(up(&mut link), serve);
    assert!(!resumed);
}

#[tokio::test]
async fn a_domain_that_is_taken_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config();
    config.server = ServerAddress::At("127.0.0.1".to_owned(), listener.local_addr().unwrap().port());
    let mut link = Link::open(config);
    let mut peer = Peer::new(listener.accept().await.unwrap().0);
    peer.open("jabber:component:accept", "").await;
    peer.hear("handshake").await;
    let ns = "urn:ietf:params:xml:ns:xmpp-streams";
    peer.say(&format!("<stream:error><conflict xmlns='{ns}'/></stream:error></stream:stream>")).await;
    let told = event(&mut link).await;
    assert!(matches!(&told, LinkEvent::Refused(LoginError::Component { why }) if why.contains("conflict")));
    drop(peer);
    let serve = async { Peer::component(listener.accept().await.unwrap().0).await };
    let (resumed, _peer) = tokio::join!(up(&mut link), serve);
    assert!(!resumed, "it is tried again");
}

#[tokio::test]
async fn dropping_the_events_closes_the_stream() {
    let (link, end, mut peer) = session().await;
    drop(link.events);
    assert!(peer.hear_any().await.is_none(), "the stream's footer");
    peer.say("</stream:stream>").await;
    assert!(matches!(end.await.unwrap(), End::Unheard));
}
