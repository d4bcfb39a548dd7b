//! What goes on in a chat between messages: a console that is open, a screen that is watched. Each has
//! its owner, a deadline, and one word that ends it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::{sync::mpsc, task::AbortHandle};
use xmpp_parsers::jid::BareJid;

use super::{Message, Words};
use crate::face::{Face, lock};

/// What ends it, alone in a message. No command, and nothing a guest is ever told alone.
pub(super) const LEAVE: &str = ".";
/// How many of one person may go on.
const PERSON_MAX: usize = 8;
/// How many of everybody.
const ALL_MAX: usize = 128;

/// What kind of thing goes on. One of each in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Lines go to a serial console. Ended first.
    Console,
    /// A picture is kept fresh.
    Watch,
}

/// Where: whose chat, with which of our addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    person: BareJid,
    with: BareJid,
    kind: Kind,
}

impl Place {
    pub(super) fn of(message: &Message, kind: Kind) -> Self {
        Self { person: message.from.to_bare(), with: message.to.to_bare(), kind }
    }
}

struct Live {
    number: u64,
    task: AbortHandle,
    /// What is written in the chat meanwhile, when that is taken.
    lines: Option<mpsc::Sender<String>>,
    /// What is said when it is ended.
    ended: String,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What goes on in all chats.
#[derive(Default)]
pub(crate) struct Lives(Mutex<Open>);

#[derive(Default)]
struct Open {
    number_next: u64,
    by_place: HashMap<Place, Live>,
}

impl Lives {
    /// Begins something, in the place of what was there; `false` when too much goes on. `ended` is said
    /// when its owner ends it.
    pub(super) fn begin(
        &self,
        place: Place,
        lines: Option<mpsc::Sender<String>>,
        ended: String,
        work: impl FnOnce(u64) -> AbortHandle,
    ) -> bool {
        let mut open = lock(&self.0);
        let own =
            open.by_place.keys().filter(|other| other.person == place.person && **other != place).count();
        if own >= PERSON_MAX || open.by_place.len() >= ALL_MAX {
            return false;
        }
        let number = open.number_next;
        open.number_next += 1;
        // Held meanwhile: work that ends at once finds itself here.
        let live = Live { number, task: work(number), lines, ended };
        open.by_place.insert(place, live);
        true
    }

    /// It has ended by itself.
    pub(super) fn is_over(&self, place: &Place, number: u64) {
        let mut open = lock(&self.0);
        if open.by_place.get(place).is_some_and(|live| live.number == number) {
            open.by_place.remove(place);
        }
    }

    /// Ends what was begun last in this chat; what is said then.
    fn end(&self, message: &Message) -> Option<String> {
        let mut open = lock(&self.0);
        let mut ended = [Kind::Console, Kind::Watch].into_iter().filter_map(|kind| {
            open.by_place.remove(&Place::of(message, kind)).map(|mut live| std::mem::take(&mut live.ended))
        });
        ended.next()
    }

    /// Who takes what is written in this chat.
    fn taken(&self, message: &Message) -> Option<mpsc::Sender<String>> {
        lock(&self.0).by_place.get(&Place::of(message, Kind::Console))?.lines.clone()
    }
}

impl Face {
    /// Whether a message belongs to something that goes on, and not to us.
    pub(super) async fn goes_on(self: &Arc<Self>, message: &Message) -> bool {
        if message.body.trim() == LEAVE {
            let Some(ended) = self.lives.end(message) else { return false };
            self.speak(message, &Words::new(ended), None).await;
            return true;
        }
        let Some(lines) = self.lives.taken(message) else { return false };
        // In order, and no faster than the guest reads.
        lines.send(message.body.clone()).await.is_ok()
    }
}
