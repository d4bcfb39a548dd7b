//! Changing a machine while it runs.

use async_trait::async_trait;

use super::{DriverError, Launch};
use crate::definition::Live;

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Altered {
    /// It is so now.
    Now,
    /// The guest was asked for it and has not done it yet: what it has still.
    Asked(String),
    /// It takes another start, and why.
    NextStart(String),
}

/// Change a machine while it runs, where that can be done without its guest's harm.
#[async_trait]
pub trait Alter: Send + Sync {
    /// Makes one thing of a machine that runs as `launch` has it. Fine if it is so already.
    /// [`DriverError::NotRunning`] if it does not run; it then needs nothing but to be started.
    async fn alter(&self, launch: &Launch, what: Live) -> Result<Altered, DriverError>;
}
