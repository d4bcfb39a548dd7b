//! What was granted to somebody here, or forbidden.

use chrono::{DateTime, Utc};
use hypervisor_core::machine::MachineId;
use skerry_stanzas::command::Declaration;
use uuid::Uuid;
use xmpp_parsers::jid::BareJid;

use super::{Subject, Whom, role::Defined};

/// On what.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scope {
    /// The host and each of its machines, also those to come.
    All,
    /// The host itself.
    Host,
    /// A machine, whatever it is called.
    Machine(MachineId),
    /// The machines with a label.
    Label(String),
    /// The machines somebody made.
    MadeBy(Whom),
}

impl Scope {
    pub(crate) fn covers(&self, subject: &Subject<'_>) -> bool {
        match (self, subject) {
            (Scope::All, _) | (Scope::Host, Subject::Host) => true,
            (Scope::Machine(id), Subject::Machine(record)) => *id == record.id,
            (Scope::Label(label), Subject::Machine(record)) => record.labels.contains(label),
            (Scope::MadeBy(maker), Subject::Machine(record)) => {
                BareJid::new(&record.created_by).is_ok_and(|person| maker.fits(&person))
            }
            (Scope::Host | Scope::Machine(_) | Scope::Label(_) | Scope::MadeBy(_), _) => false,
        }
    }
}

/// One grant, or one that forbids.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Grant {
    /// 1, 2, 3 …: never used again. The store's own.
    #[serde(skip)]
    pub(crate) number: u64,
    pub(crate) whom: Whom,
    /// Roles and permissions.
    pub(crate) what: Vec<String>,
    pub(crate) on: Vec<Scope>,
    pub(crate) forbids: bool,
    pub(crate) until: Option<DateTime<Utc>>,
    pub(crate) because: Option<String>,
    /// Who made it: a person, always.
    pub(crate) by: Whom,
    pub(crate) at: DateTime<Utc>,
    /// The journal's entry that asked for it.
    pub(crate) entry: Uuid,
    /// The host it came from, with the machine it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// The file of rights it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) set: Option<String>,
}

impl Grant {
    /// Whether it counts at a moment.
    pub(crate) fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    pub(crate) fn covers(&self, subject: &Subject<'_>) -> bool {
        self.on.iter().any(|scope| scope.covers(subject))
    }

    pub(crate) fn holds(&self, declaration: &Declaration, defined: &Defined) -> bool {
        self.what.iter().any(|word| super::role::holds(word, declaration, defined))
    }

    /// What decided, for answers and for the journal.
    pub(crate) fn rule(&self) -> String {
        let until = self.until.map(|at| format!(" until {}", skerry_stanzas::reply::measure::moment(at)));
        let verb = if self.forbids { "forbids" } else { "gives" };
        let until = until.unwrap_or_default();
        let from = self.from.as_ref().map(|from| format!(" (from {from})")).unwrap_or_default();
        format!(
            "grant {} by {}{from} {verb} {} to {}{until}",
            self.number,
            self.by,
            self.what.join(", "),
            self.whom
        )
    }

    /// The same, with how it means this person where that does not show.
    pub(crate) fn rule_for(&self, person: &BareJid) -> String {
        match self.whom.is_listed() {
            true => format!("{} ({person} is in it)", self.rule()),
            false => self.rule(),
        }
    }

    /// The same on one machine less; false when nothing is left of it.
    pub(crate) fn leave(&mut self, machine: MachineId) -> bool {
        self.on.retain(|scope| *scope != Scope::Machine(machine));
        !self.on.is_empty()
    }
}
