//! Bits of Binary (XEP-0231): pictures that were shown lately, given to who may see the machine's screen.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use minidom::Element;
use skerry_stanzas::command::{COMMANDS, Object};
use xmpp_parsers::ns as xep;

use super::{
    Face,
    stanza::{Fault, Inquiry, Tag, tag},
};
use crate::{
    asked::Target,
    pictures::{KEPT_FOR, Png, Subject},
};

impl Face {
    /// Answers `<data cid='…'/>`: what was shown lately there, to who may see that kind of thing.
    pub(crate) fn bits(&self, inquiry: &Inquiry) -> Result<Element, Fault> {
        let cid = inquiry.payload.attr("cid").unwrap_or_default();
        let person = inquiry.from.to_bare();
        let may = |object: Object, verb: &str, target: &Target| {
            let found = COMMANDS.iter().find(|known| (known.object, known.verb) == (object, verb));
            found.is_some_and(|declaration| self.agent.allows(&person, declaration, target))
        };
        let machines = match &inquiry.target {
            Target::Machine(name) => self.agent.machine(name).into_iter().collect(),
            // On an account machines have no address.
            Target::Host if self.addresses().is_component() => Vec::new(),
            Target::Host => self.agent.machines_for(&person),
        };
        let of_machine = |seen: &crate::agent::Seen| {
            let target = Target::Machine(seen.name.clone());
            let may = |verb: &str| may(Object::Machine, verb, &target);
            [(may("screenshot"), Subject::Screen(seen.id)), (may("graph"), Subject::Graph(Some(seen.id)))]
        };
        let of_host = inquiry.target == Target::Host && may(Object::Host, "graph", &Target::Host);
        let seen = machines.iter().flat_map(of_machine).chain([(of_host, Subject::Graph(None))]);
        let allowed: Vec<Subject> = seen.filter_map(|(may, subject)| may.then_some(subject)).collect();
        if allowed.is_empty() {
            return Err(Fault::forbidden());
        }
        let found = allowed.into_iter().find_map(|subject| self.agent.inner.pictures.find(subject, cid));
        found.map(|png| data(&png).into()).ok_or_else(Fault::not_found)
    }
}

/// The picture itself.
pub(crate) fn data(png: &Png) -> Tag {
    tag("data", xep::BOB)
        .attr("cid", &png.cid)
        .attr("type", "image/png")
        .attr("max-age", KEPT_FOR.as_secs().to_string())
        .text(BASE64.encode(&png.file))
}
