//! Signatures of commands by the keys of those who give them (Ed25519, RFC 8032).
//!
//! A server vouches for who sends a stanza, and so can speak as anybody of its domain. Where a policy of a
//! host says `signed`, that is not enough: the host gives out a word that is good once ([`ToSign`]), and does
//! nothing before a [`Text`] with that word, and with all that would be done, comes back signed by a key of
//! the caller's. Which keys are whose ([`Keys`]) the host knows from a file, never from a stanza.
//!
//! The text is built by both ends, by each from what it knows: nobody signs what somebody else wrote.

mod key;
mod keys;
mod text;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use minidom::Element;
use serde::{Deserialize, Serialize};

pub use self::{
    key::{KeyError, PublicKey, SigningKey},
    keys::{Key, Keys, KeysError},
    text::{About, Given, On, Text, arguments},
};
use crate::{element::set, ns};

/// How long a signature is, in bytes (RFC 8032 §5.1.6).
const BYTES: usize = 64;
/// The longest word of a host that is taken, in characters.
const NONCE_CHARS_MAX: usize = 64;
const NAME: &str = "signature";

/// What a host wants to have signed. It is no order to sign it: see [`Text::parse`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToSign {
    /// The text.
    pub text: String,
    /// What is mixed into the marks of values that no record keeps, where there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<String>,
}

/// A signature on its way to a host, beside the command it is for: `<signature/>` in a `<command/>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The word of the host it is for.
    pub nonce: String,
    /// The 64 bytes.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// The one in an element. What cannot be one is none.
    pub fn of(element: &Element) -> Option<Self> {
        let found = element.get_child(NAME, ns::COMMAND)?;
        let nonce = found.attr("nonce").filter(|nonce| nonce.len() <= NONCE_CHARS_MAX)?;
        let text = found.text();
        let bytes = (text.len() <= 2 * BYTES).then(|| BASE64.decode(text.trim()).ok()).flatten()?;
        (bytes.len() == BYTES).then(|| Self { nonce: nonce.to_owned(), bytes })
    }
}

impl From<&Signature> for Element {
    fn from(signature: &Signature) -> Self {
        let mut element = Element::bare(NAME, ns::COMMAND);
        set(&mut element, "nonce", Some(&signature.nonce));
        element.append_text(BASE64.encode(&signature.bytes));
        element
    }
}

/// A signature as records keep it: whoever has the key can check it without the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// What was signed, letter by letter.
    pub text: String,
    /// The fingerprint of the key.
    pub key: String,
    /// The signature, in base64.
    pub signature: String,
}

impl Signed {
    /// A signature that was checked.
    pub fn new(text: &Text, key: &PublicKey, signature: &Signature) -> Self {
        Self { text: text.to_string(), key: key.fingerprint(), signature: BASE64.encode(&signature.bytes) }
    }

    /// What was signed, if the signature is one by a key that these say is the caller's of the text.
    pub fn checked(&self, keys: &Keys) -> Option<Text> {
        let text = Text::parse(&self.text)?;
        let bytes = BASE64.decode(&self.signature).ok()?;
        let key = keys.of(&text.caller).find(|key| key.public.fingerprint() == self.key)?;
        key.public.verifies(&self.text, &bytes).then_some(text)
    }
}

#[cfg(test)]
mod tests;
