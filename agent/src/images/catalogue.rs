//! Catalogues: files that say where images are and what they must be, signed by whoever keeps them.
//!
//! A catalogue is believed for its signature (minisign, prehashed) by the key in the configuration, wherever
//! it came from. It carries a serial number, which never goes back: an old one, however well signed, is not
//! put in the place of a newer one; and a day after which it is not believed any more, so that nobody can
//! hold a host to an old one for ever.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use hypervisor_core::image::{Digest, Format};
use minisign_verify::{PublicKey, Signature};
use serde::Deserialize;
use sha2::Digest as _;
use skerry_stanzas::refusal::{Reason, Refusal};

use super::fetch;
use crate::{
    config::CatalogueSection,
    store::{Store, schema},
};

/// The longest catalogue and the longest signature, in bytes.
const BYTES_MAX: usize = 1 << 20;
const SIGNATURE_BYTES_MAX: usize = 4096;
/// Images of one.
const IMAGES_MAX: usize = 2000;
/// What the name of a signature ends with, beside its catalogue.
const SIGNATURE: &str = ".minisig";

/// A catalogue as it is written.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Catalogue {
    /// Larger with each edition.
    serial: u64,
    /// After which it is not believed.
    expires: toml::value::Datetime,
    /// By name.
    #[serde(default)]
    pub(crate) images: BTreeMap<String, Entry>,
}

/// An image of it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    /// Where it is.
    pub(crate) url: String,
    /// The SHA-256 of what is there.
    sha256: String,
    /// How it is written.
    format: Format,
    /// The bytes that are there.
    pub(crate) size: u64,
    /// What it is, for people.
    #[serde(default)]
    pub(crate) about: String,
}

impl Entry {
    /// Checked when it was read.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.sha256.parse().ok()
    }

    /// How it is written.
    pub(crate) fn format(&self) -> Format {
        self.format
    }
}

/// The catalogues as they were seen last.
#[derive(Default)]
pub(crate) struct Catalogues(Mutex<BTreeMap<String, Arc<Catalogue>>>);

impl Catalogues {
    /// The names of all images that were in them.
    pub(crate) fn names(&self) -> Vec<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.values().flat_map(|catalogue| catalogue.images.keys().cloned()).collect()
    }

    /// Fetches one and checks it.
    pub(crate) async fn look(
        &self,
        name: &str,
        section: &CatalogueSection,
        store: &Store,
    ) -> Result<Arc<Catalogue>, Refusal> {
        let refused = |why: &str| {
            tracing::warn!(catalogue = name, why, "a catalogue is not believed");
            Refusal::new(Reason::Conflict, format!("The catalogue {name} is not believed: {why}."))
                .hint("Nothing was brought. Ask who keeps it.")
        };
        let text = read(&section.source, BYTES_MAX).await?;
        let signature = read(&format!("{}{SIGNATURE}", section.source), SIGNATURE_BYTES_MAX).await?;
        let signature = String::from_utf8_lossy(&signature);
        let catalogue = believe(&text, &signature, &section.key, Utc::now()).map_err(refused)?;
        let edition = Edition { serial: catalogue.serial, digest: sha2::Sha256::digest(&text).into() };
        // Of this key: another one begins anew.
        let fact = format!("catalogue {name} {}", section.key);
        let newest = store.run(move |connection| edition.newest(connection, &fact)).await?;
        if !newest {
            return Err(refused("a newer one was seen here already"));
        }
        let catalogue = Arc::new(catalogue);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(name.to_owned(), Arc::clone(&catalogue));
        Ok(catalogue)
    }
}

/// Which one it is.
struct Edition {
    serial: u64,
    digest: [u8; 32],
}

impl Edition {
    /// Whether none newer was seen, and no other one of the same number; from now on none older is taken.
    fn newest(
        &self,
        connection: &rusqlite::Connection,
        fact: &str,
    ) -> Result<bool, crate::store::StoreError> {
        let mine = format!("{} {}", self.serial, Digest::of_bytes(self.digest));
        let before = schema::fact(connection, fact)?;
        let serial = |text: &str| text.split(' ').next().and_then(|serial| serial.parse::<u64>().ok());
        let fine = match &before {
            Some(before) if *before == mine => return Ok(true),
            Some(before) => serial(before).is_none_or(|before| before < self.serial),
            None => true,
        };
        if fine {
            schema::set_fact(connection, fact, &mine)?;
        }
        Ok(fine)
    }
}

/// A file of this host, or one of the web: what is in it is checked by its signature.
async fn read(source: &str, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    if !source.starts_with('/') {
        return fetch::small(source, bytes_max).await;
    }
    let unread = |why: String| Refusal::new(Reason::Unavailable, format!("{source} cannot be read: {why}."));
    let length =
        tokio::fs::metadata(Path::new(source)).await.map_err(|error| unread(error.to_string()))?.len();
    if length > bytes_max as u64 {
        return Err(unread("it is too long for a catalogue".into()));
    }
    tokio::fs::read(source).await.map_err(|error| unread(error.to_string()))
}

/// The catalogue, if it is to be believed; else why not.
fn believe(text: &[u8], signature: &str, key: &str, now: DateTime<Utc>) -> Result<Catalogue, &'static str> {
    let key =
        PublicKey::from_base64(key).map_err(|_| "the key in the configuration is none of minisign's")?;
    let signature = Signature::decode(signature).map_err(|_| "what is beside it is no signature")?;
    key.verify(text, &signature, false)
        .map_err(|_| "its signature is not by the key in the configuration")?;
    let text = std::str::from_utf8(text).map_err(|_| "it is no text")?;
    let catalogue: Catalogue = toml::from_str(text).map_err(|error| {
        tracing::warn!(%error, "a catalogue cannot be understood");
        "it is not written as a catalogue is"
    })?;
    let expires = catalogue.expires.to_string();
    let expires =
        DateTime::parse_from_rfc3339(&expires).map_err(|_| "it does not say until when it holds")?;
    if expires < now {
        return Err("it has expired");
    }
    let sound = |(name, entry): (&String, &Entry)| {
        crate::handler::is_image_name(name) && entry.digest().is_some() && fetch::url(&entry.url).is_ok()
    };
    if catalogue.images.len() > IMAGES_MAX || !catalogue.images.iter().all(sound) {
        return Err("an image in it has a name, an address or a checksum that is none");
    }
    Ok(catalogue)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use minisign::KeyPair;

    use super::*;

    const GOOD: &str = "serial = 7\nexpires = 2027-01-01T00:00:00Z\n[images.debian-12]\n\
        url = \"https://example.org/debian-12.qcow2\"\nformat = \"qcow2\"\nsize = 1000\n\
        sha256 = \"b1946ac92492d2347c6235b4d2611184ec6d3f2e4ab0e7e6b3a6cf5a0ab1bd25\"\n";

    fn now() -> DateTime<Utc> {
        "2026-11-23T00:00:00Z".parse().unwrap()
    }

    /// What becomes of a catalogue signed by this key, read with the same or another key.
    fn read_by(text: &str, signed: &str, own_key: bool) -> Result<Catalogue, &'static str> {
        let keys = KeyPair::generate_unencrypted_keypair().unwrap();
        let signature = minisign::sign(None, &keys.sk, signed.as_bytes(), None, None).unwrap();
        let other = KeyPair::generate_unencrypted_keypair().unwrap().pk.to_base64();
        let key = if own_key { keys.pk.to_base64() } else { other };
        believe(text.as_bytes(), &signature.to_string(), &key, now())
    }

    #[test]
    fn what_is_signed_by_the_right_key_is_believed_and_nothing_else() {
        let catalogue = read_by(GOOD, GOOD, true).unwrap();
        let entry = &catalogue.images["debian-12"];
        assert_eq!((catalogue.serial, entry.format, entry.size), (7, Format::Qcow2, 1000));
        assert!(read_by(GOOD, GOOD, false).unwrap_err().contains("not by the key"));
        assert!(read_by(&GOOD.replace("1000", "1001"), GOOD, true).unwrap_err().contains("not by the key"));
        let key = KeyPair::generate_unencrypted_keypair().unwrap().pk.to_base64();
        assert!(believe(GOOD.as_bytes(), "", &key, now()).unwrap_err().contains("no signature"));
        assert!(believe(GOOD.as_bytes(), "", "x", now()).unwrap_err().contains("none of minisign's"));
    }

    #[test]
    fn what_is_signed_is_looked_at_all_the_same() {
        let why = |from: &str, to: &str| {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD);
            read_by(&text, &text, true).unwrap_err()
        };
        assert_eq!(why("2027", "2026"), "it has expired");
        assert!(why("2027-01-01T00:00:00Z", "2027-01-01").contains("until when"));
        assert!(why("serial = 7", "").contains("not written as"));
        assert!(why("images.debian-12", "images.'../x'").contains("that is none"));
        assert!(why("https://", "file://").contains("that is none"));
        assert!(why("b1946ac9", "").contains("that is none"));
    }
}
