//! `skerry chat`: a talk with a machine or a host, as in any chat client.
//!
//! On a terminal with line editing ([`editor`]); otherwise line by line from the input ([`script`]).
//! [`incoming`] says what a stanza of the other side means.

mod complete;
mod editor;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod incoming;
mod script;

use std::io::IsTerminal as _;

use minidom::Element;
use skerry_stanzas::{command::Object, command::machine::Status, ns};
use xmpp_parsers::jid::Jid;

use crate::{
    call::{Call, Consent},
    cli::ChatArgs,
    commands::address,
    config::Config,
    failure::Outcome,
    fleet::{Fleet, Host},
    name::{Among, Meant, resolve},
    pubsub,
    session::Session,
    wire,
};

/// The other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partner {
    /// Where messages go.
    pub jid: Jid,
    /// What it is called.
    pub name: String,
    /// What it is.
    pub object: Object,
    /// Put before each message: on a link where machines have no address, their name.
    pub front: Option<String>,
    /// Its host.
    pub host: Host,
}

impl Partner {
    fn of(meant: Meant, fleet: &Fleet) -> Option<Self> {
        Some(match meant {
            Meant::Host(host) => Self {
                jid: host.jid.clone(),
                name: host.name.clone(),
                object: Object::Host,
                front: None,
                host,
            },
            Meant::Machine(machine) => Self {
                host: fleet.host_of(&machine)?.clone(),
                front: (!machine.has_own_address()).then(|| machine.name.clone()),
                jid: machine.jid,
                name: machine.name,
                object: Object::Machine,
            },
        })
    }

    /// A line as a message to it, with the id the message got.
    fn message(&self, line: &str) -> (String, Element) {
        let id = uuid::Uuid::new_v4().to_string();
        let body = match &self.front {
            Some(front) if !is_answer(line) => format!("{} {line}", quoted(front)),
            _ => line.to_owned(),
        };
        let to = self.jid.to_string();
        let mut message = wire::element("message", ns::CLIENT, &[("type", "chat"), ("to", &to), ("id", &id)]);
        message.append_child(wire::text_element("body", ns::CLIENT, &body));
        message.append_child(Element::bare("active", wire::CHAT_STATES));
        message.append_child(Element::bare("request", wire::RECEIPTS));
        (id, message)
    }
}

/// An answer to a question of the host is for the host, whatever machine it was about.
fn is_answer(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default().to_lowercase();
    matches!(first.as_str(), "yes" | "y" | "no" | "n" | "cancel")
}

/// A name as one word of the chat's grammar.
fn quoted(name: &str) -> String {
    shlex::try_quote(name).map_or_else(|_| name.to_owned(), |quoted| quoted.into_owned())
}

/// Talks until the input ends.
///
/// # Errors
/// The partner is not found, the connection is lost for good, or (from a script) no answer came.
pub async fn run(args: &ChatArgs, config: &Config) -> Outcome<()> {
    let mut session = Session::open(config, true).await?;
    let fleet = match address(&args.with) {
        Some(address) => Fleet::at(&session, &address).await,
        None => None,
    };
    let fleet = match fleet {
        Some(fleet) => fleet,
        None => Fleet::whole(&session, config).await?,
    };
    let meant = resolve(&args.with, Among::Both, &fleet)?;
    let Some(partner) = Partner::of(meant, &fleet) else { return Err(fleet.nobody()) };
    session.appear().await?;
    // Without it the prompt knows only what presence says.
    let listens = pubsub::subscribe(&session, &partner.host, skerry_stanzas::ns::EVENTS).await.is_ok();
    let inbound = session.inbound();
    let result = if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        let state = state(&session, &partner).await;
        editor::talk(&session, inbound, &partner, state).await
    } else {
        script::talk(&session, inbound, &partner, args.patience).await
    };
    if listens {
        pubsub::unsubscribe(&session, &partner.host, skerry_stanzas::ns::EVENTS).await.ok();
    }
    session.close().await;
    result
}

/// What a machine does just now; nothing when it does not say.
async fn state(session: &Session, partner: &Partner) -> Option<String> {
    static STATUS: skerry_stanzas::command::Declaration =
        skerry_stanzas::command::Declaration::of::<Status>();
    if partner.object == Object::Host {
        return None;
    }
    let node = match &partner.front {
        Some(name) => format!("machine/{name}/{}", STATUS.verb),
        None => STATUS.verb.to_owned(),
    };
    let call = Call { to: partner.jid.clone(), node, declaration: &STATUS, argv: Vec::new(), together: None };
    let reply = call.run(session, Consent::Ask).await.ok()?.reply;
    Some(reply.json.get("state")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    pub(super) fn partner(front: Option<&str>) -> Partner {
        let jid = match front {
            Some(_) => "kvm1@example.org/skerry",
            None => "web1@kvm1.example.org",
        };
        let host = if front.is_some() { jid } else { "kvm1.example.org" };
        Partner {
            jid: Jid::new(jid).unwrap(),
            name: "web1".into(),
            object: Object::Machine,
            front: front.map(str::to_owned),
            host: Host { jid: Jid::new(host).unwrap(), name: "kvm1".into() },
        }
    }

    fn body(partner: &Partner, line: &str) -> String {
        partner.message(line).1.get_child("body", ns::CLIENT).unwrap().text()
    }

    #[test]
    fn a_machine_with_an_address_is_written_to() {
        let (id, message) = partner(None).message("start");
        assert_eq!(message.attr("to"), Some("web1@kvm1.example.org"));
        assert_eq!((message.attr("id"), message.attr("type")), (Some(id.as_str()), Some("chat")));
        assert_eq!(body(&partner(None), "start"), "start");
    }

    #[test]
    fn one_without_is_named_to_its_host() {
        assert_eq!(body(&partner(Some("web1")), "start"), "web1 start");
        assert_eq!(body(&partner(Some("my web")), "status"), "'my web' status");
        assert_eq!(body(&partner(Some("web1")), "yes"), "yes");
        assert_eq!(body(&partner(Some("web1")), "yes ab12"), "yes ab12");
    }
}
