//! The order of a firewall's rules: where a new one goes so that it counts.

use ipnet::IpNet;

use super::Rule;

/// Where a rule went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is this one now, counted from 0.
    At(usize),
    /// It was there already, as this one.
    Already(usize),
}

impl Put {
    /// Which rule it is, counted from 0.
    pub const fn place(self) -> usize {
        match self {
            Put::At(place) | Put::Already(place) => place,
        }
    }
}

impl Rule {
    /// Whether all that fits the other fits this one.
    pub fn covers(&self, other: &Rule) -> bool {
        let Self { allows: _, way, protocol, ports, other: net } = self;
        let within = |(first, last): &(u16, u16)| ports.iter().any(|(a, z)| a <= first && last <= z);
        let addressed = match (net, &other.other) {
            (None, _) => true,
            (Some(IpNet::V4(net)), Some(IpNet::V4(other))) => net.contains(other),
            (Some(IpNet::V6(net)), Some(IpNet::V6(other))) => net.contains(other),
            (Some(_), _) => false,
        };
        *way == other.way
            && (protocol.is_none() || *protocol == other.protocol)
            && (ports.is_empty() || !other.ports.is_empty() && other.ports.iter().all(within))
            && addressed
    }
}

/// Puts a rule among others. With `at` (counted from 0) it is that one, also when it was another before.
/// Else it goes last, or before the first that would keep it from ever counting: what is said of one port
/// goes before what is said of all.
pub fn put(rules: &mut Vec<Rule>, rule: Rule, at: Option<usize>) -> Put {
    let there = rules.iter().position(|one| *one == rule);
    let place = match (at, there) {
        (None, Some(place)) => return Put::Already(place),
        (Some(at), Some(place)) if at.min(rules.len() - 1) == place => return Put::Already(place),
        (Some(at), Some(place)) => {
            rules.remove(place);
            at.min(rules.len())
        }
        (Some(at), None) => at.min(rules.len()),
        (None, None) => hides(rules, &rule).unwrap_or(rules.len()),
    };
    rules.insert(place, rule);
    Put::At(place)
}

/// The first of these that keeps a rule behind them from ever counting.
pub fn hides(rules: &[Rule], rule: &Rule) -> Option<usize> {
    rules.iter().position(|one| one.allows != rule.allows && one.covers(rule))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn put_into(before: &[&str], rule: &str, at: Option<usize>) -> (Vec<String>, Put) {
        let mut all = rules(before);
        let put = put(&mut all, rule.parse().unwrap(), at);
        (all.iter().map(ToString::to_string).collect(), put)
    }

    #[test]
    fn a_rule_covers_what_it_says_less_about() {
        for (wide, narrow) in [
            ("deny in", "allow in tcp 22 from 10.0.0.7"),
            ("deny in", "deny in"),
            ("deny in tcp", "allow in tcp 22"),
            ("deny in tcp 20-30,80", "allow in tcp 22-25,80"),
            ("deny in from 10.0.0.0/8", "allow in udp 53 from 10.1.0.0/16"),
            ("deny out to 2001:db8::/32", "allow out to 2001:db8::7"),
        ] {
            let both = rules(&[wide, narrow]);
            assert!(both[0].covers(&both[1]), "{wide} does not cover {narrow}");
            assert!(wide == narrow || !both[1].covers(&both[0]), "{narrow} covers {wide}");
        }
        for (one, other) in [
            ("deny in", "allow out"),
            ("deny in tcp", "allow in udp 53"),
            ("deny in tcp 22", "allow in tcp"),
            ("deny in tcp 20-30", "allow in tcp 25-35"),
            ("deny in from 10.0.0.0/8", "allow in from 2001:db8::/32"),
            ("deny in from 10.0.0.0/8", "allow in"),
        ] {
            let both = rules(&[one, other]);
            assert!(!both[0].covers(&both[1]), "{one} covers {other}");
        }
    }

    #[test]
    fn a_rule_goes_where_it_counts_or_where_it_is_put() {
        let before = ["allow in tcp 80", "deny in"];
        let (after, put) = put_into(&before, "allow in tcp 443 from 10.0.0.0/8", None);
        assert_eq!(after, ["allow in tcp 80", "allow in tcp 443 from 10.0.0.0/8", "deny in"]);
        assert_eq!(put, Put::At(1));
        let (after, _) = put_into(&before, "deny in tcp 80 from 10.9.0.0/16", None);
        assert_eq!(after[0], "deny in tcp 80 from 10.9.0.0/16", "it says more than what would hide it");
        let (after, put) = put_into(&before, "deny out tcp 25", None);
        assert_eq!((after.len(), put), (3, Put::At(2)));
        assert_eq!(put_into(&before, "deny in", None), (before.map(String::from).to_vec(), Put::Already(1)));
        let (after, put) = put_into(&before, "deny in", Some(0));
        assert_eq!((after, put), (vec!["deny in".into(), "allow in tcp 80".into()], Put::At(0)));
        assert_eq!(put_into(&before, "deny in", Some(9)).1, Put::Already(1), "it is the last");
        assert_eq!(put_into(&before, "allow in udp 53", Some(9)).1, Put::At(2));
        assert_eq!(put_into(&[], "deny in", Some(0)).1, Put::At(0));
    }

    #[test]
    fn what_hides_a_rule_is_found() {
        let all = rules(&["allow in tcp 80", "deny in", "allow in tcp 22"]);
        assert_eq!(hides(&all[..2], &all[2]), Some(1));
        assert_eq!(hides(&all[..1], &all[1]), None, "it says only a part of it");
    }
}
