//! Entity capabilities (XEP-0115): one hash for all machines of a build and one for all hosts, so that
//! a server which asks about every hash it does not know asks twice and not a thousand times. And what
//! the clients of our contacts want to be notified of, learned from theirs.

mod hash;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use minidom::Element;
use skerry_stanzas::ns;
use xmpp_parsers::{jid::FullJid, ns as xep};

use self::hash::ver;
use super::{
    Face, disco,
    nodes::{Node, Wants},
    stanza::{Inquiry, Tag, tag},
};
use crate::asked::Target;

/// The `node` of our caps.
pub(crate) const NODE: &str = "urn:skerry:agent";
/// How many of other people's hashes are remembered.
const KNOWN_MAX: usize = 1024;
/// How many are asked about at once.
const PENDING_MAX: usize = 64;
const PATIENCE: Duration = Duration::from_secs(30);

/// Our own hashes, which never change while we run.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    host: String,
    machine: String,
}

impl Own {
    /// Computes them.
    pub(crate) fn new(component: bool) -> Self {
        let hash =
            |machine: bool| ver(&disco::described(machine, component, None).into()).unwrap_or_default();
        Self { host: hash(false), machine: hash(true) }
    }

    /// The `<c/>` for a presence.
    pub(crate) fn element(&self, target: &Target) -> Tag {
        tag("c", xep::CAPS).attr("hash", "sha-1").attr("node", NODE).attr("ver", self.of(target))
    }

    fn of(&self, target: &Target) -> &str {
        match target {
            Target::Host => &self.host,
            Target::Machine(_) => &self.machine,
        }
    }
}

/// The answer to "what is behind this hash of yours". It says nothing that is not in every presence,
/// so anybody may ask, at any of our addresses, whether there is a machine or not.
pub(crate) fn hashed(face: &Face, inquiry: &Inquiry) -> Option<Element> {
    if inquiry.set || !inquiry.payload.is("query", xep::DISCO_INFO) {
        return None;
    }
    let node = inquiry.payload.attr("node")?;
    let asked = node.strip_prefix(NODE)?.strip_prefix('#')?;
    if asked != face.caps.of(&inquiry.target) {
        return None;
    }
    let machine = matches!(inquiry.target, Target::Machine(_));
    Some(disco::described(machine, face.addresses().is_component(), None).attr("node", node).into())
}

/// What the clients of our contacts can do, by `node#ver`.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    known: HashMap<Arc<str>, Wants>,
    order: VecDeque<Arc<str>>,
    pending: HashSet<Arc<str>>,
}

/// The `node#ver` of a presence, when it has a usable one.
pub(crate) fn key(presence: &Element) -> Option<Arc<str>> {
    let caps = presence.get_child("c", xep::CAPS)?;
    let (node, ver) = (caps.attr("node")?, caps.attr("ver")?);
    let usable = caps.attr("hash") == Some("sha-1") && node.len() <= 512 && ver.len() <= 64;
    usable.then(|| format!("{node}#{ver}").into())
}

impl Peers {
    /// What a client with this hash wants; nothing while it is not known.
    pub(crate) fn wants(&self, key: &str) -> Wants {
        self.known.get(key).copied().unwrap_or_default()
    }

    /// Whether somebody has to be asked about this hash; from then on it is pending.
    fn begin(&mut self, key: &Arc<str>) -> bool {
        !self.known.contains_key(key) && self.pending.len() < PENDING_MAX && self.pending.insert(key.clone())
    }

    fn learn(&mut self, key: Arc<str>, wants: Wants) {
        if self.known.insert(key.clone(), wants).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > KNOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Face {
    /// Asks a client what it can do, unless that is known, and then sends it what it wants to have.
    pub(crate) async fn learn_caps(&self, client: FullJid, own: xmpp_parsers::jid::Jid, key: Arc<str>) {
        if !self.peers().begin(&key) {
            return;
        }
        let iq = tag("iq", ns::CLIENT)
            .attr("type", "get")
            .attr("from", own.as_str())
            .attr("to", client.as_str())
            .child(tag("query", xep::DISCO_INFO).attr("node", &*key));
        let answer = self.wire.ask(iq.into(), PATIENCE).await;
        self.peers().pending.remove(&key);
        let Ok(answer) = answer else { return };
        let Some(info) = answer.get_child("query", xep::DISCO_INFO) else { return };
        let wants = wants(info);
        let honest = ver(info).is_some_and(|ver| key.ends_with(&format!("#{ver}")));
        let key = match honest {
            true => key,
            // A hash that does not fit says nothing about others who send it (XEP-0115 §5.4).
            false => {
                let own_key: Arc<str> = format!("{client} {key}").into();
                self.contacts().rekey(&client, &key, &own_key);
                own_key
            }
        };
        self.peers().learn(key.clone(), wants);
        let clients = self.contacts().using(&key);
        for (entity, client) in clients {
            self.send_last_items(entity, &client, wants).await;
        }
    }
}

/// Which of our nodes a client wants to be notified of.
fn wants(info: &Element) -> Wants {
    let features = info.children().filter(|child| child.is("feature", xep::DISCO_INFO));
    let mut wants = Wants::default();
    for node in features.filter_map(|feature| feature.attr("var")?.strip_suffix("+notify")) {
        if let Some(node) = Node::named(node) {
            wants.add(node);
        }
    }
    wants
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn host_and_machine_differ_and_names_do_not_matter() {
        let own = Own::new(true);
        assert_ne!(own.host, own.machine);
        let named = disco::described(true, true, Some("web1")).into();
        assert_ne!(ver(&named).unwrap(), own.machine, "a name would be in the hash");
    }

    #[test]
    fn only_so_many_hashes_are_remembered() {
        let mut peers = Peers::default();
        for n in 0..KNOWN_MAX + 10 {
            peers.learn(format!("c#{n}").into(), Wants::default());
        }
        assert_eq!(peers.known.len(), KNOWN_MAX);
        assert!(!peers.known.contains_key("c#0"));
        for n in 0..PENDING_MAX {
            assert!(peers.begin(&format!("p#{n}").into()));
        }
        assert!(!peers.begin(&"p#0".into()), "asked already");
        assert!(!peers.begin(&"one more".into()));
    }
}
