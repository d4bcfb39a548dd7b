//! The firewall of a machine, a rule at a time: each is a change of its definition, and with the next breath
//! of the rules of this host, all of them at once.
//!
//! Rules are taken away by their words, not by a number: that would be another's by the time it is read.

use hypervisor_core::definition::{
    Definition, Network, Rule,
    firewall::{Put, hides, put},
};
use serde_json::Value;
use skerry_stanzas::{
    command::machine::{Carried, FirewallAllow, FirewallDeny, FirewallList, FirewallRemove, Way},
    refusal::{Reason, Refusal},
    reply::{self, FirewallChanged},
};

use super::{
    Handle,
    define::{checked, define},
};
use crate::{agent::Agent, dispatch::Job, machine::Record};

/// What takes every rule away.
pub(crate) const ALL: &str = "all";
/// What is said with anything that closes a way.
const NOT_BY_NICS: &str =
    "Its console, its screen and its guest agent do not go by its NICs, and are as they were.";

impl Handle<FirewallList> for Agent {
    async fn handle(&self, job: &Job, _command: FirewallList) -> Result<reply::FirewallList, Refusal> {
        let record = job.machine()?.record();
        let Definition { nics, .. } = &record.definition;
        let outside = nics.iter().filter(|nic| !matches!(nic.network, Network::Named { .. }));
        Ok(reply::FirewallList {
            name: record.name.to_string(),
            rules: words(&record.definition.firewall),
            otherwise: "passes".into(),
            outside: outside.map(|nic| nic.name.clone()).collect(),
        })
    }
}

impl Handle<FirewallAllow> for Agent {
    async fn handle(&self, job: &Job, command: FirewallAllow) -> Result<FirewallChanged, Refusal> {
        let FirewallAllow { rule, way, protocol, ports, address, at } = command;
        let rule = Said { words: rule, way, protocol, ports, address }.rule(true)?;
        self.add_rule(job, rule, at).await
    }
}

impl Handle<FirewallDeny> for Agent {
    async fn handle(&self, job: &Job, command: FirewallDeny) -> Result<FirewallChanged, Refusal> {
        let FirewallDeny { rule, way, protocol, ports, address, at } = command;
        let rule = Said { words: rule, way, protocol, ports, address }.rule(false)?;
        self.add_rule(job, rule, at).await
    }
}

impl Handle<FirewallRemove> for Agent {
    async fn handle(&self, job: &Job, command: FirewallRemove) -> Result<FirewallChanged, Refusal> {
        let _turn = self.inner.networks.ruling().await;
        let record = job.machine()?.record();
        let mut definition = record.definition.clone();
        let rules = &mut definition.firewall;
        let (sentence, notes) = match meant(&command.rule)? {
            None => {
                rules.clear();
                (format!("{} has no rules any more: everything passes.", record.name), Vec::new())
            }
            Some(rule) => {
                rules.retain(|one| *one != rule);
                let closes = rule.allows && rules.iter().any(|one| !one.allows);
                let notes = if closes { cut(&record) } else { Vec::new() };
                (format!("{}: the rule \"{rule}\" is gone.", record.name), notes)
            }
        };
        if definition.firewall == record.definition.firewall {
            return Err(no_such_rule(&record));
        }
        self.rule(job, &record, definition, sentence, notes).await
    }
}

impl Agent {
    async fn add_rule(&self, job: &Job, rule: Rule, at: Option<u32>) -> Result<FirewallChanged, Refusal> {
        if at == Some(0) {
            let text = "The first rule is number 1.";
            return Err(Refusal::new(Reason::BadRequest, text).field("at"));
        }
        let _turn = self.inner.networks.ruling().await;
        let record = job.machine()?.record();
        let mut definition = record.definition.clone();
        let at = at.map(|at| usize::try_from(at - 1).unwrap_or(usize::MAX));
        let (allows, said) = (rule.allows, rule.to_string());
        let put = put(&mut definition.firewall, rule, at);
        checked(&definition)?;
        let (place, total) = (put.place(), definition.firewall.len());
        let already = matches!(put, Put::Already(_));
        let now = if already { "already" } else { "now" };
        let sentence = format!("{}: \"{said}\" is rule {} of {total} {now}.", record.name, place + 1);
        let mut notes = Vec::new();
        let before = definition.firewall.get(..place).unwrap_or_default();
        if let Some((n, rule)) = definition.firewall.get(place).and_then(|rule| {
            let n = hides(before, rule)?;
            Some((n + 1, before.get(n)?))
        }) {
            notes.push(format!("It never counts: rule {n}, \"{rule}\", comes before it."));
        }
        if !allows && !already {
            notes.extend(cut(&record));
        }
        self.rule(job, &record, definition, sentence, notes).await
    }

    /// Stores the rules, and has them be so. What is so already is made so again.
    async fn rule(
        &self,
        job: &Job,
        record: &Record,
        definition: Definition,
        what: String,
        notes: Vec<String>,
    ) -> Result<FirewallChanged, Refusal> {
        let rules = words(&definition.firewall);
        define(job, record, definition).await?;
        let effect = match self.inner.networks.make().await {
            Ok(_) => "In effect now.".to_owned(),
            Err(error) => {
                tracing::warn!(machine = %record.name, %error, "the rules of a machine could not be made so");
                format!("It is kept, but not in effect: {error}. That is tried again every minute.")
            }
        };
        let name = record.name.to_string();
        Ok(FirewallChanged { name, sentence: format!("{what} {effect}"), rules, notes })
    }
}

/// What becomes of that which is open now, when a way is closed.
fn cut(record: &Record) -> Vec<String> {
    let open = match record.definition.firewall.is_empty() {
        _ if !record.state.has_guest() => return Vec::new(),
        // Who speaks with it is noted from the first rule on.
        true => {
            "It had no rules, and so it is not known what is open now: of that, what may still begin may stand \
             still until that side says something, and what is denied has ended."
        }
        false => "That holds for what is open, too: what nobody may begin any more has ended.",
    };
    vec![open.to_owned(), NOT_BY_NICS.to_owned()]
}

/// A rule as it was said, in words or one by one.
struct Said {
    words: Vec<String>,
    way: Option<Way>,
    protocol: Option<Carried>,
    ports: Option<String>,
    address: Option<String>,
}

impl Said {
    fn rule(&self, allows: bool) -> Result<Rule, Refusal> {
        let verdict = if allows { "allow" } else { "deny" };
        let Self { words, way, protocol, ports, address } = self;
        let one_by_one = protocol.is_some() || ports.is_some() || address.is_some();
        let joined = words.join(" ");
        let words: Vec<&str> = joined.split_whitespace().collect();
        if words.is_empty() && way.is_none() && !one_by_one {
            return Err(Refusal::new(Reason::BadRequest, format!("What is it to {verdict}?"))
                .field("rule")
                .hint(format!(
                    "Such as: firewall {verdict} tcp 443 from 10.0.0.0/8, or firewall {verdict} in"
                )));
        }
        if !words.is_empty() && one_by_one {
            let text = "Say it in words, or one by one, but not both.";
            return Err(Refusal::new(Reason::BadRequest, text).field("rule"));
        }
        let said = words.first().copied().filter(|word| matches!(*word, "in" | "out"));
        let way = match (said, way) {
            (Some(_), None) => None,
            (Some(said), Some(way)) if said == way.word() => None,
            (Some(_), Some(_)) => {
                return Err(Refusal::new(Reason::BadRequest, "In, or out?").field("way"));
            }
            (None, Some(way)) => Some(way.word()),
            (None, None) if words.contains(&"to") => Some("out"),
            (None, None) => Some("in"),
        };
        let mut text = vec![verdict];
        text.extend(way);
        text.extend(words);
        text.extend(protocol.map(Carried::word));
        text.extend(ports.as_deref());
        if let Some(address) = address.as_deref().map(str::trim).filter(|address| !address.is_empty()) {
            text.extend([if way == Some("out") { "to" } else { "from" }, address]);
        }
        read(&text.join(" "))
    }
}

fn read(text: &str) -> Result<Rule, Refusal> {
    text.parse::<Rule>().map_err(|error| {
        Refusal::new(Reason::BadRequest, format!("{error}."))
            .field("rule")
            .hint("Such as: firewall allow tcp 22 from 10.0.0.0/8")
    })
}

/// The rule that is to be taken away; none for all of them.
fn meant(text: &str) -> Result<Option<Rule>, Refusal> {
    let text = text.trim();
    if text == ALL { Ok(None) } else { read(text).map(Some) }
}

fn no_such_rule(record: &Record) -> Refusal {
    let rules = words(&record.definition.firewall);
    let (text, hint) = match rules.is_empty() {
        true => (format!("{} has no rules.", record.name), "Everything passes.".to_owned()),
        false => (format!("{} has no such rule.", record.name), format!("There is: {}.", rules.join("; "))),
    };
    Refusal::new(Reason::NotFound, text).field("rule").hint(hint)
}

fn words(rules: &[Rule]) -> Vec<String> {
    rules.iter().map(ToString::to_string).collect()
}

/// Whether a command about rules is carried out, by what it was asked with; nothing for other commands.
pub(crate) fn is_so(permission: &str, args: &Value, record: &Record) -> Option<bool> {
    let rules = &record.definition.firewall;
    let text = |key: &str| args.get(key).and_then(Value::as_str).map(str::to_owned);
    let allows = match permission {
        "machine.firewall-allow" => true,
        "machine.firewall-deny" => false,
        "machine.firewall-remove" => {
            return Some(match meant(&text("rule").unwrap_or_default()) {
                Ok(Some(rule)) => !rules.contains(&rule),
                Ok(None) => rules.is_empty(),
                Err(_) => false,
            });
        }
        _ => return None,
    };
    let of = |key: &str| text(key).unwrap_or_default();
    let said = Said {
        words: args
            .get("rule")
            .and_then(|words| serde_json::from_value(words.clone()).ok())
            .unwrap_or_default(),
        way: [Way::In, Way::Out].into_iter().find(|way| way.word() == of("way")),
        protocol: [Carried::Tcp, Carried::Udp, Carried::Icmp]
            .into_iter()
            .find(|one| one.word() == of("protocol")),
        ports: text("ports"),
        address: text("address"),
    };
    Some(said.rule(allows).is_ok_and(|rule| rules.contains(&rule)))
}
