//! What becomes of a machine when nobody is there to say: whether it is started again after it ended by
//! itself, and its turn when the host starts.

use serde::{Deserialize, Serialize};

/// Whether a machine that ended without being asked to is started again. One that was shut down or
/// killed by somebody is not, whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// It is not.
    #[default]
    No,
    /// When it crashed: its process ended, its kernel panicked, its watchdog cut the power.
    OnFailure,
    /// Also when its guest shut itself down.
    Always,
}

impl Restart {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Restart::No => "no",
            Restart::OnFailure => "on-failure",
            Restart::Always => "always",
        }
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Its turn when the host starts, for a machine that starts with its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Startup {
    /// Its turn: the lowest is the first. Machines of one turn start together; those without one are the
    /// last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<u32>,
    /// How many seconds those of the next turn wait after it was started.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay_seconds: u32,
}

impl Startup {
    /// The longest wait: an hour.
    pub const DELAY_SECONDS_MAX: u32 = 3600;

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}
