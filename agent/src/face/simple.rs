//! The small questions: version, time, how long it is up, and the card with its picture.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{SecondsFormat, Utc};
use minidom::Element;
use xmpp_parsers::ns as xep;

use super::{
    Face,
    entity::Entity,
    stanza::{Fault, Inquiry, tag},
};
use crate::asked::Target;

const LAST: &str = "jabber:iq:last";

impl Face {
    /// Software version (XEP-0092).
    pub(crate) fn version(&self) -> Element {
        tag("query", xep::VERSION)
            .child(tag("name", xep::VERSION).text("Skerry"))
            .child(tag("version", xep::VERSION).text(env!("CARGO_PKG_VERSION")))
            .child(tag("os", xep::VERSION).text(std::env::consts::OS))
            .into()
    }

    /// Entity time (XEP-0202): ours, in UTC.
    pub(crate) fn time(&self) -> Element {
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        tag("time", xep::TIME)
            .child(tag("tzo", xep::TIME).text("+00:00"))
            .child(tag("utc", xep::TIME).text(now))
            .into()
    }

    /// How long the agent is up (XEP-0012 §4: asked of a server, that is its uptime). A machine has no
    /// such answer here: its status says since when it runs.
    pub(crate) fn last(&self, inquiry: &Inquiry) -> Result<Element, Fault> {
        match inquiry.target {
            Target::Host => {
                Ok(tag("query", LAST).attr("seconds", self.begun.elapsed().as_secs().to_string()).into())
            }
            Target::Machine(_) => Err(Fault::unknown_service()),
        }
    }

    /// The vCard (XEP-0054): name, what it is, and the picture.
    pub(crate) fn card(&self, inquiry: &Inquiry) -> Result<Element, Fault> {
        let entity = self.entity(&inquiry.target).ok_or_else(Fault::not_found)?;
        Ok(self.card_of(&inquiry.target, entity))
    }

    /// The vCard of an entity.
    pub(crate) fn card_of(&self, target: &Target, entity: Entity) -> Element {
        let (name, about) = match target {
            Target::Host => (self.host_name.clone(), "A host of machines, run by Skerry.".to_owned()),
            Target::Machine(name) => (name.to_string(), format!("A machine on {}.", self.host_name)),
        };
        let avatar = self.avatar(entity);
        let text = |element: &str, text: &str| tag(element, xep::VCARD).text(text);
        let photo = tag("PHOTO", xep::VCARD)
            .child(text("TYPE", "image/png"))
            .child(text("BINVAL", &STANDARD.encode(&avatar.png)));
        tag("vCard", xep::VCARD)
            .child(text("FN", &name))
            .child(text("NICKNAME", &name))
            .child(text("DESC", &about))
            .child(photo)
            .into()
    }
}
