//! How much of a host the machines of a person may take: of those they made, wherever they were made.
//!
//! Of several quotas the nearest counts, wholly: the person's own, else that of their domain, else
//! everyone's, which is for those who have rights by grants only. An admin of the configuration is bound by
//! nothing but a quota that names them.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use skerry_stanzas::{command::Role, reply::measure};
use xmpp_parsers::jid::BareJid;

use super::{Rights, Whom};

/// What there is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Machines,
    Vcpus,
    /// In bytes.
    Memory,
    /// In bytes, as large as guests see them.
    Disk,
    Snapshots,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Machines, Self::Vcpus, Self::Memory, Self::Disk, Self::Snapshots];

    /// What it is called in a file.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Machines => "machines",
            Self::Vcpus => "vcpus",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Snapshots => "snapshots",
        }
    }

    /// So much of it, in words; `of` is set in the middle: `2 of 3 machines`.
    pub(crate) fn say(self, has: Option<u64>, of: u64) -> String {
        let figure = |n: u64| match self {
            Self::Memory | Self::Disk => measure::size(n >> 20),
            Self::Machines | Self::Vcpus | Self::Snapshots => n.to_string(),
        };
        let of_it = has.map(|has| format!("{} of ", figure(has))).unwrap_or_default();
        let noun = match self {
            Self::Machines if of == 1 => "machine",
            Self::Machines => "machines",
            Self::Vcpus => "vCPU",
            Self::Memory => "of memory",
            Self::Disk => "of disk",
            Self::Snapshots if of == 1 => "snapshot",
            Self::Snapshots => "snapshots",
        };
        format!("{of_it}{} {noun}", figure(of))
    }
}

/// So much of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount([u64; 5]);

impl Amount {
    pub(crate) fn of(self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    #[must_use]
    pub(crate) fn with(mut self, kind: Kind, much: u64) -> Self {
        self.0[kind as usize] = much;
        self
    }

    #[must_use]
    pub(crate) fn plus(mut self, other: Self) -> Self {
        for (one, more) in self.0.iter_mut().zip(other.0) {
            *one = one.saturating_add(more);
        }
        self
    }

    /// What it is more than another, of each.
    #[must_use]
    pub(crate) fn beyond(mut self, other: Self) -> Self {
        for (one, less) in self.0.iter_mut().zip(other.0) {
            *one = one.saturating_sub(less);
        }
        self
    }
}

/// At most so much of each that is named.
pub(crate) type Limits = BTreeMap<Kind, u64>;

/// What [`Bound::Everyone`] is called.
const EVERYONE: &str = "everyone";

/// Whom a quota binds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Bound {
    /// Each who has rights by grants only.
    Everyone,
    /// A person, or each person of a domain.
    Whom(Whom),
}

impl Bound {
    pub(crate) fn read(text: &str) -> Option<Self> {
        // Read as an address the word itself is a domain, with capitals and without.
        Whom::address(text.trim()).map(|whom| match whom.to_string() == EVERYONE {
            true => Self::Everyone,
            false => Self::Whom(whom),
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str(EVERYONE),
            Self::Whom(whom) => whom.fmt(f),
        }
    }
}

impl From<Bound> for String {
    fn from(bound: Bound) -> Self {
        bound.to_string()
    }
}

impl TryFrom<String> for Bound {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::read(&text).ok_or_else(|| format!("{text:?} is nobody"))
    }
}

/// How much somebody may have.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Quota {
    pub(crate) to: Bound,
    pub(crate) limits: Limits,
    pub(crate) by: Whom,
    pub(crate) at: DateTime<Utc>,
    /// The file of rights it came from.
    pub(crate) set: Option<String>,
}

impl Quota {
    /// Without an end.
    pub(crate) fn sentence(&self) -> String {
        let each = if matches!(self.to, Bound::Whom(Whom::Domain(_))) { "each of " } else { "" };
        let limits: Vec<String> = self.limits.iter().map(|(kind, most)| kind.say(None, *most)).collect();
        format!("{each}{} may have {}", self.to, limits.join(", "))
    }
}

impl Rights {
    /// The quota that counts for a person.
    pub(crate) fn quota_of(&self, person: &BareJid) -> Option<&Quota> {
        let bound = |to: &Bound| self.quotas.iter().find(|quota| quota.to == *to);
        if let Some(own) = bound(&Bound::Whom(Whom::Person(person.clone()))) {
            return Some(own);
        }
        let configured = self.roles.rule(person).map(|rule| rule.role);
        if configured == Some(Role::Admin) {
            return None;
        }
        let domain = self.quotas.iter().find(|quota| match &quota.to {
            Bound::Whom(whom @ Whom::Domain(_)) => whom.fits(person),
            _ => false,
        });
        domain.or_else(|| bound(&Bound::Everyone).filter(|_| configured.is_none()))
    }
}

/// What there is too little of: each kind that would be more than it may be.
pub(crate) fn exceeded(limits: &Limits, has: Amount, takes: Amount) -> Vec<String> {
    let over = limits.iter().filter(|(kind, most)| {
        let takes = takes.of(**kind);
        takes > 0 && has.of(**kind).saturating_add(takes) > **most
    });
    over.map(|(kind, most)| {
        let left = most.saturating_sub(has.of(*kind));
        let left = if left == 0 { "none left".to_owned() } else { format!("{} left", kind.say(None, left)) };
        format!(
            "{}, {left}, and this takes {}",
            kind.say(Some(has.of(*kind)), *most),
            kind.say(None, takes.of(*kind))
        )
    })
    .collect()
}

/// How much of what is limited somebody has.
pub(crate) fn used(limits: &Limits, has: Amount) -> String {
    let each: Vec<String> = limits.iter().map(|(kind, most)| kind.say(Some(has.of(*kind)), *most)).collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{super::Roles, *};

    fn quota(to: &str, machines: u64) -> Quota {
        Quota {
            to: Bound::read(to).unwrap(),
            limits: Limits::from([(Kind::Machines, machines), (Kind::Memory, 2 << 30)]),
            by: Whom::read("ann@example.org").unwrap(),
            at: Utc::now(),
            set: None,
        }
    }

    #[test]
    fn the_nearest_counts_and_an_admin_is_bound_by_none_but_their_own() {
        let admin = vec!["ann@example.org".to_owned()];
        let operator = vec!["otto@example.org".to_owned()];
        let roles = [(Role::Admin, &admin), (Role::Operator, &operator), (Role::Viewer, &vec![])];
        let mut rights = Rights { roles: Roles::new(roles).unwrap(), ..Rights::default() };
        let counts = |rights: &Rights, who: &str| {
            rights.quota_of(&BareJid::new(who).unwrap()).map(|quota| quota.limits[&Kind::Machines])
        };
        rights.quotas = vec![quota("everyone", 1)];
        assert_eq!(counts(&rights, "eve@elsewhere.org"), Some(1));
        assert_eq!(counts(&rights, "otto@example.org"), None, "a role of the configuration is no grant");
        rights.quotas.push(quota("example.org", 2));
        assert_eq!(counts(&rights, "otto@example.org"), Some(2));
        assert_eq!(counts(&rights, "ann@example.org"), None);
        rights.quotas.push(quota("ann@example.org", 3));
        rights.quotas.push(quota("otto@example.org", 4));
        assert_eq!(counts(&rights, "ann@example.org"), Some(3));
        assert_eq!(counts(&rights, "otto@example.org"), Some(4));
        assert_eq!(counts(&rights, "example.org"), None.or(Some(1)), "a domain is none of its people");
    }

    #[test]
    fn everyone_is_meant_with_capitals_as_well() {
        for everyone in ["everyone", " Everyone ", "EVERYONE"] {
            assert_eq!(Bound::read(everyone), Some(Bound::Everyone), "{everyone}");
        }
        assert_eq!(Bound::read("Example.org"), Whom::read("example.org").map(Bound::Whom));
    }

    #[test]
    fn what_is_too_much_is_said_with_what_is_left() {
        let limits = quota("everyone", 3).limits;
        let has = Amount::default().with(Kind::Machines, 3).with(Kind::Memory, 1 << 30).with(Kind::Disk, 9);
        let takes = Amount::default().with(Kind::Machines, 1).with(Kind::Memory, 2 << 30).with(Kind::Disk, 1);
        assert_eq!(
            exceeded(&limits, has, takes),
            [
                "3 of 3 machines, none left, and this takes 1 machine",
                "1 GiB of 2 GiB of memory, 1 GiB of memory left, and this takes 2 GiB of memory",
            ]
        );
        assert!(exceeded(&limits, has, Amount::default().with(Kind::Vcpus, 64)).is_empty());
        // What is over the limit already is no reason against what takes nothing of it.
        assert!(exceeded(&limits, has.plus(has), Amount::default()).is_empty());
        assert_eq!(used(&limits, has), "3 of 3 machines, 1 GiB of 2 GiB of memory");
    }
}
