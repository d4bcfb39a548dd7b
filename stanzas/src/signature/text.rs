//! What is signed: a few lines that say all of what would be done, by whom, where, and for which word of the
//! host. There is one way to write it, and nothing in it can be taken for something else: each line begins
//! with what it is, values are quoted as in JSON, and none has a line break in it.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};
use xmpp_parsers::jid::BareJid;

use crate::{
    audit::hex,
    command::{
        Declaration,
        argument::{Argument, Takes},
    },
    safe::is_hostile,
};

/// What the first line says, so that nothing else that is ever signed can be taken for this.
const VERSION: &str = "skerry command 1";
/// The longest value that is written out, in bytes; of a longer one the hash stands for it.
const VALUE_BYTES_MAX: usize = 4096;
/// The longest text, in bytes.
const TEXT_BYTES_MAX: usize = 256 * 1024;

/// A machine, by its name and by what it is for life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct On {
    /// Its name.
    pub name: String,
    /// What it is for life: a UUID.
    pub id: String,
}

/// A value of an argument, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// It is said, and takes no value.
    Yes,
    /// This.
    Value(String),
    /// A long one: its SHA-256, in hexadecimal digits.
    Hash(String),
    /// One that no record keeps: the SHA-256 of it and of something random before it.
    Hidden(String),
}

/// What a consent is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// What people call the request.
    pub code: String,
    /// Its number in the journal: a UUID.
    pub id: String,
    /// Who asks.
    pub by: BareJid,
    /// The permission: `machine.kill`.
    pub command: String,
    /// On which machine; none for what is asked of the host.
    pub on: Option<On>,
    /// With which arguments.
    pub arguments: Vec<(String, Given)>,
    /// The hash by which the host knows the exact command.
    pub hash: String,
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// By whom it is to be done.
    pub host: BareJid,
    /// Who gives the command, and signs.
    pub caller: BareJid,
    /// The permission: `machine.kill`.
    pub command: String,
    /// On which machine; none for what is asked of the host.
    pub on: Option<On>,
    /// With which arguments, in the order of their declaration.
    pub arguments: Vec<(String, Given)>,
    /// To what it consents, when it does.
    pub about: Option<About>,
    /// The word of the host that makes it good once.
    pub nonce: String,
}

/// The arguments of a command, of `--name=value` words. `blind` is mixed into those that no record keeps.
pub fn arguments(declaration: &Declaration, argv: &[String], blind: &str) -> Vec<(String, Given)> {
    let mut found = Vec::new();
    for argument in declaration.all_arguments() {
        for word in argv {
            let Some(rest) = word.strip_prefix("--").and_then(|word| word.strip_prefix(&argument.name))
            else {
                continue;
            };
            match rest.strip_prefix('=') {
                Some(value) => found.push((argument.name.clone(), given(argument, value, blind))),
                None if rest.is_empty() => found.push((argument.name.clone(), Given::Yes)),
                // Of another that begins with this name.
                None => {}
            }
        }
    }
    found
}

fn given(argument: &Argument, value: &str, blind: &str) -> Given {
    match argument.takes {
        Takes::Switch => Given::Yes,
        _ if !argument.recorded => Given::Hidden(hex(&Sha256::new()
            .chain_update(blind)
            .chain_update("\n")
            .chain_update(value)
            .finalize())),
        _ if value.len() > VALUE_BYTES_MAX => Given::Hash(hex(&Sha256::digest(value))),
        _ => Given::Value(value.to_owned()),
    }
}

impl Text {
    /// Reads a text: only what is written by [`Text`] is one, to the letter.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let mut lines = Lines(text.lines().peekable());
        (lines.0.next()? == VERSION).then_some(())?;
        let read = Self {
            host: BareJid::new(lines.take("host")?).ok()?,
            caller: BareJid::new(lines.take("caller")?).ok()?,
            command: lines.take("command")?.to_owned(),
            on: on(lines.take("machine")?)?,
            arguments: lines.arguments("")?,
            about: match lines.take("request") {
                Some(named) => Some(lines.about(named)?),
                None => None,
            },
            nonce: lines.take("nonce")?.to_owned(),
        };
        (read.to_string() == text).then_some(read)
    }

    /// The first line in which it is not the other one, as each of the two has it.
    pub fn difference(&self, other: &Self) -> Option<(String, String)> {
        let (one, other) = (self.to_string(), other.to_string());
        let (mut ours, mut theirs) = (one.lines(), other.lines());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return None,
                (one, other) if one == other => {}
                (one, other) => {
                    return Some((one.unwrap_or_default().into(), other.unwrap_or_default().into()));
                }
            }
        }
    }
}

/// What is left to read.
struct Lines<'a>(std::iter::Peekable<std::str::Lines<'a>>);

impl<'a> Lines<'a> {
    /// What the next line says, if it is this one.
    fn take(&mut self, name: &str) -> Option<&'a str> {
        let line = self.0.peek()?;
        let value = line.strip_prefix(name)?.strip_prefix(": ")?;
        self.0.next();
        Some(value)
    }

    fn arguments(&mut self, before: &str) -> Option<Vec<(String, Given)>> {
        let mut found = Vec::new();
        let name = format!("{before}argument ");
        while let Some(rest) = self.0.peek().and_then(|line| line.strip_prefix(name.as_str())) {
            let (argument, value) = rest.split_once(": ")?;
            found.push((argument.to_owned(), value.parse().ok()?));
            self.0.next();
        }
        Some(found)
    }

    fn about(&mut self, named: &str) -> Option<About> {
        let (code, id) = named.split_once(' ')?;
        Some(About {
            code: code.to_owned(),
            id: id.to_owned(),
            by: BareJid::new(self.take("request by")?).ok()?,
            command: self.take("request command")?.to_owned(),
            on: on(self.take("request machine")?)?,
            arguments: self.arguments("request ")?,
            hash: self.take("request hash")?.to_owned(),
        })
    }
}

const NONE: &str = "none";

/// What a line says of a machine.
fn on(value: &str) -> Option<Option<On>> {
    if value == NONE {
        return Some(None);
    }
    let (name, id) = value.rsplit_once(' ')?;
    Some(Some(On { name: serde_json::from_str(name).ok()?, id: id.to_owned() }))
}

/// As in JSON, and what deceives the eye is written by its number as well.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    for c in serde_json::Value::from(value).to_string().chars() {
        match is_hostile(c) {
            true => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")))
            }
            false => out.push(c),
        }
    }
    out
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::Value(value) => f.write_str(&quoted(value)),
            Self::Hash(hash) => write!(f, "sha256 {hash}"),
            Self::Hidden(mark) => write!(f, "hidden {mark}"),
        }
    }
}

impl FromStr for Given {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once(' ') {
            _ if text.starts_with('"') => serde_json::from_str(text).map(Self::Value).map_err(|_| ()),
            None if text == "yes" => Ok(Self::Yes),
            Some(("sha256", hash)) => Ok(Self::Hash(hash.to_owned())),
            Some(("hidden", mark)) => Ok(Self::Hidden(mark.to_owned())),
            _ => Err(()),
        }
    }
}

fn write_on(f: &mut fmt::Formatter<'_>, before: &str, on: Option<&On>) -> fmt::Result {
    match on {
        Some(On { name, id }) => writeln!(f, "{before}machine: {} {id}", quoted(name)),
        None => writeln!(f, "{before}machine: {NONE}"),
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{VERSION}\nhost: {}\ncaller: {}\ncommand: {}", self.host, self.caller, self.command)?;
        write_on(f, "", self.on.as_ref())?;
        for (name, given) in &self.arguments {
            writeln!(f, "argument {name}: {given}")?;
        }
        if let Some(about) = &self.about {
            writeln!(f, "request: {} {}\nrequest by: {}", about.code, about.id, about.by)?;
            writeln!(f, "request command: {}", about.command)?;
            write_on(f, "request ", about.on.as_ref())?;
            for (name, given) in &about.arguments {
                writeln!(f, "request argument {name}: {given}")?;
            }
            writeln!(f, "request hash: {}", about.hash)?;
        }
        writeln!(f, "nonce: {}", self.nonce)
    }
}
