//! Ad-hoc commands (XEP-0050): the `<command/>` element, both ways.
//!
//! One note only, since several clients show just the first; and `<actions/>` always names its
//! default, since some clients know no other.

use minidom::Element;
use serde_json::Value;
use xmpp_parsers::data_forms::DataForm;
use xso::error::FromElementError;

use crate::{
    element::set,
    ns,
    payload::{Definition, Together, Via},
    signature::Signature,
};

mod condition;

pub use condition::Condition;

/// The longest node name and session id taken, in bytes.
pub const NAME_BYTES_MAX: usize = 1023;

/// The element by which a program says that it wants no result form.
const JSON_ONLY: &str = "json-only";

/// What the requester wants (XEP-0050 §3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Begin; inside a session: whatever the default is.
    #[default]
    Execute,
    /// To the next stage.
    Next,
    /// To the stage before.
    Prev,
    /// All is said: carry it out.
    Complete,
    /// Forget it.
    Cancel,
}

impl Action {
    const ALL: [Action; 5] = [Action::Execute, Action::Next, Action::Prev, Action::Complete, Action::Cancel];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Action::Execute => "execute",
            Action::Next => "next",
            Action::Prev => "prev",
            Action::Complete => "complete",
            Action::Cancel => "cancel",
        }
    }
}

/// How far the responder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits for the requester.
    Executing,
    /// It is over, well or not.
    Completed,
    /// It was cancelled. The wire has one l.
    Canceled,
}

impl Status {
    const ALL: [Status; 3] = [Status::Executing, Status::Completed, Status::Canceled];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Status::Executing => "executing",
            Status::Completed => "completed",
            Status::Canceled => "canceled",
        }
    }
}

/// What may be done next. Cancel always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions {
    /// What `execute` means: one of those allowed here.
    pub default: Action,
    /// Whether there is a stage before.
    pub prev: bool,
    /// Whether there is a stage after.
    pub next: bool,
    /// Whether it can be carried out now.
    pub complete: bool,
}

impl Actions {
    /// The last stage: to be completed. `prev`: with a way back.
    pub const fn last(prev: bool) -> Self {
        Self { default: Action::Complete, prev, next: false, complete: true }
    }

    /// Whether `action` may follow. `execute` is the default, `cancel` is always allowed.
    pub const fn allows(self, action: Action) -> bool {
        match action {
            Action::Execute | Action::Cancel => true,
            Action::Next => self.next,
            Action::Prev => self.prev,
            Action::Complete => self.complete,
        }
    }
}

/// How a note is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoteKind {
    /// It tells.
    #[default]
    Info,
    /// It warns.
    Warn,
    /// It did not work.
    Error,
}

impl NoteKind {
    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            NoteKind::Info => "info",
            NoteKind::Warn => "warn",
            NoteKind::Error => "error",
        }
    }
}

/// Text for people beside the form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How it is meant.
    pub kind: NoteKind,
    /// Several lines when needed.
    pub text: String,
}

/// One `<command/>`, in either direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdhocCommand {
    /// Which command.
    pub node: String,
    /// Of which session; none in the first request.
    pub sessionid: Option<String>,
    /// What the requester wants; an absent one is `execute`.
    pub action: Option<Action>,
    /// How far the responder is; none in requests.
    pub status: Option<Status>,
    /// What may be done next; none in requests.
    pub actions: Option<Actions>,
    /// Text for people.
    pub note: Option<Note>,
    /// The form, to fill in, filled in, or with the result.
    pub form: Option<DataForm>,
    /// The reply for programs (XEP-0335).
    pub json: Option<Value>,
    /// What a machine is made of: in the first request of a `define` what it is to be made of, in its answer
    /// what it is.
    pub definition: Option<Definition>,
    /// In requests: the requester reads the JSON, and the result form can be left out. The JSON says all
    /// that it does, and a server takes its time for each element it carries.
    pub json_only: bool,
    /// In requests: what it passed on its way, as the requester says.
    pub vias: Vec<Via>,
    /// In requests: it is one of several.
    pub together: Option<Together>,
    /// In requests: the requester's signature, where the responder asked for one.
    pub signature: Option<Signature>,
}

impl AdhocCommand {
    /// A first request, with the form already filled in when there is one.
    pub fn request(node: impl Into<String>, form: Option<DataForm>) -> Self {
        Self { node: node.into(), action: Some(Action::Execute), form, ..Self::default() }
    }

    /// The same request, of one who reads the JSON and wants no result form.
    #[must_use]
    pub fn json_only(self) -> Self {
        Self { json_only: true, ..self }
    }

    /// Another request of the same session.
    pub fn follow(&self, action: Action, form: Option<DataForm>) -> Self {
        Self {
            node: self.node.clone(),
            sessionid: self.sessionid.clone(),
            action: Some(action),
            form,
            ..Self::default()
        }
    }

    /// The action asked for.
    pub fn asked(&self) -> Action {
        self.action.unwrap_or_default()
    }

    /// Reads a `<command/>`. Kind to what it does not know (further children, languages, notes after
    /// the first), strict with what it acts on.
    ///
    /// # Errors
    /// The condition of XEP-0050 §4.6 to answer with.
    pub fn parse(element: &Element) -> Result<Self, Condition> {
        if !element.is("command", ns::ADHOC) {
            return Err(Condition::BadPayload);
        }
        let node = element.attr("node").unwrap_or_default();
        if node.is_empty() || node.len() > NAME_BYTES_MAX {
            return Err(Condition::BadPayload);
        }
        let sessionid = element.attr("sessionid").map(str::to_owned);
        if sessionid.as_ref().is_some_and(|id| id.is_empty() || id.len() > NAME_BYTES_MAX) {
            return Err(Condition::BadSessionid);
        }
        Ok(Self {
            node: node.to_owned(),
            sessionid,
            action: known(element.attr("action"), &Action::ALL, |a| a.word())
                .map_err(|()| Condition::MalformedAction)?,
            status: known(element.attr("status"), &Status::ALL, |s| s.word())
                .map_err(|()| Condition::BadPayload)?,
            actions: element.get_child("actions", ns::ADHOC).map(parse_actions).transpose()?,
            note: element.get_child("note", ns::ADHOC).map(parse_note),
            form: parse_form(element)?,
            json: element
                .get_child("json", ns::JSON)
                .map(|json| serde_json::from_str(&json.text()).map_err(|_| Condition::BadPayload))
                .transpose()?,
            definition: Definition::of(element).map_err(|_| Condition::BadPayload)?,
            json_only: element.has_child(JSON_ONLY, ns::COMMAND),
            vias: Via::of(element),
            together: Together::of(element),
            signature: Signature::of(element),
        })
    }

    /// The element.
    pub fn to_element(&self) -> Element {
        let mut element = Element::bare("command", ns::ADHOC);
        set(&mut element, "node", Some(&self.node));
        set(&mut element, "sessionid", self.sessionid.as_deref());
        set(&mut element, "action", self.action.map(Action::word));
        set(&mut element, "status", self.status.map(Status::word));
        if let Some(actions) = self.actions {
            element.append_child(actions_element(actions));
        }
        if let Some(note) = &self.note {
            let mut child = Element::bare("note", ns::ADHOC);
            set(&mut child, "type", Some(note.kind.word()));
            child.append_text(crate::safe::safe_value(&note.text));
            element.append_child(child);
        }
        if let Some(form) = &self.form {
            element.append_child(crate::form::to_element(form));
        }
        if let Some(json) = &self.json {
            let mut child = Element::bare("json", ns::JSON);
            child.append_text(json_text(json));
            element.append_child(child);
        }
        if let Some(definition) = &self.definition {
            element.append_child(Element::from(definition));
        }
        if self.json_only {
            element.append_child(Element::bare(JSON_ONLY, ns::COMMAND));
        }
        for via in &self.vias {
            element.append_child(Element::from(via));
        }
        if let Some(together) = &self.together {
            element.append_child(Element::from(together));
        }
        if let Some(signature) = &self.signature {
            element.append_child(Element::from(signature));
        }
        element
    }
}

/// The one of `all` that `word` names; none when there is no word.
fn known<T: Copy>(word: Option<&str>, all: &[T], named: fn(T) -> &'static str) -> Result<Option<T>, ()> {
    let Some(word) = word else { return Ok(None) };
    all.iter().copied().find(|one| named(*one) == word).map(Some).ok_or(())
}

fn parse_actions(element: &Element) -> Result<Actions, Condition> {
    let has = |name: &str| element.has_child(name, ns::ADHOC);
    let (prev, next, complete) = (has("prev"), has("next"), has("complete"));
    let default = match known(element.attr("execute"), &Action::ALL, |a| a.word()) {
        Ok(Some(Action::Execute | Action::Cancel)) | Err(()) => return Err(Condition::BadPayload),
        Ok(Some(named)) => named,
        // XEP-0050 §3.4: without it, execute is next; without next, there is only complete.
        Ok(None) if next => Action::Next,
        Ok(None) => Action::Complete,
    };
    Ok(Actions { default, prev, next, complete })
}

fn actions_element(actions: Actions) -> Element {
    let mut element = Element::bare("actions", ns::ADHOC);
    set(&mut element, "execute", Some(actions.default.word()));
    for (allowed, name) in [(actions.prev, "prev"), (actions.next, "next"), (actions.complete, "complete")] {
        if allowed {
            element.append_child(Element::bare(name, ns::ADHOC));
        }
    }
    element
}

fn parse_note(element: &Element) -> Note {
    let kind = match element.attr("type") {
        Some("warn") => NoteKind::Warn,
        Some("error") => NoteKind::Error,
        _ => NoteKind::Info,
    };
    Note { kind, text: element.text() }
}

fn parse_form(element: &Element) -> Result<Option<DataForm>, Condition> {
    let Some(form) = element.get_child("x", ns::FORMS) else { return Ok(None) };
    match DataForm::try_from(form.clone()) {
        Ok(form) => Ok(Some(form)),
        Err(FromElementError::Mismatch(_) | FromElementError::Invalid(_)) => Err(Condition::BadPayload),
    }
}

/// JSON as XML text: what XML cannot hold is escaped the way JSON has for it.
fn json_text(json: &Value) -> String {
    let text = json.to_string();
    if !text.contains(['\u{fffe}', '\u{ffff}']) {
        return text;
    }
    text.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

#[cfg(test)]
#[path = "adhoc/tests.rs"]
mod tests;
