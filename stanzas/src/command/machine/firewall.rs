//! The commands of a machine's firewall. Its rules are those of the definition, said one at a time.

use clap::ValueEnum;

use crate::reply;

/// Which way something goes, as the machine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// To the machine
    In,
    /// From the machine
    Out,
}

impl Way {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Way::In => "in",
            Way::Out => "out",
        }
    }
}

/// What is carried over IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Carried {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// ICMP, and ICMP for IPv6
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

declare! {
    /// Show what may pass between the machine and its networks
    FirewallList {}
    "firewall-list" Machine Read Viewer -> reply::FirewallList,
    ALIASES = &["rules"],
    EXAMPLES = &[("firewall list", "its rules, in the order in which they count")],
}

declare! {
    /// Let something pass to the machine, or from it; at once
    FirewallAllow {
        /// In words, such as tcp 443 from 10.0.0.0/8, or out udp 53; in, unless it says out or to
        #[arg(long, value_name = "RULE", num_args = 1..)]
        pub rule: Vec<String>,
        /// Or one by one: to the machine or from it
        #[arg(long, value_name = "WAY")]
        pub way: Option<Way>,
        /// Of what; anything when not given
        #[arg(long, value_name = "PROTOCOL")]
        pub protocol: Option<Carried>,
        /// At which ports of tcp or udp, such as 80,443 or 8000-8100; all when not given
        #[arg(long, value_name = "PORTS")]
        pub ports: Option<String>,
        /// From where it comes, or where it goes, such as 10.0.0.0/8; anywhere when not given
        #[arg(long, value_name = "ADDRESS")]
        pub address: Option<String>,
        /// Which rule it is to be, 1 for the first; where it counts when not given
        #[arg(long, value_name = "N")]
        pub at: Option<u32>,
    }
    "firewall-allow" Machine Change Admin -> reply::FirewallChanged,
    POSITIONAL = &["rule"],
    EXAMPLES = &[
        ("firewall allow tcp 443 from 10.0.0.0/8", "let these in"),
        ("firewall allow out udp 53", "let it ask for names"),
        ("firewall allow way=in protocol=tcp ports=80,443 at=1", "the first rule of all"),
    ],
}

declare! {
    /// Let something no longer pass to the machine, or from it; at once
    FirewallDeny {
        /// In words, such as tcp 25 to 10.0.0.0/8, or in; in, unless it says out or to
        #[arg(long, value_name = "RULE", num_args = 1..)]
        pub rule: Vec<String>,
        /// Or one by one: to the machine or from it
        #[arg(long, value_name = "WAY")]
        pub way: Option<Way>,
        /// Of what; anything when not given
        #[arg(long, value_name = "PROTOCOL")]
        pub protocol: Option<Carried>,
        /// At which ports of tcp or udp, such as 80,443 or 8000-8100; all when not given
        #[arg(long, value_name = "PORTS")]
        pub ports: Option<String>,
        /// From where it comes, or where it goes, such as 10.0.0.0/8; anywhere when not given
        #[arg(long, value_name = "ADDRESS")]
        pub address: Option<String>,
        /// Which rule it is to be, 1 for the first; where it counts when not given
        #[arg(long, value_name = "N")]
        pub at: Option<u32>,
    }
    "firewall-deny" Machine Change Admin -> reply::FirewallChanged,
    POSITIONAL = &["rule"],
    EXAMPLES = &[
        ("firewall deny in", "nobody may begin anything with it, but who is allowed to"),
        ("firewall deny out tcp 25", "it sends no mail"),
    ],
}

declare! {
    /// Take a rule of the firewall away; at once
    FirewallRemove {
        /// The rule, in its own words, or all
        #[arg(long, value_name = "RULE")]
        pub rule: String,
    }
    "firewall-remove" Machine Change Admin -> reply::FirewallChanged,
    POSITIONAL = &["rule"],
    REST = true,
    EXAMPLES = &[
        ("firewall remove deny in", "the rule that says so"),
        ("firewall remove all", "all of them: everything passes"),
    ],
}
