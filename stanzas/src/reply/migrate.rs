//! What moving machines answers.

use super::{Reply, measure};

/// A machine that was moved, or would be.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Migrated {
    /// The machine.
    pub name: String,
    /// The host it is on now, or would be.
    pub to: String,
    /// Its address there.
    pub address: String,
    /// Nothing was done yet.
    pub planned: bool,
    /// Disks that are copied.
    pub copies: Vec<String>,
    /// How long it stood still, in milliseconds, from the moment its memory was whole until it was the other
    /// host's, as seen from here.
    pub downtime_ms: Option<u64>,
    /// What was sent of its memory, in bytes.
    pub sent_bytes: Option<u64>,
}

impl Reply for Migrated {
    fn text(&self) -> String {
        let copies = match self.copies.as_slice() {
            [] => "no disk is copied".to_owned(),
            [one] => format!("its disk {one} is copied"),
            more => format!("its disks {} are copied", more.join(", ")),
        };
        if self.planned {
            return format!(
                "{} can move to {}: {copies}; its address there is {}.",
                self.name, self.to, self.address
            );
        }
        let stood = self.downtime_ms.map_or(String::new(), |ms| format!(", and stood still for {ms} ms"));
        let sent = self.sent_bytes.map_or(String::new(), |bytes| {
            format!(" {} of its memory went along.", measure::size(bytes >> 20))
        });
        format!("{} is on {} now{stood}: {}.{sent}", self.name, self.to, self.address)
    }
}

/// What became of the machines of a host.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evacuated {
    /// Each of them.
    pub machines: Vec<EvacuatedLine>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EvacuatedLine {
    /// The machine.
    pub name: String,
    /// The host it is on now.
    pub to: Option<String>,
    /// Why it is still here.
    pub why_not: Option<String>,
}

impl Reply for Evacuated {
    fn text(&self) -> String {
        let lines = self.machines.iter().map(|line| match (&line.to, &line.why_not) {
            (Some(to), _) => format!("{} is on {to} now.", line.name),
            (None, why) => {
                format!("{} stayed: {}", line.name, why.as_deref().unwrap_or("it could not be moved."))
            }
        });
        let lines: Vec<String> = lines.collect();
        if lines.is_empty() { "There is no machine to move.".into() } else { lines.join("\n") }
    }
}
