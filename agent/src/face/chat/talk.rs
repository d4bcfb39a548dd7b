//! How much is said to whom: strangers are answered once an hour, and whoever writes faster than
//! people do is told so once and then left unread for a while. Two programs that answer each other
//! stop here.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use tokio::time::Instant;
use xmpp_parsers::jid::BareJid;

use crate::face::lock;

/// The most messages of one person that are read in [`WINDOW`]: a script may be quick, a loop is quicker.
const MESSAGES_MAX: u32 = 200;
const WINDOW: Duration = Duration::from_secs(10);
const STRANGERS_EVERY: Duration = Duration::from_secs(3600);
/// How many people are remembered.
const PEOPLE_MAX: usize = 4096;

/// How somebody is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// They have no role: one polite refusal.
    Stranger,
    /// It cannot be read.
    Encrypted,
    /// They write too fast.
    TooFast,
    /// As a command.
    Command,
}

#[derive(Debug)]
struct Talk {
    since: Instant,
    messages: u32,
}

/// Who said how much lately.
#[derive(Debug, Default)]
pub(crate) struct Talks {
    people: Mutex<HashMap<BareJid, Talk>>,
    strangers: Mutex<HashMap<BareJid, Instant>>,
}

impl Talks {
    /// Whether, and how, to answer a message of this person.
    pub(crate) fn admit(&self, person: &BareJid, tone: Tone) -> Option<Tone> {
        match tone {
            Tone::Stranger => self.meet(person).then_some(tone),
            _ => self.count(person, tone),
        }
    }

    fn meet(&self, person: &BareJid) -> bool {
        let now = Instant::now();
        let mut strangers = lock(&self.strangers);
        if strangers.len() >= PEOPLE_MAX {
            strangers.retain(|_, met| now - *met < STRANGERS_EVERY);
        }
        let met_lately = strangers.get(person).is_some_and(|met| now - *met < STRANGERS_EVERY);
        if met_lately || strangers.len() >= PEOPLE_MAX {
            return false;
        }
        strangers.insert(person.clone(), now);
        true
    }

    fn count(&self, person: &BareJid, tone: Tone) -> Option<Tone> {
        let now = Instant::now();
        let mut people = lock(&self.people);
        if people.len() >= PEOPLE_MAX {
            people.retain(|_, talk| now - talk.since < WINDOW);
        }
        let talk = people.entry(person.clone()).or_insert(Talk { since: now, messages: 0 });
        if now - talk.since >= WINDOW {
            *talk = Talk { since: now, messages: 0 };
        }
        talk.messages = talk.messages.saturating_add(1);
        match talk.messages {
            ..=MESSAGES_MAX => Some(tone),
            n if n == MESSAGES_MAX + 1 => {
                talk.since = now;
                Some(Tone::TooFast)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn person(n: usize) -> BareJid {
        format!("user{n}@example.org").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_writes_too_fast_is_told_once() {
        let talks = Talks::default();
        for _ in 0..MESSAGES_MAX {
            assert_eq!(talks.admit(&person(1), Tone::Command), Some(Tone::Command));
        }
        assert_eq!(talks.admit(&person(1), Tone::Command), Some(Tone::TooFast));
        assert_eq!(talks.admit(&person(1), Tone::Command), None);
        assert_eq!(talks.admit(&person(2), Tone::Command), Some(Tone::Command), "others are heard");
        tokio::time::advance(WINDOW).await;
        assert_eq!(talks.admit(&person(1), Tone::Command), Some(Tone::Command));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_is_answered_once_an_hour() {
        let talks = Talks::default();
        assert_eq!(talks.admit(&person(1), Tone::Stranger), Some(Tone::Stranger));
        assert_eq!(talks.admit(&person(1), Tone::Stranger), None);
        tokio::time::advance(STRANGERS_EVERY).await;
        assert_eq!(talks.admit(&person(1), Tone::Stranger), Some(Tone::Stranger));
        for n in 0..PEOPLE_MAX + 100 {
            talks.admit(&person(n), Tone::Stranger);
        }
        assert_eq!(lock(&talks.strangers).len(), PEOPLE_MAX, "memory is bounded");
    }
}
