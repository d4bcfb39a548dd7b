//! One command on several machines, given in one message: each is a command of its own, with one question and
//! one answer for all.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use skerry_stanzas::{
    refusal::{Reason, Refusal},
    reply::REQUEST,
};
use tokio::sync::mpsc;
use xmpp_parsers::jid::Jid;

use crate::{
    agent::Agent,
    asked::{Answer, Asked, Confirmation, Door, Target},
};

/// How many of them are carried out at a time: a host that starts all its machines at once starts none well.
const AT_ONCE: usize = 8;
/// How long a repeated "yes" waits for the end of the first.
const PATIENCE: Duration = Duration::from_secs(10);

impl Agent {
    /// Carries several out; one answer for all.
    pub async fn ask_each(&self, asked: Vec<Asked>, progress: Option<mpsc::Sender<String>>) -> Answer {
        self.dispatch_each(asked, progress, false).await
    }

    /// "Yes" to a [`Confirmation`]. Without a code: to the caller's only pending one in that chat; with
    /// several pending the answer asks which. A repetition with the same key gets the first answer.
    pub async fn confirm(
        &self,
        caller: &Jid,
        target: &Target,
        code: Option<&str>,
        door: Door,
        key: Option<String>,
        progress: Option<mpsc::Sender<String>>,
    ) -> Answer {
        let taken = self.inner.confirmations.take(&caller.to_bare(), target, code, chrono::Utc::now());
        let mut all = match taken {
            Ok(all) => all,
            Err(refusal) => {
                let before = self.confirmed_before(caller, key, PATIENCE).await;
                return before.unwrap_or(Answer::Refused(refusal));
            }
        };
        let one = all.len() == 1;
        for asked in &mut all {
            asked.caller = caller.clone();
            asked.door = door;
            asked.key = match &key {
                Some(key) if one => Some(key.clone()),
                Some(key) => Some(key_of(key, &asked.target)),
                None => asked.key.take(),
            };
        }
        self.dispatch_each(all, progress, true).await
    }

    async fn dispatch_each(
        &self,
        mut asked: Vec<Asked>,
        progress: Option<mpsc::Sender<String>>,
        confirmed: bool,
    ) -> Answer {
        if asked.len() == 1
            && let Some(one) = asked.pop()
        {
            return self.dispatch(one, progress, confirmed).await.unwrap_or_else(Answer::Refused);
        }
        let each = asked.into_iter().map(|one| {
            let progress = progress.clone();
            async move {
                let target = one.target.clone();
                (target, self.dispatch(one, progress, confirmed).await.unwrap_or_else(Answer::Refused))
            }
        });
        self.one_answer(stream::iter(each).buffered(AT_ONCE).collect().await)
    }

    /// One answer for all: what waits for a "yes" is asked in one question, what waits for others is said once.
    fn one_answer(&self, answers: Vec<(Target, Answer)>) -> Answer {
        let mut lines = Vec::new();
        let mut question: Option<Confirmation> = None;
        let mut request: Option<String> = None;
        let mut refused = Vec::new();
        for (target, answer) in answers {
            match answer {
                Answer::Confirm(one) => {
                    lines.push(one.sentence.clone());
                    question.get_or_insert(one);
                }
                Answer::Done { text, json } => match json.get(REQUEST).and_then(Value::as_str) {
                    Some(code) => request = Some(code.to_owned()),
                    None => lines.push(of(&target, &text)),
                },
                Answer::Refused(refusal) => {
                    lines.push(of(&target, &refusal.sentence()));
                    refused.push(refusal.reason);
                }
            }
        }
        let waits = request.as_deref().and_then(|code| self.waits_by_code(code));
        lines.splice(0..0, waits);
        let text = lines.join("\n");
        match (question, request) {
            (Some(question), _) => Answer::Confirm(Confirmation { sentence: text, ..question }),
            (None, Some(code)) => Answer::Done { text, json: json!({ REQUEST: code }) },
            (None, None) if refused.len() == lines.len() => {
                Answer::Refused(Refusal::new(refused.pop().unwrap_or(Reason::BadRequest), text))
            }
            (None, None) => Answer::Done { text, json: Value::Null },
        }
    }
}

/// The key of one of several commands of a message.
pub(crate) fn key_of(key: &str, target: &Target) -> String {
    match target {
        Target::Host => key.to_owned(),
        Target::Machine(name) => format!("{key} {name}"),
    }
}

/// With whom it is about, where it does not say so.
fn of(target: &Target, text: &str) -> String {
    match target {
        Target::Machine(name) if !text.contains(name.as_str()) => format!("{name}: {text}"),
        _ => text.to_owned(),
    }
}
