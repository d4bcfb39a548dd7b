//! The machines of this host, by name and by identity.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use hypervisor_core::machine::{MachineId, MachineName};
use skerry_stanzas::{
    natural::Natural,
    refusal::{Reason, Refusal},
    words::nearest,
};

use crate::machine::Machine;

#[derive(Default)]
struct Index {
    /// In the order people look for them.
    names: BTreeMap<Natural, MachineId>,
    machines: HashMap<MachineId, Arc<Machine>>,
}

fn key(name: &MachineName) -> Natural {
    Natural(name.to_string())
}

/// The machines of this host.
#[derive(Default)]
pub(crate) struct Machines {
    index: RwLock<Index>,
}

impl Machines {
    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one under its name.
    pub(crate) fn insert(&self, machine: Arc<Machine>) {
        let mut index = self.write();
        index.names.insert(key(&machine.record().name), machine.card.id);
        index.machines.insert(machine.card.id, machine);
    }

    /// Takes one away.
    pub(crate) fn remove(&self, id: MachineId) {
        let mut index = self.write();
        index.names.retain(|_, other| *other != id);
        index.machines.remove(&id);
    }

    /// Puts one under another name.
    pub(crate) fn rename(&self, id: MachineId, from: &MachineName, to: &MachineName) {
        let mut index = self.write();
        index.names.remove(&key(from));
        index.names.insert(key(to), id);
    }

    /// Takes all away, which ends their tasks; guests run on.
    pub(crate) fn clear(&self) {
        let index = std::mem::take(&mut *self.write());
        drop(index);
    }

    /// The machine of this name.
    pub(crate) fn named(&self, name: &MachineName) -> Option<Arc<Machine>> {
        let index = self.read();
        index.names.get(&key(name)).and_then(|id| index.machines.get(id)).cloned()
    }

    /// The machine of this identity.
    pub(crate) fn get(&self, id: MachineId) -> Option<Arc<Machine>> {
        self.read().machines.get(&id).cloned()
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Machine>> {
        let index = self.read();
        index.names.values().filter_map(|id| index.machines.get(id)).cloned().collect()
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.read().names.keys().map(|name| name.0.clone()).collect()
    }

    /// The machine of this name, or a refusal that names the nearest one.
    pub(crate) fn find(&self, name: &MachineName) -> Result<Arc<Machine>, Refusal> {
        self.named(name).ok_or_else(|| {
            let names = self.names();
            let refusal = Refusal::new(Reason::NotFound, format!("There is no machine {name} on this host."));
            match nearest(name.as_str(), names.iter().map(String::as_str)) {
                Some(near) => refusal.hint(format!("Did you mean {near}?")),
                None => refusal.hint("\"list\" shows the machines there are."),
            }
        })
    }
}
