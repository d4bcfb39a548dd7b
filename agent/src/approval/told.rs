//! What is said of a request, and to whom.

use chrono::Utc;
use skerry_stanzas::{refusal::Refusal, reply::measure, safe::safe_text};
use xmpp_parsers::jid::{BareJid, Jid};

use super::{
    group,
    request::{Request, Says, Shown, Stage},
};
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
        let meant: Vec<Request> =
            self.inner.approvals.meant_by(code).into_iter().map(|open| open.request).take(1).collect();
        if let Err(refusal) = self.store_changes(&meant, keep).await {
            tracing::debug!(code, %refusal, "it was shown, and that could not be written down");
        }
    }

    /// Sends the messages that are not on their way yet, about requests that belong together.
    pub(super) async fn send_what_is_unsent(&self, all: &[Request]) -> Result<(), Refusal> {
        let Some(messages) = self.inner.alerts.messages() else { return Ok(()) };
        let code = group::code(all);
        // Nobody is asked any more for what is approved, or over.
        let mut asks = all.to_vec();
        asks.retain(|request| request.stage == Stage::Waiting && !self.still_missing(request).is_empty());
        let mut sent = Vec::new();
        // A button cannot sign.
        let approve = (!all.iter().any(|one| one.signed)).then(|| format!("approve {code}"));
        for shown in all.iter().flat_map(|request| &request.messages).filter(|shown| !shown.sent) {
            let answers = || approve.iter().cloned().chain([format!("reject {code}")]).collect();
            let (text, buttons) = match &shown.says {
                Says::Question | Says::Answer => {
                    let theirs = self.seen_of(&asks, shown);
                    if theirs.is_empty() {
                        continue;
                    }
                    (self.question(&theirs), answers())
                }
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
        self.write_requests(all, mark).await
    }

    /// Those of several that whoever gets a message may know of.
    fn seen_of(&self, all: &[Request], shown: &Shown) -> Vec<Request> {
        let to = shown.to.to_bare();
        let sees = |request: &&Request| match shown.in_room {
            true => request.rooms.contains(&to),
            false => self.may_see_request(&to, request),
        };
        all.iter().filter(sees).cloned().collect()
    }

    /// Tells all who heard of requests that belong together how they ended; whether all were told.
    pub(super) async fn tell_the_end(&self, ended: &[Request]) -> bool {
        let Some(messages) = self.inner.alerts.messages() else { return false };
        let mut all = true;
        let code = group::code(ended);
        let asker = ended.iter().find_map(Request::person);
        let mut answers = Vec::new();
        for request in ended {
            answers.push(self.answer_to_the_asker(request).await);
        }
        // An emergency that was told of stays as it was said.
        let changes = |shown: &&Shown| shown.sent && !matches!(shown.says, Says::Emergency(_));
        let shown_all = || ended.iter().flat_map(|request| &request.messages);
        for shown in shown_all().filter(changes) {
            let person = shown.to.to_bare();
            let theirs = self.seen_of(ended, shown);
            let text = match shown.says {
                Says::Answer => self.result(ended, &answers),
                _ if theirs.is_empty() => format!("The request {code} is over."),
                _ => self.result(&theirs, &theirs.iter().map(sentence).collect::<Vec<_>>()),
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
        let waits = self.inner.approvals.meant_by(&code).iter().any(|open| open.outcome.receiver_count() > 0);
        let (Some(asker), Some(first)) = (asker, ended.first()) else { return all };
        if !waits
            && first.accepted.door != Door::Schedule
            && !shown_all().any(|shown| shown.says == Says::Answer)
        {
            let told = Told {
                from: Target::Host,
                to: asker,
                id: format!("{}-{END}", first.id),
                text: self.result(ended, &answers),
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
    async fn answer_to_the_asker(&self, request: &Request) -> String {
        let id = request.id;
        let ended = self.inner.store.run(move |connection| journal::ended(connection, id)).await;
        match ended.ok().flatten() {
            Some(Outcome::Done { text, .. }) => safe_text(text.lines().take(LINES_MAX)),
            Some(Outcome::Refused(refusal)) => refusal.sentence(),
            Some(Outcome::Unknown { text }) => text,
            None => sentence(request),
        }
    }

    /// What those who can agree are asked.
    fn question(&self, all: &[Request]) -> String {
        let Ok(line) = self.request_line(all, "") else { return String::new() };
        let (code, by) = (&line.code, &line.by);
        let command = group::command(all);
        let why = line.because.as_ref().map(|why| format!(" because \"{why}\"")).unwrap_or_default();
        let missing = line.missing.join(" and ");
        let time = all.iter().min_by_key(|one| one.until).map(Request::time_left).unwrap_or_default();
        let hours = all.iter().find_map(|one| one.hours_missed(Utc::now()));
        let opens = match (line.not_before, hours) {
            (_, Some(hours)) => format!(" It may be done {hours} only, or in an emergency."),
            (Some(at), None) => format!(" It is not done before {}.", measure::moment(at)),
            (None, None) => String::new(),
        };
        let answers = match (all.iter().any(|one| one.signed), all.iter().all(|one| one.reactions)) {
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
        let effect = &line.effect;
        format!(
            "{by} wants: {command}{why}.\n{effect}\nIt needs the consent of {missing}, within {time}.{opens} {answers}"
        )
    }

    /// What became of them; `answers` in the same order.
    fn result(&self, all: &[Request], answers: &[String]) -> String {
        let Ok(line) = self.request_line(all, "") else { return String::new() };
        let agreed = match (all.iter().find_map(|one| one.emergency.as_ref()), line.agreed.as_slice()) {
            (Some(emergency), _) => {
                format!(" Done without approval by {}, because \"{}\".", emergency.by, emergency.because)
            }
            (None, []) => String::new(),
            (None, people) => format!(" Agreed: {}.", people.join(", ")),
        };
        let answers = match answers {
            [one] => one.clone(),
            several => {
                let each =
                    all.iter().zip(several).map(|(one, answer)| format!("- {}: {answer}", one.command()));
                each.collect::<Vec<_>>().join("\n")
            }
        };
        format!("{} wanted: {} ({}).{agreed}\n{answers}", line.by, group::command(all), line.code)
    }
}

/// What all are told became of it.
fn sentence(request: &Request) -> String {
    match &request.stage {
        Stage::Over(sentence) => sentence.clone(),
        Stage::Waiting | Stage::Begun => String::new(),
    }
}

fn from(shown: &Shown) -> Target {
    shown.from.clone().map_or(Target::Host, Target::Machine)
}
