//! Who may do what. The one place where a [`Permit`] is made.
//!
//! A right is a command's permission (`machine.start`). The configuration gives roles on the whole host to
//! addresses or domains; grants, made by command and kept in the store, give roles and permissions on parts
//! of it, or forbid them. What is forbidden is so whatever else allows it. Who has neither may do nothing and
//! see nothing: the answer is the same whether a machine exists or not.

pub(crate) mod configured;
pub(crate) mod grant;
mod held;
pub(crate) mod quota;
pub(crate) mod role;
pub(crate) mod until;
mod whom;
pub(crate) mod written;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use hypervisor_core::machine::MachineId;
use skerry_stanzas::{
    command::{COMMANDS, Declaration, Object, Role},
    refusal::{Reason, Refusal},
};
use xmpp_parsers::jid::{BareJid, Jid};

pub use self::{
    configured::Roles,
    role::{BuiltIn, built_in_roles},
    whom::{Affiliation, Whom},
};
use self::{
    grant::{Grant, Scope},
    quota::Quota,
    role::Defined,
};
use crate::{asked::Target, machine::Record};

/// What whoever has any right here may ask the host, so that they find it. The answers show only theirs.
const FOR_ANYBODY_KNOWN: &[&str] = &[
    "host.list",
    "host.whoami",
    "host.may",
    "host.grant-list",
    "host.role-list",
    "host.role-show",
    "host.request-list",
    "host.approve",
    "host.reject",
    "host.withdraw",
    "host.break-glass",
    "host.quota-list",
];
/// What an owner may ask the host. Its handlers look at what exactly is given away.
const GIVING: &[&str] = &["host.grant", "host.deny", "host.revoke"];

/// What follows from any right to a machine.
const SEEING: &str = "machine.status";

/// The right of one caller to one command on one target. Only [`Rights::permit`] makes one, so
/// whatever takes a permit cannot be reached without.
#[derive(Clone, Debug)]
pub struct Permit {
    caller: Jid,
    rule: String,
    granted: bool,
    declaration: &'static Declaration,
    target: Target,
}

impl Permit {
    /// Who asks.
    pub fn caller(&self) -> &Jid {
        &self.caller
    }
    /// Who asks, without a resource.
    pub fn person(&self) -> BareJid {
        self.caller.to_bare()
    }
    /// The rule that gives the right, in words.
    pub fn rule(&self) -> &str {
        &self.rule
    }
    /// Whether it was granted, and is not of the configuration.
    pub(crate) fn is_granted(&self) -> bool {
        self.granted
    }
    /// Which command.
    pub fn declaration(&self) -> &'static Declaration {
        self.declaration
    }
    /// On what.
    pub fn target(&self) -> &Target {
        &self.target
    }
}

/// What a right is asked for, as it is now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// The host.
    Host,
    /// A machine.
    Machine(&'a Record),
    /// A machine that is not there.
    Absent,
}

/// What decides about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Whether it is allowed.
    pub(crate) allowed: bool,
    /// Something forbids it: no grant would help.
    pub(crate) forbidden: bool,
    /// It was granted, and is not of the configuration.
    pub(crate) granted: bool,
    /// Until when, where it is allowed for a while.
    pub(crate) until: Option<DateTime<Utc>>,
    /// Why, in words.
    pub(crate) rule: String,
}

impl Decision {
    fn yes(rule: String) -> Self {
        Self { allowed: true, forbidden: false, granted: false, until: None, rule }
    }

    fn by(grant: &Grant, person: &BareJid) -> Self {
        Self { granted: true, until: grant.until, ..Self::yes(grant.rule_for(person)) }
    }

    fn no(rule: String) -> Self {
        Self { allowed: false, ..Self::yes(rule) }
    }
}

/// All the rules now in force. Replaced as a whole when one changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights {
    pub(crate) roles: Roles,
    pub(crate) grants: Vec<Grant>,
    pub(crate) defined: Defined,
    /// The roles that files of rights brought, and which files.
    pub(crate) sets_of_roles: BTreeMap<String, String>,
    pub(crate) quotas: Vec<Quota>,
    /// Who is in the groups and rooms that are named, as far as it is known: by [`Whom`], in words.
    pub(crate) circles: BTreeMap<String, BTreeSet<BareJid>>,
}

impl Rights {
    /// A machine is not here any more: what is on nothing else is gone.
    pub(crate) fn leave(&mut self, machine: MachineId) {
        self.grants.retain_mut(|grant| grant.leave(machine));
    }

    /// A role is not there any more.
    pub(crate) fn undefine(&mut self, name: &str) {
        self.defined.remove(name);
        self.sets_of_roles.remove(name);
    }

    /// Whether somebody is meant.
    pub(crate) fn means(&self, whom: &Whom, person: &BareJid) -> bool {
        match whom.is_listed() {
            true => self.circles.get(&whom.to_string()).is_some_and(|circle| circle.contains(person)),
            false => whom.fits(person),
        }
    }

    /// What counts for a person now.
    fn of<'a>(&'a self, person: &'a BareJid, now: DateTime<Utc>) -> impl Iterator<Item = &'a Grant> {
        self.grants.iter().filter(move |grant| self.means(&grant.whom, person) && grant.is_live(now))
    }

    fn forbids<'a>(
        &'a self,
        person: &'a BareJid,
        it: &Declaration,
        on: &Subject<'_>,
        now: DateTime<Utc>,
    ) -> Option<&'a Grant> {
        // What another host forbade does not bind those who have a role on this one.
        let above = self.roles.rule(person).is_some_and(|rule| rule.role >= it.role);
        let binds = |grant: &&Grant| grant.forbids && !(above && grant.from.is_some());
        let binding = self.of(person, now).filter(binds);
        binding.filter(|grant| grant.covers(on)).find(|grant| grant.holds(it, &self.defined))
    }

    /// The role a person has on the whole host, and the rule that gives it.
    pub(crate) fn standing(&self, person: &BareJid, now: DateTime<Utc>) -> Option<(Role, String)> {
        let configured = self.roles.rule(person).map(|rule| (rule.role, rule.text()));
        let whole = self.of(person, now).filter(|grant| !grant.forbids && grant.on.contains(&Scope::All));
        let granted = whole.flat_map(|grant| {
            let roles = grant.what.iter().filter_map(|word| role::standing(word));
            roles.map(|role| (role, grant.rule()))
        });
        // The configuration's, of two that are the same.
        granted.chain(configured).max_by_key(|(role, _)| *role)
    }

    /// Until when a person is an admin of the whole host by a grant; none where they are not.
    pub(crate) fn admin_until(&self, person: &BareJid, now: DateTime<Utc>) -> Option<Option<DateTime<Utc>>> {
        let admin = |grant: &&Grant| {
            let is_admin = |word: &String| role::standing(word) == Some(Role::Admin);
            !grant.forbids && grant.on.contains(&Scope::All) && grant.what.iter().any(is_admin)
        };
        let ends = self.of(person, now).filter(admin).map(|grant| grant.until);
        ends.max_by_key(|until| until.unwrap_or(DateTime::<Utc>::MAX_UTC))
    }

    /// Whether a label decides about somebody's rights.
    pub(crate) fn names_label(&self, label: &str) -> bool {
        let names = |scope: &Scope| matches!(scope, Scope::Label(named) if named == label);
        self.grants.iter().any(|grant| grant.on.iter().any(names))
    }

    /// Whether any grant, also one that forbids, is about this person.
    pub(crate) fn has_grants(&self, person: &BareJid, now: DateTime<Utc>) -> bool {
        self.of(person, now).next().is_some()
    }

    /// Whether a person has any right here at all.
    pub(crate) fn is_known(&self, person: &BareJid, now: DateTime<Utc>) -> bool {
        self.roles.rule(person).is_some() || self.of(person, now).any(|grant| !grant.forbids)
    }

    /// Whether a person may do this, and which rule decides it.
    pub(crate) fn decide(
        &self,
        person: &BareJid,
        it: &Declaration,
        on: &Subject<'_>,
        now: DateTime<Utc>,
    ) -> Decision {
        if let Some(grant) = self.forbids(person, it, on, now) {
            return Decision { forbidden: true, ..Decision::no(grant.rule_for(person)) };
        }
        let permission = it.permission();
        let configured = self.roles.rule(person);
        if let Some(rule) = configured.filter(|rule| rule.role >= it.role) {
            return Decision::yes(format!("{}: {} allows {permission}", rule.text(), rule.role.word()));
        }
        let allows = |grant: &&Grant| !grant.forbids && grant.holds(it, &self.defined);
        let covering = self.of(person, now).filter(|grant| grant.covers(on)).filter(allows);
        // The one that lasts longest decides.
        if let Some(grant) = covering.max_by_key(|grant| grant.until.unwrap_or(DateTime::<Utc>::MAX_UTC)) {
            return Decision::by(grant, person);
        }
        if let Some(rule) = self.follows(person, &permission, it, on, now) {
            return Decision::yes(rule);
        }
        match configured {
            Some(rule) => Decision::no(format!(
                "{}: {} does not allow {permission}, which needs {}",
                rule.text(),
                rule.role.word(),
                it.role.word()
            )),
            None if self.is_known(person, now) => {
                Decision::no(format!("no grant gives {permission} to {person}"))
            }
            None => Decision::no(format!("no rule names {person}")),
        }
    }

    /// What follows from having any right here, or any to a machine.
    fn follows(
        &self,
        person: &BareJid,
        permission: &str,
        it: &Declaration,
        on: &Subject<'_>,
        now: DateTime<Utc>,
    ) -> Option<String> {
        if !self.is_known(person, now) {
            return None;
        }
        match on {
            Subject::Machine(_) if permission == SEEING && self.sees(person, on, now) => {
                Some(format!("{person} has a right to it"))
            }
            Subject::Host if FOR_ANYBODY_KNOWN.contains(&permission) => {
                Some(format!("{person} has rights here"))
            }
            // What exactly is given away is looked at when it is.
            Subject::Host if GIVING.contains(&permission) => {
                let gives = |grant: &Grant| !grant.forbids && grant.holds(it, &self.defined);
                let grant = self.of(person, now).find(|grant| gives(grant))?;
                Some(grant.rule())
            }
            Subject::Host | Subject::Machine(_) | Subject::Absent => None,
        }
    }

    /// Whether a grant gives anything to do with machines.
    fn is_of_machines(&self, grant: &Grant) -> bool {
        let machines = || COMMANDS.iter().filter(|it| it.object == Object::Machine);
        !grant.forbids && machines().any(|it| grant.holds(it, &self.defined))
    }

    /// Whether a person may see that this is there, and how it is.
    pub(crate) fn sees(&self, person: &BareJid, on: &Subject<'_>, now: DateTime<Utc>) -> bool {
        if self.standing(person, now).is_some() {
            return true;
        }
        match on {
            Subject::Host => self.is_known(person, now),
            Subject::Machine(_) => {
                self.of(person, now).any(|grant| grant.covers(on) && self.is_of_machines(grant))
            }
            Subject::Absent => false,
        }
    }

    /// The right to a command, or why not. Looks at nothing but who asks, for what, and what that is: not at
    /// the arguments. Who may not see a machine gets the same answer whether it is there or not.
    ///
    /// # Errors
    /// [`Reason::NotAllowed`].
    pub(crate) fn permit(
        &self,
        caller: &Jid,
        declaration: &'static Declaration,
        target: &Target,
        on: &Subject<'_>,
        now: DateTime<Utc>,
    ) -> Result<Permit, Refusal> {
        let person = caller.to_bare();
        if !self.sees(&person, on, now) {
            return Err(match (self.is_known(&person, now), target) {
                (true, Target::Machine(name)) => unseen(name.as_str()),
                _ => stranger(&person),
            });
        }
        let decision = self.decide(&person, declaration, on, now);
        if decision.allowed {
            return Ok(Permit {
                granted: decision.granted,
                caller: caller.clone(),
                rule: decision.rule,
                declaration,
                target: target.clone(),
            });
        }
        let verb = declaration.spoken();
        let text = match (decision.forbidden, self.standing(&person, now)) {
            (true, _) => format!("\"{verb}\" is forbidden to you here: {}.", decision.rule),
            (false, Some((role, _))) => {
                format!("\"{verb}\" needs the role {}; yours is {}.", declaration.role.word(), role.word())
            }
            (false, None) => format!("You have no right to \"{verb}\" here."),
        };
        Err(Refusal::new(Reason::NotAllowed, text).hint("Ask an admin of this host."))
    }

    /// The names of all roles, the built-in ones first.
    pub(crate) fn role_names(&self) -> Vec<String> {
        let built_in = role::BUILT_IN.iter().map(|role| role.name.to_owned());
        built_in.chain(self.defined.keys().cloned()).collect()
    }

    /// Who may do this: each rule that gives it to somebody.
    pub(crate) fn who_can(
        &self,
        it: &Declaration,
        on: &Subject<'_>,
        now: DateTime<Utc>,
    ) -> Vec<(String, String)> {
        let configured = self.roles.all().iter().filter(|rule| rule.role >= it.role);
        let mut found: Vec<(&Whom, String)> = configured.map(|rule| (&rule.whom, rule.text())).collect();
        let grants = self.grants.iter().filter(|grant| !grant.forbids && grant.is_live(now));
        let grants = grants.filter(|grant| grant.covers(on) && grant.holds(it, &self.defined));
        found.extend(grants.map(|grant| (&grant.whom, grant.rule())));
        let may = |whom: &Whom| match whom {
            Whom::Person(person) => self.decide(person, it, on, now).allowed,
            Whom::Domain(_) | Whom::Group(_) | Whom::Room(..) => true,
        };
        found.retain(|(whom, _)| may(whom));
        let mut able = Vec::new();
        for (whom, rule) in found {
            if !whom.is_listed() {
                able.push((whom.to_string(), rule));
                continue;
            }
            let circle = self.circles.get(&whom.to_string());
            let people = circle.into_iter().flatten();
            let people: Vec<_> = people.filter(|person| self.decide(person, it, on, now).allowed).collect();
            if people.is_empty() {
                able.push((whom.to_string(), format!("{rule} (nobody is known to be in it)")));
            }
            able.extend(
                people.into_iter().map(|person| (person.to_string(), format!("{rule} ({person} is in it)"))),
            );
        }
        able
    }
}

fn stranger(person: &BareJid) -> Refusal {
    Refusal::new(Reason::NotAllowed, format!("You ({person}) have no role on this host."))
        .hint("Ask whoever runs it for a grant, or to add you to [roles] of the agent's configuration.")
}

pub(crate) fn unseen(name: &str) -> Refusal {
    Refusal::new(Reason::NotAllowed, format!("There is no machine {name} here that you have a right to."))
        .hint("\"list\" shows those you have.")
}

#[cfg(test)]
#[path = "rights/tests.rs"]
mod tests;
