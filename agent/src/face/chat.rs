//! The chat: the same commands in words, complete without any form.
//!
//! One message is one command. The same grammar as everywhere reads it; what is added here is what
//! people say besides: hello, help, yes and no. Nobody is answered who does not speak to us: no errors,
//! no groups, nothing forwarded or late, no other agent.

mod alert;
mod consent;
mod console;
mod file;
mod live;
mod picture;
mod reading;
mod several;
mod talk;
mod watch;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use minidom::Element;
use skerry_stanzas::{
    command::{Declaration, Effect},
    ns,
    payload::{Hint, Response, hint, replace},
    reply::{REQUEST, ScreenPicture},
};
use tokio::{sync::mpsc, time::Instant};
use xmpp_parsers::{jid::Jid, ns as xep};

pub(crate) use consent::{reaction, replied_to, said as said_in_reply};
pub(crate) use live::Lives;
pub(crate) use talk::Talks;

use self::{reading::Said, talk::Tone};
use super::{
    Face, presence,
    stanza::{self, Tag, fresh_id, tag},
};
use crate::{
    asked::{Answer, Asked, Door, Hop, Target},
    hop,
};

/// How long a command in a chat is waited for: its progress is seen meanwhile. Longer than any takes: an
/// end that nobody is told of is none.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How long for one that only looks.
const LOOK_PATIENCE: Duration = Duration::from_secs(600);
/// How often a progress message is corrected.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How old a message may be that was kept for us while we were away.
const LATE_SECONDS: i64 = 60;
/// A longer one is no command.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Mention notifications (XEP-0452).
const MENTIONS: &str = "urn:xmpp:mmn:0";
/// What other agents know us by, and we them.
const MARK: &str = "agent";

/// A message we may answer.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    from: Jid,
    to: Jid,
    target: Target,
    /// `chat`, or none for a single message.
    kind: Option<String>,
    thread: Option<String>,
    /// What makes it this message and no other.
    key: Option<String>,
    body: String,
    /// What it passed on its way, as its sender says.
    hops: Vec<Hop>,
    /// The address of a file it is about.
    file: Option<String>,
}

/// Something to say.
pub(crate) struct Words {
    text: String,
    picture: Option<ScreenPicture>,
    buttons: Vec<Response>,
}

impl Words {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), picture: None, buttons: Vec::new() }
    }

    /// With answers a person can give with one tap (XEP-0439).
    pub(crate) fn buttons<'a>(mut self, values: impl IntoIterator<Item = &'a str>) -> Self {
        self.buttons.extend(values.into_iter().map(Response::new));
        self
    }
}

impl Face {
    /// Takes in a message.
    pub(crate) async fn take_message(self: &Arc<Self>, message: Element) {
        let Some((from, to)) = self.parties(&message) else { return };
        let Some(target) = self.addresses().target_of(&to) else { return };
        if message.attr("type") == Some("error") {
            if presence::is_final(&message)
                && let Some(entity) = self.entity(&target)
            {
                self.notification_bounced(entity, &from);
            }
            return;
        }
        if self.addresses().is_ours(&from) || !is_spoken(&message) {
            return;
        }
        let Some(tone) = self.tone(&message, &from, &to, &target).await else { return };
        let body = message.get_child("body", ns::CLIENT).map(Element::text).unwrap_or_default();
        let said = Message {
            key: key(&message, &from),
            kind: message.attr("type").map(str::to_owned),
            thread: message.get_child("thread", ns::CLIENT).map(Element::text),
            file: file::sent(&message, &body),
            hops: hop::said(&message),
            body,
            from,
            to,
            target,
        };
        let Some(said) = self.as_consent(said, &message) else { return };
        let caller = said.from.to_bare();
        let face = Arc::clone(self);
        let answered = async move { face.reply(said, tone).await };
        if self.limits.run((&caller, self.is_known_caller(&caller)), answered).await.is_err() {
            tracing::debug!(%caller, "too many of their messages at once");
        }
    }

    /// How to answer, when at all; and the receipt, when one is asked for and they may know we are here.
    async fn tone(&self, message: &Element, from: &Jid, to: &Jid, target: &Target) -> Option<Tone> {
        let body = message.get_child("body", ns::CLIENT).map(Element::text);
        let encrypted =
            message.has_child("encryption", xep::EME) || message.has_child("encrypted", xep::LEGACY_OMEMO);
        let known = self.agent.knows(&from.to_bare(), target);
        let says = body.as_ref().is_some_and(|body| !body.trim().is_empty()) || consent::is_reaction(message);
        if !says && !encrypted {
            return None;
        }
        let tone = match (known, encrypted) {
            (false, _) => Tone::Stranger,
            (true, true) => Tone::Encrypted,
            (true, false) => Tone::Command,
        };
        let tone = self.talks.admit(&from.to_bare(), tone)?;
        if known {
            self.receipt(message, to).await;
        }
        Some(tone)
    }

    /// Delivery receipt (XEP-0184).
    async fn receipt(&self, message: &Element, to: &Jid) {
        let (Some(id), true) = (message.attr("id"), message.has_child("request", xep::RECEIPTS)) else {
            return;
        };
        let receipt = tag("message", ns::CLIENT)
            .attr_if("from", message.attr("to"))
            .attr_if("to", message.attr("from"))
            .attr_if("type", message.attr("type"))
            .attr("id", fresh_id())
            .child(tag("received", xep::RECEIPTS).attr("id", id))
            .child(hint(Hint::NoStore))
            .children(to.node().is_none().then(spoken_by_a_domain));
        self.say(receipt).await;
    }

    async fn reply(self: &Arc<Self>, message: Message, tone: Tone) {
        let words = match tone {
            Tone::Stranger => Words::new(
                "Hello. I only talk to people who have a role on this host; an administrator can give you one.",
            ),
            Tone::Encrypted => Words::new(
                "I cannot read encrypted messages. Switch encryption off for this chat and say it again, please.",
            ),
            Tone::TooFast => {
                Words::new("That is more than I can read: I leave out what comes in the next ten seconds.")
            }
            Tone::Command => return self.converse(&message).await,
        };
        self.speak(&message, &words, None).await;
    }

    /// Reads a message and does what it says.
    async fn converse(self: &Arc<Self>, message: &Message) {
        if let Target::Machine(name) = &message.target
            && self.agent.machine(name).is_none()
        {
            let words = match self.moved(name) {
                Some(address) if self.agent.is_peer(&address.to_bare()) => Words::new(format!(
                    "I moved: write to {} from now on, with my name first.",
                    address.to_bare()
                )),
                Some(address) => Words::new(format!("I moved: write to {address} from now on.")),
                None => Words::new(format!("There is no machine {name} here.")),
            };
            return self.speak(message, &words, None).await;
        }
        if message.body.len() > BODY_BYTES_MAX {
            return self.speak(message, &Words::new("That is too long for a command."), None).await;
        }
        if self.goes_on(message).await {
            return;
        }
        if self.is_given_a_file(message).await {
            return;
        }
        match self.read(&message.from.to_bare(), &message.target, &message.body) {
            Said::Words(words) => self.speak(message, &words, None).await,
            Said::Refused { declaration, target, refusal, words } => {
                let asked = asked(message, declaration, target, Vec::new());
                self.agent.note_refused(&asked, &refusal).await;
                self.speak(message, &words, None).await;
            }
            Said::Command { declaration, target, argv } => {
                if self.opens_console(message, declaration, &target, &argv).await {
                    return;
                }
                let asked = asked(message, declaration, target, argv);
                if self.watches(message, &asked).await {
                    return;
                }
                let (progress, lines) = mpsc::channel(16);
                self.accompany(message, self.agent.ask(asked, Some(progress)), lines).await;
            }
            Said::Each { declaration, machines, argv } => {
                let (progress, lines) = mpsc::channel(16);
                let each = several::asked_of_each(message, declaration, machines, &argv);
                self.accompany(message, self.agent.ask_each(each, Some(progress)), lines).await;
            }
            Said::Answer(reading::Answer { yes: true, target, code }) => {
                let (progress, lines) = mpsc::channel(16);
                let key = message.key.clone();
                let (caller, code) = (&message.from, code.as_deref());
                let answer = self.agent.confirm(caller, &target, code, Door::Chat, key, Some(progress));
                self.accompany(message, answer, lines).await;
            }
            Said::Answer(reading::Answer { yes: false, target, code }) => {
                let had = self.agent.decline(&message.from, &target, code.as_deref());
                let text = if had { "All right, nothing was done." } else { "There was nothing to decline." };
                self.speak(message, &Words::new(text), None).await;
            }
        }
    }

    /// Waits for an answer, and shows its progress meanwhile in one message that is corrected
    /// (XEP-0308). What is quick is just answered.
    async fn accompany(
        &self,
        message: &Message,
        answer: impl Future<Output = Answer>,
        mut lines: mpsc::Receiver<String>,
    ) {
        tokio::pin!(answer);
        let mut first: Option<String> = None;
        let mut newest: Option<String> = None;
        let mut due = Instant::now() + PROGRESS_EVERY;
        let mut open = true;
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut answer => break answer,
                line = lines.recv(), if open => match line {
                    Some(line) => newest = Some(line),
                    None => open = false,
                },
                () = tokio::time::sleep_until(due), if newest.is_some() => {
                    let Some(line) = newest.take() else { continue };
                    let sent = self.speak_on(message, &Words::new(line), first.as_deref(), true).await;
                    first.get_or_insert(sent);
                    due = Instant::now() + PROGRESS_EVERY;
                }
            }
        };
        let request = match &answer {
            Answer::Done { json, .. } => json.get(REQUEST).and_then(|code| code.as_str()).map(str::to_owned),
            Answer::Refused(_) | Answer::Confirm(_) => None,
        };
        let words = match answer {
            Answer::Done { text, json } => Words::answer(text, &json),
            Answer::Refused(refusal) => Words::new(refusal.sentence()),
            Answer::Confirm(question) => {
                let within = question.time_left();
                let code = question.code;
                Words::new(format!("{} Write yes (or yes {code}) within {within}, or no.", question.sentence))
                    .buttons([format!("yes {code}").as_str(), "no"])
            }
        };
        let said = self.speak_on(message, &words, first.as_deref(), false).await;
        if let Some(code) = request {
            let shown = first.unwrap_or(said);
            self.agent.request_was_shown(&code, &message.from, &message.target, shown).await;
        }
    }

    /// Says something for good, in the place of an earlier message when there is one.
    async fn speak(&self, to: &Message, words: &Words, instead: Option<&str>) {
        self.speak_on(to, words, instead, false).await;
    }

    /// Says something; returns the id of the message. What is only in passing, no server need keep.
    async fn speak_on(&self, to: &Message, words: &Words, instead: Option<&str>, passing: bool) -> String {
        let id = fresh_id();
        let passing = passing.then(|| hint(Hint::NoStore));
        let message = tag("message", ns::CLIENT)
            .attr("from", to.to.as_str())
            .attr("to", to.from.as_str())
            .attr_if("type", to.kind.as_deref().filter(|kind| *kind == "chat"))
            .attr("id", &id)
            .child(tag("body", ns::CLIENT).text(&words.text))
            .children(words.picture.iter().flat_map(|picture| self.shown(picture)))
            .children(to.thread.as_ref().map(|thread| tag("thread", ns::CLIENT).text(thread)))
            .children(instead.map(replace))
            .children(words.buttons.iter().cloned().map(Element::from))
            .children(passing)
            .child(tag("origin-id", xep::SID).attr("id", &id))
            .children(to.to.node().is_none().then(spoken_by_a_domain))
            .child(mark());
        self.say(message).await;
        id
    }
}

/// What a message asks of the agent.
fn asked(message: &Message, declaration: &'static Declaration, target: Target, argv: Vec<String>) -> Asked {
    Asked {
        caller: message.from.clone(),
        target,
        declaration,
        argv,
        door: Door::Chat,
        key: message.key.clone(),
        patience: match declaration.effect {
            Effect::Read => LOOK_PATIENCE,
            Effect::Change | Effect::Destroy => PATIENCE,
        },
        hops: message.hops.clone(),
        together: None,
        signature: None,
    }
}

/// Says to other agents that this was said by one.
pub(crate) fn mark() -> Tag {
    tag(MARK, ns::HOST)
}

/// Says of a message from a bare domain that it is meant for a person: an empty mention (XEP-0452).
/// Converse.js takes what a domain says for an announcement of the server, and shows it in no chat, unless
/// it is marked so; no other client looks at it.
fn spoken_by_a_domain() -> Tag {
    tag("mentions", MENTIONS)
}

/// Whether a message was said to us, by somebody, now. Not: groups, headlines, copies and forwards
/// (anybody can make them up), what is late, pubsub events, and what another agent said.
fn is_spoken(message: &Element) -> bool {
    let never = [
        ("received", xep::CARBONS),
        ("sent", xep::CARBONS),
        ("result", xep::MAM),
        ("forwarded", xep::FORWARD),
        ("x", xep::MUC_USER),
        (MARK, ns::HOST),
    ];
    matches!(message.attr("type"), None | Some("chat" | "normal"))
        && !never.iter().any(|(name, namespace)| message.has_child(*name, *namespace))
        && !Face::is_foreign_event(message)
        && !is_late(message)
}

/// Whether it was kept somewhere on its way for long (XEP-0203): a command is meant for its moment.
fn is_late(message: &Element) -> bool {
    let Some(stamp) = message.get_child("delay", xep::DELAY).map(|delay| delay.attr("stamp")) else {
        return false;
    };
    let sent = stamp.and_then(|stamp| DateTime::parse_from_rfc3339(stamp).ok());
    sent.is_none_or(|sent| (Utc::now() - sent.with_timezone(&Utc)).num_seconds() > LATE_SECONDS)
}

/// The key of a message: its id, as long as its sender gave it one.
fn key(message: &Element, from: &Jid) -> Option<String> {
    let origin = message.get_child("origin-id", xep::SID).and_then(|origin| origin.attr("id"));
    let id = origin.or(message.attr("id")).filter(|id| !id.is_empty() && id.len() <= 256)?;
    Some(format!("{from} {}", stanza::printable(id)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[track_caller]
    fn assert_spoken(expected: bool, kind: &str, inside: &str) {
        let text = format!("<message xmlns='jabber:client' {kind}><body>start</body>{inside}</message>");
        assert_eq!(is_spoken(&text.parse().unwrap()), expected, "{text}");
    }

    #[test]
    fn only_what_is_said_to_us_now_is_listened_to() {
        assert_spoken(true, "", "");
        assert_spoken(true, "type='chat'", "<thread>1</thread>");
        assert_spoken(false, "type='groupchat'", "");
        assert_spoken(false, "type='headline'", "");
        assert_spoken(false, "type='error'", "");
        assert_spoken(false, "type='bogus'", "");
        assert_spoken(false, "type='chat'", "<received xmlns='urn:xmpp:carbons:2'/>");
        assert_spoken(false, "type='chat'", "<forwarded xmlns='urn:xmpp:forward:0'/>");
        assert_spoken(false, "type='chat'", "<agent xmlns='urn:skerry:host:0'/>");
        assert_spoken(false, "", "<event xmlns='http://jabber.org/protocol/pubsub#event'/>");
        assert_spoken(false, "type='chat'", "<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/>");
        assert_spoken(false, "type='chat'", "<delay xmlns='urn:xmpp:delay' stamp='bogus'/>");
        let now = Utc::now().to_rfc3339();
        assert_spoken(true, "type='chat'", &format!("<delay xmlns='urn:xmpp:delay' stamp='{now}'/>"));
    }
}
