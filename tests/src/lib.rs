//! The harness: what the tests of this member share.

pub mod golden;
pub mod transcript;
