//! What is known of one room (XEP-0045): who is what in it. Nobody, unless the room says that it hides
//! nobody: in others a nick is all there is to see, and a nick is nobody's.

use std::collections::{BTreeMap, BTreeSet};

use minidom::Element;
use skerry_stanzas::ns;
use xmpp_parsers::{
    jid::{BareJid, Jid},
    ns as xep,
};

use crate::{face::stanza::address, rights::Affiliation};

/// People of one room that are remembered.
const PEOPLE_MAX: usize = 4096;

/// What to do after a stanza of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing.
    Wait,
    /// Ask whether it hides nobody, and then for its lists.
    Look,
    /// Enter under another nick.
    OtherNick,
}

/// Our seat in a room.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) nick: String,
    joined: bool,
    /// It says that it hides nobody.
    open: bool,
    /// By nick.
    occupants: BTreeMap<String, (BareJid, Option<Affiliation>)>,
    /// Its lists, where they may be read.
    listed: Option<BTreeMap<BareJid, Affiliation>>,
    /// Grows whenever the room says something: what was asked before is old then.
    turn: u64,
}

impl Seat {
    pub(crate) fn new(nick: String) -> Self {
        let (occupants, listed) = (BTreeMap::new(), None);
        Self { nick, joined: false, open: false, occupants, listed, turn: 0 }
    }

    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }

    pub(crate) fn is_joined(&self) -> bool {
        self.joined
    }

    /// Who is at least that; none while it is not known.
    pub(crate) fn members(&self, least: Affiliation) -> Option<BTreeSet<BareJid>> {
        if !self.joined || !self.open {
            return None;
        }
        let here = self.occupants.values().filter_map(|(person, is)| Some((person, (*is)?)));
        let listed = self.listed.iter().flatten().map(|(person, is)| (person, *is));
        let all = here.chain(listed).filter(|(_, is)| *is >= least);
        Some(all.map(|(person, _)| person.clone()).collect())
    }

    /// Whether we are in it, and it hides nobody.
    pub(crate) fn is_open(&self) -> bool {
        self.joined && self.open
    }

    /// Who somebody in it is; none where that is not known.
    pub(crate) fn person(&self, nick: &str) -> Option<BareJid> {
        let (person, _) = self.occupants.get(nick).filter(|_| self.is_open())?;
        Some(person.clone())
    }

    /// Nothing is known any more.
    fn shut(&mut self) {
        self.open = false;
        self.listed = None;
    }

    fn left(&mut self) {
        self.shut();
        self.joined = false;
        self.occupants.clear();
    }

    /// It was asked whether it hides nobody, and for its lists, at this turn. False when it has said
    /// something since: then it is asked again.
    pub(crate) fn looked(
        &mut self,
        turn: u64,
        open: bool,
        listed: Option<BTreeMap<BareJid, Affiliation>>,
    ) -> bool {
        if turn != self.turn {
            return false;
        }
        self.open = open && self.joined;
        self.listed = listed.filter(|_| self.open);
        true
    }

    /// A presence of the room, or of somebody in it.
    pub(crate) fn presence(&mut self, from: &Jid, stanza: &Element) -> Next {
        self.turn += 1;
        let Some(nick) = from.resource().map(|nick| nick.as_str().to_owned()) else { return Next::Wait };
        if stanza.attr("type") == Some("error") {
            self.left();
            let error = stanza.get_child("error", ns::CLIENT);
            let taken = error.is_some_and(|error| error.has_child("conflict", ns::STANZA_ERRORS));
            return if taken { Next::OtherNick } else { Next::Wait };
        }
        let Some(said) = stanza.get_child("x", xep::MUC_USER) else { return Next::Wait };
        let (own, item) = (has(said, "110"), item(said));
        let leaves = stanza.attr("type") == Some("unavailable");
        match (own, leaves) {
            (true, true) if !has(said, "303") => self.left(),
            (_, true) => {
                self.occupants.remove(&nick);
                self.note(item);
            }
            (own, false) => {
                let begins = own && !self.joined;
                self.joined |= own;
                match item {
                    Some((person, is)) => {
                        self.note(Some((person.clone(), is)));
                        if self.occupants.len() < PEOPLE_MAX || self.occupants.contains_key(&nick) {
                            self.occupants.insert(nick, (person, is));
                        }
                    }
                    // One who is hidden: it is no such room.
                    None if !own => self.shut(),
                    None => {}
                }
                if begins {
                    return Next::Look;
                }
            }
        }
        Next::Wait
    }

    /// A message of the room itself, which nobody in it can send.
    pub(crate) fn message(&mut self, stanza: &Element) -> Next {
        let Some(said) = stanza.get_child("x", xep::MUC_USER) else { return Next::Wait };
        self.turn += 1;
        self.note(item(said));
        let changed = ["104", "172", "173", "174"].into_iter().any(|code| has(said, code));
        match changed {
            // Until it is known what it is now.
            true => {
                self.shut();
                Next::Look
            }
            false => Next::Wait,
        }
    }

    /// Somebody is that from now on, wherever they are.
    fn note(&mut self, item: Option<(BareJid, Option<Affiliation>)>) {
        let Some((person, is)) = item else { return };
        for (_, had) in self.occupants.values_mut().filter(|(someone, _)| *someone == person) {
            *had = is;
        }
        match (&mut self.listed, is) {
            (Some(listed), Some(is)) if listed.len() < PEOPLE_MAX => drop(listed.insert(person, is)),
            (Some(listed), None) => drop(listed.remove(&person)),
            _ => {}
        }
    }
}

fn has(said: &Element, code: &str) -> bool {
    let statuses = said.children().filter(|child| child.is("status", xep::MUC_USER));
    statuses.into_iter().any(|status| status.attr("code") == Some(code))
}

/// Whom it is about, by their address.
fn item(said: &Element) -> Option<(BareJid, Option<Affiliation>)> {
    read_item(said.get_child("item", xep::MUC_USER)?)
}

/// One `<item/>`: an address, and what it is.
pub(crate) fn read_item(item: &Element) -> Option<(BareJid, Option<Affiliation>)> {
    let person = address(item, "jid")?.into_bare();
    Some((person, Affiliation::read(item.attr("affiliation")?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    fn presence(seat: &mut Seat, nick: &str, kind: &str, inner: &str) -> Next {
        let kind = if kind.is_empty() { String::new() } else { format!(" type='{kind}'") };
        let xml = format!(
            "<presence xmlns='jabber:client'{kind}><x xmlns='http://jabber.org/protocol/muc#user'>{inner}</x></presence>"
        );
        seat.presence(&jid(&format!("ops@rooms.example.org/{nick}")), &xml.parse().unwrap())
    }

    fn message(seat: &mut Seat, inner: &str) -> Next {
        let xml = format!(
            "<message xmlns='jabber:client'><x xmlns='http://jabber.org/protocol/muc#user'>{inner}</x></message>"
        );
        seat.message(&xml.parse().unwrap())
    }

    fn names(seat: &Seat, least: Affiliation) -> Option<Vec<String>> {
        seat.members(least).map(|all| all.iter().map(ToString::to_string).collect())
    }

    /// In a room that hides nobody, with Eve, a member who is there, and Mia, an owner who is not.
    fn seated() -> Seat {
        let mut seat = Seat::new("kvm1".into());
        presence(&mut seat, "eve", "", "<item affiliation='member' jid='eve@x.org/phone'/>");
        assert_eq!(names(&seat, Affiliation::Member), None, "nothing before we are in");
        let own = "<item affiliation='none' jid='kvm1.x.org/host'/><status code='110'/><status code='100'/>";
        assert_eq!(presence(&mut seat, "kvm1", "", own), Next::Look);
        assert_eq!(names(&seat, Affiliation::Member), None, "nor before it said that it hides nobody");
        let listed = BTreeMap::from([(BareJid::new("mia@x.org").unwrap(), Affiliation::Owner)]);
        assert!(seat.looked(seat.turn(), true, Some(listed)));
        assert_eq!(names(&seat, Affiliation::Member).unwrap(), ["eve@x.org", "mia@x.org"]);
        seat
    }

    #[test]
    fn who_is_what_is_followed_whether_they_are_there_or_not() {
        let mut seat = seated();
        assert_eq!(names(&seat, Affiliation::Admin).unwrap(), ["mia@x.org"]);
        presence(&mut seat, "eve", "", "<item affiliation='admin' jid='eve@x.org/phone'/>");
        assert_eq!(names(&seat, Affiliation::Admin).unwrap(), ["eve@x.org", "mia@x.org"]);
        // She is not there, and is nothing any more.
        message(&mut seat, "<item affiliation='none' jid='mia@x.org'/>");
        assert_eq!(names(&seat, Affiliation::Member).unwrap(), ["eve@x.org"]);
        presence(&mut seat, "eve", "unavailable", "<item affiliation='outcast' jid='eve@x.org/phone'/>");
        assert_eq!(names(&seat, Affiliation::Member).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn with_the_room_all_is_gone_at_once() {
        for inner in [
            "<status code='110'/>",
            "<status code='110'/><status code='307'/>",
            "<destroy/><status code='110'/>",
        ] {
            let mut seat = seated();
            presence(&mut seat, "kvm1", "unavailable", inner);
            assert_eq!(names(&seat, Affiliation::Member), None, "{inner}");
        }
        let mut seat = seated();
        seat.presence(
            &jid("ops@rooms.example.org/kvm1"),
            &"<presence xmlns='jabber:client' type='error'/>".parse().unwrap(),
        );
        assert_eq!(names(&seat, Affiliation::Member), None);
    }

    #[test]
    fn a_room_that_begins_to_hide_people_gives_nobody_anything() {
        for code in ["104", "172", "173", "174"] {
            let mut seat = seated();
            let before = seat.turn();
            assert_eq!(message(&mut seat, &format!("<status code='{code}'/>")), Next::Look);
            assert_eq!(names(&seat, Affiliation::Member), None, "{code}");
            // What it said before counts for nothing now.
            assert!(!seat.looked(before, true, None));
            assert_eq!(names(&seat, Affiliation::Member), None, "{code}");
            assert!(seat.looked(seat.turn(), false, None));
            assert_eq!(names(&seat, Affiliation::Member), None, "{code}");
        }
        // One whose address is not shown.
        let mut seat = seated();
        presence(&mut seat, "sam", "", "<item affiliation='owner'/>");
        assert_eq!(names(&seat, Affiliation::Member), None);
    }

    #[test]
    fn a_nick_is_nobodys_and_another_one_is_taken_when_ours_is() {
        let mut seat = seated();
        presence(&mut seat, "mia@x.org", "", "<item affiliation='none' jid='sam@y.org/x'/>");
        assert!(!names(&seat, Affiliation::Member).unwrap().contains(&"sam@y.org".to_owned()));
        let xml = "<presence xmlns='jabber:client' type='error'><error type='cancel'><conflict \
                   xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>";
        let mut seat = Seat::new("kvm1".into());
        assert_eq!(seat.presence(&jid("ops@rooms.example.org/kvm1"), &xml.parse().unwrap()), Next::OtherNick);
    }
}
