//! A server of raw XML: it says what a test tells it to, and hands over what the link said.

use std::{io::Write, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use minidom::Element;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use sasl::common::{
    Password,
    scram::{ScramProvider, Sha1},
};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    Link, LinkConfig, LinkEvent, Login, ServerAddress,
    sieve::scanner::{Boundary, Scanner},
    wire::Socket,
};

pub(super) const DOMAIN: &str = "here.example";
const STREAMS: &str = "http://etherx.jabber.org/streams";

/// One connection, from the server's side.
pub(super) struct Peer {
    io: Box<dyn Socket>,
    scanner: Scanner,
    unread: Vec<u8>,
    held: Vec<u8>,
}

impl Peer {
    pub(super) fn new(io: impl Socket + 'static) -> Self {
        Self { io: Box::new(io), scanner: Scanner::new(), unread: Vec::new(), held: Vec::new() }
    }

    pub(super) async fn say(&mut self, xml: &str) {
        self.io.write_all(xml.as_bytes()).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// What comes next, up to a boundary; `None` at the end.
    async fn piece(&mut self) -> Option<(Boundary, String)> {
        loop {
            let (eaten, boundary) = self.scanner.scan(&self.unread).unwrap();
            self.held.extend(self.unread.drain(..eaten));
            match boundary {
                Some(Boundary::Head) => {}
                Some(boundary) => {
                    return Some((boundary, String::from_utf8(std::mem::take(&mut self.held)).unwrap()));
                }
                None if self.io.read_buf(&mut self.unread).await.unwrap_or(0) == 0 => return None,
                None => {}
            }
        }
    }

    /// The next element; `None` when the stream was closed or cut.
    pub(super) async fn hear_any(&mut self) -> Option<Element> {
        match self.piece().await? {
            (Boundary::Element, xml) => {
                let around = format!("<a xmlns='jabber:client' xmlns:stream='{STREAMS}'>{xml}</a>");
                around.parse::<Element>().unwrap().unshift_child()
            }
            (boundary, _) => {
                assert_eq!(boundary, Boundary::Stream);
                None
            }
        }
    }

    /// The next element, which has this name.
    pub(super) async fn hear(&mut self, name: &str) -> Element {
        let element = self.hear_any().await.unwrap_or_else(|| panic!("closed where <{name}/> was due"));
        assert_eq!(element.name(), name, "{element:?}");
        element
    }

    /// Takes a stream's header and answers with this one and with features.
    pub(super) async fn open(&mut self, namespace: &str, features: &str) {
        self.scanner = Scanner::new();
        let (boundary, header) = self.piece().await.unwrap();
        assert!(boundary == Boundary::Header && header.contains(namespace), "{header}");
        self.say(&format!(
            "<?xml version='1.0'?><stream:stream xmlns='{namespace}' xmlns:stream='{STREAMS}' id='s1' \
             from='{DOMAIN}' version='1.0'>{features}"
        ))
        .await;
    }

    pub(super) async fn open_client(&mut self, features: &str) {
        self.open("jabber:client", &format!("<stream:features>{features}</stream:features>")).await;
    }

    /// The server's side of XEP-0114.
    pub(super) async fn component(io: impl Socket + 'static) -> Self {
        let mut peer = Self::new(io);
        peer.open("jabber:component:accept", "").await;
        peer.hear("handshake").await;
        peer.say("<handshake/>").await;
        peer
    }

    /// The server's side of SCRAM-SHA-1; `binding` is what has to stand before the first message.
    pub(super) async fn authenticate(&mut self, mechanism: &str, binding: &[u8], password: &str) {
        let auth = self.hear("auth").await;
        assert_eq!(auth.attr("mechanism"), Some(mechanism));
        let first = String::from_utf8(STANDARD.decode(auth.text()).unwrap()).unwrap();
        let bare = &first[first.find("n=").unwrap()..];
        let nonce = format!("{}server", bare.split_once("r=").unwrap().1);
        let challenge = format!("r={nonce},s={},i=4096", STANDARD.encode("salt"));
        self.say(&sasl("challenge", &challenge)).await;
        let response = self.hear("response").await.text();
        let last = String::from_utf8(STANDARD.decode(response).unwrap()).unwrap();
        let (without_proof, proof) = last.split_once(",p=").unwrap();
        assert_eq!(without_proof, format!("c={},r={nonce}", STANDARD.encode(binding)));
        let salted = Sha1::derive(&Password::Plain(password.to_owned()), b"salt", 4096).unwrap();
        let client_key = Sha1::hmac(b"Client Key", &salted).unwrap();
        let said = format!("{bare},{challenge},{without_proof}");
        let signature = Sha1::hmac(said.as_bytes(), &Sha1::hash(&client_key)).unwrap();
        let expected: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        if STANDARD.decode(proof).unwrap() != expected {
            self.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>").await;
            return;
        }
        let server_key = Sha1::hmac(b"Server Key", &salted).unwrap();
        let proof = Sha1::hmac(said.as_bytes(), &server_key).unwrap();
        self.say(&sasl("success", &format!("v={}", STANDARD.encode(proof)))).await;
    }
}

fn sasl(name: &str, said: &str) -> String {
    format!("<{name} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</{name}>", STANDARD.encode(said))
}

pub(super) fn mechanisms(names: &[&str]) -> String {
    let list: String = names.iter().map(|name| format!("<mechanism>{name}</mechanism>")).collect();
    format!("<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{list}</mechanisms>")
}

/// A server with a certificate and an authority of its own.
pub(super) struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    pub(super) ca: NamedTempFile,
}

impl Server {
    pub(super) async fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let mut ca = NamedTempFile::new().unwrap();
        ca.write_all(issuer.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), ca }
    }

    /// A link to here as an account.
    pub(super) fn link(&self, reconnect: bool) -> Link {
        let jid = format!("ann@{DOMAIN}/x").parse().unwrap();
        let mut config = LinkConfig::new(Login::Account { jid, password: "right".into() });
        config.server = ServerAddress::At("127.0.0.1".to_owned(), self.port());
        config.ca = Some(self.ca.path().to_path_buf());
        config.reconnect = reconnect;
        Link::open(config)
    }

    pub(super) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub(super) async fn accept(&self) -> TcpStream {
        let (tcp, _) = self.listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp
    }

    /// A connection that has just been secured, and its tls-exporter data; `None` when the link would not.
    pub(super) async fn secured(&self) -> Option<(Peer, Vec<u8>)> {
        let mut peer = Peer::new(self.accept().await);
        peer.open_client("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>").await;
        peer.hear("starttls").await;
        peer.say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
        let tls = self.acceptor.accept(peer.io).await.ok()?;
        let exporter = tls.get_ref().1.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None);
        Some((Peer::new(tls), exporter.unwrap()))
    }

    /// A connection that has authenticated and heard these features.
    pub(super) async fn authenticated(&self, features: &str) -> Peer {
        let (mut peer, _) = self.secured().await.unwrap();
        peer.open_client(&mechanisms(&["SCRAM-SHA-1", "PLAIN"])).await;
        peer.authenticate("SCRAM-SHA-1", b"y,,", "right").await;
        peer.open_client(&format!("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>{features}")).await;
        peer
    }

    /// A connection that is up, with stream management.
    pub(super) async fn managed(&self) -> Peer {
        let mut peer = self.authenticated("<sm xmlns='urn:xmpp:sm:3'/>").await;
        bind_managed(&mut peer).await;
        peer
    }
}

/// Binds a resource and turns stream management on.
pub(super) async fn bind_managed(peer: &mut Peer) {
    let iq = peer.hear("iq").await;
    let id = iq.attr("id").unwrap();
    peer.say(&format!(
        "<iq type='result' id='{id}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
         <jid>ann@{DOMAIN}/x</jid></bind></iq>"
    ))
    .await;
    peer.hear("enable").await;
    peer.say("<enabled xmlns='urn:xmpp:sm:3' id='session1' resume='true'/>").await;
}

/// The next event, which comes in any case.
pub(super) async fn event(link: &mut Link) -> LinkEvent {
    tokio::time::timeout(Duration::from_secs(60), link.events.recv()).await.unwrap().expect("the link ended")
}

pub(super) async fn stanza(link: &mut Link) -> Element {
    match event(link).await {
        LinkEvent::Stanza(stanza) => stanza,
        other => panic!("{other:?}"),
    }
}

/// Waits until the link is up; whether it was resumed.
pub(super) async fn up(link: &mut Link) -> bool {
    loop {
        match event(link).await {
            LinkEvent::Up { resumed, .. } => return resumed,
            LinkEvent::Down { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
