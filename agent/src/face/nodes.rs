//! The pubsub nodes there are, and who has which.

use skerry_stanzas::ns;
use xmpp_parsers::ns as xep;

use super::entity::Entity;

/// A pubsub node of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Node {
    /// What a machine or the host is now.
    State,
    /// What happened on the host, in order.
    Events,
    /// What the host and its machines use.
    Metrics,
    /// The newest entry of the audit trail.
    Audit,
    /// The picture (XEP-0084).
    AvatarData,
    /// Which picture there is (XEP-0084).
    AvatarMetadata,
}

impl Node {
    /// All of them.
    pub(crate) const ALL: [Node; 6] =
        [Node::State, Node::Events, Node::Metrics, Node::Audit, Node::AvatarData, Node::AvatarMetadata];

    /// Its name on the wire.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Node::State => ns::STATE,
            Node::Events => ns::EVENTS,
            Node::Metrics => ns::METRICS,
            Node::Audit => ns::AUDIT,
            Node::AvatarData => xep::AVATAR_DATA,
            Node::AvatarMetadata => xep::AVATAR_METADATA,
        }
    }

    /// Its name for people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Node::State => "State",
            Node::Events => "Events",
            Node::Metrics => "Metrics",
            Node::Audit => "Head of the audit trail",
            Node::AvatarData => "Picture",
            Node::AvatarMetadata => "About the picture",
        }
    }

    /// The node of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|node| node.name() == name)
    }

    /// Whether this entity has it.
    pub(crate) fn is_of(self, entity: Entity) -> bool {
        match self {
            Node::Events | Node::Metrics | Node::Audit => entity == Entity::Host,
            Node::State | Node::AvatarData | Node::AvatarMetadata => true,
        }
    }
}

/// A set of nodes: what a client wants to be notified of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants(u8);

impl Wants {
    /// Adds a node.
    pub(crate) fn add(&mut self, node: Node) {
        self.0 |= 1 << node as u8;
    }

    /// Whether this node is wanted.
    pub(crate) fn has(self, node: Node) -> bool {
        self.0 & (1 << node as u8) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_added() {
        let mut wants = Wants::default();
        wants.add(Node::Events);
        wants.add(Node::AvatarMetadata);
        let held: Vec<Node> = Node::ALL.into_iter().filter(|node| wants.has(*node)).collect();
        assert_eq!(held, [Node::Events, Node::AvatarMetadata]);
        assert!(Node::ALL.into_iter().all(|node| Node::named(node.name()) == Some(node)));
    }
}
