//! Every namespace, one constant each. Ours end in `:0` until they are stable.

/// What a machine or a host is now: presence payload and pubsub node.
pub const STATE: &str = "urn:skerry:state:0";
/// What happened on a host, in order: pubsub node and its payload.
pub const EVENTS: &str = "urn:skerry:events:0";
/// What a host and its machines use: pubsub node and its payload.
pub const METRICS: &str = "urn:skerry:metrics:0";
/// The newest entry of a host's audit trail: pubsub node, its payload, and what witnesses are told.
pub const AUDIT: &str = "urn:skerry:audit:0";
/// A host: disco feature.
pub const HOST: &str = "urn:skerry:host:0";
/// A machine: disco feature.
pub const MACHINE: &str = "urn:skerry:machine:0";
/// Moving a machine from host to host: the words of docs/handover.md.
pub const MIGRATION: &str = "urn:skerry:migration:0";
/// Sharing an image with another host.
pub const SHARE: &str = "urn:skerry:share:0";
/// What a machine is made of, each value with its kind.
pub const DEFINITION: &str = "urn:skerry:definition:0";
/// Our own conditions inside a stanza error.
pub const REFUSAL: &str = "urn:skerry:refusal:0";
/// FORM_TYPE of the forms of our commands, and what a request says besides.
pub const COMMAND: &str = "urn:skerry:command:0";

/// A host that knows signatures: disco feature. One without it takes a policy that wants them for one that
/// does not.
pub const SIGNATURES: &str = "urn:skerry:signatures:0";

/// Component streams (XEP-0114).
pub const COMPONENT: &str = "jabber:component:accept";
/// Client streams (RFC 6120).
pub const CLIENT: &str = "jabber:client";
/// Stanza errors (RFC 6120 §8.3).
pub const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// Ad-hoc commands (XEP-0050).
pub const ADHOC: &str = "http://jabber.org/protocol/commands";
/// Data forms (XEP-0004).
pub const FORMS: &str = "jabber:x:data";
/// JSON containers (XEP-0335).
pub const JSON: &str = "urn:xmpp:json:0";
/// Processing hints (XEP-0334).
pub const HINTS: &str = "urn:xmpp:hints";
/// Last message correction (XEP-0308).
pub const CORRECT: &str = "urn:xmpp:message-correct:0";
/// Quick responses (XEP-0439).
pub const QUICK_RESPONSE: &str = "urn:xmpp:tmp:quick-response";
/// XEP-0045, the lists of a room.
pub const MUC_ADMIN: &str = "http://jabber.org/protocol/muc#admin";
