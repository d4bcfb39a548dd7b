//! What a fuzzer says in the chat of a machine.
#![allow(clippy::unwrap_used, clippy::panic)]

use minidom::Element;
use skerry_stanzas::command::Object;
use xmpp_parsers::jid::Jid;

use super::{
    Partner,
    incoming::{Incoming, incoming},
};
use crate::{fleet::Host, fuzz::is_shown};

/// A stanza in a talk: what is shown of it steers no terminal.
pub(crate) fn heard(stanza: &Element) {
    let host = Host { jid: Jid::new("kvm1.example.org").unwrap(), name: "kvm1".into() };
    let jid = Jid::new("web1@kvm1.example.org").unwrap();
    let partner = Partner { jid, name: "web1".into(), object: Object::Machine, front: None, host };
    match incoming(stanza, &partner) {
        Some(Incoming::Said(said)) => {
            is_shown(&said.text);
            assert!(said.offers.len() <= 10);
        }
        Some(Incoming::Undelivered(why)) => is_shown(&why),
        Some(Incoming::State(state)) => is_shown(&state.unwrap_or_default()),
        Some(Incoming::Arrived) | None => {}
    }
}
