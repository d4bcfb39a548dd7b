//! What may pass between a machine and the network: `allow in tcp 22 from 10.0.0.0/8`, `deny in`.
//!
//! Rules are looked at in their order, the first that fits counts, and what none fits passes. Answers to
//! what was let through pass always.

use std::{fmt, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The most ports and ranges of one rule.
const PORTS_MAX: usize = 16;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    /// Whether what fits passes.
    pub allows: bool,
    /// To the machine, or from it.
    pub way: Way,
    /// Of what; anything when left out.
    pub protocol: Option<Carried>,
    /// At which ports of the one who is called, first and last of each range; all when there are none.
    pub ports: Vec<(u16, u16)>,
    /// From where it comes (in) or where it goes (out); anywhere when left out.
    pub other: Option<IpNet>,
}

/// Which way something goes, as the machine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// To the machine.
    In,
    /// From the machine.
    Out,
}

/// What is carried over IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carried {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP, and ICMP for IPv6.
    Icmp,
}

impl Carried {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Carried::Tcp => "tcp",
            Carried::Udp => "udp",
            Carried::Icmp => "icmp",
        }
    }
}

/// Why a text is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It has another shape.
    #[error(
        "{0:?} is not a rule: write allow or deny, in or out, and what is meant, such as \
         \"allow in tcp 22 from 10.0.0.0/8\" or \"deny out\""
    )]
    Form(String),
    /// Ports that are none.
    #[error("{0:?} are not ports: write 22, 80,443 or 8000-8100, at most {PORTS_MAX} of them")]
    Ports(String),
    /// An address that is none.
    #[error("{0:?} is not an address or a network: write 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32")]
    Address(String),
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let form = || RuleError::Form(text.chars().take(80).collect());
        let mut words = text.split_whitespace().peekable();
        let allows = match words.next() {
            Some("allow") => true,
            Some("deny") => false,
            _ => return Err(form()),
        };
        let (way, preposition) = match words.next() {
            Some("in") => (Way::In, "from"),
            Some("out") => (Way::Out, "to"),
            _ => return Err(form()),
        };
        let known = [Carried::Tcp, Carried::Udp, Carried::Icmp];
        let protocol = words.peek().and_then(|word| known.into_iter().find(|known| known.word() == *word));
        if protocol.is_some() {
            words.next();
        }
        let mut ports = Vec::new();
        if matches!(protocol, Some(Carried::Tcp | Carried::Udp))
            && let Some(word) = words.next_if(|word| *word != preposition)
        {
            ports = read_ports(word)?;
        }
        let other = match words.next() {
            None => None,
            Some(word) if word == preposition => Some(address(words.next().ok_or_else(form)?)?),
            Some(_) => return Err(form()),
        };
        if words.next().is_some() {
            return Err(form());
        }
        Ok(Self { allows, way, protocol, ports, other })
    }
}

fn read_ports(word: &str) -> Result<Vec<(u16, u16)>, RuleError> {
    let wrong = || RuleError::Ports(word.chars().take(80).collect());
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong);
    let ranges = word.split(',').map(|range| match range.split_once('-') {
        None => number(range).map(|port| (port, port)),
        Some((first, last)) => Ok((number(first)?, number(last)?)),
    });
    let mut ranges: Vec<(u16, u16)> = ranges.collect::<Result<_, _>>()?;
    ranges.sort_unstable();
    // What overlaps nft would not take in one set.
    let sound = ranges.iter().all(|(first, last)| first <= last)
        && ranges.windows(2).all(|pair| pair[0].1 < pair[1].0)
        && ranges.len() <= PORTS_MAX;
    if sound { Ok(ranges) } else { Err(wrong()) }
}

fn address(word: &str) -> Result<IpNet, RuleError> {
    let net = word.parse::<IpNet>().or_else(|_| word.parse::<std::net::IpAddr>().map(IpNet::from));
    net.map(|net| net.trunc()).map_err(|_| RuleError::Address(word.chars().take(60).collect()))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allows, way, protocol, ports, other } = self;
        let (way, preposition) = match way {
            Way::In => ("in", "from"),
            Way::Out => ("out", "to"),
        };
        write!(f, "{} {way}", if *allows { "allow" } else { "deny" })?;
        if let Some(protocol) = protocol {
            write!(f, " {}", protocol.word())?;
        }
        for (nth, (first, last)) in ports.iter().enumerate() {
            f.write_str(if nth == 0 { " " } else { "," })?;
            write!(f, "{first}")?;
            if last != first {
                write!(f, "-{last}")?;
            }
        }
        match other {
            Some(net) if net.prefix_len() == net.max_prefix_len() => {
                write!(f, " {preposition} {}", net.addr())
            }
            Some(net) => write!(f, " {preposition} {net}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Rule {
    type Error = RuleError;
    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> String {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rules_are_read_as_they_are_shown() {
        for text in [
            "allow in tcp 22 from 10.0.0.0/8",
            "allow in tcp 80,443,8000-8100",
            "deny in",
            "deny out udp to 2001:db8::/32",
            "allow out icmp to 192.0.2.7",
            "deny out tcp 25",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        let rule: Rule = "allow  in tcp 443,80 from 10.1.2.3/8".parse().unwrap();
        assert_eq!(rule.to_string(), "allow in tcp 80,443 from 10.0.0.0/8");
    }

    #[test]
    fn what_is_no_rule_is_refused_with_an_example() {
        for text in
            ["", "allow", "allow up", "drop in", "deny in tcp 22 to 10.0.0.0/8", "deny in from", "deny in 22"]
        {
            assert!(matches!(text.parse::<Rule>(), Err(RuleError::Form(_))), "{text}");
        }
        for text in
            ["deny in tcp 0", "deny in tcp 5-3", "deny in tcp 1-5,3", "deny in udp a", "deny in tcp 65536"]
        {
            assert!(matches!(text.parse::<Rule>(), Err(RuleError::Ports(_))), "{text}");
        }
        for text in ["deny in from here", "deny in from 10.0.0.0/33", "deny in from \"; flush ruleset"] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }
}
