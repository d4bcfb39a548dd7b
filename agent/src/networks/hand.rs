//! Who makes the networks: this agent itself, `skerry-net`, or nobody, where machines are pretended as well.

use std::{fs::File, os::fd::OwnedFd, path::Path};

use hypervisor_core::network::{Host, Interface, Made, Maker, NetworkError, Wanted, service::Client};

use crate::{
    config::{By, Config},
    crash,
};

/// Where `skerry-net` listens, unless said otherwise.
const HELPER: &str = "/run/skerry-net/socket";

/// Who makes the networks.
pub(super) enum Hand {
    /// This agent.
    Own(Maker),
    /// Somebody with the rights.
    Helper(Client),
    /// Nobody: nothing happens on the host.
    Pretended,
}

impl Hand {
    /// As it is configured; else whoever can.
    pub(super) fn of(config: &Config) -> Self {
        let helper = config.network.helper.as_deref().unwrap_or(Path::new(HELPER));
        let pretends = config.drivers.enabled.iter().all(|driver| driver == "fake");
        let by = config.network.by.unwrap_or(match () {
            () if pretends => By::Nobody,
            () if config.network.helper.is_some() || helper.exists() => By::Helper,
            () => By::Agent,
        });
        match by {
            By::Agent => Hand::Own(Maker::new(config.state.join("networks"), crash::point)),
            By::Helper => Hand::Helper(Client::new(helper)),
            By::Nobody => Hand::Pretended,
        }
    }

    pub(super) async fn make(&self, wanted: Wanted) -> Result<Made, NetworkError> {
        match self {
            Hand::Own(maker) => maker.make(wanted).await,
            Hand::Helper(client) => client.make(wanted).await,
            Hand::Pretended => {
                wanted.check()?;
                Ok(Made::default())
            }
        }
    }

    pub(super) async fn tap(&self, interface: &Interface) -> Result<OwnedFd, NetworkError> {
        match self {
            Hand::Own(maker) => maker.tap(interface).await,
            Hand::Helper(client) => client.tap(interface).await,
            Hand::Pretended => {
                let nothing = File::open("/dev/null").map(OwnedFd::from);
                nothing.map_err(|source| NetworkError::System { what: "pretending".into(), source })
            }
        }
    }

    pub(super) async fn plug(&self, interface: &Interface) -> Result<(), NetworkError> {
        match self {
            Hand::Own(maker) => maker.plug(interface).await,
            Hand::Helper(client) => client.plug(interface).await,
            Hand::Pretended => Ok(()),
        }
    }

    pub(super) async fn look(&self) -> Result<Host, NetworkError> {
        match self {
            Hand::Own(maker) => maker.look().await,
            Hand::Helper(client) => client.look().await,
            Hand::Pretended => Ok(Host::default()),
        }
    }
}
