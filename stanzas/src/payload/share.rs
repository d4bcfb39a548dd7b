//! What two hosts say to each other when an image goes from one to the other: a word in an IQ of type set,
//! answered by a word of the same share, `answer`, with an [`Answer`]. The image itself goes beside the
//! stream, from the host that has it to the [`Place`] of the one that takes it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use xso::{AsXml, FromXml, error::Error};

use super::bounded;
use crate::ns;

/// The most that goes along with a word, in bytes.
const CONTENT_BYTES_MAX: usize = 32 * 1024;

/// The word with which one host offers an image to another: an [`Offer`].
pub const OFFER: &str = "offer";
/// The word with which one host asks another for an image: a [`Want`].
pub const WANT: &str = "want";
/// The word that asks how a share is.
pub const ASK: &str = "ask";
/// The word that calls a share off.
pub const CALL_OFF: &str = "call-off";
/// The word that answers.
pub const ANSWER: &str = "answer";

/// A word about a share.
#[derive(Clone, Debug, PartialEq, FromXml, AsXml)]
#[xml(namespace = ns::SHARE, name = "share", deserialize_callback = check)]
pub struct Share {
    /// What is said.
    #[xml(attribute)]
    pub word: String,
    /// Which share it is about.
    #[xml(attribute)]
    pub id: String,
    /// What goes along with it, as JSON.
    #[xml(text)]
    pub content: String,
}

fn check(share: &mut Share) -> Result<(), Error> {
    bounded([&share.word, &share.id])?;
    match share.content.len() <= CONTENT_BYTES_MAX {
        true => Ok(()),
        false => Err(Error::Other("What goes along with the word is too long.")),
    }
}

impl Share {
    /// What goes along with it.
    pub fn content<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.content).ok()
    }
}

/// An image that is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its name where it is.
    pub name: String,
    /// What it is to be called where it goes.
    pub called: String,
    /// Who shares it, as the host vouches for.
    pub by: String,
    /// The SHA-256 of what it came as, and of what that came as on hosts before, as they say.
    pub same_as: Vec<String>,
    /// disk (as qcow2) or cd.
    pub kind: String,
    /// As long as its file is.
    pub file_bytes: u64,
    /// The disk it holds, in bytes.
    pub size_bytes: u64,
    /// What it is, for people.
    pub about: String,
    /// The authority of who has it, made for this share, in PEM.
    pub authority: String,
}

/// An image that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Its name where it is.
    pub name: String,
    /// What it is to be called where it goes.
    pub called: String,
    /// Who wants it, as the host vouches for.
    pub by: String,
    /// Where to.
    pub place: Place,
}

/// Where an image is taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The address of the host.
    pub address: IpAddr,
    /// Its port for this share.
    pub port: u16,
    /// The authority of who takes it, made for this share, in PEM.
    pub authority: String,
}

/// The answer to a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Answer {
    /// No.
    Refused {
        /// Why.
        reasons: Vec<String>,
    },
    /// To `offer`: it is taken there.
    Accepted {
        /// Where.
        place: Place,
    },
    /// To `want`: it goes.
    Offered {
        /// What it is.
        offer: Box<Offer>,
    },
    /// The same is there already.
    Known {
        /// Under this name.
        name: String,
    },
    /// It goes on, and cannot be called off if that was said.
    GoesOn,
    /// It is kept where it went.
    Kept {
        /// Under this name.
        name: String,
    },
    /// It is over, and nothing is left of it.
    Failed {
        /// Why.
        why: String,
    },
    /// Nothing is known of such a share.
    Nothing,
}
