//! What a machine or a host is now: in presence, and the item of the node [`ns::STATE`].

use xso::{AsXml, FromXml, error::Error};

use super::bounded;
use crate::ns;

/// A machine now.
#[derive(Clone, Debug, PartialEq, FromXml, AsXml)]
#[xml(namespace = ns::STATE, name = "machine", deserialize_callback = check_machine)]
pub struct Machine {
    /// Its identity, for life: names and addresses may change.
    #[xml(attribute)]
    pub id: String,
    /// Its name.
    #[xml(attribute)]
    pub name: String,
    /// Its state, in the words of docs/lifecycle.md.
    #[xml(attribute)]
    pub state: String,
    /// Grows by one with every change of state: of two payloads the one with the larger is newer.
    #[xml(attribute)]
    pub generation: u64,
    /// What it should be: running, stopped or paused.
    #[xml(attribute)]
    pub wanted: String,
    /// The address of its host.
    #[xml(attribute)]
    pub host: String,
    /// The driver that runs it.
    #[xml(attribute)]
    pub driver: String,
}

/// A host now.
#[derive(Clone, Debug, PartialEq, FromXml, AsXml)]
#[xml(namespace = ns::STATE, name = "host", deserialize_callback = check_host)]
pub struct Host {
    /// Its name.
    #[xml(attribute)]
    pub name: String,
    /// How many machines it has.
    #[xml(attribute)]
    pub machines: u32,
    /// How many of them run.
    #[xml(attribute)]
    pub running: u32,
    /// The version of its agent.
    #[xml(attribute)]
    pub version: String,
}

fn check_machine(machine: &mut Machine) -> Result<(), Error> {
    let Machine { id, name, state, wanted, host, driver, generation: _ } = machine;
    bounded([&*id, name, state, wanted, host, driver])
}

fn check_host(host: &mut Host) -> Result<(), Error> {
    bounded([&host.name, &host.version])
}
