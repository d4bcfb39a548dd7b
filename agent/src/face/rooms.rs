//! Rooms and contact groups whose people have rights: they are followed as the server tells of them. What is
//! not known is as if nobody were in it.

mod said;
mod seat;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use minidom::Element;
use skerry_stanzas::ns;
use xmpp_parsers::{jid::BareJid, ns as xep};

pub(crate) use self::{
    said::Own,
    seat::{Next, Seat},
};
use super::{
    Face, lock,
    stanza::{address, fresh_id, tag},
};
use crate::{
    asked::Target,
    rights::{Affiliation, Whom},
};

/// The most rooms we are in.
const ROOMS_MAX: usize = 64;
/// How long a room may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is asked again when it has said something meanwhile.
const TRIES: usize = 5;
/// The most contacts that are remembered with their groups.
const CONTACTS_MAX: usize = 4096;

/// The rooms we are in, or want to be.
#[derive(Default)]
pub(crate) struct Rooms(Mutex<BTreeMap<BareJid, Seat>>);

/// Who is in which groups.
type Contacts = BTreeMap<BareJid, BTreeSet<String>>;

/// The groups of the account's contacts, and how often we were told of a change.
#[derive(Default)]
pub(crate) struct Groups(Mutex<(Contacts, u64)>);

impl Face {
    /// Enters the rooms that are named by what is granted, and leaves the others; one that could not be
    /// entered is tried again.
    pub(crate) async fn settle_rooms(&self) {
        self.take_seats(false).await;
    }

    /// The same after a break that the server bridged: there it is still in them, and only who enters is told
    /// who else is there.
    pub(crate) async fn return_to_rooms(&self) {
        self.take_seats(true).await;
    }

    async fn take_seats(&self, anew: bool) {
        let (rights, now) = (self.agent.rights(), chrono::Utc::now());
        // Those of policies first: who may grant could fill the others.
        let mut wanted: BTreeSet<BareJid> =
            self.agent.rooms_of_policies().into_iter().take(ROOMS_MAX).collect();
        for grant in rights.grants.iter().filter(|grant| grant.is_live(now)) {
            if let Whom::Room(room, _) = &grant.whom
                && wanted.len() < ROOMS_MAX
            {
                wanted.insert(room.clone());
            }
        }
        let (mut enter, mut leave) = (Vec::new(), Vec::new());
        {
            let mut rooms = lock(&self.rooms.0);
            rooms.retain(|room, seat| {
                let stays = wanted.contains(room);
                if !stays {
                    leave.push((room.clone(), seat.nick.clone()));
                }
                stays
            });
            for room in wanted {
                let seat = rooms.entry(room.clone()).or_insert_with(|| Seat::new(self.host_name.clone()));
                if !seat.is_joined() {
                    enter.push((room, seat.nick.clone()));
                }
            }
        }
        for (room, nick) in leave {
            self.tell_room(&room);
            self.presence_in(&room, &nick, Some("unavailable")).await;
        }
        for (room, nick) in enter {
            if anew {
                self.presence_in(&room, &nick, Some("unavailable")).await;
            }
            self.presence_in(&room, &nick, None).await;
        }
    }

    async fn presence_in(&self, room: &BareJid, nick: &str, kind: Option<&str>) {
        let Ok(seat) = room.with_resource_str(nick) else { return };
        let presence = tag("presence", ns::CLIENT)
            .attr("from", self.addresses().presence_of(&Target::Host).to_string())
            .attr("to", seat.to_string())
            .attr_if("type", kind);
        // Nothing of what was said before is wanted.
        let history = tag("history", xep::MUC).attr("maxstanzas", "0");
        let enters = tag("x", xep::MUC).child(history);
        self.say(presence.children(kind.is_none().then_some(enters))).await;
    }

    /// Whether we are in a room, and it hides nobody.
    pub(crate) fn is_seated(&self, room: &BareJid) -> bool {
        lock(&self.rooms.0).get(room).is_some_and(Seat::is_open)
    }

    /// The link is down: nothing is known of any room, nor of any group.
    pub(crate) fn out_of_rooms(&self) {
        lock(&self.rooms.0).clear();
        lock(&self.groups.0).0.clear();
        self.agent.forget_circles();
    }

    /// Takes in what a room we are in says; false when it is not from one.
    pub(crate) fn take_of_room(self: &Arc<Self>, stanza: &Element) -> bool {
        let Some((from, to)) = self.parties(stanza) else { return false };
        let room = from.to_bare();
        let next = {
            let mut rooms = lock(&self.rooms.0);
            let Some(seat) = rooms.get_mut(&room) else { return false };
            if self.addresses().target_of(&to) != Some(Target::Host) {
                return true;
            }
            let next = match (stanza.name(), from.resource()) {
                ("presence", _) => seat.presence(&from, stanza),
                (_, Some(nick)) => {
                    let (is_own, person) = (nick.as_str() == seat.nick, seat.person(nick.as_str()));
                    drop(rooms);
                    self.take_said(&room, is_own, person, stanza);
                    return true;
                }
                (_, None) => seat.message(stanza),
            };
            if next == Next::OtherNick {
                seat.nick = format!("{}-{}", self.host_name, &fresh_id()[..4]);
            }
            next
        };
        self.tell_room(&room);
        match next {
            Next::Wait => {}
            Next::Look => self.look_into(room),
            // At the next look at what is granted, or at the clock.
            Next::OtherNick => tracing::info!(%room, "the nick is taken there"),
        }
        true
    }

    /// Asks a room whether it hides nobody, and who is what in it.
    fn look_into(self: &Arc<Self>, room: BareJid) {
        let face = Arc::clone(self);
        tokio::spawn(async move {
            for _ in 0..TRIES {
                let Some(turn) = lock(&face.rooms.0).get(&room).map(Seat::turn) else { return };
                let open = face.hides_nobody(&room).await;
                let listed = if open { face.lists_of(&room).await } else { None };
                let kept = match lock(&face.rooms.0).get_mut(&room) {
                    Some(seat) => seat.looked(turn, open, listed),
                    None => return,
                };
                if kept {
                    if !open {
                        tracing::warn!(%room, "the room hides who is in it: it gives nobody a right");
                    }
                    face.tell_room(&room);
                    // What is to be asked there can be now.
                    return face.agent.look_after_requests_soon();
                }
            }
            tracing::warn!(%room, "the room does not hold still: it is asked again later");
        });
    }

    /// Looks again into rooms we are in: not all of them say when somebody becomes nothing who is not there.
    pub(crate) fn look_into_rooms(self: &Arc<Self>) {
        let rooms: Vec<BareJid> = {
            let rooms = lock(&self.rooms.0);
            rooms.iter().filter(|(_, seat)| seat.is_joined()).map(|(room, _)| room.clone()).collect()
        };
        rooms.into_iter().for_each(|room| self.look_into(room));
        let face = Arc::clone(self);
        tokio::spawn(async move { face.settle_rooms().await });
    }

    async fn ask_room(&self, room: &BareJid, query: Element) -> Option<Element> {
        let iq = tag("iq", ns::CLIENT)
            .attr("type", "get")
            .attr("from", self.addresses().presence_of(&Target::Host).to_string())
            .attr("to", room.as_str())
            .child(query);
        self.wire.ask(iq.into(), PATIENCE).await.ok()
    }

    async fn hides_nobody(&self, room: &BareJid) -> bool {
        let answer = self.ask_room(room, tag("query", xep::DISCO_INFO).into()).await;
        let query = answer.as_ref().and_then(|answer| answer.get_child("query", xep::DISCO_INFO));
        query.is_some_and(|query| {
            let mut features = query.children().filter(|child| child.is("feature", xep::DISCO_INFO));
            features.any(|feature| feature.attr("var") == Some("muc_nonanonymous"))
        })
    }

    /// Its lists, as far as we may read them (XEP-0045 §9.5, §10.5, §10.8); none where we may read none.
    async fn lists_of(&self, room: &BareJid) -> Option<BTreeMap<BareJid, Affiliation>> {
        let mut listed = None;
        for affiliation in Affiliation::ALL {
            let item = tag("item", ns::MUC_ADMIN).attr("affiliation", affiliation.word());
            let query = tag("query", ns::MUC_ADMIN).child(item);
            let Some(answer) = self.ask_room(room, query.into()).await else { continue };
            let items = answer.get_child("query", ns::MUC_ADMIN).into_iter().flat_map(Element::children);
            let people = items.filter_map(seat::read_item).filter_map(|(person, is)| Some((person, is?)));
            listed.get_or_insert_with(BTreeMap::new).extend(people.take(CONTACTS_MAX));
        }
        listed
    }

    /// Puts in force what is known of a room.
    fn tell_room(&self, room: &BareJid) {
        // As one: what is known must not be put in force after what is known later.
        let rooms = lock(&self.rooms.0);
        let seat = rooms.get(room);
        let known = Affiliation::ALL.into_iter().map(|least| {
            let who = Whom::Room(room.clone(), least).to_string();
            (who, seat.and_then(|seat| seat.members(least)))
        });
        self.agent.know_circles(known.collect());
    }

    /// How often we were told of a change of the contact list.
    pub(crate) fn pushes(&self) -> u64 {
        lock(&self.groups.0).1
    }

    /// The contact list, as it was asked for after so many changes: whole. False when it has changed since.
    pub(crate) fn read_groups(&self, pushes: u64, query: &Element) -> bool {
        let mut groups = lock(&self.groups.0);
        if groups.1 != pushes {
            return false;
        }
        groups.0 = query.children().filter_map(contact).take(CONTACTS_MAX).collect();
        self.tell_groups(&groups.0);
        true
    }

    /// One contact changed.
    pub(crate) fn push_groups(&self, query: &Element) {
        let mut groups = lock(&self.groups.0);
        let (contacts, pushes) = &mut *groups;
        *pushes += 1;
        for item in query.children() {
            let Some((person, of)) = contact(item) else { continue };
            match item.attr("subscription") {
                Some("remove") => drop(contacts.remove(&person)),
                _ if contacts.len() < CONTACTS_MAX || contacts.contains_key(&person) => {
                    contacts.insert(person, of);
                }
                _ => {}
            }
        }
        self.tell_groups(contacts);
    }

    fn tell_groups(&self, groups: &Contacts) {
        let mut circles: BTreeMap<String, BTreeSet<BareJid>> = BTreeMap::new();
        for (person, of) in groups {
            for group in of {
                let who = Whom::Group(group.clone()).to_string();
                circles.entry(who).or_default().insert(person.clone());
            }
        }
        self.agent.know_groups(circles);
    }
}

/// A contact, and its groups.
fn contact(item: &Element) -> Option<(BareJid, BTreeSet<String>)> {
    let person = address(item, "jid")?.into_bare();
    let groups = item.children().filter(|child| child.is("group", xep::ROSTER));
    Some((person, groups.map(|group| group.text().trim().to_owned()).collect()))
}
