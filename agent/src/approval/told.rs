//! What is said of a request, and to whom.

use chrono::Utc;
use skerry_stanzas::{
    refusal::Refusal,
    reply::{Reply as _, measure},
    safe::safe_text,
};
use xmpp_parsers::jid::{BareJid, Jid};

use super::request::{Request, Says, Shown, Stage};
use crate::{
    agent::Agent,
    alerts::Told,
    asked::{Door, Target},
    crash,
    journal::{self, Outcome},
};

/// The most people that are asked.
const PEOPLE_MAX: usize = 64;
/// The most lines of an answer that its asker is told unasked.
const LINES_MAX: usize = 200;
/// Under which id its asker is told the end, if nothing was said to them before.
const END: &str = "end";

impl Agent {
    /// Where requests are shown besides.
    pub(crate) fn rooms_of_policies(&self) -> Vec<BareJid> {
        self.inner.approvals.rooms()
    }

    /// What could not be sent may be now.
    pub(crate) fn look_after_requests_soon(&self) {
        self.inner.approvals.changed.notify_one();
    }

    /// Everybody who can agree to a request and whom we know by name: from the rules, and our contacts.
    pub(super) async fn everybody_of(&self, request: &Request) -> Vec<BareJid> {
        let (rights, now) = (self.rights(), Utc::now());
        let mut people: Vec<BareJid> = Vec::new();
        for need in &request.needs {
            let named = self.about(request, |on| rights.with_role(&need.from, &on, now).0);
            people.extend(named.into_iter().filter(|one| !people.contains(one)).collect::<Vec<_>>());
        }
        let contacts = self.subscriptions().presence().await.unwrap_or_default();
        for contact in contacts {
            if !people.contains(&contact.jid) && self.can_agree_to(&contact.jid, request) {
                people.push(contact.jid);
            }
        }
        people.truncate(PEOPLE_MAX);
        people
    }

    /// A message told the asker that it waits: it is changed to the result when there is one.
    pub(crate) async fn request_was_shown(&self, code: &str, to: &Jid, from: &Target, id: String) {
        let _one = self.inner.approvals.deciding.lock().await;
        let from = match from {
            Target::Host => None,
            Target::Machine(name) => Some(name.clone()),
        };
        let shown =
            Shown { to: to.to_bare().into(), from, id, sent: true, in_room: false, says: Says::Answer };
        let keep = move |request: &mut Request| request.messages.push(shown.clone());
        if let Err(refusal) = self.store_change(code, keep).await {
            tracing::debug!(code, %refusal, "over before it was shown");
        }
    }

    /// Sends the messages that are not on their way yet.
    pub(super) async fn send_what_is_unsent(&self, request: &Request) -> Result<(), Refusal> {
        let Some(messages) = self.inner.alerts.messages() else { return Ok(()) };
        // Nobody is asked any more for what is approved, or over.
        let asks = request.stage == Stage::Waiting && !self.still_missing(request).is_empty();
        let mut sent = Vec::new();
        for shown in request.messages.iter().filter(|shown| !shown.sent) {
            // A button cannot sign.
            let approve = (!request.signed).then(|| format!("approve {}", request.code));
            let answers = || approve.iter().cloned().chain([format!("reject {}", request.code)]).collect();
            let (text, buttons) = match &shown.says {
                Says::Question | Says::Answer if !asks => continue,
                Says::Question | Says::Answer => (self.question(request), answers()),
                Says::Emergency(text) => (text.clone(), Vec::new()),
            };
            let told = Told {
                from: from(shown),
                to: shown.to.to_bare(),
                id: shown.id.clone(),
                text,
                answers: None,
                instead: None,
                buttons,
                in_room: shown.in_room,
            };
            if messages.tell(told).await {
                sent.push(shown.id.clone());
            }
        }
        if sent.is_empty() {
            return Ok(());
        }
        crash::point("approval-asked");
        let mark = move |request: &mut Request| {
            let messages = request.messages.iter_mut();
            messages.filter(|shown| sent.contains(&shown.id)).for_each(|shown| shown.sent = true);
        };
        self.write_request(&request.code, mark).await.map(drop)
    }

    /// Tells all who heard of a request how it ended; whether all were.
    pub(super) async fn tell_the_end(&self, request: &Request, sentence: &str) -> bool {
        let Some(messages) = self.inner.alerts.messages() else { return false };
        let mut all = true;
        let asker = request.person();
        let answer = self.answer_to_the_asker(request, sentence).await;
        // An emergency that was told of stays as it was said.
        let changes = |shown: &&Shown| shown.sent && !matches!(shown.says, Says::Emergency(_));
        for shown in request.messages.iter().filter(changes) {
            let person = shown.to.to_bare();
            let may =
                shown.in_room || asker.as_ref() == Some(&person) || self.may_see_request(&person, request);
            let text = match may {
                true if shown.says == Says::Answer => self.result(request, &answer),
                true => self.result(request, sentence),
                false => format!("The request {} is over.", request.code),
            };
            let told = Told {
                from: from(shown),
                to: person,
                id: format!("{}-{END}", shown.id),
                text,
                answers: None,
                instead: Some(shown.id.clone()),
                buttons: Vec::new(),
                in_room: shown.in_room,
            };
            all &= messages.tell(told).await;
        }
        let heard = |shown: &Shown| shown.says == Says::Answer;
        let waits = self.inner.approvals.find(&request.code);
        let waits = waits.is_some_and(|open| open.outcome.receiver_count() > 0);
        if let Some(asker) = asker.filter(|_| !waits && request.accepted.door != Door::Schedule)
            && !request.messages.iter().any(heard)
        {
            let told = Told {
                from: Target::Host,
                to: asker,
                id: format!("{}-{END}", request.id),
                text: self.result(request, &answer),
                answers: None,
                instead: None,
                buttons: Vec::new(),
                in_room: false,
            };
            all &= messages.tell(told).await;
        }
        crash::point("approval-told");
        all
    }

    /// What the command answered, as who asked for it gets it.
    async fn answer_to_the_asker(&self, request: &Request, sentence: &str) -> String {
        let id = request.id;
        let ended = self.inner.store.run(move |connection| journal::ended(connection, id)).await;
        match ended.ok().flatten() {
            Some(Outcome::Done { text, .. }) => safe_text(text.lines().take(LINES_MAX)),
            Some(Outcome::Refused(refusal)) => refusal.sentence(),
            Some(Outcome::Unknown { text }) => text,
            None => sentence.to_owned(),
        }
    }

    /// What those who can agree are asked.
    fn question(&self, request: &Request) -> String {
        let line = self.request_line(request, "");
        let code = &request.code;
        let by = &line.by;
        let command = request.command();
        let why = line.because.as_ref().map(|why| format!(" because \"{why}\"")).unwrap_or_default();
        let missing = line.missing.join(" and ");
        let time = request.time_left();
        let opens = match (line.not_before, request.hours_missed(Utc::now())) {
            (_, Some(hours)) => format!(" It may be done {hours} only, or in an emergency."),
            (Some(at), None) => format!(" It is not done before {}.", measure::moment(at)),
            (None, None) => String::new(),
        };
        let answers = match (request.signed, request.reactions) {
            (true, _) => format!(
                "It takes signatures: run skerry approve {code}, or say reject {code} or reply to this with no."
            ),
            (false, true) => format!(
                "Say approve {code} or reject {code}, or reply to this with yes or no, or react with 👍 or 👎."
            ),
            (false, false) => {
                format!("Say approve {code} or reject {code}, or reply to this with yes or no.")
            }
        };
        let effect = &request.effect;
        format!(
            "{by} wants: {command}{why}.\n{effect}\nIt needs the consent of {missing}, within {time}.{opens} {answers}"
        )
    }

    /// What became of it.
    fn result(&self, request: &Request, sentence: &str) -> String {
        let line = self.request_line(request, sentence);
        let agreed = match (&request.emergency, line.agreed.as_slice()) {
            (Some(emergency), _) => {
                format!(" Done without approval by {}, because \"{}\".", emergency.by, emergency.because)
            }
            (None, []) => String::new(),
            (None, people) => format!(" Agreed: {}.", people.join(", ")),
        };
        format!("{} wanted: {} ({}).{agreed}\n{}", line.by, request.command(), request.code, line.text())
    }
}

fn from(shown: &Shown) -> Target {
    shown.from.clone().map_or(Target::Host, Target::Machine)
}
