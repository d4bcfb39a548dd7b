//! Whether a machine's NICs can be where its definition wants them.

use hypervisor_core::{
    definition::{Definition, Network},
    machine::MachineId,
};
use skerry_stanzas::refusal::{Reason, Refusal};

use crate::{agent::Agent, handler::network::no_network};

impl Agent {
    /// Refuses NICs on networks that are not there, and addresses that are another's.
    pub(crate) async fn check_nics(&self, id: MachineId, definition: &Definition) -> Result<(), Refusal> {
        let wanted = definition.nics.iter().filter_map(|nic| match &nic.network {
            Network::Named { name, address } => Some((nic, name, *address)),
            Network::User { .. } | Network::Bridge { .. } => None,
        });
        let there = self.inner.networks.all().await?;
        for (nic, name, address) in wanted {
            let Some(network) = there.iter().find(|network| network.name == *name) else {
                let names: Vec<String> = there.iter().map(|network| network.name.to_string()).collect();
                return Err(no_network(name.as_str(), "nic", &names));
            };
            let users = self.inner.networks.users(name);
            let others = || users.iter().filter(|(_, of, other)| (*of, &other.name) != (id, &nic.name));
            if let Some((machine, ..)) = others().find(|(_, of, other)| other.address(*of) == nic.address(id))
            {
                let text = format!("The MAC {} is {machine}'s on the network {name}.", nic.address(id));
                return Err(Refusal::new(Reason::Conflict, text).field("nic"));
            }
            let Some(address) = address else { continue };
            let refused = |why: String| Refusal::new(Reason::Conflict, why).field("nic");
            self.inner.networks.usable(&network.definition, address).map_err(|why| {
                refused(format!("The address {address} cannot be a guest's on {name}: {why}."))
            })?;
            let fixed = |network: &Network| match network {
                Network::Named { address: other, .. } => *other == Some(address),
                Network::User { .. } | Network::Bridge { .. } => false,
            };
            let (last, _) = self.inner.networks.last();
            let has = |interface: &str| {
                let mut plugs = last.plugs.iter();
                plugs.any(|plug| plug.interface.as_str() == interface && plug.address == Some(address))
            };
            let holder = others().find(|(_, of, other)| fixed(&other.network) || has(&other.interface(*of)));
            if let Some((machine, ..)) = holder {
                return Err(refused(format!("The address {address} is {machine}'s.")));
            }
        }
        Ok(())
    }
}
