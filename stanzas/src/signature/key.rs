//! Keys: the part that is told, and the part that is kept.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD as BASE64_BARE},
};
use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use sha2::{Digest as _, Sha256};

/// How long either part is, in bytes (RFC 8032 §5.1.5).
const BYTES: usize = 32;
/// The word before a public part.
pub(super) const PUBLIC: &str = "ed25519";
/// The word before a private part.
const PRIVATE: &str = "ed25519-private";

/// Why something is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is written otherwise.
    #[error("it is not written as \"{PUBLIC} BASE64 juliet@example.org\"")]
    NotPublic,
    /// It is the part that is told to nobody.
    #[error(
        "that is a private key, which is given to nobody; \"skerry signing-key show\" shows the line to give"
    )]
    Told,
    /// It is written otherwise.
    #[error("it is not written as \"{PRIVATE} BASE64\"")]
    NotPrivate,
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    NoRandom,
}

/// The public part of a key: by it a signature is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; BYTES]);

impl PublicKey {
    /// Reads base64.
    ///
    /// # Errors
    /// It is no base64 of 32 bytes.
    pub fn parse(base64: &str) -> Result<Self, KeyError> {
        let bytes = BASE64.decode(base64).map_err(|_| KeyError::NotPublic)?;
        bytes.try_into().map(Self).map_err(|_| KeyError::NotPublic)
    }

    /// In base64.
    pub fn base64(&self) -> String {
        BASE64.encode(self.0)
    }

    /// By what people compare keys, as OpenSSH writes it: `SHA256:` and 43 characters.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", BASE64_BARE.encode(Sha256::digest(self.0)))
    }

    /// Whether this signature of the text is by this key.
    pub fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

/// The private part of a key: by it one signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: [u8; BYTES],
}

impl SigningKey {
    /// A new one, of the system's random numbers.
    ///
    /// # Errors
    /// The system gave none.
    pub fn generate() -> Result<Self, KeyError> {
        let seed = ring::rand::generate::<[u8; BYTES]>(&SystemRandom::new());
        Self::of(seed.map_err(|_| KeyError::NoRandom)?.expose())
    }

    /// Reads the line it is kept as.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        let base64 = line.trim().strip_prefix(PRIVATE).ok_or(KeyError::NotPrivate)?;
        let seed = BASE64.decode(base64.trim()).map_err(|_| KeyError::NotPrivate)?;
        Self::of(seed.try_into().map_err(|_| KeyError::NotPrivate)?)
    }

    fn of(seed: [u8; BYTES]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::NotPrivate)?;
        Ok(Self { pair, seed })
    }

    /// The line it is kept as. Whoever has it can sign.
    pub fn line(&self) -> String {
        format!("{PRIVATE} {}", BASE64.encode(self.seed))
    }

    /// Its public part.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    /// The signature of a text.
    pub fn sign(&self, text: &super::Text) -> super::Signature {
        let bytes = self.pair.sign(text.to_string().as_bytes()).as_ref().to_vec();
        super::Signature { nonce: text.nonce.clone(), bytes }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the private part of {:?}", self.public())
    }
}

/// Whether a word is the beginning of a private part, written where a public one belongs.
pub(super) fn is_private(word: &str) -> bool {
    word == PRIVATE
}
