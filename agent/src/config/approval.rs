//! `[approval.NAME]`: what is not done before others agree.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use xmpp_parsers::jid::BareJid;

use super::{Config, ConfigError};
use crate::{
    approval::{
        Policy,
        policy::{NEED_MAX, NOBODY, Place, WITHIN_MAX, WITHIN_MIN, read_role, read_what},
        window::Window,
    },
    rights::role::Defined,
};

/// `[approval.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ApprovalSection {
    /// Which commands: by name, by role (all it holds), `destroys`, or `changes`.
    pub what: Vec<String>,
    /// On what: `all`, `host`, `label:prod`, `made-by:ann@example.org`, or machines by name.
    #[serde(default = "everything")]
    pub on: Vec<String>,
    /// How many have to agree.
    #[serde(default = "one")]
    pub need: u8,
    /// Who can: those with one of these roles there.
    #[serde(default = "admins")]
    pub from: Vec<String>,
    /// For how long it waits.
    #[serde(default = "an_hour", deserialize_with = "super::duration")]
    pub within: Duration,
    /// When it may be done: `mon-fri 08:00-18:00`.
    #[serde(default)]
    pub during: Option<String>,
    /// Whose commands need none: those with one of these roles there.
    #[serde(default)]
    pub except: Vec<String>,
    /// The role that can do without in an emergency, or `nobody`.
    #[serde(default = "admin")]
    pub emergency: String,
    /// Whether a reaction to the message is an answer.
    #[serde(default = "yes")]
    pub reactions: bool,
    /// Where it is asked as well: a room that hides nobody.
    #[serde(default)]
    pub room: Option<String>,
    /// Whether who asks has to sign, and who agrees.
    #[serde(default)]
    pub signed: bool,
}

fn everything() -> Vec<String> {
    vec!["all".into()]
}

fn one() -> u8 {
    1
}

fn admin() -> String {
    "admin".into()
}

fn admins() -> Vec<String> {
    vec![admin()]
}

fn an_hour() -> Duration {
    Duration::from_secs(3600)
}

fn yes() -> bool {
    true
}

/// Why a section is no rule: the key, and what to write.
type Wrong = (&'static str, String);

impl ApprovalSection {
    fn policy(&self, name: &str) -> Result<Policy, Wrong> {
        // Roles that are defined by command are no business of a file: they may not be there tomorrow.
        let defined = Defined::new();
        let what = self.what.iter().map(|word| read_what(word, &defined)).collect::<Result<Vec<_>, _>>();
        let what = what.map_err(|(text, near)| match near {
            Some(near) => ("what", format!("{text} Did you mean {near}?")),
            None => ("what", text),
        })?;
        let roles = |key: &'static str, words: &[String]| {
            let read = words.iter().map(|word| read_role(word, &defined)).collect::<Result<Vec<_>, _>>();
            read.map_err(|text| (key, text))
        };
        let on = self.on.iter().map(|text| {
            let no = || {
                ("on", format!("{text:?} is neither all, host, label:NAME, made-by:JID nor a machine's name"))
            };
            Place::read(text).ok_or_else(no)
        });
        let on = on.collect::<Result<Vec<_>, _>>()?;
        let from = roles("from", &self.from)?;
        let empty = [("what", what.is_empty()), ("on", on.is_empty()), ("from", from.is_empty())];
        if let Some((key, _)) = empty.into_iter().find(|(_, empty)| *empty) {
            return Err((key, "is empty, and so the rule means nothing; leave the whole section out".into()));
        }
        if !(u8::from(!self.signed)..=NEED_MAX).contains(&self.need) {
            return Err(("need", format!("must be 1 to {NEED_MAX}, or 0 with signed = true")));
        }
        if !(WITHIN_MIN..=WITHIN_MAX).contains(&self.within) {
            return Err(("within", "must be 10s to 7d".into()));
        }
        let during = match &self.during {
            Some(text) => Some(Window::try_from(text.clone()).map_err(|text| ("during", text))?),
            None => None,
        };
        let emergency = match self.emergency.as_str() {
            NOBODY => None,
            role => Some(read_role(role, &defined).map_err(|text| ("emergency", text))?),
        };
        let room = match &self.room {
            Some(text) => {
                let no = || ("room", format!("{text:?} is no room; write \"ops@rooms.example.org\""));
                Some(BareJid::new(text).ok().filter(|room| room.node().is_some()).ok_or_else(no)?)
            }
            None => None,
        };
        Ok(Policy {
            name: name.to_owned(),
            what,
            on,
            need: self.need,
            from,
            within: self.within,
            during,
            except: roles("except", &self.except)?,
            emergency,
            reactions: self.reactions,
            room,
            signed: self.signed,
        })
    }
}

/// The rules of some sections; else the key with dots, and what to write.
fn policies(sections: &BTreeMap<String, ApprovalSection>) -> Result<Vec<Policy>, (String, String)> {
    let policy = |(name, section): (&String, &ApprovalSection)| {
        section.policy(name).map_err(|(key, what)| (format!("approval.{name}.{key}"), what))
    };
    sections.iter().map(policy).collect()
}

impl Config {
    /// The rules that ask for the consent of others.
    ///
    /// # Errors
    /// The first one that cannot be read.
    pub(crate) fn policies(&self) -> Result<Vec<Policy>, ConfigError> {
        policies(&self.approval).map_err(|(key, what)| self.wrong(&key, what))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn read(text: &str) -> Result<Vec<Policy>, (String, String)> {
        policies(&toml::from_str(text).unwrap())
    }

    #[test]
    fn a_section_is_a_rule() {
        let rules = read(
            "[careful]\nwhat = ['kill', 'Destroys', 'power']\non = ['label:prod', 'db1']\nneed = 2\n\
             from = ['operator']\nwithin = '30m'\nduring = 'mon-fri 08:00-18:00'\nemergency = 'nobody'\n\
             [small]\nwhat = ['host.create']",
        )
        .unwrap();
        assert_eq!(rules[0].what, ["machine.kill", "destroys", "power"]);
        assert_eq!((rules[0].need, rules[0].within.as_secs(), &rules[0].emergency), (2, 1800, &None));
        assert_eq!((rules[1].from[0].as_str(), rules[1].emergency.as_deref()), ("admin", Some("admin")));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        for (text, key, says) in [
            ("what = ['kil']", "what", "Did you mean"),
            ("what = []", "what", "is empty"),
            ("what = ['kill']\nfrom = ['boss']", "from", "no role"),
            ("what = ['kill']\nneed = 0", "need", "1 to 9"),
            ("what = ['kill']\nwithin = '1s'", "within", "10s to 7d"),
            ("what = ['kill']\nduring = 'soon'", "during", "no hours"),
            ("what = ['kill']\non = ['Not A Name!']", "on", "machine's name"),
            ("what = ['kill']\nemergency = 'boss'", "emergency", "no role"),
            ("what = ['kill']\nroom = 'example.org'", "room", "is no room"),
        ] {
            let (at, what) = read(&format!("[x]\n{text}")).unwrap_err();
            assert_eq!(at, format!("approval.x.{key}"), "{text}");
            assert!(what.contains(says), "{what}");
        }
    }
}
