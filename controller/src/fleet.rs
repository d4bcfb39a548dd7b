//! The hosts and machines there are for this account.
//!
//! Hosts are those the configuration names; when it names none, they are looked for: in the contact
//! list (a component's domain, a machine's domain, an account whose agent is at `/skerry`) and among
//! the services of the account's own server. Each candidate is asked who it is (XEP-0030), many at
//! a time, not for long.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt as _, stream};
use minidom::Element;
use skerry_link::{Ask, address::given};
use skerry_stanzas::{natural::natural, ns, safe::safe_line};
use xmpp_parsers::jid::{BareJid, Jid};

use crate::{
    call::Reply,
    commands::address,
    config::Config,
    failure::{Failure, Outcome},
    name::{Among, Meant, resolve},
    session::{SHORT, Session},
    wire,
};

/// How long a candidate may take to say who it is.
const KNOCK_MAX: Duration = Duration::from_secs(4);
/// How many candidates are asked at a time.
const KNOCKS_AT_ONCE: usize = 32;
/// The resource of an agent with an account of its own.
const RESOURCE: &str = "skerry";
/// The longest name shown, in characters.
const NAME_CHARS_MAX: usize = 80;

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Where it is asked.
    pub jid: Jid,
    /// What it calls itself.
    pub name: String,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Where it is asked: its own address, or its host's.
    pub jid: Jid,
    /// At its host's address: what stands before the verb in a command's node, `machine/web1`.
    pub node: Option<String>,
    /// Its host's address.
    pub host: Jid,
}

impl Machine {
    /// Whether its address is its own (on a component).
    pub fn has_own_address(&self) -> bool {
        self.node.is_none()
    }

    /// Where one of its commands is asked for, and at which node. One that takes it away from its address is
    /// asked of its host, where the answer can be had still when it is gone.
    pub fn asked_at(&self, verb: &str) -> (Jid, String) {
        match &self.node {
            None if verb == "migrate" => (self.host.clone(), format!("machine/{}/{verb}", self.name)),
            _ => (self.jid.clone(), self.command_node(verb)),
        }
    }

    /// The node of one of its commands, at its address.
    pub fn command_node(&self, verb: &str) -> String {
        match &self.node {
            Some(node) => format!("{node}/{verb}"),
            None => verb.to_owned(),
        }
    }
}

/// The hosts and machines there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// By name.
    pub hosts: Vec<Host>,
    /// By host and name.
    pub machines: Vec<Machine>,
    /// What ought to be a host and did not answer.
    pub away: Vec<String>,
}

/// What a candidate turned out to be.
enum Knocked {
    Host(Host),
    /// Something else, or nobody one would miss.
    Other,
    /// Not connected just now.
    Away(String),
}

impl Fleet {
    /// The hosts, without their machines.
    ///
    /// # Errors
    /// The server does not answer. A host that does not is only noted.
    pub async fn hosts(session: &Session, config: &Config) -> Outcome<Self> {
        let named = !config.hosts.is_empty();
        let candidates = match named {
            true => config.hosts.iter().map(agent_of).collect(),
            false => candidates(session, &config.jid).await?,
        };
        Ok(Self::knock(session, candidates, named).await)
    }

    /// The hosts that these words name; all there are, when there are none.
    ///
    /// # Errors
    /// None answers, or a word names none.
    pub async fn hosts_named(
        session: &Session,
        config: &Config,
        words: &[impl AsRef<str>],
    ) -> Outcome<Vec<Host>> {
        let fleet = Self::hosts(session, config).await?;
        fleet.warn_of_away();
        if fleet.hosts.is_empty() {
            return Err(fleet.nobody());
        }
        if words.is_empty() {
            return Ok(fleet.hosts);
        }
        let named = words.iter().map(AsRef::as_ref).map(|word| match resolve(word, Among::Hosts, &fleet)? {
            Meant::Host(host) => Ok(host),
            Meant::Machine(_) => Err(Failure::usage(format!("{word} is no host"))),
        });
        named.collect()
    }

    /// The hosts and all their machines.
    ///
    /// # Errors
    /// As [`Fleet::hosts`].
    pub async fn whole(session: &Session, config: &Config) -> Outcome<Self> {
        Ok(Self::hosts(session, config).await?.with_machines(session).await)
    }

    /// The one machine a word means: its address, or its name.
    ///
    /// # Errors
    /// There is none, or several.
    pub async fn machine(session: &Session, config: &Config, word: &str) -> Outcome<Machine> {
        let fleet = match address(word) {
            Some(address) => Self::at(session, &address).await,
            None => None,
        };
        let fleet = match fleet {
            Some(fleet) => fleet,
            None => Self::whole(session, config).await?,
        };
        match resolve(word, Among::Machines, &fleet)? {
            Meant::Machine(machine) => Ok(machine),
            Meant::Host(_) => Err(Failure::usage(format!("{word} is no machine"))),
        }
    }

    /// Only what an address names: the host there, or the machine and its host. `None` when nobody
    /// there is one of ours; then the name has to be looked up.
    pub async fn at(session: &Session, address: &Jid) -> Option<Self> {
        let candidates = match address.node() {
            // A machine of a component, or an account whose agent is at a resource.
            Some(_) if address.resource().is_none() => {
                [Jid::new(address.domain().as_str()).ok()?, agent_of(address)].into()
            }
            _ => [address.clone()].into(),
        };
        let fleet = Self { away: Vec::new(), ..Self::knock(session, candidates, true).await };
        match fleet.hosts.is_empty() {
            true => None,
            false => Some(fleet.with_machines(session).await),
        }
    }

    async fn knock(session: &Session, candidates: BTreeSet<Jid>, named: bool) -> Self {
        let answers: Vec<Knocked> = stream::iter(candidates)
            .map(|candidate| async move {
                let iq = wire::get(Some(&candidate), Element::bare("query", wire::DISCO_INFO));
                let answer = session.ask(iq, KNOCK_MAX).await;
                who_is(candidate, answer, named)
            })
            .buffer_unordered(KNOCKS_AT_ONCE)
            .collect()
            .await;
        let mut fleet = Self::default();
        for answer in answers {
            match answer {
                Knocked::Host(host) => fleet.hosts.push(host),
                Knocked::Away(jid) => fleet.away.push(jid),
                Knocked::Other => {}
            }
        }
        fleet
            .hosts
            .sort_by(|a, b| natural(&a.name, &b.name).then_with(|| natural(a.jid.as_str(), b.jid.as_str())));
        fleet.away.sort_by(|a, b| natural(a, b));
        fleet
    }

    async fn with_machines(mut self, session: &Session) -> Self {
        let lists: Vec<(Host, Result<Option<Element>, Ask>)> = stream::iter(self.hosts.clone())
            .map(|host| async move {
                let iq = wire::get(Some(&host.jid), Element::bare("query", wire::DISCO_ITEMS));
                let answer = session.ask(iq, SHORT).await;
                (host, answer)
            })
            .buffer_unordered(KNOCKS_AT_ONCE)
            .collect()
            .await;
        for (host, answer) in lists {
            match answer {
                Ok(Some(query)) => {
                    self.machines.extend(query.children().filter_map(|item| machine(item, &host)));
                }
                _ => self.away.push(host.jid.to_string()),
            }
        }
        self.machines.sort_by(|a, b| {
            natural(a.host.as_str(), b.host.as_str()).then_with(|| natural(&a.name, &b.name))
        });
        self
    }

    /// The host of a machine.
    pub fn host_of(&self, machine: &Machine) -> Option<&Host> {
        self.hosts.iter().find(|host| host.jid == machine.host)
    }

    /// The hosts as a reply, to be shown as others are.
    pub fn reply(&self) -> Reply {
        let hosts =
            self.hosts.iter().map(|host| serde_json::json!({"name": host.name, "jid": host.jid.to_string()}));
        Reply { text: String::new(), json: serde_json::json!({"hosts": hosts.collect::<Vec<_>>()}) }
    }

    /// The failure when there is no host to ask.
    pub fn nobody(&self) -> Failure {
        if self.away.is_empty() {
            return Failure::unreachable("no host can be found").hint(
                "A host is found when it is in your contact list, or among the services of your server;\n\
                 or name it in the configuration: hosts = [\"kvm1.example.org\"].",
            );
        }
        Failure::unreachable(format!("no host answers: {}", self.away.join(", ")))
            .hint("Does its agent run, and is it connected to the server?")
    }

    /// Tells on stderr who did not answer.
    pub fn warn_of_away(&self) {
        for away in &self.away {
            eprintln!("skerry: {away} does not answer; left out");
        }
    }
}

/// An agent with an account of its own is at its resource, also when only the account was named.
pub(crate) fn agent_of(jid: &Jid) -> Jid {
    match (jid.node(), jid.resource()) {
        (Some(_), None) => jid.to_bare().with_resource_str(RESOURCE).map_or_else(|_| jid.clone(), Jid::from),
        _ => jid.clone(),
    }
}

/// Who might be a host: contacts, and the services of our own server.
async fn candidates(session: &Session, account: &BareJid) -> Outcome<BTreeSet<Jid>> {
    let own = Jid::new(account.domain().as_str())
        .map_err(|_| Failure::usage(format!("{account} has no server in its address")))?;
    let (roster, items) = futures::join!(
        session.ask(wire::get(None, Element::bare("query", wire::ROSTER)), SHORT),
        session.ask(wire::get(Some(&own), Element::bare("query", wire::DISCO_ITEMS)), SHORT),
    );
    let mut found = BTreeSet::new();
    let contacts = roster?.into_iter().flat_map(|query| jids(&query)).collect::<Vec<_>>();
    for contact in contacts.into_iter().filter(|contact| contact.to_bare() != *account) {
        found.extend(candidate(&contact, account));
    }
    // A server that does not list its services leaves the contact list.
    if let Ok(Some(query)) = items {
        found.extend(jids(&query).into_iter().filter(|service| service.node().is_none()));
    }
    Ok(found)
}

pub(crate) fn jids(query: &Element) -> Vec<Jid> {
    query.children().filter_map(|item| given(item.attr("jid")?)).collect()
}

/// Where the agent would be, if this contact were a host or a machine.
fn candidate(contact: &Jid, account: &BareJid) -> Vec<Jid> {
    let domain = Jid::new(contact.domain().as_str()).ok().filter(|_| contact.domain() != account.domain());
    match contact.node() {
        None => vec![contact.clone()],
        Some(_) => domain.into_iter().chain([agent_of(&Jid::from(contact.to_bare()))]).collect(),
    }
}

fn who_is(jid: Jid, answer: Result<Option<Element>, Ask>, named: bool) -> Knocked {
    let query = match answer {
        Ok(Some(query)) => query,
        Ok(None) => return Knocked::Other,
        Err(Ask::Refused(_)) if named => return Knocked::Away(jid.to_string()),
        Err(Ask::Refused(iq)) => {
            // A component that is not connected; a person's contacts and other services say otherwise.
            let away = jid.node().is_none() && wire::condition(&iq).0 == "remote-server-timeout";
            return if away { Knocked::Away(jid.to_string()) } else { Knocked::Other };
        }
        Err(_) if named || jid.node().is_none() => return Knocked::Away(jid.to_string()),
        Err(_) => return Knocked::Other,
    };
    let is_host =
        query.children().any(|child| child.name() == "feature" && child.attr("var") == Some(ns::HOST));
    if !is_host {
        return if named { Knocked::Away(jid.to_string()) } else { Knocked::Other };
    }
    let name = query
        .children()
        .find(|child| child.name() == "identity")
        .and_then(|identity| identity.attr("name"))
        .map(|name| safe_line(name, NAME_CHARS_MAX))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| jid.to_string());
    Knocked::Host(Host { jid, name })
}

/// A machine in the list of its host's items; other items (its commands) are none.
pub(crate) fn machine(item: &Element, host: &Host) -> Option<Machine> {
    let jid = given(item.attr("jid")?)?;
    let shown = item.attr("name").map(|name| safe_line(name, NAME_CHARS_MAX));
    match item.attr("node") {
        None if jid.node().is_some() && jid.domain() == host.jid.domain() => {
            let name = shown.or_else(|| skerry_stanzas::address::name_of(&jid))?;
            Some(Machine { name, jid, node: None, host: host.jid.clone() })
        }
        Some(node) if jid == host.jid => {
            let name = node.strip_prefix("machine/").filter(|name| !name.contains('/'))?;
            Some(Machine {
                name: shown.unwrap_or_else(|| name.to_owned()),
                jid,
                node: Some(node.to_owned()),
                host: host.jid.clone(),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    fn parsed(xml: &str) -> Element {
        xml.parse().unwrap()
    }

    fn host(address: &str) -> Host {
        Host { jid: jid(address), name: "kvm1".into() }
    }

    #[test]
    fn machines_with_addresses_of_their_own() {
        let item = parsed("<item xmlns='x' jid='web\\201@kvm1.example.org' name='web 1'/>");
        let machine = machine(&item, &host("kvm1.example.org")).unwrap();
        assert_eq!((machine.name.as_str(), machine.command_node("start").as_str()), ("web 1", "start"));
    }

    #[test]
    fn what_takes_a_machine_away_is_asked_of_its_host() {
        let own = parsed("<item xmlns='x' jid='web1@kvm1.example.org' name='web1'/>");
        let host = host("kvm1.example.org");
        let machine = machine(&own, &host).unwrap();
        assert_eq!(machine.asked_at("migrate"), (host.jid, "machine/web1/migrate".into()));
        assert_eq!(machine.asked_at("start"), (jid("web1@kvm1.example.org"), "start".into()));
    }

    #[test]
    fn machines_under_their_host() {
        let item = parsed("<item xmlns='x' jid='kvm1@example.org/skerry' node='machine/web1' name='web1'/>");
        let machine = machine(&item, &host("kvm1@example.org/skerry")).unwrap();
        assert_eq!(machine.command_node("start"), "machine/web1/start");
    }

    #[test]
    fn what_is_no_machine_of_this_host_is_none() {
        for item in [
            "<item xmlns='x' jid='kvm1.example.org' node='http://jabber.org/protocol/commands'/>",
            "<item xmlns='x' jid='web1@elsewhere.example.org'/>",
            "<item xmlns='x' jid='kvm1.example.org' node='machine/web1/start'/>",
            "<item xmlns='x' jid='not a jid @@'/>",
        ] {
            assert_eq!(machine(&parsed(item), &host("kvm1.example.org")), None, "{item}");
        }
    }

    #[test]
    fn contacts_point_to_where_an_agent_would_be() {
        let account = BareJid::new("ann@example.org").unwrap();
        let of =
            |contact: &str| candidate(&jid(contact), &account).iter().map(Jid::to_string).collect::<Vec<_>>();
        assert_eq!(of("kvm1.example.org"), ["kvm1.example.org"]);
        assert_eq!(of("web1@kvm1.example.org"), ["kvm1.example.org", "web1@kvm1.example.org/skerry"]);
        assert_eq!(of("attic@example.org"), ["attic@example.org/skerry"]);
    }

    #[test]
    fn a_host_says_so_itself() {
        let query = parsed(&format!(
            "<query xmlns='d'><identity category='component' type='generic' name='kvm1\u{202e}'/>\
             <feature var='{}'/></query>",
            ns::HOST
        ));
        let Knocked::Host(host) = who_is(jid("kvm1.example.org"), Ok(Some(query)), false) else { panic!() };
        assert_eq!(host.name, "kvm1");
        let other = parsed("<query xmlns='d'><identity category='pubsub' type='service'/></query>");
        assert!(matches!(who_is(jid("pubsub.example.org"), Ok(Some(other)), false), Knocked::Other));
    }

    #[test]
    fn only_those_one_would_miss_are_missed() {
        let timed_out = || Err(Ask::TimedOut(KNOCK_MAX));
        assert!(matches!(who_is(jid("kvm1.example.org"), timed_out(), false), Knocked::Away(_)));
        assert!(matches!(who_is(jid("bob@example.org/skerry"), timed_out(), false), Knocked::Other));
        assert!(matches!(who_is(jid("attic@example.org/skerry"), timed_out(), true), Knocked::Away(_)));
    }
}
