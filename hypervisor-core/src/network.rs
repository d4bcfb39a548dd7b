//! Networks of a host: what they are, and how they come to be.
//!
//! What is wanted is said as a whole ([`Wanted`]) and made so as a whole ([`Maker::make`]): what is there
//! already stays, what is missing is made, what is ours and no longer wanted is taken away. So the same call
//! follows a change, a start of the agent, a restart of the host, and an end of the agent half-way.
//!
//! What is ours on a host, and nothing else is touched:
//!
//! | what | how it is known to be ours |
//! |---|---|
//! | bridges `sk-NAME`, VLANs `sv-NAME` | names, kinds, and their MAC, made of the name |
//! | interfaces `skXXXXXXXX` at the host's end of NICs | live and die with their QEMU |
//! | tables `inet skerry` and `bridge skerry` | their name ([`nft`]) |
//! | dnsmasq processes | the configuration on their command line lies in our folder ([`dnsmasq`]) |
//! | forwarding of interfaces | noted in our folder before it is switched on ([`forwarding`]) |
//!
//! It takes CAP_NET_ADMIN, and what dnsmasq needs. An agent that has it makes them itself; one that has not
//! asks `skerry-net` ([`service`]), a program that does this and nothing else.

mod definition;
pub mod dnsmasq;
mod forwarding;
mod found;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod ip;
mod make;
mod name;
pub mod nft;
mod ours;
pub mod service;
pub(crate) mod tap;
mod wanted;

use std::io;

pub use self::{
    definition::{Mode, NetworkDefinition, NetworkDefinitionError},
    found::{Address, From, Host},
    make::{Made, Maker},
    name::{NetworkName, NetworkNameError},
    wanted::{Interface, Network, Plug, Wanted, WantedError},
};

/// Why a network could not be made. The sentence is for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Something it needs is not there or not right: a person can mend it.
    #[error("{0}")]
    Unfit(String),
    /// What is asked for cannot be.
    #[error(transparent)]
    Wanted(#[from] WantedError),
    /// The system said no.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl NetworkError {
    /// The system said no while `what` was being done.
    pub(crate) fn system(what: impl Into<String>, source: io::Error) -> Self {
        Self::System { what: what.into(), source }
    }
}
