//! Machines that are on their way to this host: their NICs have their places on its networks before they are
//! in its list, so that a guest finds the rules, and its address, when it goes on here.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use hypervisor_core::{
    definition::{Definition, Nic, Rule},
    machine::MachineId,
    network::NetworkName,
};
use skerry_stanzas::payload::migration::OfferedAddress;

use super::Networks;

/// One of them.
struct Coming {
    name: String,
    nics: Vec<Nic>,
    rules: Vec<Rule>,
    had: Vec<OfferedAddress>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Comings(Mutex<HashMap<MachineId, Coming>>);

impl Comings {
    fn all(&self) -> MutexGuard<'_, HashMap<MachineId, Coming>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The NICs of those that are nowhere else.
    pub(super) fn nics(&self, listed: impl Fn(MachineId) -> bool) -> Vec<(String, MachineId, Nic)> {
        let all = self.all();
        let coming = all.iter().filter(|(id, _)| !listed(**id));
        coming.flat_map(|(id, one)| one.nics.iter().map(|nic| (one.name.clone(), *id, nic.clone()))).collect()
    }

    pub(super) fn rules(&self, id: MachineId) -> Vec<Rule> {
        self.all().get(&id).map(|one| one.rules.clone()).unwrap_or_default()
    }

    /// The address that a NIC had where it comes from.
    pub(super) fn had(&self, id: MachineId, nic: &str, network: &NetworkName) -> Option<Ipv4Addr> {
        let all = self.all();
        let mut had = all.get(&id)?.had.iter();
        had.find(|had| had.nic == nic && had.network == network.as_str()).map(|had| had.address)
    }
}

/// A machine is on its way as long as this is there.
pub(crate) struct Expected {
    networks: Networks,
    id: MachineId,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.networks.0.coming.all().remove(&self.id);
        // One that did not come after all has no place any more.
        self.networks.0.changed.notify_one();
    }
}

impl Networks {
    /// Has places for a machine that is on its way, and for the addresses it had.
    pub(crate) fn expect(
        &self,
        id: MachineId,
        name: &str,
        definition: &Definition,
        had: &[OfferedAddress],
    ) -> Expected {
        let coming = Coming {
            name: name.to_owned(),
            nics: definition.nics.clone(),
            rules: definition.firewall.clone(),
            had: had.to_vec(),
        };
        self.0.coming.all().insert(id, coming);
        Expected { networks: self.clone(), id }
    }

    /// The addresses that were lent to a machine.
    pub(crate) fn lent(&self, id: MachineId, nics: &[Nic]) -> Vec<OfferedAddress> {
        let (wanted, _) = self.last();
        let of = |nic: &Nic| {
            let interface = nic.interface(id);
            let plug = wanted.plugs.iter().find(|plug| plug.interface.as_str() == interface)?;
            let (nic, network) = (nic.name.clone(), plug.network.to_string());
            Some(OfferedAddress { nic, network, address: plug.address? })
        };
        nics.iter().filter_map(of).collect()
    }
}
