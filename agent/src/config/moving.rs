//! `[peers]` and `[migration]`: between which hosts machines move, and how.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Deserializer, de::Error};
use xmpp_parsers::jid::Jid;

/// The ports that other tools use for the same.
const PORTS: (u16, u16) = (49152, 49215);

/// `[migration]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MigrationSection {
    /// The address of this host at which the others reach it. Without one no machine comes here.
    pub listen: Option<IpAddr>,
    /// The ports that machines come in by: the first and the last.
    #[serde(deserialize_with = "ports")]
    pub ports: (u16, u16),
}

impl Default for MigrationSection {
    fn default() -> Self {
        Self { listen: None, ports: PORTS }
    }
}

fn ports<'de, D: Deserializer<'de>>(from: D) -> Result<(u16, u16), D::Error> {
    let text = String::deserialize(from)?;
    let parts =
        text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let right = parts.filter(|(first, last): &(u16, u16)| (1..=*last).contains(first));
    right.ok_or_else(|| D::Error::custom(format!("{text:?} is no range of ports; write \"49152-49215\"")))
}

/// Names of hosts, and where they are.
pub(super) fn peers<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Jid>, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(from)?;
    let read = |(name, text): (String, String)| match Jid::new(&text) {
        Ok(jid) => Ok((name, jid)),
        Err(_) => {
            let what = format!("{text:?} is no address; write {name} = \"kvm2.example.org\"");
            Err(D::Error::custom(what))
        }
    };
    texts.into_iter().map(read).collect()
}
