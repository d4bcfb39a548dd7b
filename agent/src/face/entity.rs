//! Who has presence, nodes and contacts, and from which address.

use hypervisor_core::machine::MachineId;
use xmpp_parsers::jid::Jid;

use crate::{address::Addresses, asked::Target};

/// The resource from which a machine's presence comes, on a component.
pub(crate) const MACHINE_RESOURCE: &str = "machine";
/// The resource from which the host's presence comes, on a component.
pub(crate) const HOST_RESOURCE: &str = "host";

/// The host or a machine. Unlike a [`Target`] it stays the same when a machine is renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    /// The host.
    Host,
    /// A machine.
    Machine(MachineId),
}

impl Entity {
    /// As it is stored.
    pub(crate) fn key(self) -> String {
        match self {
            Entity::Host => "host".to_owned(),
            Entity::Machine(id) => id.to_string(),
        }
    }

    /// From what was stored.
    pub(crate) fn from_key(key: &str) -> Option<Self> {
        match key {
            "host" => Some(Entity::Host),
            id => Some(Entity::Machine(MachineId(id.parse().ok()?))),
        }
    }
}

impl Addresses {
    /// Whether every entity has an address of its own.
    pub(crate) fn is_component(&self) -> bool {
        matches!(self, Addresses::Component { .. })
    }

    /// The address of a target.
    pub(crate) fn of(&self, target: &Target) -> Jid {
        match target {
            Target::Host => self.host(),
            Target::Machine(name) => self.machine(name),
        }
    }

    /// The full address from which a target's presence comes.
    pub(crate) fn presence_of(&self, target: &Target) -> Jid {
        let resource = match target {
            Target::Host => HOST_RESOURCE,
            Target::Machine(_) => MACHINE_RESOURCE,
        };
        match self {
            Addresses::Component { .. } => {
                let bare = self.of(target).into_bare();
                bare.with_resource_str(resource).map_or_else(|_| bare.clone().into(), Jid::from)
            }
            Addresses::Single { host } => host.clone(),
        }
    }

    /// Whether this address is on our domain, or our account.
    pub(crate) fn is_ours(&self, jid: &Jid) -> bool {
        match self {
            Addresses::Component { domain } => jid.domain() == domain.domain(),
            Addresses::Single { host } => jid.to_bare() == host.to_bare(),
        }
    }
}
