//! What the agent announces, told to the world: presence for people, pubsub items for programs. Those
//! who asked for it are told through the door they came by.

use std::sync::atomic::Ordering;

use hypervisor_core::machine::MachineName;
use skerry_stanzas::ns;
use xmpp_parsers::jid::{BareJid, Jid};

use super::{
    Face,
    entity::Entity,
    ledger::Change,
    lock,
    nodes::Node,
    stanza::{address, tag},
};
use crate::{
    agent::{Announcement, Event, Seen},
    asked::Target,
};

impl Face {
    /// Tells what was announced.
    pub(crate) async fn announce(&self, announcement: Announcement) {
        match announcement {
            Announcement::Machine { seen, renamed_from, .. } => {
                lock(&self.names).insert(seen.id, seen.name.clone());
                self.reuse_name(&seen.name);
                if let Some(old) = renamed_from {
                    self.say_moved(&seen, &old).await;
                }
                self.show_machine(&seen).await;
            }
            Announcement::Gone { seen, to } => self.say_farewell(&seen, to.as_ref()).await,
            Announcement::Event(event) => self.tell_event(&event).await,
            Announcement::Rights => {
                self.apply_roles().await;
                self.settle_rooms().await;
            }
        }
    }

    /// Shows everything anew: after some announcements were missed.
    pub(crate) async fn announce_all(&self) {
        let machines = self.agent.machines();
        *lock(&self.names) = machines.iter().map(|seen| (seen.id, seen.name.clone())).collect();
        for seen in machines {
            self.show_machine(&seen).await;
        }
        self.find_last_event().await;
        self.pep.events();
    }

    async fn show_machine(&self, seen: &Seen) {
        let entity = Entity::Machine(seen.id);
        match self.addresses().is_component() {
            true => {
                self.show_presence(entity).await;
                self.publish_current(entity, Node::State).await;
            }
            false => self.pep.publish(Node::State, seen.name.as_str(), self.machine_state(seen)),
        }
        self.show_host().await;
    }

    /// The host's presence says how many machines run: it is sent when that changes.
    async fn show_host(&self) {
        let sentence = self.host_sentence();
        if std::mem::replace(&mut *lock(&self.shown), sentence.clone()) == sentence {
            return;
        }
        self.show_presence(Entity::Host).await;
        match self.addresses().is_component() {
            true => self.publish_current(Entity::Host, Node::State).await,
            false => self.pep.publish(Node::State, "host", self.host_state()),
        }
    }

    async fn tell_event(&self, event: &Event) {
        self.last_event.fetch_max(event.sequence, Ordering::Relaxed);
        match self.addresses().is_component() {
            true => self.publish_event(event).await,
            false => self.pep.events(),
        }
        if matches!(event.what.as_str(), "machine.created" | "machine.arrived") {
            self.introduce_new(event).await;
        }
        if event.what == "machine.arrived" {
            self.introduce_again(event).await;
        }
    }

    /// A machine that came from another host shows itself to those who saw it there, as far as they may here.
    async fn introduce_again(&self, event: &Event) {
        let name = event.machine.as_deref().and_then(|name| MachineName::new(name).ok());
        let Some(name) = name.filter(|_| self.addresses().is_component()) else { return };
        let Some(entity @ Entity::Machine(id)) = self.entity(&Target::Machine(name.clone())) else { return };
        for person in self.agent.watched_before(id).await {
            if !self.contacts().of(entity, &person).theirs {
                self.introduce(entity, &name, &person).await;
            }
        }
    }

    /// A new machine shows itself to who created it, when they have its host in their contact list.
    async fn introduce_new(&self, event: &Event) {
        let creator = event.by.as_deref().and_then(|by| BareJid::new(by).ok());
        let name = event.machine.as_deref().and_then(|name| MachineName::new(name).ok());
        let (Some(creator), Some(name)) = (creator, name) else { return };
        // Announcements may be late, as after hundreds of machines at once: who came only then would be
        // asked by all of them.
        let saw = self.contacts().saw(Entity::Host, &creator, event.at);
        let entity = self.entity(&Target::Machine(name.clone()));
        if let Some(entity) = entity.filter(|_| saw && self.addresses().is_component()) {
            self.introduce(entity, &name, &creator).await;
        }
    }

    /// The machine has another name, so another address: the old one says where it went, and its
    /// contacts are asked from the new one.
    async fn say_moved(&self, seen: &Seen, old: &MachineName) {
        let entity = Entity::Machine(seen.id);
        lock(&self.moved).insert(old.to_string(), entity);
        self.ledger.note(Change::Moved(old.to_string(), Some(entity)));
        if !self.addresses().is_component() {
            return self.pep.retract(Node::State, old.as_str());
        }
        let new_address = self.addresses().machine(&seen.name);
        let old_target = Target::Machine(old.clone());
        let watchers = self.contacts().watchers(entity);
        for person in watchers {
            self.part(&old_target, &person, &format!("moved to {new_address}")).await;
            self.introduce(entity, &seen.name, &person).await;
        }
    }

    /// A name that was given up is in use again.
    fn reuse_name(&self, name: &MachineName) {
        if lock(&self.moved).remove(name.as_str()).is_some() {
            self.ledger.note(Change::Moved(name.to_string(), None));
        }
    }

    /// The machine is gone: it leaves every contact list. One that moved says where to.
    async fn say_farewell(&self, seen: &Seen, to: Option<&Jid>) {
        let why = to.map_or_else(|| "deleted".to_owned(), |address| format!("moved to {address}"));
        let entity = Entity::Machine(seen.id);
        let target = Target::Machine(seen.name.clone());
        if self.addresses().is_component() {
            let moved = to.filter(|to| !self.agent.is_peer(&to.to_bare()));
            self.publish_deletion(&self.addresses().of(&target), entity, moved).await;
            let contacts = self.contacts().forget_entity(entity);
            for (person, _) in contacts {
                self.part(&target, &person, &why).await;
            }
        } else {
            self.pep.retract(Node::State, seen.name.as_str());
        }
        self.forget_entity(entity);
        self.show_host().await;
    }

    /// Leaves somebody's contact list. What was asked of them is asked no longer (RFC 6121 §3.3), answered or
    /// not: a question that stays would come again at each login, from nobody.
    async fn part(&self, target: &Target, person: &BareJid, why: &str) {
        self.say(self.leaving(target, person, why)).await;
        self.say(self.subscription(target, person, "unsubscribed")).await;
        self.say(self.subscription(target, person, "unsubscribe")).await;
    }

    /// Forgets all about an entity.
    pub(crate) fn forget_entity(&self, entity: Entity) {
        if let Entity::Machine(id) = entity {
            lock(&self.names).remove(&id);
        }
        drop(self.contacts().forget_entity(entity));
        self.subscriptions().forget_entity(entity);
        lock(&self.pictures).remove(&entity);
        lock(&self.moved).retain(|_, machine| *machine != entity);
        self.ledger.note(Change::Gone(entity));
    }

    /// On an account the server keeps the contact list: who has no role is taken off it.
    pub(crate) async fn apply_roles_to_roster(&self) {
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
        let roster = xmpp_parsers::ns::ROSTER;
        let answer = loop {
            let pushes = self.pushes();
            let iq = tag("iq", ns::CLIENT).attr("type", "get").child(tag("query", roster));
            let Ok(answer) = self.wire.ask(iq.into(), PATIENCE).await else { return };
            // What was asked before it changed may say what is not so any more.
            if answer.get_child("query", roster).is_none_or(|query| self.read_groups(pushes, query)) {
                break answer;
            }
        };
        let items = answer.get_child("query", roster).into_iter().flat_map(|query| query.children());
        let seen_by = items.filter(|item| matches!(item.attr("subscription"), Some("from" | "both")));
        let people: Vec<(BareJid, bool)> = seen_by
            .filter_map(|item| {
                let person = address(item, "jid")?.into_bare();
                Some((person, item.attr("subscription") == Some("both")))
            })
            .collect();
        for (person, ours) in people.into_iter().filter(|(person, _)| !self.may_watch(person, &Target::Host))
        {
            self.say(self.subscription(&Target::Host, &person, "unsubscribed")).await;
            if ours {
                self.say(self.subscription(&Target::Host, &person, "unsubscribe")).await;
            }
        }
    }
}
