//! The link against a server that does what it is told.
#![allow(clippy::unwrap_used, clippy::panic)]

mod account;
mod component;
mod stage;
