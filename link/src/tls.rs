//! TLS to a server: its certificate is always verified.

use std::{io, path::Path, sync::Arc};

use rustls::{CertificateError, ClientConfig, ClientConnection, ProtocolVersion, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    LoginError,
    wire::{Setback, chain},
};

/// XEP-0368: the protocol of a port that speaks TLS from the first byte.
const ALPN_CLIENT: &[u8] = b"xmpp-client";

/// Secures a connection. `domain` is the domain of the JID, whatever host it led to (RFC 6120 §13.7.2).
pub(crate) async fn secure(
    tcp: TcpStream,
    domain: &str,
    ca: Option<&Path>,
    direct: bool,
) -> Result<TlsStream<TcpStream>, Setback> {
    let ca = ca.map(Path::to_path_buf);
    let roots = tokio::task::spawn_blocking(move || roots(ca.as_deref()))
        .await
        .map_err(|error| Setback::Broken(error.to_string()))??;
    let mut config = trusting(roots)?;
    if direct {
        config.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
    }
    let name = ServerName::try_from(domain.to_owned())
        .map_err(|_| certificate(format!("{domain} is no name a certificate can be for")))?;
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(refusal)
}

/// What secures HTTPS to a service of the server: the same authorities as for the stream are trusted.
/// Reads them from the disk.
///
/// # Errors
/// Why there are none, in words.
pub fn https(ca: Option<&Path>) -> Result<ClientConfig, String> {
    roots(ca).and_then(trusting).map_err(in_words)
}

/// What secures HTTPS to any server of the web: the system's authorities are trusted. Where there are none,
/// every server is refused, but http still goes. Reads them from the disk.
///
/// # Errors
/// Why TLS cannot be spoken at all, in words.
pub fn web() -> Result<ClientConfig, String> {
    let roots = roots(None).unwrap_or_else(|_| {
        tracing::warn!("this system has no certificate authorities: no https server is trusted");
        RootCertStore::empty()
    });
    trusting(roots).map_err(in_words)
}

fn in_words(setback: Setback) -> String {
    match setback {
        Setback::Refused(error) => error.to_string(),
        Setback::Broken(why) | Setback::Elsewhere(why) => why,
    }
}

fn trusting(roots: RootCertStore) -> Result<ClientConfig, Setback> {
    // Never the provider of the process: another part of it may have set another one, or none.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Setback::Broken(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Those to trust: exactly the ones of the file, or the system's.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, Setback> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(certificate(format!("this system has no certificate authorities{why}")));
        }
        return Ok(roots);
    };
    let unusable = |why: String| certificate(format!("{}: {why}", path.display()));
    for found in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
        let found = found.map_err(|error| unusable(error.to_string()))?;
        roots.add(found).map_err(|error| unusable(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(unusable("holds no certificate".to_owned())),
        false => Ok(roots),
    }
}

fn certificate(why: String) -> Setback {
    Setback::Refused(LoginError::Certificate { why })
}

/// A handshake that failed: because of the certificate, or otherwise.
fn refusal(error: io::Error) -> Setback {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => certificate(match why {
            CertificateError::UnknownIssuer => {
                "it is signed by an authority that is not trusted here".to_owned()
            }
            other => other.to_string(),
        }),
        Some(other) => Setback::Broken(format!("TLS: {other}")),
        None => Setback::Broken(format!("TLS: {}", chain(&error))),
    }
}

/// The channel-binding data of this connection by RFC 9266 (tls-exporter): TLS 1.3 only.
pub(crate) fn exporter(connection: &ClientConnection) -> Option<Vec<u8>> {
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    connection.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None).ok()
}
