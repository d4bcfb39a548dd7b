//! A way from one host straight to another, beside their streams: TLS 1.3, where each side knows the other by
//! an authority that was made for this one way and told it over the stream. Nobody else's certificate counts.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// A connection with the other end.
pub type Way = TlsStream<TcpStream>;

/// What one end has, as text in PEM.
#[derive(Clone, Copy)]
pub struct End<'a> {
    /// Its certificate.
    pub certificate: &'a str,
    /// The certificate's key.
    pub key: &'a str,
    /// The authorities whose certificates are taken.
    pub authorities: &'a str,
}

/// The end that is reached.
#[derive(Clone)]
pub struct Reached(TlsAcceptor);

/// The end that reaches out.
#[derive(Clone)]
pub struct Reaching(TlsConnector, ServerName<'static>);

impl Reached {
    /// Of these keys.
    ///
    /// # Errors
    /// They are none.
    pub fn new(end: End<'_>) -> Result<Self, String> {
        let provider = provider();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(end)?.into(), Arc::clone(&provider));
        let verifier = verifier.build().map_err(|error| error.to_string())?;
        let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
        let config = config.map_err(|error| error.to_string())?.with_client_cert_verifier(verifier);
        let (chain, key) = own(end)?;
        let config = config.with_single_cert(chain, key).map_err(|error| error.to_string())?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Takes a connection, if it is the other end.
    ///
    /// # Errors
    /// It is somebody else, or it broke.
    pub async fn accept(&self, tcp: TcpStream) -> io::Result<Way> {
        self.0.accept(tcp).await.map(TlsStream::from)
    }
}

impl Reaching {
    /// Of these keys, to the end whose certificate is made out to `name`.
    ///
    /// # Errors
    /// They are none.
    pub fn new(end: End<'_>, name: &str) -> Result<Self, String> {
        let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
        let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots(end)?);
        let (chain, key) = own(end)?;
        let config = config.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?;
        let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
        Ok(Self(TlsConnector::from(Arc::new(config)), name))
    }

    /// Makes a connection the way to the other end.
    ///
    /// # Errors
    /// It is somebody else, or it broke.
    pub async fn connect(&self, tcp: TcpStream) -> io::Result<Way> {
        self.0.connect(self.1.clone(), tcp).await.map(TlsStream::from)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(end: End<'_>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(end.authorities.as_bytes()) {
        let added = authority.map_err(|error| error.to_string()).map(|authority| roots.add(authority));
        added?.map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

fn own(end: End<'_>) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(end.certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(end.key.as_bytes()).map_err(|error| error.to_string())?;
    Ok((chain.map_err(|error| error.to_string())?, key))
}
