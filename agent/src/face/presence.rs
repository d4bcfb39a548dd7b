//! Presence: what everybody sees in their contact list. The state of a machine as availability and a
//! short sentence for people, and as a payload for programs; who may see it is answered by role.

use std::sync::Arc;

use hypervisor_core::{lifecycle::State, machine::MachineName};
use minidom::Element;
use skerry_stanzas::ns;
use xmpp_parsers::{
    jid::{BareJid, FullJid, Jid},
    ns as xep,
};

use super::{
    Face, caps,
    entity::Entity,
    ledger::Change,
    stanza::{self, Tag, tag},
};
use crate::{agent::Seen, asked::Target};

/// How a state is shown (RFC 6121 §4.7.2.1); available without more is `None`.
pub(crate) fn show(state: &State) -> Option<&'static str> {
    match state {
        State::Running => None,
        State::Starting | State::Stopping | State::Migrating(_) | State::Failed(_) => Some("dnd"),
        State::Paused => Some("away"),
        State::Saved | State::Stopped(_) => Some("xa"),
    }
}

impl Face {
    /// The presence of a machine, without a receiver.
    pub(crate) fn machine_presence(&self, seen: &Seen) -> Tag {
        let target = Target::Machine(seen.name.clone());
        let mut presence = self.presence_from(&target);
        if let Some(show) = show(&seen.state) {
            presence = presence.child(tag("show", ns::CLIENT).text(show));
        }
        presence
            .child(tag("status", ns::CLIENT).text(&seen.sentence))
            .child(self.caps.element(&target))
            .child(self.picture(Entity::Machine(seen.id)))
            .child(self.machine_state(seen))
    }

    /// The presence of the host, without a receiver.
    pub(crate) fn host_presence(&self) -> Tag {
        let presence = self
            .presence_from(&Target::Host)
            .child(tag("status", ns::CLIENT).text(self.host_sentence()))
            .child(self.caps.element(&Target::Host))
            .child(self.host_state());
        match self.addresses().is_component() || self.pep.is_pictured() {
            true => presence.child(self.picture(Entity::Host)),
            false => presence,
        }
    }

    /// The host in a sentence: `2 of 3 running`.
    pub(crate) fn host_sentence(&self) -> String {
        match self.agent.tally() {
            (0, _) => "no machines yet".to_owned(),
            (all, running) => format!("{running} of {all} running"),
        }
    }

    fn presence_from(&self, target: &Target) -> Tag {
        tag("presence", ns::CLIENT).attr("from", self.addresses().presence_of(target).as_str())
    }

    /// Which picture there is (XEP-0153).
    fn picture(&self, entity: Entity) -> Tag {
        let photo = tag("photo", xep::VCARD_UPDATE).text(self.avatar_hash(entity));
        tag("x", xep::VCARD_UPDATE).child(photo)
    }

    /// The presence of an entity; `None` when there is no such machine any more.
    pub(crate) fn presence_of(&self, entity: Entity) -> Option<Tag> {
        match entity {
            Entity::Host => Some(self.host_presence()),
            Entity::Machine(_) => Some(self.machine_presence(&self.seen(entity)?)),
        }
    }

    /// The same for one person.
    fn presence_for(&self, entity: Entity, person: &BareJid) -> Option<Tag> {
        match entity == Entity::Host && !self.agent.may_follow(person, &Target::Host) {
            true => Some(self.presence_to_few()),
            false => self.presence_of(entity),
        }
    }

    /// The host's to those with rights on some machines only: they are not told of the others.
    fn presence_to_few(&self) -> Tag {
        self.presence_from(&Target::Host).child(self.caps.element(&Target::Host))
    }

    /// Whether this person may see how something is. An account has one presence for all who see it, and its
    /// server sends them what it publishes: there, who has a role on the whole host.
    pub(crate) fn may_watch(&self, person: &BareJid, target: &Target) -> bool {
        match self.addresses().is_component() {
            true => self.agent.knows(person, target),
            false => self.agent.may_follow(person, target),
        }
    }

    /// Tells everybody who sees it. On an account the server does that.
    pub(crate) async fn show_presence(&self, entity: Entity) {
        let Some(presence) = self.presence_of(entity) else { return };
        if !self.addresses().is_component() {
            if entity == Entity::Host {
                self.say(presence).await;
            }
            return;
        }
        let watchers = self.contacts().watchers(entity);
        let few = (entity == Entity::Host).then(|| self.presence_to_few());
        for person in watchers {
            let few = few.as_ref().filter(|_| !self.agent.may_follow(&person, &Target::Host));
            let told = few.unwrap_or(&presence).clone();
            self.say(told.attr("to", person.as_str())).await;
        }
    }

    /// After a login: the server forgot everything, and people may have lost their role meanwhile.
    pub(crate) async fn show_all_presences(&self) {
        self.contacts().nobody_here();
        if !self.addresses().is_component() {
            return self.show_presence(Entity::Host).await;
        }
        let contacts = self.contacts().all();
        for (entity, person, contact) in contacts {
            let Some(target) = self.target(entity) else {
                self.forget_entity(entity);
                continue;
            };
            if !self.agent.knows(&person, &target) {
                self.turn_away(entity, &target, &person).await;
                continue;
            }
            if contact.theirs
                && let Some(presence) = self.presence_for(entity, &person)
            {
                self.say(presence.attr("to", person.as_str())).await;
            }
            if contact.ours {
                self.say(self.subscription(&target, &person, "probe")).await;
            }
        }
    }

    /// Roles were read again: who has none any more sees nothing any more.
    pub async fn apply_roles(&self) {
        if !self.addresses().is_component() {
            return self.apply_roles_to_roster().await;
        }
        let contacts = self.contacts().all();
        for (entity, person, _) in contacts {
            if let Some(target) = self.target(entity)
                && !self.agent.knows(&person, &target)
            {
                self.turn_away(entity, &target, &person).await;
            }
        }
    }

    /// Says goodbye to everybody: clean shutdown.
    pub(crate) async fn say_goodbye(&self) {
        if !self.addresses().is_component() {
            let leaving = tag("presence", ns::CLIENT).attr("type", "unavailable");
            return self.say(leaving.child(tag("status", ns::CLIENT).text("the agent was stopped"))).await;
        }
        let contacts = self.contacts().all();
        for (entity, person, contact) in contacts {
            if let Some(target) = self.target(entity).filter(|_| contact.theirs) {
                self.say(self.leaving(&target, &person, "the agent was stopped")).await;
            }
        }
    }

    /// Unavailable, and why.
    pub(crate) fn leaving(&self, target: &Target, person: &BareJid, why: &str) -> Tag {
        self.presence_from(target)
            .attr("type", "unavailable")
            .attr("to", person.as_str())
            .child(tag("status", ns::CLIENT).text(why))
    }

    /// A presence of these types goes from bare address to bare address (RFC 6121 §3.1.1).
    pub(crate) fn subscription(&self, target: &Target, person: &BareJid, kind: &'static str) -> Tag {
        let from = self.addresses().of(target).into_bare();
        tag("presence", ns::CLIENT).attr("from", from.as_str()).attr("to", person.as_str()).attr("type", kind)
    }

    /// Ends it on both sides: they have no role (any more).
    async fn turn_away(&self, entity: Entity, target: &Target, person: &BareJid) {
        let contact = self.contacts().of(entity, person);
        self.forget(entity, person);
        if contact.theirs {
            self.say(self.leaving(target, person, "you have no role here any more")).await;
            self.say(self.subscription(target, person, "unsubscribed")).await;
        }
        // Who sees us was asked back, and may not have answered yet.
        if contact.theirs || contact.ours {
            self.say(self.subscription(target, person, "unsubscribe")).await;
        }
    }

    /// Takes in a presence.
    pub(crate) async fn take_presence(self: &Arc<Self>, presence: &Element) {
        let Some((from, to)) = self.parties(presence) else { return };
        let Some(target) = self.addresses().target_of(&to) else { return };
        if self.addresses().is_ours(&from) {
            return;
        }
        let person = from.to_bare();
        match presence.attr("type") {
            Some("subscribe") => self.asked_to_subscribe(&target, &person).await,
            Some("probe") => self.probed(&target, &from).await,
            Some("unsubscribe") if !self.addresses().is_component() => {
                self.say(self.subscription(&target, &person, "unsubscribe")).await;
            }
            _ if !self.addresses().is_component() => {}
            None => self.appeared(&target, from, presence).await,
            Some("unavailable") => {
                if let Some(entity) = self.entity(&target) {
                    self.contacts().vanished(entity, &from);
                }
            }
            Some("subscribed") => self.may_see(&target, &person, true),
            Some("unsubscribed") => self.may_see(&target, &person, false),
            Some("unsubscribe") => self.left(&target, &person).await,
            Some("error") => self.bounced(&target, &from, presence),
            Some(_) => tracing::debug!("a presence of an unknown type was ignored"),
        }
    }

    /// Somebody wants to see us: by role. We then want to see them too, to know which clients they
    /// have and what those want to be notified of.
    async fn asked_to_subscribe(&self, target: &Target, person: &BareJid) {
        let allowed = self.may_watch(person, target);
        let full = match (allowed, self.entity(target)) {
            (true, Some(entity)) if self.addresses().is_component() => {
                let before = self.contacts().of(entity, person);
                let kept = self.remember(entity, person, true, before.ours);
                if kept {
                    self.say(self.subscription(target, person, "subscribed")).await;
                    if let Some(presence) = self.presence_for(entity, person) {
                        self.say(presence.attr("to", person.as_str())).await;
                    }
                    if !before.ours {
                        self.say(self.subscription(target, person, "subscribe")).await;
                    }
                    return;
                }
                true
            }
            (true, Some(_)) => {
                // Their server answers for them when we see them already.
                self.say(self.subscription(target, person, "subscribed")).await;
                return self.say(self.subscription(target, person, "subscribe")).await;
            }
            _ => false,
        };
        let why = match (allowed, full, target) {
            (true, true, _) => "I have too many contacts already.".to_owned(),
            (true, false, Target::Machine(name)) => match self.moved(name) {
                Some(address) => format!("I am {} now.", self.whereabouts(&address)),
                None => format!("There is no machine {name} here."),
            },
            _ => "I do not know you. Ask an administrator of this host for a role.".to_owned(),
        };
        let refusal = self.subscription(target, person, "unsubscribed");
        self.say(refusal.child(tag("status", ns::CLIENT).text(why))).await;
    }

    /// A server asks on behalf of somebody who thinks they see us (RFC 6121 §4.3.2). The answer goes to the
    /// very client it asks for: the person's others have it.
    async fn probed(&self, target: &Target, from: &Jid) {
        if !self.addresses().is_component() {
            return;
        }
        let person = &from.to_bare();
        let entity = self.entity(target).filter(|entity| self.contacts().of(*entity, person).theirs);
        let presence = entity
            .filter(|_| self.agent.knows(person, target))
            .and_then(|entity| self.presence_for(entity, person));
        match presence {
            Some(presence) => self.say(presence.attr("to", from.as_str())).await,
            None => self.say(self.subscription(target, person, "unsubscribed")).await,
        }
    }

    /// A client of a contact is here: what it wants, it is sent.
    async fn appeared(self: &Arc<Self>, target: &Target, from: Jid, presence: &Element) {
        let Ok(client) = from.try_into_full() else { return };
        let Some(entity) = self.entity(target) else { return };
        let caps = caps::key(presence);
        if !self.contacts().appeared(entity, &client, caps.clone()) {
            return;
        }
        let Some(caps) = caps else { return };
        let own = self.addresses().presence_of(target);
        let face = Arc::clone(self);
        let person = client.to_bare();
        let greeted = async move { face.greet(entity, client, own, caps).await };
        if self.limits.run((&person, self.is_known_caller(&person)), greeted).await.is_err() {
            tracing::debug!(%person, "too many of their clients appear at once");
        }
    }

    async fn greet(&self, entity: Entity, client: FullJid, own: Jid, caps: Arc<str>) {
        let wants = self.peers().wants(&caps);
        match wants == Default::default() {
            // Unknown, or wants nothing: asking about a known hash ends at once.
            true => self.learn_caps(client, own, caps).await,
            false => self.send_last_items(entity, &client, wants).await,
        }
    }

    /// They let us see them, or no longer.
    fn may_see(&self, target: &Target, person: &BareJid, ours: bool) {
        let Some(entity) = self.entity(target) else { return };
        let before = self.contacts().of(entity, person);
        // Only who sees us is asked, so anything else is unasked for.
        if before.theirs && before.ours != ours {
            self.remember(entity, person, before.theirs, ours);
        }
    }

    /// They do not want to see us any more; we need not see them then either.
    async fn left(&self, target: &Target, person: &BareJid) {
        let Some(entity) = self.entity(target) else { return };
        if !self.forget(entity, person) {
            return;
        }
        self.say(self.subscription(target, person, "unsubscribed")).await;
        self.say(self.leaving(target, person, "goodbye")).await;
        self.say(self.subscription(target, person, "unsubscribe")).await;
    }

    /// Something we sent came back. Who does not exist any more is no contact; of others, the clients
    /// are not here now.
    fn bounced(&self, target: &Target, from: &Jid, presence: &Element) {
        let Some(entity) = self.entity(target) else { return };
        match is_final(presence) {
            true => drop(self.forget(entity, &from.to_bare())),
            false => self.contacts().vanished(entity, from),
        }
    }

    fn remember(&self, entity: Entity, person: &BareJid, theirs: bool, ours: bool) -> bool {
        let kept = self.contacts().set(entity, person, theirs, ours);
        if kept {
            self.ledger.note(Change::Contact(entity, person.clone(), theirs, ours));
        }
        kept
    }

    /// Forgets a contact; true when they were one.
    pub(crate) fn forget(&self, entity: Entity, person: &BareJid) -> bool {
        let known = self.contacts().forget(entity, person);
        if known {
            self.ledger.note(Change::Contact(entity, person.clone(), false, false));
        }
        known
    }

    /// Introduces an entity to somebody: it shows itself and asks to see them.
    pub(crate) async fn introduce(&self, entity: Entity, name: &MachineName, person: &BareJid) {
        let target = Target::Machine(name.clone());
        if !self.agent.knows(person, &target) {
            return;
        }
        let ask = self.subscription(&target, person, "subscribe");
        let why = format!("I am {name}, a machine on {}.", self.host_name);
        self.say(ask.child(tag("status", ns::CLIENT).text(why))).await;
        if self.remember(entity, person, true, false)
            && let Some(presence) = self.presence_of(entity)
        {
            self.say(presence.attr("to", person.as_str())).await;
        }
    }
}

/// Whether an error says that its sender is gone for good.
pub(crate) fn is_final(stanza: &Element) -> bool {
    let error = stanza.get_child("error", ns::CLIENT);
    error.is_some_and(|error| {
        let ends = ["gone", "item-not-found", "jid-malformed"];
        ends.iter().any(|condition| error.has_child(*condition, ns::STANZA_ERRORS))
            && stanza::address(stanza, "from").is_some()
    })
}

#[cfg(test)]
mod tests {
    use hypervisor_core::lifecycle::{Cause, Exit, Side};

    use super::*;

    #[test]
    fn every_state_is_shown_as_the_design_says() {
        let shown = [
            (State::Running, None),
            (State::Starting, Some("dnd")),
            (State::Stopping, Some("dnd")),
            (State::Migrating(Side::Source), Some("dnd")),
            (State::Paused, Some("away")),
            (State::Saved, Some("xa")),
            (State::Stopped(Exit::Never), Some("xa")),
            (State::Failed(Cause("no disk".into())), Some("dnd")),
        ];
        for (state, expected) in shown {
            assert_eq!(show(&state), expected, "{state:?}");
        }
    }
}
