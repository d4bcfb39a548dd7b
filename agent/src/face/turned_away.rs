//! Commands that come no farther than the door: of somebody without any right, or of too many at once. They
//! are in the audit trail like all that is refused.

use std::time::Duration;

use skerry_stanzas::{
    ns,
    refusal::{Reason, Refusal},
};
use xmpp_parsers::jid::BareJid;

use super::{Face, adhoc::place::Place, stanza::Inquiry};
use crate::asked::{Asked, Door, Target};

impl Face {
    /// Whether somebody has some right here, or is a host that machines may come from.
    pub(super) fn is_known_caller(&self, caller: &BareJid) -> bool {
        self.agent.rights().is_known(caller, chrono::Utc::now()) || self.agent.is_peer(caller)
    }

    /// Notes that a command was not let in.
    pub(super) async fn note_turned_away(&self, inquiry: &Inquiry) {
        let Some(asked) = asked(inquiry) else { return };
        let refusal = Refusal::new(Reason::NotAllowed, "You have no role here.");
        self.agent.note_refused(&asked, &refusal).await;
    }

    /// Counts a command that there was no room for. Nothing is waited for: there is too much of that already.
    pub(super) fn count_turned_away(&self, inquiry: &Inquiry) {
        if let Some(asked) = asked(inquiry) {
            self.agent.count_refused(&asked);
        }
    }
}

/// The command that a stanza asks for, when it is one there is. Its arguments are not looked at.
fn asked(inquiry: &Inquiry) -> Option<Asked> {
    let command = Some(&inquiry.payload).filter(|payload| inquiry.set && payload.is("command", ns::ADHOC))?;
    let place = Place::find(command.attr("node")?, &inquiry.target)?;
    Some(Asked {
        caller: inquiry.from.clone(),
        target: place.target().unwrap_or(Target::Host),
        declaration: place.declaration(),
        argv: Vec::new(),
        door: Door::Adhoc,
        key: None,
        patience: Duration::ZERO,
        hops: Vec::new(),
        together: None,
        signature: None,
    })
}
