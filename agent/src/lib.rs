//! The daemon on every host: the host and its machines become XMPP contacts.
//!
//! The way of one request (docs/design/0001): stanza → [`skerry_link`] → router → a front door (ad-hoc
//! or chat) → [`asked::Asked`] → rights (a permit, or a refusal before anything is parsed) → dispatch
//! (parse, confirm, journal) → handler → machine task → driver → publisher → announce → answer
//! through the same door. Nothing flows back.

// The stage of the integration tests serves the tests in here as well.
#[cfg(test)]
extern crate self as skerry_agent;

pub mod address;
pub mod agent;
pub mod alerts;
mod approval;
pub mod asked;
pub mod config;
mod confirm;
pub mod console;
pub mod crash;
mod devices;
mod dispatch;
mod drivers;
pub mod face;
mod folders;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod handler;
mod hop;
mod images;
mod journal;
mod machine;
mod machines;
pub mod migration;
mod networks;
pub mod numbers;
pub mod pictures;
pub mod prometheus;
mod reference;
pub mod rights;
mod signing;
pub mod store;
mod together;
pub mod viewer;
