//! What the commands of a machine answer, and lists of machines.

use chrono::{DateTime, Utc};

use super::{GuestAddress, GuestFacts, Reply, measure};
use crate::safe::{safe_line, safe_text};

reply! {
    /// A machine after a command that changes it.
    Changed {
        /// Its name.
        name: String,
        /// Its address.
        jid: String,
        /// Its state now (see docs/lifecycle.md).
        state: String,
        /// Grows by one with every change of state.
        generation: u64,
        /// What happened, in a sentence.
        sentence: String,
    }
}
reply! {
    /// One line of a list of machines.
    MachineLine {
        /// Its name.
        name: String,
        /// Its address.
        jid: String,
        /// The host's address.
        host: String,
        /// Its state.
        state: String,
        /// The driver that runs it.
        driver: String,
        /// Virtual processors.
        vcpus: u32,
        /// Memory in MiB.
        memory_mib: u64,
        /// Its labels.
        labels: Vec<String>,
    }
}
reply! {
    /// Machines.
    MachineList {
        /// One line a machine, by name.
        machines: Vec<MachineLine>,
    }
}
reply! {
    /// What could be taken over, or what was.
    Adoption {
        /// The machine that was taken over; none when they are only listed.
        adopted: Option<String>,
        /// The machine that was taken over, or those that could be.
        machines: Vec<MachineLine>,
    }
}
reply! {
    /// How a machine is.
    MachineStatus {
        /// Its name.
        name: String,
        /// Its address.
        jid: String,
        /// The host's address.
        host: String,
        /// Its state.
        state: String,
        /// The state in a sentence, with its reason.
        sentence: String,
        /// What it should be: running, stopped or paused.
        wanted: String,
        /// Grows by one with every change of state.
        generation: u64,
        /// The driver that runs it.
        driver: String,
        /// Virtual processors.
        vcpus: u32,
        /// Memory in MiB.
        memory_mib: u64,
        /// Since when it runs.
        running_since: Option<DateTime<Utc>>,
        /// Processor time used since it started, in seconds.
        cpu_seconds: Option<f64>,
        /// Its labels.
        labels: Vec<String>,
        /// Starts with its host.
        autostart: bool,
        /// Refuses kill, reset and delete.
        protected: bool,
        /// A note for people.
        note: Option<String>,
        /// What is known of its guest, while it runs and has a port for a guest agent.
        #[serde(default)]
        guest: Option<GuestFacts>,
        /// The addresses it uses, as far as they are seen.
        #[serde(default)]
        addresses: Vec<GuestAddress>,
        /// The NICs whose cables are out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        links_down: Vec<String>,
    }
}
reply! {
    /// One change of a definition.
    Redefined {
        /// What, in words.
        what: String,
        /// When it takes effect: now, or at the next start.
        effective: String,
    }
}
reply! {
    /// A definition a machine had.
    DefinitionLine {
        /// Its number.
        number: u64,
        /// Since when it is, or was, the machine's.
        at: DateTime<Utc>,
        /// Who made it so.
        who: String,
        /// What was changed then.
        what: String,
    }
}
reply! {
    /// The definitions a machine had, oldest first; the last is the one it has.
    DefinitionHistory {
        /// Its name.
        name: String,
        /// The definitions.
        definitions: Vec<DefinitionLine>,
    }
}
reply! {
    /// The definition of a machine.
    Defined {
        /// Its name.
        name: String,
        /// What was changed; empty when nothing was.
        changed: Vec<Redefined>,
        /// The definition as TOML.
        toml: String,
        /// The same for programs, each value with its kind, under the same names.
        #[serde(default)]
        definition: serde_json::Value,
    }
}
reply! {
    /// One entry of the journal, for people.
    LogLine {
        /// When it was accepted.
        at: DateTime<Utc>,
        /// Who asked.
        who: String,
        /// What, as people say it: snapshot take.
        what: String,
        /// How it ended; empty while it is open.
        outcome: String,
    }
}
reply! {
    /// Entries of the journal, oldest first.
    LogLines {
        /// The entries.
        entries: Vec<LogLine>,
        /// What is older was put away, and is found in the audit trail alone.
        #[serde(default)]
        older: bool,
    }
}
reply! {
    /// Lines of a serial console, as the guest wrote them, made safe to show.
    ConsoleOutput {
        /// The machine.
        name: String,
        /// The lines, oldest first.
        lines: Vec<String>,
    }
}
reply! {
    /// A machine went to the trash.
    Removed {
        /// Its name.
        name: String,
        /// When it is gone for good.
        purged_at: DateTime<Utc>,
    }
}

impl Reply for Changed {
    fn text(&self) -> String {
        self.sentence.clone()
    }
}

impl Reply for MachineList {
    fn text(&self) -> String {
        if self.machines.is_empty() {
            return "No machines to list. Make one: create NAME IMAGE (see: image list)".into();
        }
        let running = self.machines.iter().filter(|line| line.state == "running").count();
        let count = measure::count(self.machines.len() as u64, "machine");
        format!("{count}, {running} running:{}", in_lines(&self.machines))
    }
}

impl Reply for Adoption {
    fn text(&self) -> String {
        let lines = in_lines(&self.machines);
        match (&self.adopted, self.machines.len()) {
            (Some(name), _) => format!("{name} was taken over as it was.{lines}"),
            (None, 0) => "Nothing runs here that could be taken over.".into(),
            (None, count) => format!(
                "{} could be taken over, with: adopt NAME{lines}",
                measure::count(count as u64, "machine")
            ),
        }
    }
}

/// A line each, on lines of their own.
fn in_lines(machines: &[MachineLine]) -> String {
    let mut text = String::new();
    for line in machines {
        let MachineLine { name, state, driver, .. } = line;
        let processors = measure::count(line.vcpus, "processor");
        let memory = measure::size(line.memory_mib);
        text.push_str(&format!("\n- {name}: {state}, {processors}, {memory}, {driver}"));
        if !line.labels.is_empty() {
            text.push_str(&format!(" ({})", line.labels.join(", ")));
        }
    }
    text
}

impl Reply for MachineStatus {
    fn text(&self) -> String {
        let mut lines =
            vec![format!("*{}*, {} on {}", self.name, self.driver, self.host), self.sentence.clone()];
        if let Some(since) = self.running_since {
            let used = self.cpu_seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
            let used =
                used.map(|seconds| format!(", processor time used: {}", measure::duration(seconds as u64)));
            lines.push(format!("Up since {}{}", measure::moment(since), used.unwrap_or_default()));
        }
        lines.push(format!(
            "{}, {}",
            measure::count(self.vcpus, "processor"),
            measure::size(self.memory_mib)
        ));
        if self.wanted != self.state {
            lines.push(format!("It should be {}", self.wanted));
        }
        lines.push(format!(
            "Starts with its host: {}. Protected: {}",
            measure::yes_no(self.autostart),
            measure::yes_no(self.protected)
        ));
        if !self.labels.is_empty() {
            lines.push(format!("Labels: {}", self.labels.join(" ")));
        }
        lines.extend(self.guest.iter().map(GuestFacts::lines));
        if !self.addresses.is_empty() {
            let one = |seen: &GuestAddress| {
                format!("{} ({}, {})", safe_line(&seen.address, 60), safe_line(&seen.nic, 40), seen.from)
            };
            let all: Vec<String> = self.addresses.iter().map(one).collect();
            lines.push(format!("Addresses: {}", all.join(", ")));
        }
        if !self.links_down.is_empty() {
            lines.push(format!("Cable out: {}", self.links_down.join(" ")));
        }
        if let Some(note) = self.note.as_ref().filter(|note| !note.is_empty()) {
            lines.push(format!("Note: {note}"));
        }
        lines.join("\n")
    }
}

impl Reply for Defined {
    fn text(&self) -> String {
        if self.changed.is_empty() {
            return format!("The definition of {}:\n```\n{}\n```", self.name, self.toml.trim_end());
        }
        let same = self.changed.iter().all(|one| one.effective == self.changed[0].effective);
        if same {
            let words: Vec<&str> = self.changed.iter().map(|one| one.what.as_str()).collect();
            return format!("{}: {}. In effect {}.", self.name, words.join(", "), self.changed[0].effective);
        }
        let lines = self.changed.iter().map(|one| format!("\n- {} (in effect {})", one.what, one.effective));
        format!("{} is changed:{}", self.name, lines.collect::<String>())
    }
}

impl Reply for DefinitionHistory {
    fn text(&self) -> String {
        let lines = self.definitions.iter().map(|one| {
            let who = one.who.split('/').next().unwrap_or_default();
            format!("- {}: {}, {who}: {}", one.number, measure::moment(one.at), safe_line(&one.what, 200))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Reply for LogLines {
    fn text(&self) -> String {
        if self.entries.is_empty() && !self.older {
            return "Nothing was done to it yet.".into();
        }
        let rest = "What is older is in the audit trail: its host shows it by \"audit search machine=NAME\".";
        let rest = self.older.then(|| rest.to_owned());
        let lines = self.entries.iter().map(|entry| {
            // Of whom, not of which of their clients; and of a longer answer the line that says most.
            let who = entry.who.split('/').next().unwrap_or_default();
            let said = entry.outcome.lines().find(|line| !line.starts_with("```")).unwrap_or_default();
            let outcome = if said.is_empty() { "under way".to_owned() } else { safe_line(said, 80) };
            format!("- {} {}, {who}: {outcome}", measure::moment(entry.at), entry.what)
        });
        rest.into_iter().chain(lines).collect::<Vec<_>>().join("\n")
    }
}

impl Reply for ConsoleOutput {
    fn text(&self) -> String {
        let lines = safe_text(self.lines.iter().map(String::as_str));
        if lines.trim().is_empty() {
            return format!("The console of {} shows nothing yet.", self.name);
        }
        // A guest that writes a fence must not get out of ours.
        format!("```\n{}\n```", lines.replace("```", "'''"))
    }
}

impl Reply for Removed {
    fn text(&self) -> String {
        format!(
            "{name} is in the trash until {}, then gone for good. To take it back, tell its host: \
             undelete {name}",
            measure::moment(self.purged_at),
            name = self.name,
        )
    }
}

#[cfg(test)]
mod tests;
