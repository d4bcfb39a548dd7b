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
    /// By how much its guest was slowed down at most, in percent, since it wrote faster than could be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowed_percent: Option<u8>,
    /// What is not as it was there. Sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Reply for Migrated {
    fn text(&self) -> String {
        let copies = match self.copies.as_slice() {
            [] => "no disk is copied".to_owned(),
            [one] => format!("its disk {one} is copied"),
            more => format!("its disks {} are copied", more.join(", ")),
        };
        let notes: String = self.notes.iter().map(|note| format!(" {note}")).collect();
        // A host that is an account has its machines named to it.
        let has_own = self.address != self.to;
        if self.planned {
            let address = match has_own {
                true => format!("its address there is {}", self.address),
                false => "that host is asked for it by its name".to_owned(),
            };
            return format!("{} can move to {}: {copies}; {address}.{notes}", self.name, self.to);
        }
        let address = if has_own { format!(": {}", self.address) } else { String::new() };
        let stood = self.downtime_ms.map_or(String::new(), |ms| format!(", and stood still for {ms} ms"));
        let sent = self.sent_bytes.map_or(String::new(), |bytes| {
            format!(" {} of its memory went along.", measure::size(bytes >> 20))
        });
        let slowed = self.slowed_percent.map_or(String::new(), |percent| {
            format!(" It wrote faster than could be sent, and was slowed by up to {percent} % meanwhile.")
        });
        format!("{} is on {} now{stood}{address}.{sent}{slowed}{notes}", self.name, self.to)
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
