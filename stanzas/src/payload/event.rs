//! What happened on a host, in order: the items of the node [`ns::EVENTS`].

use chrono::{DateTime, Utc};
use xmpp_parsers::date::Xep0082;
use xso::{AsXml, FromXml, error::Error};

use super::{Safe, bounded};
use crate::ns;

/// Something that happened. It carries the whole new state, so that a reader who missed some is right
/// again with the next one; `sequence` has no gaps, so that it can tell.
#[derive(Clone, Debug, PartialEq, FromXml, AsXml)]
#[xml(namespace = ns::EVENTS, name = "event", deserialize_callback = check)]
pub struct Event {
    /// 1, 2, 3 …, for the life of the host; also the item's id.
    #[xml(attribute)]
    pub sequence: u64,
    /// When, to the second (XEP-0082).
    #[xml(attribute(codec = Xep0082))]
    pub at: DateTime<Utc>,
    /// What, in the past tense: `machine.started`.
    #[xml(attribute)]
    pub what: String,
    /// The machine, when it is about one.
    #[xml(attribute(default))]
    pub machine: Option<String>,
    /// Its state after it.
    #[xml(attribute(default))]
    pub state: Option<String>,
    /// Its generation after it.
    #[xml(attribute(default))]
    pub generation: Option<u64>,
    /// Who asked for it, when somebody did.
    #[xml(attribute(default))]
    pub by: Option<String>,
    /// The same in a sentence.
    #[xml(text(codec = Safe))]
    pub sentence: String,
}

fn check(event: &mut Event) -> Result<(), Error> {
    let optional = [&event.machine, &event.state, &event.by].into_iter().flatten();
    bounded([&event.what, &event.sentence].into_iter().chain(optional))
}
