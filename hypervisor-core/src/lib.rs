//! Machines and how they run. Knows no XMPP.
//!
//! [`lifecycle`] says what may happen to a machine, purely; [`driver`] is the contract of what makes
//! it happen; [`definition`] is what a machine is made of.

pub mod confine;
pub mod definition;
pub mod device;
pub mod driver;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod handover;
pub mod host;
pub mod image;
pub mod lifecycle;
pub mod machine;
pub mod network;

pub use skerry_vmm::kvm;
