//! How a machine is told what to do: words, one to a line, over a Unix socket.
//!
//! Who connects is its own user or root. Each [`Ask`] is answered by one [`Said`]; what happens unasked is
//! said to all who are connected. A line that is none ends the connection, and nothing else.

use serde::{Deserialize, Serialize};

/// The version of these words; the first that is said on a connection.
pub const VERSION: u32 = 1;
/// Bytes of a line.
pub const LINE_MAX: usize = 64 << 10;

/// What a machine is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// What it does.
    Status,
    /// To hold still.
    Hold,
    /// To run on.
    Go,
    /// To press its power button.
    Press,
    /// To begin anew, at once.
    Reset,
    /// To end, at once.
    End,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Said {
    /// The first word of a connection.
    Hello {
        /// [`VERSION`].
        version: u32,
    },
    /// It is done.
    Done,
    /// It cannot be done.
    Refused {
        /// Why.
        why: String,
    },
    /// What it does.
    Status {
        /// Whether it runs, and is not held still.
        runs: bool,
    },
    /// Unasked: what the guest did.
    Happened {
        /// What.
        what: Happened,
    },
}

/// What a guest does unasked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Happened {
    /// It shut down; the machine ends.
    Halted,
    /// It began anew.
    Rebooted,
    /// Its kernel panicked; the machine ends.
    Panicked,
    /// It cannot go on; the machine ends.
    Crashed {
        /// Why.
        why: String,
    },
}
