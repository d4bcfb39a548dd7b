//! A certificate authority of the lab's own, and the server's certificate.

use anyhow::Result;
use chrono::Datelike;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::site::{Site, write};

/// Writes `ca.crt`, `server.crt` (with its chain), `server.key` and `server.pem` (all in one). The
/// authority's key is never written: the lab needs one certificate, and nobody another.
pub(super) fn write_certificates(site: &Site) -> Result<()> {
    let mut authority = valid_for_now(CertificateParams::default());
    authority.distinguished_name.push(DnType::CommonName, format!("Skerry lab {}", site.id));
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let names =
        [site.domain.clone(), format!("*.{}", site.domain), "localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut server = valid_for_now(CertificateParams::new(names)?);
    server.distinguished_name.push(DnType::CommonName, site.domain.clone());
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let server_key = KeyPair::generate()?;
    let server_certificate = server.signed_by(&server_key, &issuer)?;

    let chain = format!("{}{}", server_certificate.pem(), authority_certificate.pem());
    write(&site.ca(), &authority_certificate.pem())?;
    write(&site.tls().join("server.crt"), &chain)?;
    write(&site.tls().join("server.key"), &server_key.serialize_pem())?;
    write(&site.tls().join("server.pem"), &format!("{chain}{}", server_key.serialize_pem()))
}

/// For a year or two: ejabberd's certificate keeper dies of the library's own default, the year 4096.
fn valid_for_now(mut certificate: CertificateParams) -> CertificateParams {
    let year = chrono::Utc::now().year();
    certificate.not_before = date_time_ymd(year - 1, 12, 31);
    certificate.not_after = date_time_ymd(year + 2, 1, 1);
    certificate
}
