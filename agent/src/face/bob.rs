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
    pictures::{KEPT_FOR, Png},
};

impl Face {
    /// Answers `<data cid='…'/>`.
    pub(crate) fn bits(&self, inquiry: &Inquiry) -> Result<Element, Fault> {
        let cid = inquiry.payload.attr("cid").unwrap_or_default();
        let may = COMMANDS.iter().any(|declaration| {
            (declaration.object, declaration.verb) == (Object::Machine, "screenshot")
                && self.agent.permits(&inquiry.from.to_bare(), declaration)
        });
        if !may {
            return Err(Fault::forbidden());
        }
        let machines = match &inquiry.target {
            Target::Machine(name) => self.agent.machine(name).into_iter().collect(),
            // On an account machines have no address; on a component a host shows nothing of its own.
            Target::Host if self.addresses().is_component() => Vec::new(),
            Target::Host => self.agent.machines(),
        };
        let found = machines.iter().find_map(|seen| self.agent.inner.pictures.find(seen.id, cid));
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
