//! Which command a node name means, and which nodes there are for whom.
//!
//! At an object's own address a node is the bare verb. At a host there are those of its machines as
//! well: `machine/<verb>`, which lets one be chosen, and `machine/<name>/<verb>`.

use hypervisor_core::machine::MachineName;
use skerry_stanzas::command::{COMMANDS, Declaration, Effect, Object};
use xmpp_parsers::jid::BareJid;

use crate::{asked::Target, face::Face};

/// A command at a node.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Of what was addressed.
    Own(&'static Declaration, Target),
    /// Of a machine that is still to be chosen.
    Any(&'static Declaration),
    /// Of this machine, at its host.
    One(&'static Declaration, MachineName),
}

fn declared(object: Object, verb: &str) -> Option<&'static Declaration> {
    COMMANDS.iter().find(|declaration| declaration.object == object && declaration.verb == verb)
}

impl Place {
    /// The command at this node of this target.
    pub(crate) fn find(node: &str, target: &Target) -> Option<Self> {
        if let Target::Machine(_) = target {
            return declared(Object::Machine, node)
                .map(|declaration| Place::Own(declaration, target.clone()));
        }
        match node.strip_prefix("machine/").map(|rest| rest.rsplit_once('/').ok_or(rest)) {
            None => declared(Object::Host, node).map(|declaration| Place::Own(declaration, Target::Host)),
            Some(Err(verb)) => declared(Object::Machine, verb).map(Place::Any),
            Some(Ok((name, verb))) => {
                let name = MachineName::new(name).ok()?;
                declared(Object::Machine, verb).map(|declaration| Place::One(declaration, name))
            }
        }
    }

    /// The command.
    pub(crate) fn declaration(&self) -> &'static Declaration {
        match self {
            Place::Own(declaration, _) | Place::Any(declaration) | Place::One(declaration, _) => declaration,
        }
    }

    /// What it acts on, when that is said by the node.
    pub(crate) fn target(&self) -> Option<Target> {
        match self {
            Place::Own(_, target) => Some(target.clone()),
            Place::Any(_) => None,
            Place::One(_, name) => Some(Target::Machine(name.clone())),
        }
    }

    /// Its name in a list: with … when it asks for something first.
    pub(crate) fn title(&self) -> String {
        let declaration = self.declaration();
        let asks = matches!(self, Place::Any(_))
            || declaration.effect == Effect::Destroy
            || !declaration.arguments().is_empty();
        let more = if asks { " …" } else { "" };
        match self {
            Place::Own(..) => format!("{}{more}", declaration.about()),
            Place::Any(_) => format!("A machine: {}{more}", lower_first(declaration.about())),
            Place::One(_, name) => format!("{name}: {}{more}", lower_first(declaration.about())),
        }
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

impl Face {
    /// The nodes at a target that this person can use now, with their names.
    pub(crate) fn commands_at(&self, person: &BareJid, target: &Target) -> Vec<(String, String)> {
        let own = self.agent.offered(person, target).into_iter();
        let own = own.map(|d| (d.verb.to_owned(), Place::Own(d, target.clone()).title()));
        let mut nodes: Vec<(String, String)> = own.collect();
        if *target == Target::Host {
            let any = self.agent.offered_on_any(person).into_iter();
            nodes.extend(any.map(|d| (format!("machine/{}", d.verb), Place::Any(d).title())));
        }
        nodes
    }

    /// The nodes at the host for one of its machines.
    pub(crate) fn commands_of(&self, person: &BareJid, name: &MachineName) -> Vec<(String, String)> {
        let offered = self.agent.offered(person, &Target::Machine(name.clone())).into_iter();
        let node = |d: &'static Declaration| {
            (format!("machine/{name}/{}", d.verb), Place::One(d, name.clone()).title())
        };
        offered.map(node).collect()
    }

    /// Whether this person can use this node now.
    pub(crate) fn is_offered(&self, person: &BareJid, place: &Place) -> bool {
        let declaration = place.declaration();
        match place.target() {
            Some(target) => self.agent.offers(person, &target, declaration),
            None => self.agent.offered_on_any(person).iter().any(|offered| offered.verb == declaration.verb),
        }
    }

    /// The name of the node, when this person can use it now.
    pub(crate) fn title_for(&self, person: &BareJid, place: &Place) -> Option<String> {
        self.is_offered(person, place).then(|| place.title())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn machine(name: &str) -> Target {
        Target::Machine(MachineName::new(name).unwrap())
    }

    #[test]
    fn a_node_names_its_command_and_its_machine() {
        let at_host = |node: &str| Place::find(node, &Target::Host);
        assert!(matches!(at_host("list"), Some(Place::Own(d, Target::Host)) if d.verb == "list"));
        assert!(matches!(at_host("machine/start"), Some(Place::Any(d)) if d.verb == "start"));
        let one = at_host("machine/my web/start").unwrap();
        assert_eq!(one.target(), Some(machine("my web")));
        assert_eq!(one.title(), "my web: start the machine");
        assert_eq!(at_host("machine/start").unwrap().title(), "A machine: start the machine …");
        for wrong in
            ["start", "machine/", "machine/list", "machine/a/list", "machine/A B/start", "machine//start"]
        {
            assert!(at_host(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_machine_has_only_its_own() {
        assert!(Place::find("start", &machine("web1")).is_some());
        assert!(Place::find("list", &machine("web1")).is_none());
        assert!(Place::find("machine/start", &machine("web1")).is_none());
    }

    #[test]
    fn what_asks_first_says_so() {
        let title = |node: &str| Place::find(node, &machine("web1")).unwrap().title();
        assert!(!title("start").ends_with('…'));
        assert!(title("kill").ends_with('…'), "it asks whether it is meant");
        assert!(title("rename").ends_with('…'), "it asks for the name");
    }
}
