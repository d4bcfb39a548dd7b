//! To whom a rule gives a right.

use skerry_link::address;
use xmpp_parsers::jid::BareJid;

/// What somebody is in a room (XEP-0045 §5.2); each is more than the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Affiliation {
    /// On its list of members.
    Member,
    /// Looks after it.
    Admin,
    /// It is theirs.
    Owner,
}

impl Affiliation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Member, Self::Admin, Self::Owner];

    /// As the protocol has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// Reads the protocol's word; none for those who are nothing there, and for who is shut out.
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|affiliation| affiliation.word() == word)
    }
}

/// An address, everybody of a domain, or those whom somebody else keeps a list of.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Whom {
    /// One account.
    Person(BareJid),
    /// Every account of a domain, but not the domain itself.
    Domain(BareJid),
    /// A group of the contact list of the host's account: `group:ops`.
    Group(String),
    /// Who is at least that in a room which hides nobody: `room:ops@rooms.example.org/members`.
    Room(BareJid, Affiliation),
}

impl Whom {
    /// Reads `ann@example.org` or `example.org`; an address with a resource is neither, nor one that would be
    /// somebody else's once it is stored and read again.
    pub fn address(text: &str) -> Option<Self> {
        let jid = address::typed(text)?;
        if jid.resource().is_some() {
            return None;
        }
        let bare = jid.into_bare();
        Some(if bare.node().is_some() { Whom::Person(bare) } else { Whom::Domain(bare) })
    }

    /// Reads an address, `group:ops`, or `room:ops@rooms.example.org/members`.
    pub fn read(text: &str) -> Option<Self> {
        match text.split_once(':') {
            Some(("group", name)) => {
                let name = name.trim();
                let fits = (1..=100).contains(&name.len()) && !name.chars().any(char::is_control);
                fits.then(|| Whom::Group(name.to_owned()))
            }
            Some(("room", room)) => {
                let (room, who) = room.trim().split_once('/')?;
                let affiliation = Affiliation::read(who.strip_suffix('s')?)?;
                let room = address::typed(room).filter(|room| room.resource().is_none())?.into_bare();
                room.node()?;
                Some(Whom::Room(room, affiliation))
            }
            _ => Self::address(text),
        }
    }

    /// Whether it means this person, as far as it says so itself.
    pub fn fits(&self, person: &BareJid) -> bool {
        match self {
            Whom::Person(someone) => someone == person,
            Whom::Domain(domain) => person.node().is_some() && person.domain() == domain.domain(),
            Whom::Group(_) | Whom::Room(..) => false,
        }
    }

    /// Whether somebody else keeps the list of whom it means.
    pub fn is_listed(&self) -> bool {
        matches!(self, Whom::Group(_) | Whom::Room(..))
    }
}

impl std::fmt::Display for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Whom::Person(jid) | Whom::Domain(jid) => jid.fmt(f),
            Whom::Group(name) => write!(f, "group:{name}"),
            Whom::Room(room, affiliation) => write!(f, "room:{room}/{}s", affiliation.word()),
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
        Self::read(&text).ok_or_else(|| format!("{text:?} is nobody's address"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn addresses_groups_and_rooms_are_read_and_written_the_same() {
        for text in [
            "ann@example.org",
            "example.org",
            "group:ops",
            "group:night shift",
            "room:ops@rooms.example.org/members",
            "room:ops@rooms.example.org/owners",
        ] {
            assert_eq!(Whom::read(text).unwrap().to_string(), text);
        }
        for no in [
            "ann@example.org/phone",
            "group:",
            "group:a\nb",
            "room:ops@rooms.example.org",
            "room:ops@rooms.example.org/Ann",
            "room:rooms.example.org/members",
            "room:ops@rooms.example.org/outcasts",
            "room:ops@rooms.example.org/member",
            "ᴬnn@example.org",
            "3\u{3f9}n",
            "room:ᴼps@rooms.example.org/members",
        ] {
            assert_eq!(Whom::read(no), None, "{no}");
        }
        // By itself none of these means anybody: whoever keeps the list says so.
        let ann = BareJid::new("ann@example.org").unwrap();
        assert!(!Whom::read("group:ops").unwrap().fits(&ann));
        assert!(Affiliation::Owner > Affiliation::Admin && Affiliation::Admin > Affiliation::Member);
    }
}
