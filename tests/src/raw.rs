//! A client that sends whatever bytes it is told to, as no library would. Everything it says is
//! written by hand: STARTTLS, SASL PLAIN, a resource.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::lab::{Server, User};

/// How long a server may take over what nobody should send it: Prosody takes tens of seconds for the
/// deepest nesting.
const PATIENCE: Duration = Duration::from_secs(180);

/// Logged in, with the whole stream in its hands.
pub struct Raw {
    tls: TlsStream<TcpStream>,
    heard: String,
    /// Its full address.
    pub jid: String,
}

impl Raw {
    /// Logs in.
    ///
    /// # Errors
    /// The server does not let us in.
    pub async fn log_in(server: &Server, user: &User) -> Result<Self> {
        let header = format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' to='{}' \
             xmlns:stream='http://etherx.jabber.org/streams'>",
            server.domain
        );
        let mut tcp = TcpStream::connect((server.address.as_str(), server.port)).await?;
        tcp.write_all(header.as_bytes()).await?;
        let mut heard = String::new();
        listen(&mut tcp, &mut heard, "</stream:features>").await?;
        tcp.write_all(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
        listen(&mut tcp, &mut heard, "<proceed").await?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&server.ca)? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(server.domain.clone())?;
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        let mut raw = Self { tls, heard: String::new(), jid: String::new() };
        raw.say(&header).await?;
        raw.until("</stream:features>").await?;
        let name = user.jid.split('@').next().unwrap_or_default();
        let plain = BASE64.encode(format!("\0{name}\0{}", user.password));
        raw.say(&format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"))
            .await?;
        raw.until("<success").await?;
        raw.say(&header).await?;
        raw.until("</stream:features>").await?;
        raw.say("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>").await?;
        let bound = raw.until("</iq>").await?;
        let jid = bound.split("<jid>").nth(1).and_then(|rest| rest.split("</jid>").next());
        raw.jid = jid.context("no resource")?.to_owned();
        raw.say("<presence/>").await?;
        Ok(raw)
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// The server closed the connection.
    pub async fn say(&mut self, bytes: &str) -> Result<()> {
        timeout(PATIENCE, self.tls.write_all(bytes.as_bytes())).await.context("it does not read")??;
        Ok(self.tls.flush().await?)
    }

    /// Reads until this was said; gives all up to and with it.
    ///
    /// # Errors
    /// It was not said, or the stream was closed: the error has what was said instead.
    pub async fn until(&mut self, words: &str) -> Result<String> {
        listen(&mut self.tls, &mut self.heard, words).await
    }
}

async fn listen(from: &mut (impl AsyncReadExt + Unpin), heard: &mut String, words: &str) -> Result<String> {
    let mut buffer = vec![0; 65_536];
    // Looked for only where it can be new: what comes back may be as large as what was sent.
    let mut looked = 0;
    loop {
        if let Some(at) = heard[looked..].find(words) {
            let rest = heard.split_off(looked + at + words.len());
            return Ok(std::mem::replace(heard, rest));
        }
        looked = heard.floor_char_boundary(heard.len().saturating_sub(words.len()));
        let read = timeout(PATIENCE, from.read(&mut buffer)).await;
        match read.with_context(|| format!("{words} was not said, but: {heard}"))? {
            Ok(0) | Err(_) => bail!("the server closed the stream instead of {words}, saying: {heard}"),
            Ok(read) => heard.push_str(&String::from_utf8_lossy(&buffer[..read])),
        }
    }
}
