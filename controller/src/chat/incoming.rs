//! What a stanza of the other side means in a talk. Pure; everything shown is made safe here.

use minidom::Element;
use skerry_stanzas::{
    ns,
    payload::{Machine, Response, replaced, responses},
    safe::{safe_line, safe_text},
    styling,
};

use super::Partner;
use crate::{pubsub, wire};

/// The longest state or button shown, in characters.
const SHORT_CHARS_MAX: usize = 60;

/// What a stanza means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Incoming {
    /// It said something.
    Said(Said),
    /// Our message of this id could not be delivered, and why.
    Undelivered(String),
    /// The machine is now in this state, or no longer to be seen (`None`).
    State(Option<String>),
    /// Our message of this id has arrived.
    Arrived,
}

/// What it said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    /// The id, to say that it arrived; only when it wants to know.
    pub(super) receipt: Option<String>,
    /// The text.
    pub(super) text: String,
    /// Corrects one before.
    pub(super) corrects: bool,
    /// It tells how far the work is; another one will follow and is the answer.
    pub(super) interim: bool,
    /// Answers on offer.
    pub(super) offers: Vec<Response>,
}

/// What `stanza` means in the talk with `partner`; nothing when it is not about it.
pub(super) fn incoming(stanza: &Element, partner: &Partner) -> Option<Incoming> {
    let from = wire::from(stanza)?.to_bare();
    match stanza.name() {
        "presence" if from == partner.jid.to_bare() => state(stanza, partner).map(Incoming::State),
        "message" if stanza.attr("type") == Some("error") && from == partner.jid.to_bare() => {
            let receipt_only = stanza.get_child("body", ns::CLIENT).is_none();
            (!receipt_only || stanza.get_child("received", wire::RECEIPTS).is_none())
                .then(|| Incoming::Undelivered(wire::refused(stanza).text))
        }
        "message" => match pubsub::told(stanza) {
            Some((host, events)) if host == partner.host.jid.to_bare() => events
                .into_iter()
                .rev()
                .filter(|event| event.machine.as_deref() == Some(partner.name.as_str()))
                .find_map(|event| event.state)
                .map(|state| Incoming::State(Some(safe_line(&state, SHORT_CHARS_MAX)))),
            Some(_) => None,
            None if from == partner.jid.to_bare() => message(stanza),
            None => None,
        },
        _ => None,
    }
}

fn message(stanza: &Element) -> Option<Incoming> {
    if stanza.attr("type") == Some("groupchat") {
        return None;
    }
    let Some(body) = stanza.get_child("body", ns::CLIENT) else {
        return stanza.get_child("received", wire::RECEIPTS).map(|_| Incoming::Arrived);
    };
    let wants_receipt = stanza.get_child("request", wire::RECEIPTS).is_some();
    Some(Incoming::Said(Said {
        receipt: wants_receipt.then(|| stanza.attr("id").map(str::to_owned)).flatten(),
        text: readable(&body.text()),
        corrects: replaced(stanza).is_some(),
        interim: stanza.get_child("no-store", ns::HINTS).is_some(),
        offers: responses(stanza),
    }))
}

/// Safe, and without what is for clients with a choice of fonts.
fn readable(body: &str) -> String {
    styling::plain(&safe_text([body]))
}

/// The state in a presence: of the payload, else of the availability.
fn state(presence: &Element, partner: &Partner) -> Option<Option<String>> {
    if presence.attr("type") == Some("unavailable") {
        return Some(None);
    }
    if presence.attr("type").is_some() || partner.front.is_some() {
        return None;
    }
    let payload = presence.get_child("machine", ns::STATE).cloned();
    let state = payload.and_then(|payload| Machine::try_from(payload).ok()).map(|machine| machine.state);
    let status = || presence.get_child("status", ns::CLIENT).map(Element::text);
    Some(state.or_else(status).map(|state| safe_line(&state, SHORT_CHARS_MAX)))
}

/// Says that a message arrived (XEP-0184 §5.3).
pub(super) fn receipt(partner: &Partner, id: &str) -> Element {
    let to = partner.jid.to_string();
    let mut message = wire::element("message", ns::CLIENT, &[("type", "chat"), ("to", &to)]);
    message.append_child(wire::element("received", wire::RECEIPTS, &[("id", id)]));
    message
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{super::tests::partner, *};

    fn heard(xml: &str) -> Option<Incoming> {
        let xml = xml.replacen(' ', " xmlns='jabber:client' ", 1);
        incoming(&xml.parse().unwrap(), &partner(None))
    }

    fn said(xml: &str) -> Said {
        match heard(xml) {
            Some(Incoming::Said(said)) => said,
            other => panic!("{xml}: {other:?}"),
        }
    }

    #[test]
    fn a_message_is_shown_without_what_could_steer_a_terminal() {
        let said = said(
            "<message from='web1@kvm1.example.org/machine' id='7' type='chat'><body>up\u{9b}31m\u{202e}\n```\na  b\n```</body>\
             <request xmlns='urn:xmpp:receipts'/></message>",
        );
        assert_eq!(said.text, "up\na  b");
        assert_eq!(said.receipt.as_deref(), Some("7"));
        assert!(!said.corrects && !said.interim);
    }

    #[test]
    fn progress_is_told_from_the_answer() {
        let said = said(
            "<message from='web1@kvm1.example.org'><body>40 %</body><replace xmlns='urn:xmpp:message-correct:0' id='1'/>\
             <no-store xmlns='urn:xmpp:hints'/></message>",
        );
        assert!(said.corrects && said.interim);
    }

    #[test]
    fn offers_are_read() {
        let said = said(
            "<message from='web1@kvm1.example.org'><body>Sure?</body>\
             <response xmlns='urn:xmpp:tmp:quick-response' value='yes ab12' label='yes'/></message>",
        );
        assert_eq!(said.offers[0].value, "yes ab12");
    }

    #[test]
    fn strangers_are_not_heard() {
        assert_eq!(heard("<message from='eve@example.org'><body>hi</body></message>"), None);
        assert_eq!(
            heard("<message from='web1@kvm1.example.org' type='groupchat'><body>hi</body></message>"),
            None
        );
        let forged = format!(
            "<message from='eve@example.org'><event xmlns='http://jabber.org/protocol/pubsub#event'>\
             <items node='{0}'><item><event xmlns='{0}' sequence='1' at='2026-11-22T21:00:00Z' what='x' \
             machine='web1' state='failed'>x</event></item></items></event></message>",
            ns::EVENTS
        );
        assert_eq!(heard(&forged), None);
        let ours = forged.replace("eve@example.org", "kvm1.example.org");
        assert_eq!(heard(&ours), Some(Incoming::State(Some("failed".into()))));
    }

    #[test]
    fn presence_is_the_state() {
        let presence = format!(
            "<presence from='web1@kvm1.example.org/machine'><status>It runs.</status><machine xmlns='{}' id='1' \
             name='web1' state='running' generation='2' wanted='running' host='kvm1.example.org' driver='fake'/></presence>",
            ns::STATE
        );
        assert_eq!(heard(&presence), Some(Incoming::State(Some("running".into()))));
        let gone = "<presence from='web1@kvm1.example.org/machine' type='unavailable'/>";
        assert_eq!(heard(gone), Some(Incoming::State(None)));
        assert_eq!(heard("<presence from='web1@kvm1.example.org' type='subscribe'/>"), None);
    }

    #[test]
    fn what_could_not_be_delivered_says_why() {
        let error = "<message from='web1@kvm1.example.org' type='error'><body>start</body><error type='wait'>\
                     <remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>";
        let Some(Incoming::Undelivered(why)) = heard(error) else { panic!() };
        assert!(why.contains("not connected"), "{why}");
    }
}
