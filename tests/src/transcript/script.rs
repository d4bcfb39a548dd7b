//! Reading a transcript.

use std::time::Duration;

use anyhow::{Context, bail};

/// A person of a transcript.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) jid: String,
    pub(super) role: String,
}

/// One step.
#[derive(Clone)]
pub(super) enum Line {
    Sends(String, String),
    Receives(String, String),
    ReceivesInAnyOrder(String, String),
    ReceivesNothing(String),
    Later(Duration),
    DriverTakes(Duration),
    Roles(String, String),
    Link(String),
}

/// A whole transcript.
#[derive(Clone, Default)]
pub(super) struct Script {
    pub(super) component: bool,
    /// Time passes by itself, and not only where it says so.
    pub(super) clock_runs: bool,
    pub(super) people: Vec<Person>,
    /// Name, and whether it runs.
    pub(super) machines: Vec<(String, bool)>,
    /// Raw disks of 1 MiB that can be imported.
    pub(super) disks: Vec<String>,
    /// A machine that somebody else started.
    pub(super) foreign: Option<String>,
    /// A host that machines may move to, by its name; its address is that of a person of the transcript.
    pub(super) peer: Option<(String, String)>,
    /// Lines of the host's file of keys.
    pub(super) keys: Vec<String>,
    /// Each with the number of its first line.
    pub(super) lines: Vec<(usize, Line)>,
}

impl Script {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut script = Self { component: true, ..Self::default() };
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line)).peekable();
        for (number, line) in lines.by_ref() {
            match line.trim() {
                "---" => break,
                line if line.is_empty() || line.starts_with('#') => {}
                line => script.heading(line).with_context(|| format!("line {number}: {line}"))?,
            }
        }
        while let Some((number, line)) = lines.next() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let mut block = String::new();
            while let Some((_, inner)) = lines.next_if(|(_, line)| line.starts_with([' ', '\t'])) {
                block.push_str(inner.trim());
                block.push('\n');
            }
            script
                .lines
                .push((number, command(line.trim(), block).with_context(|| format!("line {number}"))?));
        }
        Ok(script)
    }

    fn heading(&mut self, line: &str) -> anyhow::Result<()> {
        let (key, value) = line.split_once(':').context("a heading is Key: value")?;
        let words: Vec<&str> = value.split_whitespace().collect();
        match (key, words.as_slice()) {
            ("Clock", ["runs"]) => self.clock_runs = true,
            ("Link", ["component"]) => self.component = true,
            ("Link", ["single"]) => self.component = false,
            ("Person", [name, jid, role]) => {
                let (name, jid, role) = ((*name).into(), (*jid).into(), (*role).into());
                self.people.push(Person { name, jid, role });
            }
            ("Key", line) => self.keys.push(line.join(" ")),
            ("Disk", [name]) => self.disks.push((*name).to_owned()),
            ("Foreign", [name]) => self.foreign = Some((*name).to_owned()),
            ("Peer", [name, jid]) => self.peer = Some(((*name).to_owned(), (*jid).to_owned())),
            ("Machine", [name @ .., "running"]) => self.machines.push((name.join(" "), true)),
            ("Machine", name @ [_, ..]) => self.machines.push((name.join(" "), false)),
            _ => bail!("no such heading"),
        }
        Ok(())
    }
}

fn command(line: &str, block: String) -> anyhow::Result<Line> {
    if let Some(person) = line.strip_suffix(" sends:") {
        return Ok(Line::Sends(person.into(), block));
    }
    if let Some(person) = line.strip_suffix(" receives:") {
        return Ok(Line::Receives(person.into(), block));
    }
    if let Some(person) = line.strip_suffix(" receives in any order:") {
        return Ok(Line::ReceivesInAnyOrder(person.into(), block));
    }
    if let Some(person) = line.strip_suffix(" receives nothing") {
        return Ok(Line::ReceivesNothing(person.into()));
    }
    let (key, value) = line.split_once(": ").with_context(|| format!("no such line: {line}"))?;
    match key {
        "later" => Ok(Line::Later(seconds(value)?)),
        "driver takes" => Ok(Line::DriverTakes(seconds(value)?)),
        "roles" => {
            let (person, role) = value.split_once(' ').context("roles: PERSON ROLE")?;
            Ok(Line::Roles(person.into(), role.into()))
        }
        "link" => Ok(Line::Link(value.into())),
        _ => bail!("no such line: {line}"),
    }
}

fn seconds(text: &str) -> anyhow::Result<Duration> {
    let seconds = text.strip_suffix('s').context("a time is written as 10s")?;
    Ok(Duration::from_secs(seconds.parse().context("a time is written as 10s")?))
}
