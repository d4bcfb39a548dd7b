//! What the commands carried out inside a guest answer.

use chrono::{DateTime, Utc};

use super::{Reply, measure};
use crate::safe::safe_text;

reply! {
    /// A command ran in the guest. What it wrote is the guest's word.
    Executed {
        /// The machine.
        name: String,
        /// Its exit code; none when a signal ended it.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// What it wrote: the last lines, made safe to show.
        output: Vec<String>,
        /// What it complained of, likewise.
        errors: Vec<String>,
        /// Whether there was more of either.
        cut: bool,
    }
}
reply! {
    /// A part of a file in the guest. What is in it is the guest's word.
    GuestFile {
        /// The machine.
        name: String,
        /// Where it is in the guest.
        path: String,
        /// From which byte on this is.
        from: u64,
        /// How many bytes these are.
        bytes: u64,
        /// Whether they go to its end.
        ends: bool,
        /// The bytes, in base64.
        base64: String,
        /// The same as lines, made safe to show; none when it is no text.
        lines: Option<Vec<String>>,
    }
}
reply! {
    /// A file in the guest was written.
    FileWritten {
        /// The machine.
        name: String,
        /// Where it is in the guest.
        path: String,
        /// How many bytes were written.
        bytes: u64,
    }
}
reply! {
    /// A user of the guest has another password.
    PasswordSet {
        /// The machine.
        name: String,
        /// Whose.
        user: String,
    }
}
reply! {
    /// The guest's disks hold still.
    Frozen {
        /// The machine.
        name: String,
        /// How many file systems do.
        file_systems: u64,
        /// Until when.
        until_at: DateTime<Utc>,
    }
}
reply! {
    /// The guest's disks go on.
    Thawed {
        /// The machine.
        name: String,
        /// How many file systems were let go.
        file_systems: u64,
    }
}
reply! {
    /// What is known of a guest, most of it by its own word.
    GuestFacts {
        /// Its agent: present, absent, or silent (it is there and does not answer).
        agent: String,
        /// Its system.
        os: Option<String>,
        /// The release of its kernel.
        kernel: Option<String>,
        /// What it calls itself.
        hostname: Option<String>,
        /// Until when its disks hold still.
        frozen_until: Option<DateTime<Utc>>,
    }
}
reply! {
    /// An address that a guest has.
    GuestAddress {
        /// The address.
        address: String,
        /// The machine's NIC, or what the guest calls it.
        nic: String,
        /// Who says so: lease, neighbour or guest.
        from: String,
    }
}

impl Reply for Executed {
    fn text(&self) -> String {
        let ended = match (self.code, self.signal) {
            (Some(0), _) => "It ended well".to_owned(),
            (Some(code), _) => format!("It ended with code {code}"),
            (None, Some(signal)) => format!("It was ended by signal {signal}"),
            (None, None) => "It ended".to_owned(),
        };
        let more = if self.cut { "; this is the end of what it wrote" } else { "" };
        match fenced(self.output.iter().chain(&self.errors)) {
            None => format!("{ended}, and wrote nothing."),
            Some(lines) => format!("{ended}{more}:\n{lines}"),
        }
    }
}

impl Reply for GuestFile {
    fn text(&self) -> String {
        let end = self.from + self.bytes;
        let which = match (self.from, self.ends) {
            (0, true) => format!("{} of {}", self.path, self.name),
            (from, true) => format!("{} of {} from byte {from} to its end", self.path, self.name),
            (from, false) => {
                format!("{} of {}, bytes {from} to {end}; more: from={end}", self.path, self.name)
            }
        };
        match (&self.lines, self.bytes) {
            (_, 0) => format!("{which}: nothing is there."),
            (None, bytes) => format!(
                "{which}: {bytes} bytes that are no text. skerry file read {} {} gets them.",
                self.name, self.path
            ),
            (Some(lines), _) => match fenced(lines) {
                None => format!("{which}: empty lines."),
                Some(lines) => format!("{which}:\n{lines}"),
            },
        }
    }
}

impl Reply for FileWritten {
    fn text(&self) -> String {
        format!("Wrote {} bytes to {} of {}.", self.bytes, self.path, self.name)
    }
}

impl Reply for PasswordSet {
    fn text(&self) -> String {
        format!("{} of {} has another password.", self.user, self.name)
    }
}

impl Reply for Frozen {
    fn text(&self) -> String {
        let until = measure::moment(self.until_at);
        match self.file_systems {
            0 => format!("The disks of {} hold still already, now until {until}.", self.name),
            _ => format!("The disks of {} hold still until {until}. fsthaw lets them go on.", self.name),
        }
    }
}

impl Reply for Thawed {
    fn text(&self) -> String {
        match self.file_systems {
            0 => format!("The disks of {} did not hold still.", self.name),
            _ => format!("The disks of {} go on.", self.name),
        }
    }
}

impl GuestFacts {
    /// For a status.
    pub(super) fn lines(&self) -> String {
        let held = self.frozen_until.map(|until| {
            format!("\nIts disks hold still until {}: fsthaw lets them go on", measure::moment(until))
        });
        format!("{}{}", self.line(), held.unwrap_or_default())
    }

    fn line(&self) -> String {
        let agent = match self.agent.as_str() {
            "present" => "",
            "silent" => "; its guest agent does not answer",
            _ => "; no guest agent runs in it",
        };
        let kernel = self.kernel.as_ref().map(|kernel| format!("kernel {kernel}"));
        let hostname = self.hostname.as_ref().map(|name| format!("calls itself {name}"));
        let known: Vec<String> = [self.os.clone(), kernel, hostname].into_iter().flatten().collect();
        let known = if known.is_empty() { "nothing known".to_owned() } else { known.join(", ") };
        format!("Guest: {known}{agent}")
    }
}

/// Lines between fences; `None` when nothing is in them. What writes a fence must not get out of ours.
fn fenced<'a>(lines: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let lines = safe_text(lines.into_iter().map(String::as_str));
    (!lines.trim().is_empty()).then(|| format!("```\n{}\n```", lines.replace("```", "'''")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_end_is_told_with_what_was_written() {
        let ran = |code, signal, output: &[&str]| Executed {
            name: "web1".into(),
            code,
            signal,
            output: output.iter().map(ToString::to_string).collect(),
            errors: vec![],
            cut: false,
        };
        assert_eq!(ran(Some(0), None, &["Linux", "```"]).text(), "It ended well:\n```\nLinux\n'''\n```");
        assert_eq!(ran(Some(1), None, &[]).text(), "It ended with code 1, and wrote nothing.");
        assert_eq!(ran(None, Some(9), &[]).text(), "It was ended by signal 9, and wrote nothing.");
    }

    #[test]
    fn a_file_is_shown_with_where_it_goes_on() {
        let file = |from, bytes, ends, lines: Option<&[&str]>| GuestFile {
            name: "web1".into(),
            path: "/etc/motd".into(),
            from,
            bytes,
            ends,
            base64: String::new(),
            lines: lines.map(|lines| lines.iter().map(ToString::to_string).collect()),
        };
        assert_eq!(file(0, 6, true, Some(&["hello"])).text(), "/etc/motd of web1:\n```\nhello\n```");
        let part = file(16, 16, false, Some(&["x"])).text();
        assert!(part.starts_with("/etc/motd of web1, bytes 16 to 32; more: from=32:"), "{part}");
        assert_eq!(
            file(7, 0, true, Some(&[])).text(),
            "/etc/motd of web1 from byte 7 to its end: nothing is there."
        );
        assert!(
            file(0, 9, true, None)
                .text()
                .contains("9 bytes that are no text. skerry file read web1 /etc/motd")
        );
    }

    #[test]
    fn a_guest_is_told_in_a_line() {
        let facts = |agent: &str, os: Option<&str>| GuestFacts {
            agent: agent.into(),
            os: os.map(Into::into),
            kernel: None,
            hostname: None,
            frozen_until: None,
        };
        assert_eq!(facts("present", Some("Debian 12")).line(), "Guest: Debian 12");
        assert_eq!(facts("absent", None).line(), "Guest: nothing known; no guest agent runs in it");
        assert_eq!(facts("silent", None).line(), "Guest: nothing known; its guest agent does not answer");
    }
}
