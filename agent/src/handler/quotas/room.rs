//! Whether there is room in a quota, and holding it while something is made: two at once never have together
//! what only one of them may.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use hypervisor_core::{definition::Definition, machine::MachineId};
use skerry_stanzas::refusal::{Reason, Refusal};
use uuid::Uuid;
use xmpp_parsers::jid::BareJid;

use crate::{
    agent::Agent,
    dispatch::Job,
    handler::{disks::files, snapshots::notes::Notes},
    machine::{Card, Machine},
    rights::quota::{Amount, Kind, Limits, exceeded, used},
};

/// What a command takes of somebody's.
#[derive(Clone, Debug)]
pub(crate) struct Takes {
    /// Whose machine it is, or will be.
    pub(crate) owner: BareJid,
    /// The machine it is for, also one that is still to be made.
    pub(crate) machine: MachineId,
    pub(crate) amount: Amount,
}

/// What is held for a machine until it is seen to have it.
#[derive(Clone, Debug)]
struct Held {
    owner: BareJid,
    machine: MachineId,
    /// What the machine had.
    had: Amount,
    takes: Amount,
}

/// All that is held.
#[derive(Default)]
pub(crate) struct Rooms {
    /// Held while is looked whether there is room.
    looking: tokio::sync::Mutex<()>,
    held: Arc<Mutex<BTreeMap<Uuid, Held>>>,
}

/// Room in a quota, as long as this lives.
pub(crate) struct Room {
    key: Uuid,
    held: Arc<Mutex<BTreeMap<Uuid, Held>>>,
    limits: Limits,
    /// What its owner has with it.
    has: Amount,
}

impl Room {
    /// How much is used now, behind an answer.
    pub(crate) fn said(&self) -> String {
        format!("\nThat is {}.", used(&self.limits, self.has))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// What a machine of this definition takes, without its disks.
pub(crate) fn of_definition(definition: &Definition) -> Amount {
    Amount::default()
        .with(Kind::Vcpus, definition.vcpus.into())
        .with(Kind::Memory, definition.memory_mib.saturating_mul(1 << 20))
}

impl Agent {
    /// Whether anybody is limited at all.
    pub(crate) fn has_quotas(&self) -> bool {
        !self.rights().quotas.is_empty()
    }

    /// Whose a machine is: who made it.
    pub(crate) fn owner_of(&self, machine: &Machine) -> Option<BareJid> {
        BareJid::new(&machine.record().created_by).ok()
    }

    /// What a command takes for the machine it is about.
    pub(crate) fn for_machine(&self, job: &Job, amount: Amount) -> Result<Option<Takes>, Refusal> {
        let machine = job.machine()?;
        Ok(self.owner_of(machine).map(|owner| Takes { owner, machine: machine.card.id, amount }))
    }

    /// What a command takes that makes a machine.
    pub(crate) fn for_new(&self, job: &Job, amount: Amount) -> Option<Takes> {
        let amount = amount.with(Kind::Machines, 1);
        Some(Takes { owner: job.permit.person(), machine: MachineId(job.id), amount })
    }

    /// Room for what a command takes; none is needed where nothing limits it.
    pub(crate) async fn room(&self, takes: Option<Takes>) -> Result<Option<Room>, Refusal> {
        match takes {
            Some(takes) => self.hold(takes).await,
            None => Ok(None),
        }
    }

    /// Holds room.
    ///
    /// # Errors
    /// [`Reason::Limit`]: there is none, with how much is used and left.
    pub(crate) async fn hold(&self, takes: Takes) -> Result<Option<Room>, Refusal> {
        let rights = self.rights();
        let quota = rights.quota_of(&takes.owner).filter(|_| takes.amount != Amount::default());
        let Some(quota) = quota else { return Ok(None) };
        let rooms = &self.inner.rooms;
        let _one = rooms.looking.lock().await;
        let has = self.has(&takes.owner).await;
        let over = exceeded(&quota.limits, has, takes.amount);
        if !over.is_empty() {
            let text = format!("That is more than {} may have here: {}.", takes.owner, over.join("; "));
            return Err(Refusal::new(Reason::Limit, text)
                .hint("\"quota list\" shows what is used. An admin of this host can raise it."));
        }
        let key = Uuid::new_v4();
        let had = match self.inner.machines.get(takes.machine) {
            Some(machine) => self.taken_by(&machine).await,
            None => Amount::default(),
        };
        let room = Room {
            key,
            held: Arc::clone(&rooms.held),
            limits: quota.limits.clone(),
            has: has.plus(takes.amount),
        };
        let held = Held { owner: takes.owner, machine: takes.machine, had, takes: takes.amount };
        rooms.held.lock().unwrap_or_else(PoisonError::into_inner).insert(key, held);
        Ok(Some(room))
    }

    /// What a person has, with what is being made for them.
    pub(crate) async fn has(&self, person: &BareJid) -> Amount {
        // First: what ends meanwhile counts as what is held.
        let mut held: BTreeMap<MachineId, (Amount, Amount)> = BTreeMap::new();
        for one in self.inner.rooms.held.lock().unwrap_or_else(PoisonError::into_inner).values() {
            if one.owner == *person {
                let (_, takes) = held.entry(one.machine).or_insert((one.had, Amount::default()));
                *takes = takes.plus(one.takes);
            }
        }
        let mut has = held.values().fold(Amount::default(), |has, (had, takes)| has.plus(*had).plus(*takes));
        for machine in self.inner.machines.all() {
            if !held.contains_key(&machine.card.id) && self.owner_of(&machine).as_ref() == Some(person) {
                has = has.plus(self.taken_by(&machine).await);
            }
        }
        has
    }

    /// What a machine takes. A disk whose size cannot be read counts nothing.
    async fn taken_by(&self, machine: &Machine) -> Amount {
        let record = machine.record();
        let snapshots = Notes::read(&machine.card.folder).snapshots.len() + record.layers.snapshots.len();
        of_definition(&record.definition)
            .with(Kind::Machines, 1)
            .with(Kind::Disk, disks(&machine.card).await)
            .with(Kind::Snapshots, snapshots as u64)
    }
}

/// As large as its disks are for the guest, those that are detached as well.
async fn disks(card: &Card) -> u64 {
    let Some(driver) = card.driver.disks() else { return 0 };
    let record = card.record();
    let seen = driver.list(&card.launch()).await.unwrap_or_default();
    let mut bytes: u64 = 0;
    for disk in record.definition.disks.iter().filter(|disk| !disk.read_only) {
        let file = seen.iter().find(|seen| seen.name == disk.name).and_then(|seen| seen.file.as_ref());
        bytes = bytes.saturating_add(file.map_or(0, |file| file.size_bytes));
    }
    for one in files::detached(&card.folder, &record) {
        let file = driver.file(&one.path, one.format).await;
        bytes = bytes.saturating_add(file.map_or(0, |file| file.size_bytes));
    }
    bytes
}

/// How large one of a machine's disks is.
pub(crate) async fn size_of(card: &Card, name: &str) -> u64 {
    let Some(driver) = card.driver.disks() else { return 0 };
    let seen = driver.list(&card.launch()).await.unwrap_or_default();
    let file = seen.iter().find(|seen| seen.name == name).and_then(|seen| seen.file.as_ref());
    file.map_or(0, |file| file.size_bytes)
}

/// How large all disks of a machine are, for one that is to be like it.
pub(crate) async fn all_disks(card: &Card) -> u64 {
    let Some(driver) = card.driver.disks() else { return 0 };
    let own: Vec<String> = card
        .record()
        .definition
        .disks
        .iter()
        .filter(|disk| !disk.read_only)
        .map(|disk| disk.name.clone())
        .collect();
    let seen = driver.list(&card.launch()).await.unwrap_or_default();
    let of = seen.iter().filter(|seen| own.contains(&seen.name)).filter_map(|seen| seen.file.as_ref());
    of.map(|file| file.size_bytes).sum()
}
