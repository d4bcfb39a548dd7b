//! Accounts: refusals that are told, channel binding, and stream management over a broken connection.

use std::time::Duration;

use minidom::Element;
use tokio::io::AsyncWriteExt;

use super::stage::{DOMAIN, Peer, Server, bind_managed, event, mechanisms, stanza, up};
use crate::{Ask, LinkEvent, LoginError, SendError, names};

const PATIENCE: Duration = Duration::from_secs(60);

fn element(xml: &str) -> Element {
    xml.replacen(' ', " xmlns='jabber:client' ", 1).parse().unwrap()
}

async fn refusal(server: &Server, serve: impl Future<Output = ()>) -> LoginError {
    let mut link = server.link(false);
    let (told, ()) = tokio::join!(event(&mut link), serve);
    assert!(link.events.recv().await.is_none(), "no second try without reconnect");
    assert_eq!(link.handle.send(element("<message to='a@b'/>")).await, Err(SendError::Closed));
    match told {
        LinkEvent::Refused(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    let server = Server::new(DOMAIN).await;
    let serve = async {
        let (mut peer, _) = server.secured().await.unwrap();
        peer.open_client(&mechanisms(&["SCRAM-SHA-1"])).await;
        peer.authenticate("SCRAM-SHA-1", b"y,,", "another").await;
    };
    assert_eq!(refusal(&server, serve).await, LoginError::Credentials);
}

#[tokio::test]
async fn a_server_that_wants_the_password_itself_does_not_get_it() {
    let server = Server::new(DOMAIN).await;
    let serve = async {
        let (mut peer, _) = server.secured().await.unwrap();
        peer.open_client(&mechanisms(&["PLAIN", "X-OAUTH2"])).await;
        assert!(peer.hear_any().await.is_none());
    };
    let offered = "PLAIN, X-OAUTH2".to_owned();
    assert_eq!(refusal(&server, serve).await, LoginError::NoMechanism { offered });
}

#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let server = Server::new(DOMAIN).await;
    let serve = async {
        let mut peer = Peer::new(server.accept().await);
        peer.open_client(&mechanisms(&["SCRAM-SHA-1"])).await;
        assert!(peer.hear_any().await.is_none());
    };
    assert_eq!(refusal(&server, serve).await, LoginError::NoTls);
}

#[tokio::test]
async fn what_was_slipped_in_before_tls_is_not_taken_for_more() {
    let server = Server::new(DOMAIN).await;
    let mut link = server.link(false);
    let serve = async {
        let mut peer = Peer::new(server.accept().await);
        peer.open_client("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
        peer.hear("starttls").await;
        peer.say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><message/>").await;
        assert!(peer.hear_any().await.is_none());
    };
    let (told, ()) = tokio::join!(event(&mut link), serve);
    assert!(matches!(&told, LinkEvent::Down { why, .. } if why.contains("slipped in")), "{told:?}");
}

#[tokio::test]
async fn certificates_of_others_are_refused() {
    for (name, wrong_ca) in [("elsewhere.example", false), (DOMAIN, true)] {
        let (mut server, other) = (Server::new(name).await, Server::new(DOMAIN).await);
        if wrong_ca {
            server.ca = other.ca;
        }
        let serve = async { assert!(server.secured().await.is_none()) };
        let error = refusal(&server, serve).await;
        assert!(matches!(error, LoginError::Certificate { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_binding_that_is_offered_and_not_announced_is_left_alone() {
    let server = Server::new(DOMAIN).await;
    let mut link = server.link(false);
    let serve = async {
        let (mut peer, _) = server.secured().await.unwrap();
        peer.open_client(&mechanisms(&["SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "PLAIN"])).await;
        peer.authenticate("SCRAM-SHA-1", b"n,,", "right").await;
        peer.open_client("<sm xmlns='urn:xmpp:sm:3'/>").await;
        bind_managed(&mut peer).await;
        peer
    };
    let (resumed, _peer) = tokio::join!(up(&mut link), serve);
    assert!(!resumed);
}

#[tokio::test]
async fn a_binding_that_is_announced_is_used() {
    let server = Server::new(DOMAIN).await;
    let mut link = server.link(false);
    let serve = async {
        let (mut peer, exporter) = server.secured().await.unwrap();
        let announced = "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>\
                         <channel-binding type='tls-exporter'/></sasl-channel-binding>";
        let offered = mechanisms(&["SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"]);
        peer.open_client(&format!("{offered}{announced}")).await;
        let binding = [b"p=tls-exporter,,", &exporter[..]].concat();
        peer.authenticate("SCRAM-SHA-1-PLUS", &binding, "right").await;
        peer.open_client("<sm xmlns='urn:xmpp:sm:3'/>").await;
        bind_managed(&mut peer).await;
        peer
    };
    let (resumed, _peer) = tokio::join!(up(&mut link), serve);
    assert!(!resumed);
}

#[tokio::test]
async fn a_cut_connection_is_resumed_and_nothing_is_lost() {
    let server = Server::new(DOMAIN).await;
    let mut link = server.link(true);
    let (_, mut peer) = tokio::join!(up(&mut link), server.managed());
    for id in ["1", "2"] {
        link.handle.send(element(&format!("<message to='a@b' id='{id}'/>"))).await.unwrap();
        assert_eq!(peer.hear("message").await.attr("id"), Some(id));
    }
    peer.say("<message from='a@b'/><r xmlns='urn:xmpp:sm:3'/>").await;
    assert_eq!(stanza(&mut link).await.name(), "message");
    let ack = loop {
        let nonza = peer.hear_any().await.unwrap();
        if nonza.name() == "a" {
            break nonza;
        }
    };
    assert_eq!(ack.attr("h"), Some("1"));
    drop(peer);
    assert!(matches!(event(&mut link).await, LinkEvent::Down { retry_in: Some(_), .. }));
    // While it is down, what is sent is kept, and questions wait.
    link.handle.send(element("<message to='a@b' id='3'/>")).await.unwrap();
    let asking = {
        let handle = link.handle.clone();
        tokio::spawn(async move { handle.ask(element("<iq type='get' id='4' to='a@b'/>"), PATIENCE).await })
    };
    let mut peer = server.authenticated("<sm xmlns='urn:xmpp:sm:3'/>").await;
    let resume = peer.hear("resume").await;
    assert_eq!((resume.attr("previd"), resume.attr("h")), (Some("session1"), Some("1")));
    peer.say("<resumed xmlns='urn:xmpp:sm:3' previd='session1' h='1'/>").await;
    assert!(up(&mut link).await);
    let mut again = Vec::new();
    while again.len() < 3 {
        let element = peer.hear_any().await.unwrap();
        if element.name() != "r" {
            again.push(element.attr("id").unwrap().to_owned());
        }
    }
    assert_eq!(again, ["2", "3", "4"]);
    peer.say("<iq type='result' id='4' from='a@b'/>").await;
    assert!(asking.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_session_that_the_server_forgot_is_begun_anew() {
    // Prosody says <failed/> without h; others say how far they got.
    for (failed, repeated) in [("", "1"), (" h='1'", "2")] {
        let server = Server::new(DOMAIN).await;
        let mut link = server.link(true);
        let (_, mut peer) = tokio::join!(up(&mut link), server.managed());
        for id in ["1", "2"] {
            link.handle.send(element(&format!("<message to='a@b' id='{id}'/>"))).await.unwrap();
        }
        link.handle.send(element("<message to='a@b' type='headline'/>")).await.unwrap();
        link.handle.send(element("<presence id='p'/>")).await.unwrap();
        let handle = link.handle.clone();
        let iq = element("<iq type='get' id='4' to='a@b'/>");
        let asking = tokio::spawn(async move { handle.ask(iq, PATIENCE).await });
        while peer.hear_any().await.unwrap().name() != "iq" {}
        drop(peer);
        let mut peer = server.authenticated("<sm xmlns='urn:xmpp:sm:3'/>").await;
        peer.hear("resume").await;
        peer.say(&format!("<failed xmlns='urn:xmpp:sm:3'{failed}/>")).await;
        bind_managed(&mut peer).await;
        assert!(!up(&mut link).await);
        assert!(matches!(asking.await.unwrap(), Err(Ask::NotSent(SendError::Down))));
        assert_eq!(peer.hear("message").await.attr("id"), Some(repeated));
        // What follows is new: nothing else of the old session was repeated.
        link.handle.send(element("<message to='a@b' id='new'/>")).await.unwrap();
        let next = peer.hear("message").await;
        let next = if repeated == "1" { peer.hear("message").await } else { next };
        assert_eq!(next.attr("id"), Some("new"));
    }
}

#[tokio::test]
async fn a_session_that_breaks_as_soon_as_it_is_resumed_is_given_up() {
    let server = Server::new(DOMAIN).await;
    let mut link = server.link(true);
    let (_, peer) = tokio::join!(up(&mut link), server.managed());
    drop(peer);
    let mut peer = server.authenticated("<sm xmlns='urn:xmpp:sm:3'/>").await;
    peer.hear("resume").await;
    peer.say("<resumed xmlns='urn:xmpp:sm:3' previd='session1' h='0'/>").await;
    assert!(up(&mut link).await);
    drop(peer);
    let mut peer = server.authenticated("<sm xmlns='urn:xmpp:sm:3'/>").await;
    bind_managed(&mut peer).await;
    assert!(!up(&mut link).await);
}

#[tokio::test]
async fn the_server_may_send_us_elsewhere() {
    let (server, other) = (Server::new(DOMAIN).await, Server::new(DOMAIN).await);
    let mut first = server;
    first.ca = other.ca.reopen().map(|_| tempfile::NamedTempFile::new().unwrap()).unwrap();
    std::fs::copy(other.ca.path(), first.ca.path()).unwrap();
    let mut link = first.link(true);
    let serve = async {
        let mut peer = Peer::new(first.accept().await);
        let ns = "urn:ietf:params:xml:ns:xmpp-streams";
        let there = format!("127.0.0.1:{}", other.port());
        let error =
            format!("<stream:error><see-other-host xmlns='{ns}'>{there}</see-other-host></stream:error>");
        peer.open("jabber:client", &error).await;
        other.managed().await
    };
    let (resumed, _peer) = tokio::join!(up(&mut link), serve);
    assert!(!resumed);
}

#[tokio::test]
async fn closing_is_clean() {
    let server = Server::new(DOMAIN).await;
    let mut link = server.link(true);
    let (_, mut peer) = tokio::join!(up(&mut link), server.managed());
    link.handle.send(element("<presence type='unavailable'/>")).await.unwrap();
    let closing = async {
        link.handle.close().await;
        assert!(link.events.recv().await.is_none());
    };
    let serve = async {
        let mut said = [peer.hear_any().await.unwrap(), peer.hear_any().await.unwrap()];
        said.sort_by_key(|element| element.name().to_owned());
        assert_eq!(said.each_ref().map(Element::name), ["a", "presence"]);
        assert!(peer.hear_any().await.is_none(), "the stream's footer");
        peer.say("</stream:stream>").await;
    };
    tokio::join!(closing, serve);
    let refused = link.handle.ask(names::element("iq", "jabber:client", &[("type", "get")]), PATIENCE).await;
    assert!(matches!(refused, Err(Ask::NotSent(SendError::Closed))));
}

#[tokio::test]
async fn a_server_that_is_no_server_is_a_break() {
    let server = Server::new(DOMAIN).await;
    let mut link = server.link(false);
    let serve = async {
        let mut tcp = server.accept().await;
        tcp.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
        tcp
    };
    let (told, _tcp) = tokio::join!(event(&mut link), serve);
    assert!(matches!(&told, LinkEvent::Down { why, .. } if why.contains("not an XMPP stream")), "{told:?}");
}
