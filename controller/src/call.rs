//! One command, sent and answered: XEP-0050 as a program speaks it. The filled form goes with the
//! first request; a destroying command is confirmed in a second one.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use minidom::Element;
use serde_json::Value;
use skerry_link::Ask;
use skerry_stanzas::{
    adhoc::{Action, AdhocCommand, NoteKind, Status},
    command::{Declaration, Effect},
    form,
    payload::{Together, Via},
    refusal::{Reason, Refusal},
    reply::{PERCENT, REQUEST, UNDER_WAY},
    safe::safe_text,
    signature::ToSign,
};
use tokio::time::Instant;
use xmpp_parsers::{data_forms::DataForm, jid::Jid};

use crate::{
    failure::{Failure, Kind, Outcome},
    session::{SHORT, Session},
    signing, wire,
};

/// How long a host may be silent, beyond what the command itself says to wait.
const PATIENCE: Duration = Duration::from_secs(75);
/// After how long of silence a request is sent again. A host says within 15 s at the latest that the command
/// is under way; what was sent while it was just logging in may have reached nobody.
const SENT_AGAIN_AFTER: Duration = Duration::from_secs(25);

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// For people.
    pub text: String,
    /// For programs.
    pub json: Value,
}

impl Reply {
    /// Whether the command goes on, and this is not its outcome yet.
    pub fn is_under_way(&self) -> bool {
        self.json.get(UNDER_WAY) == Some(&Value::Bool(true))
    }

    /// The code of the request that it waits for others to agree to.
    pub fn request(&self) -> Option<&str> {
        self.json.get(REQUEST)?.as_str()
    }

    /// How much of it is done, 0 to 100, when the host says so.
    pub fn percent(&self) -> Option<u64> {
        self.json.get(PERCENT)?.as_u64().map(|percent| percent.min(100))
    }
}

/// A command that was answered, and the request that can be sent again to hear how it ended.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What was answered.
    pub reply: Reply,
    request: Element,
}

/// Whether something may be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// The person said yes beforehand (`--yes`).
    Given,
    /// Ask, where there is somebody to ask.
    Ask,
}

/// A command for one target.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who is asked.
    pub to: Jid,
    /// The ad-hoc node.
    pub node: String,
    /// The declaration.
    pub declaration: &'static Declaration,
    /// The arguments, as `--name=value` words.
    pub argv: Vec<String>,
    /// It is one of several.
    pub together: Option<Together>,
}

impl Call {
    /// Sends it and gives the answer.
    ///
    /// # Errors
    /// Not sent, not answered, refused, failed, or not confirmed.
    pub async fn run(&self, session: &Session, consent: Consent) -> Outcome<Sent> {
        signing::known_by(self, session).await?;
        let mut first = AdhocCommand::request(&self.node, Some(form::submit(&self.argv))).json_only();
        if self.declaration.effect != Effect::Read {
            first.vias.push(via());
            first.together.clone_from(&self.together);
        }
        let mut request = self.numbered(&first);
        let mut answer = self.exchange(session, &request, self.patience()).await?;
        for again in [false, true] {
            let Some(wanted) = to_sign(&answer) else { break };
            first.signature = Some(session.signer().sign(self, &wanted, consent, again).await?);
            request = self.numbered(&first);
            answer = self.exchange(session, &request, self.patience()).await?;
        }
        if answer.status == Some(Status::Executing) {
            self.settle(session, &answer, consent).await?;
            request = self.numbered(&answer.follow(Action::Complete, Some(form::submit_confirm(true))));
            answer = self.exchange(session, &request, self.patience()).await?;
        }
        Ok(Sent { reply: outcome(answer)?, request })
    }

    /// The same request again, which the host knows by its id: it waits for the end and answers with
    /// it. `None` when the host is not there just now.
    ///
    /// # Errors
    /// How the command ended, when it did not end well; or the connection broke.
    pub async fn again(&self, session: &Session, sent: &Sent) -> Outcome<Option<Reply>> {
        match session.ask(sent.request.clone(), self.patience()).await {
            Ok(payload) => outcome(self.parsed(payload)?).map(Some),
            Err(Ask::TimedOut(_)) => Ok(None),
            Err(Ask::Refused(iq)) if wire::is_away(&iq) => Ok(None),
            Err(error) => Err(self.told(error)),
        }
    }

    /// Sees that what the host asks for is a yes, and that the yes is meant.
    async fn settle(&self, session: &Session, answer: &AdhocCommand, consent: Consent) -> Outcome<()> {
        let Some(question) = answer.form.as_ref().filter(|form| asks_for_consent(form)) else {
            self.cancel(session, answer).await;
            return Err(wants_more(answer.form.as_ref()));
        };
        let agreed = match consent {
            Consent::Given => Ok(true),
            Consent::Ask => agreed(safe_text(question.instructions.as_deref())).await,
        };
        match agreed {
            Ok(true) => Ok(()),
            not => {
                self.cancel(session, answer).await;
                not?;
                Err(Failure::new(Kind::Refused, "nothing was done"))
            }
        }
    }

    /// The stanza of a step, with an id of its own.
    fn numbered(&self, step: &AdhocCommand) -> Element {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let mut iq = wire::set(Some(&self.to), step.to_element());
        wire::set_attr(&mut iq, "id", &format!("command-{}", COUNT.fetch_add(1, Relaxed)));
        iq
    }

    /// The same for what only looks: whatever a host wants besides, it is neither confirmed nor signed.
    ///
    /// # Errors
    /// Not sent, not answered, or refused.
    pub async fn look(&self, session: &Session) -> Outcome<Reply> {
        let request = AdhocCommand::request(&self.node, Some(form::submit(&self.argv))).json_only();
        let answer = self.exchange(session, &self.numbered(&request), self.patience()).await?;
        outcome(answer)
    }

    async fn exchange(
        &self,
        session: &Session,
        request: &Element,
        patience: Duration,
    ) -> Outcome<AdhocCommand> {
        match until_answered(patience, |limit| session.ask(request.clone(), limit)).await {
            Ok(payload) => self.parsed(payload),
            Err(error) => Err(self.told(error)),
        }
    }

    fn parsed(&self, payload: Option<Element>) -> Outcome<AdhocCommand> {
        let odd = || Failure::new(Kind::Internal, format!("{} answered something else than asked", self.to));
        AdhocCommand::parse(&payload.ok_or_else(odd)?).map_err(|_| odd())
    }

    /// Forgets the session there; if that fails it lapses by itself.
    async fn cancel(&self, session: &Session, answer: &AdhocCommand) {
        let request = self.numbered(&answer.follow(Action::Cancel, None));
        self.exchange(session, &request, SHORT).await.ok();
    }

    fn told(&self, error: Ask) -> Failure {
        match error {
            Ask::TimedOut(limit) => Failure::unreachable(format!(
                "{} did not answer {} within {}",
                self.to,
                self.declaration.spoken(),
                humantime::format_duration(limit)
            ))
            .hint("It may still be carried out: see its status and its log."),
            other => other.into(),
        }
    }

    /// What the command says itself to wait for.
    pub fn own_wait(&self) -> Duration {
        let wait = |word: &String| humantime::parse_duration(word.strip_prefix("--wait=")?).ok();
        self.argv.iter().find_map(wait).unwrap_or_default()
    }

    fn patience(&self) -> Duration {
        PATIENCE.saturating_add(self.own_wait())
    }
}

/// What the host wants to have signed before it does this.
fn to_sign(answer: &AdhocCommand) -> Option<ToSign> {
    let refusal = answer.json.as_ref()?.get("refusal")?;
    serde_json::from_value::<Refusal>(refusal.clone()).ok()?.sign.map(|sign| *sign)
}

fn asks_for_consent(form: &DataForm) -> bool {
    form.fields.iter().any(|field| field.var.as_deref() == Some(form::CONFIRM))
}

/// Who passes a request on: this program, on this computer.
fn via() -> Via {
    Via {
        by: "skerry".to_owned(),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        on: nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()),
        behalf: None,
    }
}

/// The host wants what was not given: it knows a later or earlier command than this `skerry`.
fn wants_more(form: Option<&DataForm>) -> Failure {
    let missing: Vec<&str> = form
        .iter()
        .flat_map(|form| &form.fields)
        .filter(|field| field.required)
        .filter_map(|field| field.var.as_deref())
        .collect();
    Failure::usage("the host wants to know more").hint(format!("Missing: {}.", missing.join(", ")))
}

/// The outcome of a command that is over.
pub(crate) fn outcome(answer: AdhocCommand) -> Outcome<Reply> {
    let note = answer
        .note
        .unwrap_or_else(|| skerry_stanzas::adhoc::Note { kind: NoteKind::Info, text: String::new() });
    let text = safe_text([note.text.as_str()]);
    let json = answer.json.unwrap_or(Value::Null);
    if let Some(refusal) = json.get("refusal") {
        let refusal: Refusal = serde_json::from_value(refusal.clone())
            .unwrap_or_else(|_| Refusal::new(Reason::Conflict, text.clone()));
        return Err(Failure::from(Refusal {
            text: safe_text([refusal.text.as_str()]),
            hint: refusal.hint.map(|hint| safe_text([hint.as_str()])),
            ..refusal
        }));
    }
    match (answer.status, note.kind) {
        (Some(Status::Canceled), _) => Err(Failure::new(Kind::Refused, "it was cancelled there")),
        (_, NoteKind::Error) => Err(Failure::new(Kind::Refused, text)),
        _ => Ok(Reply { text, json }),
    }
}

/// Asks, and asks the same again while nobody answers. The host knows a request by its id, and does nothing
/// twice.
async fn until_answered<T, Answer>(
    patience: Duration,
    mut ask: impl FnMut(Duration) -> Answer,
) -> Result<T, Ask>
where
    Answer: Future<Output = Result<T, Ask>>,
{
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match ask(left.min(SENT_AGAIN_AFTER)).await {
            Err(Ask::TimedOut(_)) if left > SENT_AGAIN_AFTER => {}
            Err(Ask::TimedOut(_)) => return Err(Ask::TimedOut(patience)),
            answer => return answer,
        }
    }
}

/// Asks on the terminal. Whatever is not yes is no.
pub async fn agreed(sentence: String) -> Outcome<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage(format!("not done, since nobody can be asked: {sentence}"))
            .hint("If it is meant, say so with --yes."));
    }
    let read = tokio::task::spawn_blocking(move || {
        eprint!("{sentence}\nDo it? [y/N] ");
        std::io::stderr().flush()?;
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        Ok::<_, std::io::Error>(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
    });
    match read.await {
        Ok(answer) => Ok(answer?),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use serde_json::json;
    use skerry_stanzas::{adhoc::Note, command::COMMANDS};

    use super::*;

    fn completed(kind: NoteKind, text: &str, json: Option<Value>) -> AdhocCommand {
        AdhocCommand {
            node: "start".into(),
            status: Some(Status::Completed),
            note: Some(Note { kind, text: text.into() }),
            json,
            ..AdhocCommand::default()
        }
    }

    #[test]
    fn an_answer_is_text_and_json() {
        let reply =
            outcome(completed(NoteKind::Info, "web1 is running.", Some(json!({"name": "web1"})))).unwrap();
        assert_eq!(reply, Reply { text: "web1 is running.".into(), json: json!({"name": "web1"}) });
    }

    #[test]
    fn what_is_under_way_says_so_itself() {
        for (json, is) in [
            (json!({"state": "starting", "under_way": true}), true),
            (json!({"state": "running"}), false),
            (Value::Null, false),
        ] {
            assert_eq!(Reply { text: String::new(), json }.is_under_way(), is);
        }
    }

    /// Asks a host that hears nothing until so many seconds are over; says when it was asked, and whether
    /// it answered.
    async fn asked_at(deaf: u64) -> (Vec<u64>, bool) {
        let began = Instant::now();
        let mut asked = Vec::new();
        let answer = until_answered(PATIENCE, |limit| {
            asked.push(began.elapsed().as_secs());
            async move {
                if began.elapsed().as_secs() >= deaf {
                    return Ok(());
                }
                tokio::time::sleep(limit).await;
                Err(Ask::TimedOut(limit))
            }
        });
        let answer = answer.await;
        assert!(matches!(answer, Ok(()) | Err(Ask::TimedOut(PATIENCE))), "{answer:?}");
        assert!(began.elapsed() <= PATIENCE);
        (asked, answer.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_lost_while_the_host_logged_in_is_sent_again() {
        assert_eq!(asked_at(0).await, (vec![0], true));
        assert_eq!(asked_at(3).await, (vec![0, 25], true));
        assert_eq!(asked_at(40).await, (vec![0, 25, 50], true));
        assert_eq!(asked_at(80).await, (vec![0, 25, 50], false), "a silent host is given up after 75 s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_answered_or_could_not_be_sent_is_not_sent_again() {
        let mut asked = 0;
        let refused = until_answered(PATIENCE, |_| {
            asked += 1;
            async { Err::<(), _>(Ask::Refused(Box::new(Element::bare("iq", skerry_stanzas::ns::CLIENT)))) }
        });
        assert!(matches!(refused.await, Err(Ask::Refused(_))));
        assert_eq!(asked, 1);
    }

    #[test]
    fn a_note_is_plain_already() {
        let reply = outcome(completed(NoteKind::Info, "*** boot ***\n*a* b", None)).unwrap();
        assert_eq!(reply.text, "*** boot ***\n*a* b");
    }

    #[test]
    fn a_refusal_keeps_its_reason_and_hint() {
        let refusal = Refusal::new(Reason::NotAllowed, "You may not.").hint("Ask ann.");
        let json = json!({"refusal": refusal});
        let failure = outcome(completed(NoteKind::Error, "You may not. Ask ann.", Some(json))).unwrap_err();
        assert_eq!(failure, Failure::new(Kind::NotAllowed, "You may not.").hint("Ask ann."));
    }

    #[test]
    fn an_error_without_json_is_its_note() {
        let failure = outcome(completed(NoteKind::Error, "It broke.", None)).unwrap_err();
        assert_eq!(failure, Failure::new(Kind::Refused, "It broke."));
    }

    #[test]
    fn a_confirmation_is_known_by_its_field() {
        assert!(asks_for_consent(&form::confirm("kill", "cut the power of web1")));
        let start = COMMANDS.iter().find(|declaration| declaration.verb == "create").unwrap();
        let form = form::form(start, |_| Vec::new(), |_| None);
        assert!(!asks_for_consent(&form));
        assert!(wants_more(Some(&form)).hint.unwrap().contains("image"));
    }

    #[test]
    fn patience_grows_with_what_the_command_waits_for() {
        let call = Call {
            to: Jid::new("web1@kvm1.example.org").unwrap(),
            node: "shutdown".into(),
            declaration: &COMMANDS[1],
            argv: vec!["--wait=5m".into()],
            together: None,
        };
        assert_eq!(call.patience(), PATIENCE + Duration::from_secs(300));
    }
}
