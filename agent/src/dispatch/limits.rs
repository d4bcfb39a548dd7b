//! How much may be under way at once: for one person, and in all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use skerry_stanzas::refusal::{Reason, Refusal};
use xmpp_parsers::jid::BareJid;

/// Counts what is under way. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Limits {
    per_person_max: usize,
    all_max: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_person: HashMap<BareJid, usize>,
}

/// A place among what is under way, free again when it is dropped.
pub(crate) struct Slot {
    limits: Limits,
    person: BareJid,
}

impl Limits {
    pub(crate) fn new(per_person_max: usize, all_max: usize) -> Self {
        Self { per_person_max, all_max, taken: Arc::default() }
    }

    /// A place for one more, or a refusal.
    pub(crate) fn take(&self, person: &BareJid) -> Result<Slot, Refusal> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by_person.get(person).copied().unwrap_or(0);
        if own >= self.per_person_max {
            let text = format!("{own} of your commands are under way, and that is as many as there may be.");
            return Err(Refusal::new(Reason::Limit, text).hint("Wait for some of them, then try again."));
        }
        if taken.all >= self.all_max {
            return Err(Refusal::new(Reason::Limit, "This host has too much to do just now.")
                .hint("Try again in a moment."));
        }
        taken.all += 1;
        *taken.by_person.entry(person.clone()).or_default() += 1;
        Ok(Slot { limits: self.clone(), person: person.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.limits.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(own) = taken.by_person.get_mut(&self.person) {
            *own -= 1;
            if *own == 0 {
                taken.by_person.remove(&self.person);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_person_and_all_together_have_limits_and_places_come_back() {
        let limits = Limits::new(2, 3);
        let ann = BareJid::new("ann@example.org").unwrap();
        let bob = BareJid::new("bob@example.org").unwrap();
        let first = limits.take(&ann).unwrap();
        let _second = limits.take(&ann).unwrap();
        assert_eq!(limits.take(&ann).err().unwrap().reason, Reason::Limit);
        let _third = limits.take(&bob).unwrap();
        assert_eq!(limits.take(&bob).err().unwrap().reason, Reason::Limit);
        drop(first);
        let _again = limits.take(&bob).unwrap();
    }
}
