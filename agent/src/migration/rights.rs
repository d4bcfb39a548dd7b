//! The rights on a machine, which go where it goes: those that name it, and no others.
//!
//! What counts is what the source had in the instant it handed the machine over: written down with that, and
//! said with it. At the destination they are in force from the instant in which it takes the machine, and
//! written down with that.

use chrono::{DateTime, Utc};
use hypervisor_core::machine::MachineId;
use rusqlite::Connection;
use skerry_stanzas::payload::migration::{Handed, OfferedGrant};
use uuid::Uuid;
use xmpp_parsers::jid::{BareJid, Jid};

use super::{Agent, journal::Row, passage::Passage};
use crate::{
    rights::{
        Whom,
        grant::{Grant, Scope},
        role::{self, Defined},
    },
    store::{StoreError, grants},
};

/// As much of them goes along, in bytes.
const BYTES_MAX: usize = 32 * 1024;

/// Somebody who had a right on a machine when it went, and until when.
pub(crate) type Saw = (Whom, Option<DateTime<Utc>>);

fn names(grant: &Grant, id: MachineId) -> bool {
    grant.on.contains(&Scope::Machine(id))
}

/// What names a machine, as it goes along. A role of this host is the permissions it holds here: another host
/// may have none of that name, or another one.
fn named(grants: &[Grant], defined: &Defined, id: MachineId) -> Vec<OfferedGrant> {
    let now = Utc::now();
    let goes = grants.iter().filter(|grant| names(grant, id) && grant.is_live(now));
    goes.map(|grant| OfferedGrant {
        to: grant.whom.to_string(),
        what: role::elsewhere(&grant.what, defined),
        forbids: grant.forbids,
        until: grant.until,
        because: grant.because.clone(),
        by: grant.by.to_string(),
        at: grant.at,
    })
    .collect()
}

/// What goes along with a machine now.
pub(super) fn of(connection: &Connection, id: MachineId) -> Result<Vec<OfferedGrant>, StoreError> {
    let (grants, defined) = grants::all(connection)?;
    let of_here = |grant: &&Grant| matches!(grant.whom, Whom::Group(_)) && names(grant, id);
    if grants.iter().any(|grant| of_here(&grant)) {
        return Err(StoreError::TooMuch(
            "a group of this host's contacts has rights on it, which no other host knows",
        ));
    }
    let goes = named(&grants, &defined, id);
    let bytes = serde_json::to_string(&goes).map_or(usize::MAX, |text| text.len());
    match bytes <= BYTES_MAX {
        true => Ok(goes),
        false => Err(StoreError::TooMuch("more is granted on it than can go along")),
    }
}

/// Who has a right on a machine, to be told where it went.
pub(super) fn saw(connection: &Connection, id: MachineId) -> Result<Vec<Saw>, StoreError> {
    let (grants, _) = grants::all(connection)?;
    let saw = grants.into_iter().filter(|grant| !grant.forbids && names(grant, id));
    Ok(saw.map(|grant| (grant.whom, grant.until)).collect())
}

/// What came along, as this host has it; what makes no sense here gives nobody anything.
fn read(offered: &OfferedGrant, id: MachineId, from: &Jid) -> Option<Grant> {
    let what = role::from_elsewhere(&offered.what);
    Some(Grant {
        number: 0,
        whom: Whom::read(&offered.to).filter(|whom| !matches!(whom, Whom::Group(_)))?,
        what: Some(what).filter(|what| !what.is_empty())?,
        on: vec![Scope::Machine(id)],
        forbids: offered.forbids,
        until: offered.until,
        because: offered.because.clone(),
        by: Whom::read(&offered.by)?,
        at: offered.at,
        entry: Uuid::nil(),
        from: Some(from.to_bare().to_string()),
        set: None,
    })
}

/// Writes down what came along with a machine. Once more, it is the same.
fn come(connection: &Connection, row: &Row) -> Result<Vec<Grant>, StoreError> {
    grants::leave(connection, row.machine)?;
    let offered = &row.about.offer.grants;
    let grants = offered.iter().filter_map(|offered| read(offered, row.machine, &row.peer));
    grants.map(|grant| Ok(Grant { number: grants::insert(connection, &grant)?, ..grant })).collect()
}

impl Passage {
    /// The source hands it over: with what is granted on it now.
    pub(super) async fn hands_over(&mut self, row: &mut Row) -> Result<(), StoreError> {
        let _one = self.agent.inner.ruling.lock().await;
        let mut written = row.clone();
        let store = &self.agent.inner.store;
        *row = store
            .run(move |connection| {
                written.about.offer.grants = of(connection, written.machine)?;
                super::journal::put(connection, &written)?;
                Ok(written)
            })
            .await?;
        // From here on nothing more is granted on it here.
        if let Some(machine) = &self.machine {
            machine.card.hand_over();
        }
        Ok(())
    }

    /// What goes along with "commit".
    pub(super) fn commit_content(&self) -> String {
        handed(&self.row)
    }

    /// What came along with it.
    pub(super) fn is_handed(&mut self, content: &str) {
        if let Ok(handed) = serde_json::from_str::<Handed>(content) {
            self.row.about.offer.grants = handed.grants;
        }
    }

    /// The destination takes it, with what is granted on it.
    pub(super) async fn takes(&mut self, row: &Row) -> Result<(), StoreError> {
        let inner = &self.agent.inner;
        let _one = inner.ruling.lock().await;
        let (stored, id) = (row.clone(), row.machine);
        let came = inner.store.run(move |connection| {
            super::journal::put(connection, &stored)?;
            come(connection, &stored)
        });
        let came = came.await?;
        self.agent.change_rights(|rights| {
            rights.leave(id);
            rights.grants.extend(came);
        });
        if let Some(machine) = &self.machine {
            machine.card.take_over();
        }
        inner.publisher.rights_changed();
        Ok(())
    }
}

/// What goes along with "commit", from what is written down.
pub(super) fn handed(row: &Row) -> String {
    serde_json::to_string(&Handed { grants: row.about.offer.grants.clone() }).unwrap_or_default()
}

impl Agent {
    /// Whether a person had a right on the machine that had this name here, and moved away.
    pub(crate) fn saw_it_go(&self, person: &BareJid, name: &hypervisor_core::machine::MachineName) -> bool {
        let now = Utc::now();
        let saw = |(whom, until): &Saw| whom.fits(person) && until.is_none_or(|until| now < until);
        self.moved_away(name).is_some() && self.inner.passages.saw(name).iter().any(saw)
    }
}
