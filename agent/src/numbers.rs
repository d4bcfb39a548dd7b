//! What the host and its machines use.
//!
//! Counters are read where they are ([`hypervisor_core::driver::Numbers`], [`HostMeter`]) when somebody
//! wants to know, and kept until the next look, so that there are rates: those who listen, ask, or want to
//! be told share the looks. Nobody looks at a machine that does not run.
//!
//! [`HostMeter`]: hypervisor_core::host::HostMeter

mod canvas;
pub(crate) mod graph;
pub(crate) mod history;
pub(crate) mod meter;
pub(crate) mod rates;
mod tally;

pub use self::tally::Tally;
