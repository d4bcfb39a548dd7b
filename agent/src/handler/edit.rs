//! Rename, label, autostart, protect: what is remembered of a machine, not what it does.

use skerry_stanzas::{
    command::machine,
    refusal::{Reason, Refusal},
    reply::Changed,
};

use super::Handle;
use crate::{
    agent::Agent,
    dispatch::Job,
    machine::{Edit, Order, Report, task},
};

/// Labels of one machine.
const LABELS_MAX: usize = 64;
/// Characters of a label.
const LABEL_CHARS_MAX: usize = 63;

pub(super) async fn edit(job: &Job, edit: Edit) -> Result<Report, Refusal> {
    let by = Some(job.by());
    job.machine()?.order(|reply| Order::Edit { edit, by, reply }).await
}

impl Handle<machine::Rename> for Agent {
    async fn handle(&self, job: &Job, command: machine::Rename) -> Result<Changed, Refusal> {
        let to = super::name(&command.to, "to")?;
        let before = job.machine()?.record();
        if before.name == to {
            return Ok(self.changed(&before, format!("It is called {to} already.")));
        }
        // A name may come to look like its own old one.
        if crate::store::machines::look(&to) != crate::store::machines::look(&before.name) {
            self.free(&to, "to").await?;
        }
        let report = edit(job, Edit::Rename(to.clone())).await?;
        let sentence = match self.addresses().kind() {
            crate::config::LinkKind::Component => {
                format!(
                    "{} is called {to} now; its address is {}.",
                    before.name,
                    self.addresses().machine(&to)
                )
            }
            crate::config::LinkKind::Single => format!("{} is called {to} now.", before.name),
        };
        Ok(self.changed(&report.record, sentence))
    }
}

impl Handle<machine::Label> for Agent {
    async fn handle(&self, job: &Job, command: machine::Label) -> Result<Changed, Refusal> {
        let add = labels(&command.add, "add")?;
        let remove = labels(&command.remove, "remove")?;
        if add.is_empty() && remove.is_empty() {
            return Err(Refusal::new(Reason::BadRequest, "Which label?")
                .field("add")
                .hint("Such as: label web prod"));
        }
        let record = job.machine()?.record();
        self.may_label(job, add.iter().chain(&remove))?;
        if record.labels.len() + add.len() > LABELS_MAX {
            return Err(Refusal::new(Reason::Limit, format!("A machine may have {LABELS_MAX} labels."))
                .field("add")
                .hint("Take some away first."));
        }
        let report = edit(job, Edit::Label { add, remove }).await?;
        let mut sentence = task::labels(&report.record);
        if report.already {
            sentence = format!("Nothing to change. {sentence}");
        }
        Ok(self.changed(&report.record, sentence))
    }
}

impl Agent {
    /// A label that decides about rights is for who decides about rights.
    fn may_label<'a>(&self, job: &Job, labels: impl Iterator<Item = &'a String>) -> Result<(), Refusal> {
        let (rights, own) = (self.rights(), job.permit.person());
        let mut deciding = labels.filter(|label| rights.names_label(label));
        match deciding.next().filter(|_| !self.is_admin(&own)) {
            None => Ok(()),
            Some(label) => {
                let text = format!("The label {label} decides who may do what: only an admin changes it.");
                Err(Refusal::new(Reason::NotAllowed, text).hint("Ask an admin of this host."))
            }
        }
    }
}

/// Checks labels: what can be typed, and told from another.
fn labels(words: &[String], field: &str) -> Result<Vec<String>, Refusal> {
    let fine = |c: char| c.is_alphanumeric() || "-_.:/@".contains(c);
    words
        .iter()
        .map(|word| {
            let label = word.trim();
            if !label.is_empty() && label.chars().count() <= LABEL_CHARS_MAX && label.chars().all(fine) {
                return Ok(label.to_owned());
            }
            Err(Refusal::new(Reason::BadRequest, format!("{word:?} cannot be a label."))
                .field(field)
                .hint("Use letters, digits and - _ . : / @, such as web or env:prod."))
        })
        .collect()
}

impl Handle<machine::Autostart> for Agent {
    async fn handle(&self, job: &Job, command: machine::Autostart) -> Result<Changed, Refusal> {
        let report = edit(job, Edit::Autostart(command.set.is_on())).await?;
        let words = if command.set.is_on() { "starts with its host" } else { "does not start with its host" };
        Ok(self.changed(&report.record, format!("{} {words}.", report.record.name)))
    }
}

impl Handle<machine::Protect> for Agent {
    async fn handle(&self, job: &Job, command: machine::Protect) -> Result<Changed, Refusal> {
        let report = edit(job, Edit::Protect(command.set.is_on())).await?;
        let words = match command.set.is_on() {
            true => "is protected: kill, reset and delete are refused",
            false => "is not protected: kill, reset and delete are allowed",
        };
        Ok(self.changed(&report.record, format!("{} {words}.", report.record.name)))
    }
}
