//! Keys made for one migration: each side makes an authority, signs one certificate with it, and forgets
//! its key. Only authorities cross the link: no secret is in a stanza.

use chrono::{Datelike, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::{Keys, TLS_NAME};

/// One side's, without the other side's authority.
pub struct Half {
    /// What the other side has to know: our authority, in PEM.
    pub authority: String,
    certificate: String,
    key: String,
}

impl Half {
    /// Makes one.
    ///
    /// # Errors
    /// There is no randomness, or what is alike.
    pub fn make() -> Result<Self, rcgen::Error> {
        // Two authorities of one name would be taken for each other.
        let mut authority = params(&format!("Skerry migration {}", uuid::Uuid::new_v4()))?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let mut own = params("Skerry migration")?;
        own.subject_alt_names = vec![rcgen::SanType::DnsName(TLS_NAME.try_into()?)];
        own.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        own.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = own.signed_by(&key, &issuer)?;
        Ok(Self {
            authority: authority_certificate.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// With the other side's authority: what the driver needs. QEMU checks its own certificate as well.
    pub fn with(&self, other: &str) -> Keys {
        Keys {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            authorities: format!("{}\n{other}", self.authority),
        }
    }
}

fn params(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Longer than any migration lasts; and clocks of two hosts differ.
    let year = Utc::now().year();
    params.not_before = date_time_ymd(year - 1, 12, 31);
    params.not_after = date_time_ymd(year + 2, 1, 1);
    Ok(params)
}
