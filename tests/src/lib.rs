//! The harness: what the tests of this member share.

pub mod client;
pub mod component;
pub mod federation;
pub mod golden;
pub mod lab;
pub mod namespace;
pub mod raw;
pub mod requests;
pub mod terminal;
pub mod transcript;
pub mod vitals;
pub mod written;
