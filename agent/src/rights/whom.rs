//! To whom a rule gives a right.

use xmpp_parsers::jid::{BareJid, Jid};

/// An address, or everybody of a domain.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Whom {
    /// One account.
    Person(BareJid),
    /// Every account of a domain, but not the domain itself.
    Domain(BareJid),
}

impl Whom {
    /// Reads `ann@example.org` or `example.org`; an address with a resource is neither.
    pub fn read(text: &str) -> Option<Self> {
        let jid = Jid::new(text).ok()?;
        if jid.resource().is_some() {
            return None;
        }
        let bare = jid.into_bare();
        Some(if bare.node().is_some() { Whom::Person(bare) } else { Whom::Domain(bare) })
    }

    /// Whether it means this person.
    pub fn fits(&self, person: &BareJid) -> bool {
        match self {
            Whom::Person(someone) => someone == person,
            Whom::Domain(domain) => person.node().is_some() && person.domain() == domain.domain(),
        }
    }
}

impl std::fmt::Display for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Whom::Person(jid) | Whom::Domain(jid) => jid.fmt(f),
        }
    }
}

impl From<Whom> for String {
    fn from(whom: Whom) -> Self {
        whom.to_string()
    }
}

impl TryFrom<String> for Whom {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::read(&text).ok_or_else(|| format!("{text:?} is no address"))
    }
}
