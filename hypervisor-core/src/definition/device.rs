//! Devices of the host that a machine is given.

use serde::{Deserialize, Serialize};

/// A device of the host, by the name that it is mapped to there: a definition means the same on every host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its name.
    pub name: String,
}

impl Device {
    /// The most that a machine has: as many as there are ports for those on PCI.
    pub const MAX: usize = 8;

    /// Whether one may be called so: 1 to 16 of a-z, 0-9 and -, a letter first.
    pub fn is_name(name: &str) -> bool {
        super::is_device_name(name)
    }

    /// The one of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}
