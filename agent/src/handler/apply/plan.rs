//! What would have to change so that what is granted is what a file says.

use chrono::{Local, Utc};
use skerry_stanzas::{
    command::Role,
    refusal::{Reason, Refusal},
    reply::Applied,
};
use uuid::Uuid;
use xmpp_parsers::jid::BareJid;

use super::super::{
    grants::{unknown, words},
    quotas::limits,
};
use crate::{
    agent::Agent,
    rights::{
        Rights, Whom,
        grant::{Grant, Scope},
        quota::{Bound, Quota},
        role, until,
        written::{self, QuotaTerms, Terms, Written},
    },
    store::grants::{ALL_MAX, QUOTAS_MAX, ROLES_MAX},
};

/// The difference.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) roles: Vec<(String, Vec<String>)>,
    pub(super) no_roles: Vec<String>,
    pub(super) grants: Vec<Grant>,
    pub(super) no_grants: Vec<u64>,
    pub(super) quotas: Vec<Quota>,
    pub(super) no_quotas: Vec<Bound>,
    lines: Vec<String>,
    warnings: Vec<String>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn answer(&self, set: &str, done: bool) -> Applied {
        let (changes, warnings) = (self.lines.clone(), self.warnings.clone());
        Applied { set: set.to_owned(), changes, warnings, done }
    }
}

/// One plan, as it is made.
struct Planning<'a> {
    agent: &'a Agent,
    own: &'a BareJid,
    set: &'a str,
    entry: Uuid,
    before: &'a Rights,
    /// What would be in force.
    after: Rights,
    plan: Plan,
}

impl Agent {
    /// What has to change. `entry` is what new grants are known by in the journal.
    pub(super) fn plan_of_rights(
        &self,
        own: &BareJid,
        set: &str,
        toml: &str,
        entry: Uuid,
    ) -> Result<Plan, Refusal> {
        let refuse = |text: String| {
            Refusal::new(Reason::BadRequest, format!("The file cannot be read: {text}."))
                .field("toml")
                .hint("\"grant export\" shows how such a file looks.")
        };
        let written = written::read(toml).map_err(refuse)?;
        let before = self.rights();
        let after = Rights::clone(&before);
        let mut planning =
            Planning { agent: self, own, set, entry, before: &before, after, plan: Plan::default() };
        planning.roles(&written)?;
        planning.grants(&written)?;
        planning.quotas(&written)?;
        planning.too_many()?;
        planning.locked_out();
        Ok(planning.plan)
    }
}

impl Planning<'_> {
    fn roles(&mut self, written: &Written) -> Result<(), Refusal> {
        let mut open: Vec<&String> = written.roles.keys().collect();
        for name in &open {
            if !role::is_name(name) {
                let text = format!("{name:?} cannot be the name of a role of yours.");
                return Err(Refusal::new(Reason::BadRequest, text).field("toml"));
            }
            if let Some(other) = self.before.sets_of_roles.get(*name).filter(|other| *other != self.set) {
                let text = format!("The role {name} is in {other} already.");
                return Err(Refusal::new(Reason::Conflict, text).field("toml"));
            }
        }
        // One may hold another that comes after it.
        while !open.is_empty() {
            let mut waiting = Vec::new();
            let mut first = None;
            for name in &open {
                // A role of this file holds what the file says, not what it held before.
                let holds = written.roles[*name].list();
                let waits = open.iter().find(|other| *other != name && holds.contains(other)).is_some();
                let made = role::made_of(&holds, &self.after.defined).ok().filter(|_| !waits);
                match made {
                    Some(made) => self.role(name, made),
                    None => {
                        first.get_or_insert(*name);
                        waiting.push(*name);
                    }
                }
            }
            if let Some(name) = first.filter(|_| waiting.len() == open.len()) {
                let made = role::made_of(&written.roles[name].list(), &self.after.defined);
                return Err(match made {
                    Err((text, near)) => unknown(format!("The role {name}: {text}"), near, "toml"),
                    Ok(_) => {
                        Refusal::new(Reason::Conflict, format!("The role {name} holds itself, by others."))
                            .field("toml")
                    }
                });
            }
            open = waiting;
        }
        let gone = |(name, set): (&String, &String)| {
            (set == self.set && !written.roles.contains_key(name)).then(|| name.clone())
        };
        let gone: Vec<String> = self.before.sets_of_roles.iter().filter_map(gone).collect();
        for name in gone {
            self.plan.lines.push(format!("role {name}: gone"));
            self.after.undefine(&name);
            self.plan.no_roles.push(name);
        }
        Ok(())
    }

    fn role(&mut self, name: &str, holds: Vec<String>) {
        let had = self.before.defined.get(name);
        let of_set = self.before.sets_of_roles.get(name).is_some_and(|of| of == self.set);
        if had != Some(&holds) {
            let (is, list) = (if had.is_some() { "now" } else { "new" }, holds.join(", "));
            self.plan.lines.push(format!("role {name}, {is}: {list}"));
        } else if !of_set {
            self.plan.lines.push(format!("role {name}: from now on of {}", self.set));
        } else {
            return;
        }
        self.after.defined.insert(name.to_owned(), holds.clone());
        self.after.sets_of_roles.insert(name.to_owned(), self.set.to_owned());
        self.plan.roles.push((name.to_owned(), holds));
    }

    fn grants(&mut self, written: &Written) -> Result<(), Refusal> {
        let mut wanted: Vec<Grant> = Vec::new();
        for (list, section, forbids) in [(&written.grant, "grant", false), (&written.deny, "deny", true)] {
            for (nth, terms) in list.iter().enumerate() {
                let place = |refusal: Refusal| Refusal {
                    text: format!("{section} {}: {}", nth + 1, refusal.text),
                    ..refusal.field("toml")
                };
                let grant = self.read(terms, forbids).map_err(place)?;
                if !grant.is_live(Utc::now()) {
                    self.plan.warnings.push(format!("{section} {} is over already.", nth + 1));
                } else if !wanted.iter().any(|other| same(other, &grant)) {
                    wanted.push(grant);
                }
            }
        }
        let (before, set) = (self.before, self.set);
        for had in before.grants.iter().filter(|grant| grant.set.as_deref() == Some(set)) {
            match wanted.iter().position(|grant| same(grant, had)) {
                Some(at) => drop(wanted.remove(at)),
                None => {
                    let sentence = self.agent.grant_line(had).sentence();
                    self.plan.lines.push(format!("taken back, {}: {sentence}", had.number));
                    self.after.grants.retain(|grant| grant.number != had.number);
                    self.plan.no_grants.push(had.number);
                }
            }
        }
        for grant in wanted {
            // By what is so now: nobody gives themselves by a file what they have not got.
            self.agent.may_give(&with_roles(before, &self.after), self.own, &grant).map_err(|refusal| {
                let sentence = self.agent.grant_line(&grant).sentence();
                Refusal { text: format!("{sentence}: {}", refusal.text), ..refusal.field("toml") }
            })?;
            let verb = if grant.forbids { "denied" } else { "given" };
            self.plan.lines.push(format!("{verb}: {}", self.agent.grant_line(&grant).sentence()));
            self.after.grants.push(grant.clone());
            self.plan.grants.push(grant);
        }
        let gone = self.plan.no_roles.iter();
        let held = gone.filter_map(|name| {
            self.after.grants.iter().find(|grant| grant.what.contains(name)).map(|grant| (name, grant.number))
        });
        match held.into_iter().next() {
            Some((name, number)) => {
                let text =
                    format!("The role {name} is not in the file any more, and is granted by {number}.");
                Err(Refusal::new(Reason::Conflict, text).field("toml").hint("\"revoke\" that first."))
            }
            None => Ok(()),
        }
    }

    fn read(&self, terms: &Terms, forbids: bool) -> Result<Grant, Refusal> {
        let on = terms.on.as_ref().map_or_else(|| "all".to_owned(), written::Words::line);
        let until = terms.until.as_deref().map(|text| {
            until::fixed(text, &Local::now()).ok_or_else(|| {
                Refusal::new(Reason::BadRequest, format!("{text:?} is no moment for a file."))
                    .hint("Write such as 2027-01-31 18:00.")
            })
        });
        Ok(Grant {
            number: 0,
            whom: self.agent.whom(&terms.to)?,
            what: words(&self.after, &terms.what.line())?,
            on: self.agent.scopes(self.own, &on)?,
            forbids,
            until: until.transpose()?,
            because: terms.because.clone().filter(|why| !why.trim().is_empty()),
            by: Whom::Person(self.own.clone()),
            at: Utc::now(),
            entry: self.entry,
            from: None,
            set: Some(self.set.to_owned()),
        })
    }

    fn quotas(&mut self, written: &Written) -> Result<(), Refusal> {
        let mut wanted: Vec<Quota> = Vec::new();
        for (nth, terms) in written.quota.iter().enumerate() {
            let place = |text: String| format!("quota {}: {text}", nth + 1);
            let quota = self.quota(terms).map_err(|refusal| {
                let text = place(refusal.text.clone());
                Refusal { text, ..refusal.field("toml") }
            })?;
            if wanted.iter().any(|other| other.to == quota.to) {
                let text = place(format!("{} has one already.", quota.to));
                return Err(Refusal::new(Reason::BadRequest, text).field("toml"));
            }
            wanted.push(quota);
        }
        for quota in wanted.iter() {
            let had = self.before.quotas.iter().find(|had| had.to == quota.to);
            if let Some(other) = had.and_then(|had| had.set.as_ref()).filter(|other| *other != self.set) {
                let text = format!("The quota of {} is in {other} already.", quota.to);
                return Err(Refusal::new(Reason::Conflict, text).field("toml"));
            }
            if had.is_some_and(|had| had.limits == quota.limits && had.set == quota.set) {
                continue;
            }
            self.plan.lines.push(format!("quota: {}", quota.sentence()));
            self.plan.quotas.push(quota.clone());
        }
        let (before, set) = (self.before, self.set);
        let of_set = before.quotas.iter().filter(|had| had.set.as_deref() == Some(set));
        for had in of_set.filter(|had| wanted.iter().all(|quota| quota.to != had.to)) {
            self.plan.lines.push(format!("quota, gone: {}", had.sentence()));
            self.plan.no_quotas.push(had.to.clone());
        }
        Ok(())
    }

    fn quota(&self, terms: &QuotaTerms) -> Result<Quota, Refusal> {
        let to = super::super::quotas::bound(&terms.to)?;
        let limits = limits(
            terms.machines,
            terms.vcpus,
            terms.memory.as_deref(),
            terms.disk.as_deref(),
            terms.snapshots,
        )?;
        let (by, set) = (Whom::Person(self.own.clone()), Some(self.set.to_owned()));
        Ok(Quota { to, limits, by, at: Utc::now(), set })
    }

    fn too_many(&self) -> Result<(), Refusal> {
        let quotas = self.before.quotas.len() + self.plan.quotas.len();
        for (has, most, what) in [
            (self.after.grants.len(), ALL_MAX, "grants"),
            (self.after.defined.len(), ROLES_MAX, "roles"),
            (quotas, QUOTAS_MAX, "quotas"),
        ] {
            if has > most && !self.plan.is_empty() {
                let text = format!("That would be more than {most} {what}.");
                return Err(Refusal::new(Reason::Limit, text).field("toml"));
            }
        }
        Ok(())
    }

    /// Nobody locks themselves out without being told.
    fn locked_out(&mut self) {
        let now = Utc::now();
        let is_admin =
            |rights: &Rights| rights.standing(self.own, now).is_some_and(|(role, _)| role == Role::Admin);
        if is_admin(self.before) && !is_admin(&self.after) {
            self.plan.warnings.push("After this you are no admin of this host any more.".into());
        }
        let configured = self.before.roles.all().iter().any(|rule| rule.role == Role::Admin);
        let granted = |grant: &Grant| {
            let is_admin = |word: &String| role::standing(word) == Some(Role::Admin);
            !grant.forbids && grant.on.contains(&Scope::All) && grant.what.iter().any(is_admin)
        };
        if !configured && !self.after.grants.iter().any(|grant| grant.is_live(now) && granted(grant)) {
            let text = "After this nobody is an admin of this host: only its agent's file could make one.";
            self.plan.warnings.push(text.into());
        }
    }
}

/// What is in force, with the roles of the file.
fn with_roles(before: &Rights, after: &Rights) -> Rights {
    Rights { defined: after.defined.clone(), ..before.clone() }
}

/// Whether two say the same, whoever made them when.
fn same(one: &Grant, other: &Grant) -> bool {
    (&one.whom, &one.what, &one.on, one.forbids, one.until, &one.because)
        == (&other.whom, &other.what, &other.on, other.forbids, other.until, &other.because)
}
