//! The rules now in force, and what they say of a person.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, Weak},
};

use chrono::{DateTime, Utc};
use skerry_stanzas::{
    command::{Declaration, Object, Role},
    refusal::{Reason, Refusal},
};
use xmpp_parsers::jid::{BareJid, Jid};

use super::{Agent, Inner};
use crate::{
    asked::Target,
    rights::{Decision, Permit, Rights, Subject},
    store::{StoreError, events::Happening, grants},
};

/// Groups and rooms, in words, and who is in them.
type Circles = BTreeMap<String, BTreeSet<BareJid>>;
/// Groups are told from rooms by it.
const GROUP: &str = "group:";

/// At most so long is slept before the clock is looked at again: it may have been set.
const LOOK: std::time::Duration = std::time::Duration::from_secs(3600);

impl Agent {
    /// The rules now in force.
    pub(crate) fn rights(&self) -> Arc<Rights> {
        Arc::clone(&self.inner.rights.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what the store has of them.
    pub(super) async fn read_rights(&self) -> Result<(), StoreError> {
        let read = |connection: &_| {
            Ok((grants::all(connection)?, grants::sets_of_roles(connection)?, grants::quotas(connection)?))
        };
        let ((granted, defined), sets, quotas) = self.inner.store.run(read).await?;
        self.change_rights(|rights| {
            (rights.grants, rights.defined) = (granted, defined);
            (rights.sets_of_roles, rights.quotas) = (sets, quotas);
        });
        Ok(())
    }

    /// Changes the rules in force. What has to last is in the store before.
    pub(crate) fn change_rights(&self, change: impl FnOnce(&mut Rights)) {
        let mut rights = self.inner.rights.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut rights));
        drop(rights);
        self.inner.ruled.notify_one();
        // Whose consent counts may have changed, too.
        self.inner.approvals.changed.notify_one();
    }

    /// Who is in rooms, as far as it is known.
    pub(crate) fn know_circles(&self, known: Vec<(String, Option<BTreeSet<BareJid>>)>) {
        let rights = self.rights();
        if known.iter().all(|(whom, people)| rights.circles.get(whom) == people.as_ref()) {
            return;
        }
        self.change_circles(|circles| {
            for (whom, people) in known {
                match people {
                    Some(people) => drop(circles.insert(whom, people)),
                    None => drop(circles.remove(&whom)),
                }
            }
        });
    }

    /// Who is in the groups of the contact list: all of them.
    pub(crate) fn know_groups(&self, groups: Circles) {
        let rights = self.rights();
        let had = rights.circles.iter().filter(|(whom, _)| whom.starts_with(GROUP));
        if had.eq(groups.iter()) {
            return;
        }
        self.change_circles(|circles| {
            circles.retain(|whom, _| !whom.starts_with(GROUP));
            circles.extend(groups);
        });
    }

    /// Nothing is known of any group or room.
    pub(crate) fn forget_circles(&self) {
        if !self.rights().circles.is_empty() {
            self.change_circles(Circles::clear);
        }
    }

    fn change_circles(&self, change: impl FnOnce(&mut Circles)) {
        self.change_rights(|rights| change(&mut rights.circles));
        self.inner.publisher.rights_changed();
    }

    /// The right to a command, or why not.
    ///
    /// # Errors
    /// [`skerry_stanzas::refusal::Reason::NotAllowed`].
    pub(crate) fn permit(
        &self,
        caller: &Jid,
        declaration: &'static Declaration,
        target: &Target,
    ) -> Result<Permit, Refusal> {
        let permit =
            self.regarding(target, |on| self.rights().permit(caller, declaration, target, &on, Utc::now()));
        match target {
            Target::Machine(name) if permit.is_err() && self.saw_it_go(&caller.to_bare(), name) => {
                let went = self.where_it_went(name);
                permit.map_err(|refusal| match went {
                    Some(went) => Refusal::new(Reason::NotFound, went),
                    None => refusal,
                })
            }
            _ => permit,
        }
    }

    /// Whether a person may do this, and by which rule.
    pub(crate) fn decide(&self, person: &BareJid, declaration: &Declaration, target: &Target) -> Decision {
        self.regarding(target, |on| self.rights().decide(person, declaration, &on, Utc::now()))
    }

    /// Whether a person may do this.
    pub(crate) fn allows(&self, person: &BareJid, declaration: &Declaration, target: &Target) -> bool {
        self.knows(person, target) && self.decide(person, declaration, target).allowed
    }

    /// The role this person has on the whole host.
    pub(crate) fn standing(&self, person: &BareJid) -> Option<Role> {
        self.rights().standing(person, Utc::now()).map(|(role, _)| role)
    }

    /// Whether this person may see anything of this target at all: a stranger may not. Who had a right on a
    /// machine that moved away may know where it went.
    pub fn knows(&self, person: &BareJid, target: &Target) -> bool {
        self.regarding(target, |on| self.rights().sees(person, &on, Utc::now()))
            || matches!(target, Target::Machine(name) if self.saw_it_go(person, name))
    }

    /// Whether this person may be told of all that happens to this target: of the whole host, who has a role
    /// on all of it.
    pub fn may_follow(&self, person: &BareJid, target: &Target) -> bool {
        match target {
            Target::Host => self.standing(person).is_some(),
            Target::Machine(_) => self.knows(person, target),
        }
    }

    /// Whether this person may give this command at all, to whatever target.
    pub fn permits(&self, person: &BareJid, declaration: &Declaration) -> bool {
        let (rights, now) = (self.rights(), Utc::now());
        let may = |on: Subject<'_>| rights.decide(person, declaration, &on, now).allowed;
        match declaration.object {
            Object::Host => may(Subject::Host),
            // Also of machines that are still to come.
            Object::Machine if may(Subject::Absent) => true,
            // By the configuration it is the same on each.
            Object::Machine => {
                rights.has_grants(person, now) && {
                    self.inner.machines.all().iter().any(|machine| may(Subject::Machine(&machine.record())))
                }
            }
        }
    }

    pub(crate) fn regarding<T>(&self, target: &Target, then: impl FnOnce(Subject<'_>) -> T) -> T {
        match target {
            Target::Host => then(Subject::Host),
            Target::Machine(name) => match self.inner.machines.named(name) {
                Some(machine) => then(Subject::Machine(&machine.record())),
                None => then(Subject::Absent),
            },
        }
    }
}

/// Takes away what was granted until now, when it is over. It does not count any more before that: this is
/// so that those who see nothing any more are told.
pub(super) async fn lapse(inner: Weak<Inner>) {
    loop {
        let Some(agent) = inner.upgrade().map(|inner| Agent { inner }) else { return };
        let (now, ruled) = (Utc::now(), Arc::clone(&agent.inner.ruled));
        if let Err(error) = agent.end_what_is_over(now).await {
            tracing::error!(%error, "what was granted for a while could not be taken away");
        }
        let next = agent.rights().grants.iter().filter_map(|grant| grant.until).filter(|at| *at > now).min();
        drop(agent);
        let wait = next.and_then(|next| (next - now).to_std().ok()).unwrap_or(LOOK).min(LOOK);
        let _ = tokio::time::timeout(wait, ruled.notified()).await;
    }
}

impl Agent {
    async fn end_what_is_over(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let _one = self.inner.ruling.lock().await;
        let rights = self.rights();
        let over = || rights.grants.iter().filter(|grant| !grant.is_live(now));
        if over().next().is_some() {
            // First, as it is over already, whether it can be noted or not.
            self.inner.publisher.rights_changed();
        }
        for grant in over() {
            let number = grant.number;
            self.inner.store.run(move |connection| grants::remove(connection, number)).await?;
            self.change_rights(|rights| rights.grants.retain(|grant| grant.number != number));
            let sentence = format!("The grant {number} to {} is over.", grant.whom);
            let happening = Happening { what: "host.grant-ended", sentence, ..Happening::default() };
            self.inner.publisher.note(happening).await?;
        }
        Ok(())
    }
}
