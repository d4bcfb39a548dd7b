//! Which stanza is answered by whom. One table says it for IQs, and disco says the same table aloud.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use minidom::Element;
use skerry_stanzas::ns;
use xmpp_parsers::{jid::Jid, ns as xep};

use super::{
    Face, caps,
    limits::Refused,
    stanza::{self, Fault, Inquiry, printable},
};
use crate::asked::Target;

/// Who answers an IQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answerer {
    /// disco#info (XEP-0030).
    Info,
    /// disco#items (XEP-0030).
    Items,
    /// Ping (XEP-0199).
    Ping,
    /// Software version (XEP-0092).
    Version,
    /// Entity time (XEP-0202).
    Time,
    /// Last activity, for a server how long it is up (XEP-0012).
    Last,
    /// vCard (XEP-0054).
    Card,
    /// Ad-hoc commands (XEP-0050).
    Command,
    /// Publish-subscribe (XEP-0060).
    Pubsub,
    /// What only owners of nodes may (XEP-0060 §8).
    PubsubOwner,
    /// The serial console (XEP-0047).
    Bytestream,
    /// A picture that was shown (XEP-0231).
    Bits,
    /// A machine that moves from host to host.
    Handover,
    Share,
    /// A change of our own contact list, told by our server (RFC 6121 §2.1.6).
    Roster,
}

/// One row: this element in this namespace is answered by this.
pub(crate) struct Row {
    name: &'static str,
    /// The namespace, which is also the disco feature.
    pub(crate) namespace: &'static str,
    get: bool,
    set: bool,
    /// Whether it is told in disco#info.
    pub(crate) told: bool,
    /// Whether the host answers anybody: it says no more than that there is a host.
    public: bool,
    /// Only where every entity has an address of its own; an account's server answers these itself.
    pub(crate) component_only: bool,
    by: Answerer,
}

const fn row(name: &'static str, namespace: &'static str, by: Answerer) -> Row {
    Row { name, namespace, get: true, set: false, told: true, public: false, component_only: false, by }
}

/// XEP-0012, which xmpp-parsers does not have.
const LAST: &str = "jabber:iq:last";

/// The table.
pub(crate) static TABLE: &[Row] = &[
    Row { public: true, ..row("query", xep::DISCO_INFO, Answerer::Info) },
    Row { public: true, ..row("query", xep::DISCO_ITEMS, Answerer::Items) },
    Row { public: true, ..row("ping", xep::PING, Answerer::Ping) },
    row("query", xep::VERSION, Answerer::Version),
    row("time", xep::TIME, Answerer::Time),
    row("query", LAST, Answerer::Last),
    Row { component_only: true, ..row("vCard", xep::VCARD, Answerer::Card) },
    Row { get: false, set: true, ..row("command", ns::ADHOC, Answerer::Command) },
    Row { set: true, component_only: true, ..row("pubsub", xep::PUBSUB, Answerer::Pubsub) },
    Row {
        set: true,
        told: false,
        component_only: true,
        ..row("pubsub", xep::PUBSUB_OWNER, Answerer::PubsubOwner)
    },
    row("data", xep::BOB, Answerer::Bits),
    Row { get: false, set: true, ..row("open", xep::IBB, Answerer::Bytestream) },
    Row { get: false, set: true, told: false, ..row("data", xep::IBB, Answerer::Bytestream) },
    Row { get: false, set: true, told: false, ..row("close", xep::IBB, Answerer::Bytestream) },
    // Who may say such words is not a matter of roles, and not of strangers' curiosity either.
    Row { set: true, told: false, public: true, ..row("handover", ns::MIGRATION, Answerer::Handover) },
    Row { get: false, set: true, told: false, public: true, ..row("share", ns::SHARE, Answerer::Share) },
    Row { get: false, set: true, told: false, ..row("query", xep::ROSTER, Answerer::Roster) },
];

impl Face {
    /// Takes in one stanza from the link: answers it, or ignores it where the RFC says so. Never waits
    /// for a command: what is not done at once goes on in a task of its own, within limits.
    pub async fn take(self: &Arc<Self>, stanza: Element) {
        match stanza.name() {
            "iq" => self.take_iq(stanza).await,
            "message" | "presence" if self.take_of_room(&stanza) => {}
            "message" => self.take_message(stanza).await,
            "presence" => self.take_presence(&stanza).await,
            other => tracing::debug!(other = %printable(other), "no such stanza"),
        }
    }

    async fn take_iq(self: &Arc<Self>, iq: Element) {
        if !matches!(iq.attr("type"), Some("get" | "set")) {
            // Results and errors are answered by nobody (RFC 6120 §8.2.3); without a type it is no IQ.
            return;
        }
        let inquiry = match self.inquiry(&iq) {
            Ok(Some(inquiry)) => inquiry,
            Ok(None) => return,
            Err(fault) => return self.say(stanza::refuse(&iq, &fault)).await,
        };
        let caller = inquiry.from.to_bare();
        let face = Arc::clone(self);
        let (from, id, to) = (inquiry.to.clone(), inquiry.id.clone(), inquiry.from.clone());
        let subscribe = inquiry.set && inquiry.payload.is("pubsub", xep::PUBSUB);
        let subscribed = subscribe.then(|| inquiry.clone());
        let door = inquiry.clone();
        let answered = async move {
            // A defect in one answer is that answer's: the caller is told, the rest goes on.
            let answer = AssertUnwindSafe(face.answer(inquiry)).catch_unwind().await;
            let answer = answer.unwrap_or_else(|_| Err(defect()));
            let granted = answer.is_ok();
            let answer = match answer {
                Ok(payload) => stanza::result(&from, &to, &id, payload),
                Err(fault) => stanza::refuse(&iq_shape(&from, &to, &id), &fault),
            };
            face.give(answer, &iq_shape(&from, &to, &id)).await;
            if let Some(inquiry) = subscribed.filter(|_| granted) {
                face.greet_subscriber(&inquiry).await;
            }
        };
        let known = self.is_known_caller(&caller);
        if let Err(refused) = self.limits.run((&caller, known), answered).await {
            let text = match refused {
                Refused::Caller => "You have too many requests under way here. Wait for some to end.",
                Refused::Everybody => "This host has too many requests under way. Try again in a moment.",
            };
            self.count_turned_away(&door);
            let fault = Fault::busy(text);
            self.say(stanza::refuse(&iq, &fault)).await;
        }
    }

    /// An IQ taken apart; `None` when it is not for us.
    fn inquiry(&self, iq: &Element) -> Result<Option<Inquiry>, Fault> {
        let Some((from, to)) = self.parties(iq) else { return Ok(None) };
        let set = iq.attr("type") == Some("set");
        let mut children = iq.children();
        let (Some(payload), None) = (children.next(), children.next()) else {
            return Err(Fault::bad_request("An IQ holds exactly one element."));
        };
        let Some(id) = iq.attr("id").filter(|id| !id.is_empty() && id.len() <= 1024) else {
            return Err(Fault::bad_request("An IQ has an id."));
        };
        let Some(target) = self.addresses().target_of(&to) else {
            return match self.addresses().is_ours(&to) {
                true => Err(Fault::not_found()),
                false => Ok(None),
            };
        };
        Ok(Some(Inquiry { from, to, id: id.to_owned(), set, target, payload: payload.clone() }))
    }

    /// Sender and receiver. On an account both may be left out: then it is between us and our server
    /// (RFC 6120 §8.1.2.1). A component's server always says both.
    pub(crate) fn parties(&self, stanza: &Element) -> Option<(Jid, Jid)> {
        let own = || match self.addresses().is_component() {
            true => None,
            false => Some(Jid::from(self.addresses().host().into_bare())),
        };
        let part = |name: &str| match stanza.attr(name) {
            Some(text) => Jid::new(text).ok(),
            None => own(),
        };
        let parties = part("from").zip(part("to"));
        if parties.is_none() {
            tracing::debug!("a stanza without usable addresses was ignored");
        }
        parties
    }

    async fn answer(self: &Arc<Self>, inquiry: Inquiry) -> Result<Option<Element>, Fault> {
        let row = TABLE.iter().find(|row| {
            inquiry.payload.is(row.name, row.namespace)
                && (!row.component_only || self.addresses().is_component())
        });
        if let Some(answer) = caps::hashed(self, &inquiry) {
            return Ok(Some(answer));
        }
        if let Err(fault) = self.admit(&inquiry, row) {
            self.note_turned_away(&inquiry).await;
            return Err(fault);
        }
        let row = row.ok_or_else(Fault::unknown_service)?;
        if !(if inquiry.set { row.set } else { row.get }) {
            return Err(Fault::not_implemented());
        }
        match row.by {
            Answerer::Info => self.disco_info(&inquiry).map(Some),
            Answerer::Items => self.disco_items(&inquiry).map(Some),
            Answerer::Ping => Ok(None),
            Answerer::Version => Ok(Some(self.version())),
            Answerer::Time => Ok(Some(self.time())),
            Answerer::Last => self.last(&inquiry).map(Some),
            Answerer::Card => self.card(&inquiry).map(Some),
            Answerer::Command => self.command(&inquiry).await.map(Some),
            Answerer::Pubsub => self.pubsub(&inquiry).await,
            Answerer::PubsubOwner => Err(Fault::forbidden().text("The agent alone owns its nodes.")),
            Answerer::Bytestream => self.bytestream(&inquiry).await.map(|()| None),
            Answerer::Bits => self.bits(&inquiry).map(Some),
            Answerer::Handover => self.handover(&inquiry).await,
            Answerer::Share => self.shared(&inquiry).await,
            Answerer::Roster => self.roster_push(&inquiry),
        }
    }

    /// Who may see nothing is told nothing: a machine's address answers strangers as if there were no
    /// machine, whether there is one or not.
    fn admit(&self, inquiry: &Inquiry, row: Option<&Row>) -> Result<(), Fault> {
        let own = !self.addresses().is_component() && self.addresses().is_ours(&inquiry.from);
        let known = own || self.agent.knows(&inquiry.from.to_bare(), &inquiry.target);
        match &inquiry.target {
            Target::Host if known || row.is_none_or(|row| row.public) => Ok(()),
            Target::Host => Err(Fault::forbidden().text("You have no role on this host.")),
            Target::Machine(_) if !known => Err(Fault::not_found()),
            Target::Machine(name) if self.agent.machine(name).is_some() => Ok(()),
            Target::Machine(name) => Err(self.absent(name)),
        }
    }

    /// The error for a machine that is not there: it has another name now, or never was.
    pub(crate) fn absent(&self, name: &hypervisor_core::machine::MachineName) -> Fault {
        match self.moved(name) {
            Some(address) => Fault::gone_to(&address, &self.whereabouts(&address)),
            None => Fault::not_found().text(format!("There is no machine {name} here.")),
        }
    }

    /// Our server tells of a change of our contact list; from anybody else it is a forgery.
    fn roster_push(&self, inquiry: &Inquiry) -> Result<Option<Element>, Fault> {
        let addresses = self.addresses();
        let from_server = inquiry.from == addresses.host().into_bare();
        match !addresses.is_component() && from_server {
            true => {
                self.push_groups(&inquiry.payload);
                Ok(None)
            }
            false => Err(Fault::unknown_service()),
        }
    }
}

/// The answer where ours failed; the log has the panic under the reference.
fn defect() -> Fault {
    let reference = stanza::fresh_id();
    tracing::error!(reference, "an answer ended in a panic");
    Fault::new("cancel", "internal-server-error")
        .text(format!("That went wrong here. An administrator finds more in the log under {reference}."))
}

/// What [`stanza::refuse`] needs to turn around.
fn iq_shape(from: &Jid, to: &Jid, id: &str) -> Element {
    stanza::tag("iq", ns::CLIENT).attr("from", to.as_str()).attr("to", from.as_str()).attr("id", id).into()
}
