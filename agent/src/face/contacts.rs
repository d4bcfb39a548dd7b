//! Who sees whom: presence subscriptions between people and our entities, and which of their clients
//! are here just now. On a component the server keeps nothing of this for us.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use xmpp_parsers::jid::{BareJid, FullJid, Jid};

use super::entity::Entity;

/// The most contacts of one entity.
const CONTACTS_MAX: usize = 4096;
/// The most clients of one person that are remembered.
const CLIENTS_MAX: usize = 16;

/// One person, as a contact of one entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contact {
    /// They see our presence.
    pub(crate) theirs: bool,
    /// Since when; for who was one before, since the agent's start.
    pub(crate) since: Option<DateTime<Utc>>,
    /// We see theirs.
    pub(crate) ours: bool,
    /// The resources they are here with, each with the `node#ver` of its caps.
    clients: BTreeMap<String, Option<Arc<str>>>,
}

/// All contacts.
#[derive(Debug, Default)]
pub(crate) struct Contacts(HashMap<Entity, HashMap<BareJid, Contact>>);

impl Contacts {
    /// A contact; an empty one when there is none.
    pub(crate) fn of(&self, entity: Entity, person: &BareJid) -> Contact {
        self.0.get(&entity).and_then(|people| people.get(person)).cloned().unwrap_or_default()
    }

    /// Sets who sees whom. False when there are too many contacts already.
    pub(crate) fn set(&mut self, entity: Entity, person: &BareJid, theirs: bool, ours: bool) -> bool {
        let people = self.0.entry(entity).or_default();
        if !people.contains_key(person) && people.len() >= CONTACTS_MAX {
            return false;
        }
        let contact = people.entry(person.clone()).or_default();
        if theirs && !contact.theirs {
            contact.since = Some(Utc::now());
        }
        (contact.theirs, contact.ours) = (theirs, ours);
        true
    }

    /// Whether they saw our presence already at that time.
    pub(crate) fn saw(&self, entity: Entity, person: &BareJid, at: DateTime<Utc>) -> bool {
        let contact = self.0.get(&entity).and_then(|people| people.get(person));
        contact.is_some_and(|contact| contact.theirs && contact.since.is_none_or(|since| since <= at))
    }

    /// Forgets a person at one entity; true when they were a contact.
    pub(crate) fn forget(&mut self, entity: Entity, person: &BareJid) -> bool {
        self.0.get_mut(&entity).is_some_and(|people| people.remove(person).is_some())
    }

    /// Forgets an entity, and says who its contacts were.
    pub(crate) fn forget_entity(&mut self, entity: Entity) -> Vec<(BareJid, Contact)> {
        self.0.remove(&entity).map(|people| people.into_iter().collect()).unwrap_or_default()
    }

    /// Every contact of every entity.
    pub(crate) fn all(&self) -> Vec<(Entity, BareJid, Contact)> {
        let of = |(entity, people): (&Entity, &HashMap<BareJid, Contact>)| {
            let entity = *entity;
            let people: Vec<_> = people.iter().map(|(p, c)| (entity, p.clone(), c.clone())).collect();
            people
        };
        self.0.iter().flat_map(of).collect()
    }

    /// Who sees this entity's presence.
    pub(crate) fn watchers(&self, entity: Entity) -> Vec<BareJid> {
        let people = self.0.get(&entity).into_iter().flatten();
        people.filter(|(_, contact)| contact.theirs).map(|(person, _)| person.clone()).collect()
    }

    /// A client of a contact is here. True when it was not before, or with other caps.
    pub(crate) fn appeared(&mut self, entity: Entity, client: &FullJid, caps: Option<Arc<str>>) -> bool {
        let people = self.0.get_mut(&entity);
        let Some(contact) = people.and_then(|people| people.get_mut(&client.to_bare())) else { return false };
        let resource = client.resource().as_str();
        if !contact.clients.contains_key(resource) && contact.clients.len() >= CLIENTS_MAX {
            return false;
        }
        contact.clients.insert(resource.to_owned(), caps.clone()) != Some(caps)
    }

    /// A client, or with a bare address all clients of a person, is gone.
    pub(crate) fn vanished(&mut self, entity: Entity, who: &Jid) {
        let people = self.0.get_mut(&entity);
        let Some(contact) = people.and_then(|people| people.get_mut(&who.to_bare())) else { return };
        match who.resource() {
            Some(resource) => drop(contact.clients.remove(resource.as_str())),
            None => contact.clients.clear(),
        }
    }

    /// Nobody is here any more: the link was down.
    pub(crate) fn nobody_here(&mut self) {
        self.0.values_mut().flat_map(HashMap::values_mut).for_each(|contact| contact.clients.clear());
    }

    /// The clients that are here for an entity, each with its caps.
    pub(crate) fn clients(&self, entity: Entity) -> Vec<(FullJid, Arc<str>)> {
        let people = self.0.get(&entity).into_iter().flatten();
        people.flat_map(|(person, contact)| clients_of(person, contact)).collect()
    }

    /// The clients with these caps, and for whom they are here.
    pub(crate) fn using(&self, caps: &str) -> Vec<(Entity, FullJid)> {
        let mut found = Vec::new();
        for (entity, people) in &self.0 {
            let clients = people.iter().flat_map(|(person, contact)| clients_of(person, contact));
            found.extend(clients.filter(|(_, key)| **key == *caps).map(|(client, _)| (*entity, client)));
        }
        found
    }

    /// Gives the caps of one client another key, wherever it is here.
    pub(crate) fn rekey(&mut self, client: &FullJid, old: &str, new: &Arc<str>) {
        for people in self.0.values_mut() {
            let Some(contact) = people.get_mut(&client.to_bare()) else { continue };
            if let Some(caps) = contact.clients.get_mut(client.resource().as_str())
                && caps.as_deref() == Some(old)
            {
                *caps = Some(new.clone());
            }
        }
    }
}

fn clients_of(person: &BareJid, contact: &Contact) -> Vec<(FullJid, Arc<str>)> {
    let clients = contact.clients.iter().filter_map(|(resource, caps)| {
        let client = person.with_resource_str(resource).ok()?;
        Some((client, caps.clone()?))
    });
    clients.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn full(n: usize) -> FullJid {
        format!("ann@example.org/r{n}").parse().unwrap()
    }

    #[test]
    fn only_contacts_appear_and_only_so_often() {
        let mut contacts = Contacts::default();
        assert!(!contacts.appeared(Entity::Host, &full(0), None), "no contact");
        assert!(contacts.set(Entity::Host, &full(0).to_bare(), true, true));
        for n in 0..CLIENTS_MAX {
            assert!(contacts.appeared(Entity::Host, &full(n), Some("a#b".into())));
        }
        assert!(!contacts.appeared(Entity::Host, &full(0), Some("a#b".into())), "nothing new");
        assert!(contacts.appeared(Entity::Host, &full(0), Some("a#c".into())), "other caps");
        assert!(!contacts.appeared(Entity::Host, &full(99), None), "too many");
        contacts.vanished(Entity::Host, &full(0).into());
        assert_eq!(contacts.clients(Entity::Host).len(), CLIENTS_MAX - 1);
        contacts.vanished(Entity::Host, &full(0).to_bare().into());
        assert!(contacts.clients(Entity::Host).is_empty());
        assert_eq!(contacts.watchers(Entity::Host), [full(0).to_bare()]);
    }

    #[test]
    fn what_was_before_somebody_came_is_not_shown_to_them() {
        let ann = full(0).to_bare();
        let mut contacts = Contacts::default();
        let before = Utc::now();
        assert!(!contacts.saw(Entity::Host, &ann, before), "no contact");
        contacts.set(Entity::Host, &ann, true, false);
        contacts.set(Entity::Host, &ann, true, true);
        assert!(!contacts.saw(Entity::Host, &ann, before - chrono::TimeDelta::seconds(1)));
        assert!(contacts.saw(Entity::Host, &ann, Utc::now()));
    }

    #[test]
    fn a_client_with_a_false_hash_gets_a_key_of_its_own() {
        let mut contacts = Contacts::default();
        contacts.set(Entity::Host, &full(0).to_bare(), true, true);
        contacts.appeared(Entity::Host, &full(0), Some("a#b".into()));
        contacts.appeared(Entity::Host, &full(1), Some("a#b".into()));
        contacts.rekey(&full(0), "a#b", &"own".into());
        assert_eq!(contacts.using("a#b"), [(Entity::Host, full(1))]);
        assert_eq!(contacts.using("own"), [(Entity::Host, full(0))]);
    }
}
