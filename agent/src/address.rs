//! The addresses of the host and its machines, which the kind of link decides.

use hypervisor_core::machine::MachineName;
use skerry_stanzas::address::{self, AddressError};
use xmpp_parsers::jid::{BareJid, Jid};

use crate::{
    asked::Target,
    config::{LinkKind, LinkSection, RESOURCE},
};

/// The addresses of the host and its machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// The host is a domain, each machine an address of it.
    Component {
        /// The domain.
        domain: BareJid,
    },
    /// The host is an account; machines have no address of their own but are named under it.
    Single {
        /// The account, with the resource the host is reached at.
        host: Jid,
    },
}

impl Addresses {
    /// As the configuration says.
    pub fn new(link: &LinkSection) -> Self {
        match link.kind {
            LinkKind::Component => Self::Component { domain: link.jid.clone() },
            LinkKind::Single => Self::Single {
                // "skerry" is a valid resource, so this never falls back to the bare address.
                host: link
                    .jid
                    .with_resource_str(RESOURCE)
                    .map_or_else(|_| link.jid.clone().into(), Jid::from),
            },
        }
    }

    /// The kind of link.
    pub fn kind(&self) -> LinkKind {
        match self {
            Self::Component { .. } => LinkKind::Component,
            Self::Single { .. } => LinkKind::Single,
        }
    }

    /// The address the host is reached at: a domain, or the account's full address.
    pub fn host(&self) -> Jid {
        match self {
            Self::Component { domain } => domain.clone().into(),
            Self::Single { host } => host.clone(),
        }
    }

    /// The address a machine is reached at: its own on a component, the host's on a `single` link.
    pub fn machine(&self, name: &MachineName) -> Jid {
        match self {
            // Names that no address can hold are refused when they are given.
            Self::Component { domain } => {
                address::machine_jid(name.as_str(), domain).unwrap_or_else(|_| domain.clone()).into()
            }
            Self::Single { host } => host.clone(),
        }
    }

    /// Whether a machine of this name would have an address, on a component. Asked on every kind of
    /// link: a name must not stop its host from becoming a component, nor its machine from moving to one.
    ///
    /// # Errors
    /// Why not.
    pub fn hold(&self, name: &MachineName) -> Result<(), AddressError> {
        address::machine_jid(name.as_str(), &self.host().into_bare()).map(drop)
    }

    /// Whom a stanza to this address is for; `None` when it is none of ours, or no machine could
    /// ever be called so. On a `single` link every address of ours is the host's.
    pub fn target_of(&self, to: &Jid) -> Option<Target> {
        match self {
            Self::Component { domain } if to.domain() == domain.domain() => match to.node() {
                None => Some(Target::Host),
                Some(_) => {
                    address::name_of(to).and_then(|name| MachineName::new(name).ok()).map(Target::Machine)
                }
            },
            Self::Single { host } if to.to_bare() == host.to_bare() => Some(Target::Host),
            Self::Component { .. } | Self::Single { .. } => None,
        }
    }
}
