//! How a machine gets onto the networks of its host: by whoever starts it, since a driver knows of no network
//! but by name.

use std::{fmt, os::fd::OwnedFd, sync::Arc};

use async_trait::async_trait;

use super::DriverError;
use crate::{definition::Nic, machine::MachineId};

/// Connects NICs to networks.
#[async_trait]
pub trait Connect: Send + Sync {
    /// Makes the host's end of a NIC that is on a network: an interface called [`Nic::interface`], which is
    /// there as long as the descriptor is open. [`DriverError::Unfit`] when there is no such network, or it
    /// cannot be.
    async fn tap(&self, id: MachineId, nic: &Nic) -> Result<OwnedFd, DriverError>;

    /// Joins an interface to its network that the driver has made itself, where no descriptor can be handed
    /// on; its name is [`Nic::interface`], too.
    async fn join(&self, id: MachineId, nic: &Nic) -> Result<(), DriverError>;
}

/// The networks of a host; by default it has none.
#[derive(Clone, Default)]
pub struct Networks(Option<Arc<dyn Connect>>);

impl Networks {
    /// These.
    pub fn new(connect: Arc<dyn Connect>) -> Self {
        Self(Some(connect))
    }

    /// What connects to them.
    ///
    /// # Errors
    /// [`DriverError::Unfit`] when there are none.
    pub fn connect(&self) -> Result<&dyn Connect, DriverError> {
        self.0.as_deref().ok_or_else(|| DriverError::Unfit("this host has no networks".into()))
    }
}

impl fmt::Debug for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Networks" } else { "no Networks" })
    }
}
