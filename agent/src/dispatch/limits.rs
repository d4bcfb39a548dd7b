//! How much may be under way at once: for one person, and in all. Whoever has much of it gets no more while
//! others want some ([`share`]): no few can take all of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use skerry_stanzas::refusal::{Reason, Refusal};
use xmpp_parsers::jid::BareJid;

/// How much one of several may have of what they share, while so much is free: at most half of that, and at
/// least one. So something is left for who comes next, and each of many who want all they can get ends up
/// with the same (a dynamic threshold, as switches share a buffer: Choudhury and Hahne, 1998).
pub(crate) fn share(most: usize, free: usize) -> usize {
    (free / 2).clamp(1, most.max(1))
}

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
        if taken.all >= self.all_max {
            return Err(Refusal::new(Reason::Limit, "This host has too much to do just now.")
                .hint("Try again in a moment."));
        }
        if own >= share(self.per_person_max, self.all_max - taken.all) {
            let text = format!("{own} of your commands are under way, and that is as many as there may be.");
            return Err(Refusal::new(Reason::Limit, text).hint("Wait for some of them, then try again."));
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
        let limits = Limits::new(2, 8);
        let ann = BareJid::new("ann@example.org").unwrap();
        let first = limits.take(&ann).unwrap();
        let _second = limits.take(&ann).unwrap();
        assert_eq!(limits.take(&ann).err().unwrap().reason, Reason::Limit);
        drop(first);
        let _again = limits.take(&ann).unwrap();
        let others: Vec<Slot> = (0..6)
            .map(|n| limits.take(&BareJid::new(&format!("p{n}@example.org")).unwrap()).unwrap())
            .collect();
        let bob = BareJid::new("bob@example.org").unwrap();
        assert!(limits.take(&bob).err().unwrap().sentence().contains("Try again"));
        drop(others);
        let _place = limits.take(&bob).unwrap();
    }

    #[test]
    fn whoever_comes_finds_a_place_however_much_others_want() {
        let limits = Limits::new(64, 256);
        let person = |n: usize| BareJid::new(&format!("p{n}@example.org")).unwrap();
        // Each of a few takes all that can be had, time and again.
        let mut taken = Vec::new();
        for n in (0..20).cycle().take(20 * 300) {
            taken.extend(limits.take(&person(n)).ok());
        }
        let of = |n: usize| taken.iter().filter(|slot| slot.person == person(n)).count();
        assert!((0..20).all(|n| of(n).abs_diff(of(0)) <= 2), "{:?}", (0..20).map(of).collect::<Vec<_>>());
        assert!(of(0) >= 10, "{}", of(0));
        let _late = limits.take(&person(99)).unwrap();
    }
}
