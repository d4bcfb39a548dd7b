//! What rides in presence, in messages and in pubsub items: our own payloads, and the few of other
//! XEPs that xmpp-parsers lacks. Parsing is bounded: who receives them need not trust who sends.

use std::borrow::Cow;

mod correct;
mod definition;
mod event;
mod hint;
mod metrics;
pub mod migration;
mod quick_response;
pub mod share;
mod state;
mod together;
mod via;

pub use correct::{replace, replaced};
pub use definition::Definition;
pub use event::Event;
pub use hint::{Hint, hint};
pub use metrics::{HostMetrics, MachineMetrics, Metrics};
pub use migration::Handover;
pub use quick_response::{Response, responses};
pub use share::Share;
pub use state::{Host, Machine};
pub use together::Together;
pub use via::{VIAS_MAX, Via};
use xso::{TextCodec, error::Error};

use crate::safe::safe_value;

/// The longest attribute or text of a payload, in bytes.
pub const TEXT_BYTES_MAX: usize = 1023;
/// The most machines of one metrics item.
pub const MACHINES_MAX: usize = 10_000;

/// Text that may quote a guest or a program: what XML cannot hold does not go out, nor what is over
/// the limit.
struct Safe;

impl TextCodec<String> for Safe {
    fn decode(&self, text: String) -> Result<String, Error> {
        Ok(text)
    }

    fn encode<'x>(&self, text: &'x String) -> Result<Option<Cow<'x, str>>, Error> {
        let mut safe = safe_value(text);
        safe.truncate(safe.floor_char_boundary(TEXT_BYTES_MAX));
        Ok(Some(Cow::Owned(safe)))
    }
}

/// Refuses a payload with a text over the limit.
fn bounded<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<(), Error> {
    match texts.into_iter().all(|text| text.len() <= TEXT_BYTES_MAX) {
        true => Ok(()),
        false => Err(Error::Other("A text of the payload is too long.")),
    }
}

#[cfg(test)]
#[path = "payload/tests.rs"]
mod tests;
