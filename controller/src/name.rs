//! Which host or machine a word means. Pure: the fleet is asked beforehand.
//!
//! A machine is `web1`, `kvm1/web1` or `web1@kvm1.example.org`; a host is `kvm1` (its name, or the
//! first part of its address) or its address. What several bear is never guessed at: the answer lists
//! them in the form that is unambiguous.

use xmpp_parsers::jid::Jid;

use crate::{
    failure::{Failure, Kind, Outcome},
    fleet::{Fleet, Host, Machine},
};

pub use skerry_stanzas::words::nearest;

/// What a word means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// A host.
    Host(Host),
    /// A machine.
    Machine(Machine),
}

/// What may be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// Hosts only.
    Hosts,
    /// Machines only.
    Machines,
    /// Either.
    Both,
}

impl Host {
    /// Whether `word` is one of this host's names.
    pub fn is(&self, word: &str) -> bool {
        let jid = self.jid.to_string();
        let bare = self.jid.to_bare().to_string();
        [self.name.as_str(), jid.as_str(), bare.as_str(), self.label()]
            .iter()
            .any(|n| n.eq_ignore_ascii_case(word))
    }

    /// The short name that stands in its address: `kvm1` of `kvm1.example.org` and of
    /// `kvm1@example.org/skerry`.
    fn label(&self) -> &str {
        match self.jid.node() {
            Some(node) => node.as_str(),
            None => {
                let domain = self.jid.domain().as_str();
                domain.split('.').next().unwrap_or(domain)
            }
        }
    }
}

/// Which one `word` means.
///
/// # Errors
/// Nobody bears the name (the hint names the nearest), or several do (the hint lists them).
pub fn resolve(word: &str, among: Among, fleet: &Fleet) -> Outcome<Meant> {
    let mut found: Vec<Meant> = Vec::new();
    if among != Among::Machines {
        found.extend(fleet.hosts.iter().filter(|host| host.is(word)).cloned().map(Meant::Host));
    }
    if among != Among::Hosts {
        found.extend(machines(word, fleet).cloned().map(Meant::Machine));
    }
    match <[Meant; 1]>::try_from(found) {
        Ok([one]) => Ok(one),
        Err(none) if none.is_empty() => Err(unknown(word, among, fleet)),
        Err(several) => Err(ambiguous(word, &several, fleet)),
    }
}

fn machines<'a>(word: &'a str, fleet: &'a Fleet) -> impl Iterator<Item = &'a Machine> {
    // An address may have a slash of its own: kvm1@example.org/skerry.
    let of_host = word.rsplit_once('/');
    let address = Jid::new(word).ok().filter(|jid| jid.node().is_some()).map(|jid| jid.to_bare());
    fleet.machines.iter().filter(move |machine| {
        let Some(host) = fleet.host_of(machine) else { return false };
        machine.name.eq_ignore_ascii_case(word)
            || machine.has_own_address() && Some(machine.jid.to_bare()) == address
            || of_host.is_some_and(|(at, name)| host.is(at) && machine.name.eq_ignore_ascii_case(name))
    })
}

/// A machine so that it cannot be mistaken: `kvm1/web1`.
pub fn full_name(machine: &Machine, fleet: &Fleet) -> String {
    match fleet.host_of(machine) {
        Some(host) => {
            let names_like_it = fleet.hosts.iter().filter(|other| other.is(&host.name)).count();
            let name = if names_like_it > 1 { host.jid.to_string() } else { host.name.clone() };
            format!("{name}/{}", machine.name)
        }
        None => machine.name.clone(),
    }
}

fn ambiguous(word: &str, several: &[Meant], fleet: &Fleet) -> Failure {
    let lines: Vec<String> = several
        .iter()
        .map(|meant| match meant {
            Meant::Machine(machine) => format!("{} (a machine)", full_name(machine, fleet)),
            Meant::Host(host) => format!("{} (a host)", host.jid),
        })
        .collect();
    Failure::usage(format!("{word:?} can mean {} things", several.len()))
        .hint(format!("Say which:\n{}", lines.join("\n")))
}

fn unknown(word: &str, among: Among, fleet: &Fleet) -> Failure {
    if fleet.hosts.is_empty() {
        return fleet.nobody();
    }
    let kind = match among {
        Among::Hosts => "host",
        Among::Machines => "machine",
        Among::Both => "machine or host",
    };
    let failure = Failure::new(Kind::Refused, format!("there is no {kind} {word:?}"));
    let hosts = fleet.hosts.iter().map(|host| host.name.as_str()).filter(|_| among != Among::Machines);
    let machines = fleet.machines.iter().map(|m| m.name.as_str()).filter(|_| among != Among::Hosts);
    if let Some(near) = nearest(word, hosts.chain(machines)) {
        return failure.hint(format!("Did you mean {near}?"));
    }
    match (fleet.away.is_empty(), among) {
        (false, _) => failure.hint(format!("Not all hosts answered: {}.", fleet.away.join(", "))),
        (true, Among::Hosts) => failure.hint("See `skerry hosts`."),
        (true, _) => failure.hint("See `skerry list`."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn host(jid: &str, name: &str) -> Host {
        Host { jid: Jid::new(jid).unwrap(), name: name.into() }
    }

    fn machine(host: &str, name: &str) -> Machine {
        let host = Jid::new(host).unwrap();
        match host.node() {
            None => Machine {
                name: name.into(),
                jid: Jid::new(&format!("{name}@{host}")).unwrap(),
                node: None,
                host,
            },
            Some(_) => {
                Machine { name: name.into(), jid: host.clone(), node: Some(format!("machine/{name}")), host }
            }
        }
    }

    /// Two component hosts and one with an account of its own; `db` is on two of them, and a machine
    /// is called as a host is.
    fn fleet() -> Fleet {
        Fleet {
            hosts: vec![
                host("kvm1.example.org", "kvm1"),
                host("kvm2.example.org", "big"),
                host("attic@example.org/skerry", "attic"),
            ],
            machines: vec![
                machine("kvm1.example.org", "web1"),
                machine("kvm1.example.org", "db"),
                machine("kvm2.example.org", "db"),
                machine("kvm2.example.org", "attic"),
                machine("attic@example.org/skerry", "mail"),
            ],
            away: Vec::new(),
        }
    }

    fn meant(word: &str) -> String {
        match resolve(word, Among::Both, &fleet()).unwrap_or_else(|f| panic!("{word}: {f:?}")) {
            Meant::Host(host) => host.jid.to_string(),
            Meant::Machine(machine) => full_name(&machine, &fleet()),
        }
    }

    #[test]
    fn names_addresses_and_paths_are_understood() {
        for (word, is) in [
            ("web1", "kvm1/web1"),
            ("WEB1", "kvm1/web1"),
            ("kvm1/web1", "kvm1/web1"),
            ("kvm1.example.org/web1", "kvm1/web1"),
            ("web1@kvm1.example.org", "kvm1/web1"),
            ("big/db", "big/db"),
            ("kvm2/db", "big/db"),
            ("mail", "attic/mail"),
            ("attic/mail", "attic/mail"),
            ("attic@example.org/mail", "attic/mail"),
            ("attic@example.org/skerry/mail", "attic/mail"),
            ("kvm1", "kvm1.example.org"),
            ("kvm2", "kvm2.example.org"),
            ("big", "kvm2.example.org"),
            ("kvm1.example.org", "kvm1.example.org"),
            ("attic@example.org", "attic@example.org/skerry"),
            ("attic@example.org/skerry", "attic@example.org/skerry"),
        ] {
            assert_eq!(meant(word), is, "{word}");
        }
    }

    #[test]
    fn what_several_bear_lists_them() {
        let failure = resolve("db", Among::Machines, &fleet()).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        let hint = failure.hint.unwrap();
        assert!(hint.contains("kvm1/db") && hint.contains("big/db"), "{hint}");
    }

    #[test]
    fn a_host_and_a_machine_of_one_name_are_told_apart() {
        let hint = resolve("attic", Among::Both, &fleet()).unwrap_err().hint.unwrap();
        assert!(hint.contains("attic@example.org/skerry (a host)") && hint.contains("big/attic"), "{hint}");
        assert!(matches!(resolve("attic", Among::Hosts, &fleet()), Ok(Meant::Host(_))));
        assert!(matches!(resolve("attic", Among::Machines, &fleet()), Ok(Meant::Machine(_))));
    }

    #[test]
    fn the_nearest_is_named() {
        let failure = resolve("wbe1", Among::Machines, &fleet()).unwrap_err();
        assert_eq!(failure.kind, Kind::Refused);
        assert_eq!(failure.hint.unwrap(), "Did you mean web1?");
    }

    #[test]
    fn a_host_that_did_not_answer_is_not_forgotten() {
        let fleet = Fleet { away: vec!["kvm9.example.org".into()], ..fleet() };
        let failure = resolve("elsewhere", Among::Machines, &fleet).unwrap_err();
        assert!(failure.hint.unwrap().contains("kvm9.example.org"));
    }
}
