//! What somebody wants to be told of: `cpu>90%`. Read, checked and said.

use skerry_stanzas::{
    refusal::{Reason, Refusal},
    reply::measure,
    safe::safe_line,
    words::nearest,
};

use crate::numbers::meter::{HostUse, MachineUse};

/// How far from the limit it has to come back, when nobody says.
const BACK: f64 = 0.1;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    /// How busy its processors are.
    Cpu,
    /// How much of its memory is used: of a machine's, by its guest's own word.
    Memory,
    /// How much of the time its processors waited for the host's.
    Steal,
    /// What goes to and from disks.
    Disk,
    /// What comes in and goes out.
    Net,
    /// How much of the time something waited, for whatever most.
    Waits,
    /// Load average of the last minute.
    Load,
    /// Free space where machines are kept.
    Room,
}

/// What its numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Percent,
    Rate,
    Bytes,
    Plain,
}

impl What {
    const ALL: [Self; 8] =
        [What::Cpu, What::Memory, What::Steal, What::Disk, What::Net, What::Waits, What::Load, What::Room];

    const fn word(self) -> &'static str {
        match self {
            What::Cpu => "cpu",
            What::Memory => "memory",
            What::Steal => "steal",
            What::Disk => "disk",
            What::Net => "net",
            What::Waits => "waits",
            What::Load => "load",
            What::Room => "room",
        }
    }

    /// Whether machines have it too.
    const fn is_of_machines(self) -> bool {
        !matches!(self, What::Load | What::Room)
    }

    const fn unit(self) -> Unit {
        match self {
            What::Cpu | What::Memory | What::Steal | What::Waits => Unit::Percent,
            What::Disk | What::Net => Unit::Rate,
            What::Room => Unit::Bytes,
            What::Load => Unit::Plain,
        }
    }

    /// A number of it in words.
    pub(crate) fn said(self, number: f64) -> String {
        let whole = number.max(0.0).round() as u64;
        match self.unit() {
            Unit::Percent => measure::percent(number),
            Unit::Rate => measure::rate(whole),
            Unit::Bytes => measure::bytes(whole),
            Unit::Plain => format!("{number:.1}"),
        }
    }

    /// What it is now of a machine.
    pub(crate) fn of_machine(self, one: &MachineUse) -> Option<f64> {
        let rates = one.rates.as_ref();
        match self {
            What::Cpu => rates?.cpu,
            What::Steal => rates?.steal,
            What::Disk => rates?.disk(),
            What::Net => rates?.net(),
            What::Waits => rates?.pressure.map(|waits| waits.cpu.max(waits.memory).max(waits.io)),
            What::Memory => {
                let memory = one.look.read.guest_memory?;
                Some(one.guest_used()? as f64 / memory.total_bytes.max(1) as f64 * 100.0)
            }
            What::Load | What::Room => None,
        }
    }

    /// What it is now of the host.
    pub(crate) fn of_host(self, host: &HostUse, room_bytes: Option<u64>) -> Option<f64> {
        let rates = host.rates.as_ref();
        let read = &host.look.read;
        match self {
            What::Cpu => rates?.cpu,
            What::Steal => rates?.steal,
            What::Disk => rates?.disk(),
            What::Net => rates?.net(),
            What::Waits => rates?.pressure.map(|waits| waits.cpu.max(waits.memory).max(waits.io)),
            What::Memory => {
                let used = read.memory_bytes.checked_sub(read.available_bytes)?;
                (read.memory_bytes > 0).then(|| used as f64 / read.memory_bytes as f64 * 100.0)
            }
            What::Load => Some(read.load),
            What::Room => room_bytes.map(|bytes| bytes as f64),
        }
    }
}

/// What somebody wants to be told of.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Rule {
    pub(crate) what: What,
    /// Too much; else too little.
    pub(crate) above: bool,
    pub(crate) limit: f64,
    /// On the other side of the limit, or at it: where it is over.
    pub(crate) clear: f64,
    pub(crate) for_seconds: u64,
}

impl Rule {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(crate) fn parse(
        text: &str,
        clear: Option<&str>,
        for_seconds: u64,
        of_machine: bool,
    ) -> Result<Self, Refusal> {
        let wrong = |what: String| Refusal::new(Reason::BadRequest, what).field("rule");
        let at = text.find(['>', '<']).ok_or_else(|| {
            wrong(format!("{:?} says no limit.", safe_line(text, 40))).hint("Write cpu>90%, for example.")
        })?;
        let (word, rest) = text.split_at(at);
        let what = known(word.trim(), of_machine).map_err(|refusal| refusal.field("rule"))?;
        let above = rest.starts_with('>');
        let limit =
            number(what, rest[1..].trim_start_matches('=')).map_err(|refusal| refusal.field("rule"))?;
        let clear = match clear {
            Some(clear) => number(what, clear).map_err(|refusal| refusal.field("clear"))?,
            None if above => limit * (1.0 - BACK),
            None => limit * (1.0 + BACK),
        };
        let rule = Self { what, above, limit, clear, for_seconds };
        if rule.is_over(limit) && clear != limit {
            let side = if above { "below" } else { "above" };
            let text = format!("It has to come back to something {side} {}.", what.said(limit));
            return Err(Refusal::new(Reason::BadRequest, text).field("clear"));
        }
        Ok(rule)
    }

    /// Whether a number is what somebody wants to be told of.
    pub(crate) fn is_beyond(&self, number: f64) -> bool {
        if self.above { number > self.limit } else { number < self.limit }
    }

    /// Whether a number has come back so far that it is over.
    pub(crate) fn is_over(&self, number: f64) -> bool {
        if self.above { number <= self.clear } else { number >= self.clear }
    }

    /// In words: `cpu > 90 %`.
    pub(crate) fn said(&self) -> String {
        let sign = if self.above { '>' } else { '<' };
        format!("{} {sign} {}", self.what.word(), self.what.said(self.limit))
    }
}

fn known(word: &str, of_machine: bool) -> Result<What, Refusal> {
    let there = What::ALL.into_iter().filter(|what| !of_machine || what.is_of_machines());
    let words: Vec<&str> = there.clone().map(What::word).collect();
    there.clone().find(|what| what.word().eq_ignore_ascii_case(word)).ok_or_else(|| {
        let of = if of_machine { "a machine" } else { "a host" };
        let refusal = Refusal::new(
            Reason::BadRequest,
            format!("There is no {} of {of} to be told of.", safe_line(word, 20)),
        );
        match nearest(word, words.iter().copied()) {
            Some(near) => refusal.hint(format!("Did you mean {near}?")),
            None => refusal.hint(format!("There is: {}.", words.join(", "))),
        }
    })
}

/// Reads a limit: `90%`, `50M`, `1.5G`, `8`.
fn number(what: What, text: &str) -> Result<f64, Refusal> {
    let text = text.trim();
    let wrong = || {
        let example = match what.unit() {
            Unit::Percent => "90%",
            Unit::Rate => "50M",
            Unit::Bytes => "10G",
            Unit::Plain => "8",
        };
        let said = safe_line(text, 20);
        Refusal::new(Reason::BadRequest, format!("{said:?} is no limit of {}.", what.word()))
            .hint(format!("Write {example}, for example."))
    };
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim().trim_end_matches("/s").trim_end_matches(['B', 'b']).trim_end_matches('i');
    let times = match (what.unit(), unit) {
        (Unit::Percent, "" | "%") if number <= 100.0 => 1.0,
        (Unit::Plain | Unit::Rate | Unit::Bytes, "") => 1.0,
        (Unit::Rate | Unit::Bytes, "K" | "k") => 1024.0,
        (Unit::Rate | Unit::Bytes, "M" | "m") => 1_048_576.0,
        (Unit::Rate | Unit::Bytes, "G" | "g") => 1_073_741_824.0,
        (Unit::Rate | Unit::Bytes, "T" | "t") => 1_099_511_627_776.0,
        _ => return Err(wrong()),
    };
    let limit = number * times;
    if limit.is_finite() { Ok(limit) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn rule(text: &str) -> Result<Rule, Refusal> {
        Rule::parse(text, None, 300, false)
    }

    #[test]
    fn rules_are_read_as_people_write_them() {
        let said = |text: &str| {
            let rule = rule(text).unwrap();
            (rule.said(), rule.what.said(rule.clear))
        };
        assert_eq!(said("cpu>90%"), ("cpu > 90 %".into(), "81 %".into()));
        assert_eq!(said("CPU >= 90"), ("cpu > 90 %".into(), "81 %".into()));
        assert_eq!(said("room<10G"), ("room < 10 GiB".into(), "11 GiB".into()));
        assert_eq!(said("disk>1.5MiB/s").0, "disk > 1.5 MiB/s");
        assert_eq!(said("net < 1k").0, "net < 1 KiB/s");
        assert_eq!(said("load>8").0, "load > 8.0");
        let exact = Rule::parse("memory>95%", Some("80%"), 60, true).unwrap();
        assert_eq!((exact.limit, exact.clear), (95.0, 80.0));
    }

    #[test]
    fn what_is_none_is_refused_with_what_to_write() {
        let hint = |text: &str| rule(text).unwrap_err().hint.unwrap();
        assert_eq!(hint("cpu"), "Write cpu>90%, for example.");
        assert_eq!(hint("cppu>90%"), "Did you mean cpu?");
        assert!(hint("colour>9").starts_with("There is: cpu, memory"));
        assert_eq!(hint("cpu>190%"), "Write 90%, for example.");
        assert_eq!(hint("disk>9%"), "Write 50M, for example.");
        for odd in [
            "cpu>",
            "cpu>x",
            "cpu>-1",
            "cpu>1e9%",
            "cpu>NaN",
            "cpu>inf",
            "room<1.2.3G",
            ">5",
            "disk>9999999999999999999999999999999999T5",
        ] {
            assert!(rule(odd).is_err(), "{odd}");
        }
        assert!(Rule::parse("load>8", None, 1, true).is_err(), "a machine has none");
        let wrong_side = Rule::parse("cpu>90%", Some("95%"), 1, true).unwrap_err();
        assert_eq!(wrong_side.text, "It has to come back to something below 90 %.");
        assert!(Rule::parse("room<10G", Some("5G"), 1, false).is_err());
        assert!(Rule::parse("cpu>90%", Some("90%"), 1, true).is_ok());
    }
}
